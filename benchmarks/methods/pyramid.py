"""Fusion by pyramids: the Laplacian, and the morphological one."""

import cv2
import numpy as np
from scipy import ndimage

from ufafuse.benchmarks.methods.base import Method, by_channel, choose_larger, padded
from ufafuse.benchmarks.metrics.planes import Plane

LEVELS = 4
_WINDOW = 3
_MORPHOLOGICAL_LEVELS, _ELEMENT = 3, 3


def fuse_laplacian(near: Plane, far: Plane) -> Plane:
    """Band passes of larger activity in a 3 x 3 window; the top averaged. Planes H x W."""
    size = near.shape
    (details_near, top_near), (details_far, top_far) = (_laplacian(padded(plane, 2**LEVELS)) for plane in (near, far))
    fused: Plane = (top_near + top_far) / 2
    for first, second in reversed(list(zip(details_near, details_far, strict=True))):
        fused = _doubled(fused) + choose_larger(first, second, window=_WINDOW)
    return fused[: size[0], : size[1]]


def _laplacian(plane: Plane) -> tuple[list[Plane], Plane]:
    details = []
    for _ in range(LEVELS):
        smaller = np.asarray(cv2.pyrDown(plane), np.float64)
        details.append(plane - _doubled(smaller))
        plane = smaller
    return details, plane


def _doubled(plane: Plane) -> Plane:
    return np.asarray(cv2.pyrUp(plane), np.float64)


def fuse_morphological(near: Plane, far: Plane) -> Plane:
    """Details left by openings and closings: the larger one, activity in a 3 x 3 window; the top averaged. Planes H x W."""
    size = near.shape
    (details_near, top_near), (details_far, top_far) = (
        _morphological(padded(plane, 2**_MORPHOLOGICAL_LEVELS)) for plane in (near, far)
    )
    fused: Plane = (top_near + top_far) / 2
    for first, second in reversed(list(zip(details_near, details_far, strict=True))):
        fused = _dilated(fused) + choose_larger(first, second, window=_WINDOW)
    return fused[: size[0], : size[1]]


def _morphological(plane: Plane) -> tuple[list[Plane], Plane]:
    details = []
    for _ in range(_MORPHOLOGICAL_LEVELS):
        opened = ndimage.grey_opening(plane, _ELEMENT, mode="nearest")
        smaller = np.asarray(ndimage.grey_closing(opened, _ELEMENT, mode="nearest"))[::2, ::2]
        details.append(plane - _dilated(smaller))
        plane = smaller
    return details, plane


def _dilated(plane: Plane) -> Plane:
    """Twice the size: each sample at every second place, and the largest of a place's neighbours in between."""
    larger = np.full((2 * plane.shape[0], 2 * plane.shape[1]), -np.inf)
    larger[::2, ::2] = plane
    return np.asarray(ndimage.grey_dilation(larger, _ELEMENT, mode="nearest"))


METHODS = (
    Method(
        "lap",
        "LAP",
        "Burt and Adelson, The Laplacian pyramid as a compact image code, IEEE Transactions on Communications 31(4), 1983",
        by_channel(fuse_laplacian),
        {"levels": LEVELS, "window": _WINDOW},
    ),
    Method(
        "mp",
        "MP",
        "Toet, A morphological pyramidal image decomposition, Pattern Recognition Letters 9(4), 1989",
        by_channel(fuse_morphological),
        {"levels": _MORPHOLOGICAL_LEVELS, "window": _WINDOW, "element": _ELEMENT},
        note="the MP of the paper's Table I is its reference 10, this pyramid; that paper decomposes one picture, and what is "
        "chosen of two, and the mean at the top, are as in LAP",
    ),
)
