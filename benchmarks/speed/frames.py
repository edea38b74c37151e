"""The pair that every contender fuses: fixed pictures with coarse and fine structure, each sharp in one half."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_SEED = 20260
_BLUR_SHARE = 130


def pictures(height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Near and far, height x width x 3 BGR uint8; the same on every machine."""
    rng = np.random.default_rng(_SEED)
    picture = np.zeros((height, width, 3), np.float32)
    for cell in (1, 4, 16, 64):
        noise = rng.normal(size=(-(-height // cell), -(-width // cell), 3)).astype(np.float32)
        picture += np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)) * cell**0.5
    picture = np.clip(128 + 40 * picture / picture.std(), 0, 255)
    blurred = cv2.GaussianBlur(picture, (0, 0), max(1.0, min(height, width) / _BLUR_SHARE))
    left = (np.arange(width) < width // 2)[None, :, None]
    return np.where(left, picture, blurred).astype(np.uint8), np.where(left, blurred, picture).astype(np.uint8)


def batch(layout: str, height: int, width: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The pair as a contender takes it.

    Args:
        layout: ``"picture"`` (H x W x 3, BGR, uint8), ``"uint8"`` (1 x H x W x 3, BGR, uint8), ``"levels"`` (1 x 3 x H x W,
            RGB, uint8) or ``"float"`` (1 x 3 x H x W, RGB, float32 in [0, 1]).
        height, width: The size.
    """
    pair = pictures(height, width)
    if layout == "picture":
        return pair
    if layout == "uint8":
        return pair[0][None], pair[1][None]
    near, far = (np.ascontiguousarray(picture[None, ..., ::-1].transpose(0, 3, 1, 2)) for picture in pair)
    if layout == "levels":
        return near, far
    return near.astype(np.float32) / 255, far.astype(np.float32) / 255
