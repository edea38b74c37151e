"""Pictures of any kind as luma in levels, for the measures of stacks."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_WHITE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}


def luma(picture: NDArray[Any]) -> Floats:
    """H x W float32 in levels 0..255, not rounded, of H x W [x 1, 3 or 4] (BGR) uint8, uint16 or float32 in [0, 1]."""
    scale = np.float32(255.0 / _WHITE[picture.dtype])
    plane = picture if picture.ndim == 2 else picture[..., 0] if picture.shape[2] < 3 else None
    if plane is not None:
        return np.multiply(plane, scale, dtype=np.float32)
    colour = np.ascontiguousarray(picture[..., :3])
    grey = np.asarray(cv2.cvtColor(colour.astype(np.float32), cv2.COLOR_BGR2GRAY), np.float32)
    return grey if scale == 1 else grey * scale


def alike(picture: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """``picture`` with three channels where ``other`` has colour, and grey where it has not."""
    if picture.ndim == other.ndim:
        return picture
    return (
        np.repeat(picture[..., None], 3, axis=2) if other.ndim == 3 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
    )
