"""Pictures of any kind as levels from 0 to 255, for the measures of stacks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.benchmarks.metrics.planes import as_levels
from ufafuse.runtime.arrays import Bytes, Floats
from ufafuse.runtime.levels import levels_from, peak_of
from ufafuse.runtime.pictures.source import FrameSource

_WHITE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}


@dataclass(frozen=True)
class White:
    """The level of white of a stack's frames, which pictures of the same type share: 12 bits in 16, floats beyond 1.

    Args:
        dtype: The frames'.
        level: Theirs of white.
    """

    dtype: np.dtype[Any]
    level: float

    @classmethod
    def found(cls, sources: Sequence[FrameSource]) -> "White":
        """As the fusion finds it, in the first, the middle and the last frame."""
        dtype = sources[0].dtype
        if dtype == np.uint8:
            return cls(dtype, 255.0)
        chosen = sorted({0, len(sources) // 2, len(sources) - 1})
        first, *others = (peak_of(sources[index].read()) for index in chosen)
        for other in others:
            first = first.joined(other)
        return cls(dtype, levels_from(first, dtype).white)

    def of(self, picture: NDArray[Any]) -> float:
        """A picture's level of white."""
        return self.level if picture.dtype == self.dtype else _WHITE[picture.dtype]

    def luma(self, picture: NDArray[Any]) -> Floats:
        """As `luma`."""
        return luma(picture, self.of(picture))

    def bytes(self, picture: NDArray[Any]) -> Bytes:
        """H x W (grey) or H x W x 3 uint8, rounded."""
        white = self.of(picture)
        if white == _WHITE[picture.dtype]:
            return as_levels(picture)
        return as_levels(np.clip(picture.astype(np.float32) / np.float32(white), 0, 1))


def luma(picture: NDArray[Any], white: float | None = None) -> Floats:
    """H x W float32 in levels 0..255, not rounded.

    Args:
        picture: H x W [x 1, 3 or 4] (BGR), uint8, uint16 or float32.
        white: The level of white; None: the type's own.
    """
    scale = np.float32(255.0 / (white or _WHITE[picture.dtype]))
    plane = picture if picture.ndim == 2 else picture[..., 0] if picture.shape[2] < 3 else None
    if plane is not None:
        return np.multiply(plane, scale, dtype=np.float32)
    colour = np.ascontiguousarray(picture[..., :3])
    grey = np.asarray(cv2.cvtColor(colour.astype(np.float32), cv2.COLOR_BGR2GRAY), np.float32)
    return grey if scale == 1 else grey * scale


def alike(picture: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """``picture`` with three channels where ``other`` has colour, and grey where it does not."""
    if picture.ndim == other.ndim:
        return picture
    return (
        np.repeat(picture[..., None], 3, axis=2) if other.ndim == 3 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
    )
