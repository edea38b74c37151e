"""A frame of a stream, two that belong together, and what became of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np

from ufafuse.runtime.arrays import Array

if TYPE_CHECKING:
    from ufafuse.runtime.stream.quality import Quality


NEAR, FAR = 0, 1
SIDES = ("near", "far")


def plane_names(count: int) -> list[str]:
    """What reports call the focus settings: near, far, and by number those between."""
    return ["near", *(f"plane {number}" for number in range(2, count)), "far"]


_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16))


@dataclass(frozen=True)
class Frame:
    """One picture of one source.

    Args:
        array: H x W or H x W x 3 (BGR), uint8 or uint16. Nobody writes into it after it was handed over.
        index: The source's own count, or the number in the file's name.
        timestamp: When it was exposed, in seconds of the source's clock: pairs are made by it.
        arrived: When it reached this process, in seconds of `time.monotonic`: latency is counted from it.
        plane: The focus setting of one camera that moves its focus, from 0, where the source knows it (chunk data, the lens's
            driver); -1 while the lens moves.
    """

    array: Array
    index: int
    timestamp: float
    arrived: float
    plane: int | None = None


@dataclass(frozen=True)
class Pair:
    """Two frames of one moment; of one camera with more focus settings, all of them.

    Args:
        near, far: The first and the last.
        between: Those of the other settings, from near to far.
        far_offset: Added to the far frame's time, whose source is known to be late.
    """

    near: Frame
    far: Frame
    between: tuple[Frame, ...] = ()
    far_offset: float = 0.0

    @property
    def frames(self) -> tuple[Frame, ...]:
        """All of them, from near to far."""
        return (self.near, *self.between, self.far)

    @property
    def skew(self) -> float:
        """Seconds from the near frame's exposure to the far one's."""
        return self.far.timestamp + self.far_offset - self.near.timestamp

    @property
    def arrived(self) -> float:
        """When the last of them arrived, in seconds of `time.monotonic`."""
        return max(frame.arrived for frame in self.frames)


@dataclass(frozen=True)
class FusedPair:
    """What leaves the pipeline.

    Args:
        pair: The frames it was made of.
        fused: A picture like the pair's.
        map: H x W float32 in [0, 1], the near frame's weight, where it was asked for and the network has one.
        number: Counts fused pairs from 0.
        started: When its fusion began, in seconds of `time.monotonic`.
        fuse_ms: What the fusion took.
        depth: H x W float32 in [0, 1], where the surface is in focus: 0 at the first setting, 1 at the last; where asked for.
        quality: How good it is; None where there was no time to judge it.
    """

    pair: Pair
    fused: Array
    map: Array | None
    number: int
    started: float
    fuse_ms: float = 0.0
    depth: Array | None = None
    quality: Quality | None = None


def fault_of(array: object) -> str:
    """Why ``array`` is no picture that can go through the pipeline; empty when it is one."""
    if not isinstance(array, np.ndarray):
        return f"no picture but {type(array).__name__}"
    if array.dtype not in _DTYPES:
        return f"{array.dtype} samples instead of uint8 or uint16"
    if array.size == 0 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        return f"the shape {array.shape} instead of H x W or H x W x 3"
    return ""


def fault_in(frame: object) -> str:
    """Why ``frame``, which somebody's source gave, cannot go through the pipeline; empty when it can."""
    if not isinstance(frame, Frame):
        return f"no frame but {type(frame).__name__}"
    for name, value in (("time", frame.timestamp), ("arrival", frame.arrived)):
        if not (isinstance(value, Real) and math.isfinite(value)):
            return f"the {name} {value!r}, which is no moment in seconds"
    if not isinstance(frame.index, Integral):
        return f"the number {frame.index!r}, which is no whole one"
    if not (frame.plane is None or isinstance(frame.plane, Integral)):
        return f"the focus setting {frame.plane!r}, which is no whole number"
    return fault_of(frame.array)


def size_of(array: Array) -> str:
    """Height x width, for messages."""
    return f"{array.shape[0]}x{array.shape[1]}"
