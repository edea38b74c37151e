"""Where the fused frame can be trusted: places that neither frame shows sharply say nothing about which one to take."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.frames import FrameKind, to_grey
from ufafuse.runtime.memory.tiling import grid_of_step

_DETAIL_SIGMA = 2.0  # finer structure than this is detail
_AROUND = 15  # pixels: side of the neighbourhood that detail is looked for in
_HALO = 16  # reach of the two filters
_STRIP = 1024  # pixels: the frames are gone through in tiles, so that no full-size float copy is made
_OVER_NOISE = 3.0  # detail of this many times the noise is taken for detail with confidence 0.5
_LEAST_NOISE = 0.5 / 255
_SAMPLE = 1024  # pixels: side of the middle part that the noise is measured in
# Immerkaer, "Fast noise variance estimation", CVIU 1996: blind to edges and ramps; its response to noise has 6 times its sigma.
_NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_QUANTILE, _OF_NORMAL = 0.2, 0.2533  # the quietest fifth of the picture; that quantile of |N(0, 1)|


def confidence(near: Array, other: Array, kind: FrameKind) -> NDArray[np.float32]:
    """How clearly at least one frame shows detail, pixel by pixel.

    Args:
        near, other: As `frames.check_pair` passed them.
        kind: What they are.

    Returns:
        H x W float32 in [0, 1]: d^2 / (d^2 + (3 n)^2), where d is the larger RMS of fine structure of the two frames in a
        neighbourhood of 15 x 15 pixels and n the frames' noise. Low where both are blurred, and where there is nothing to see.
    """
    height, width = near.shape[:2]
    result = np.empty((height, width), np.float32)
    noise = max(_LEAST_NOISE, min(_noise(frame, kind) for frame in (near, other)))
    floor = np.float32((_OVER_NOISE * noise) ** 2)
    for tile in grid_of_step((height, width), _STRIP, halo=_HALO, stride=1):
        detail = np.maximum(*(_detail(frame[tile.window], kind) for frame in (near, other)))[tile.inner]
        result[tile.core] = detail / (detail + floor)
    return result


def _detail(window: Array, kind: FrameKind) -> NDArray[np.float32]:
    """Mean square of the fine structure round each pixel."""
    grey = to_grey(window, kind)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), _DETAIL_SIGMA, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.boxFilter(fine * fine, -1, (_AROUND, _AROUND), borderType=cv2.BORDER_REFLECT_101), np.float32)


def _noise(frame: Array, kind: FrameKind) -> float:
    """Standard deviation of the noise, of white = 1."""
    top, left = (max(0, (side - _SAMPLE) // 2) for side in frame.shape[:2])
    response = cv2.filter2D(to_grey(frame[top : top + _SAMPLE, left : left + _SAMPLE], kind), -1, _NOISE_KERNEL)
    return float(np.quantile(np.abs(response), _QUANTILE)) / (6 * _OF_NORMAL)
