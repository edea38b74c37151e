"""Pictures of any kind as levels from 0 to 255, for the measures of stacks."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.benchmarks.metrics.white import OWN_WHITE, White
from ufafuse.runtime.arrays import Floats
from ufafuse.runtime.pictures.source import FrameSource


def white_of_stack(sources: Sequence[FrameSource]) -> White:
    """As the fusion finds it, in the first, the middle and the last frame."""
    chosen = sorted({0, len(sources) // 2, len(sources) - 1}) if sources[0].dtype != np.uint8 else [0]
    return White.of_frames([sources[index].read() for index in chosen])


def luma(picture: NDArray[Any], white: float | None = None) -> Floats:
    """H x W float32 in levels 0..255, not rounded.

    Args:
        picture: H x W [x 1, 3 or 4] (BGR), uint8, uint16 or float32.
        white: The level of white; None: the type's own.
    """
    scale = np.float32(255.0 / (white or OWN_WHITE[picture.dtype]))
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
