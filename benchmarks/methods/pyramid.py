"""Fusion by the Laplacian pyramid."""

import cv2
import numpy as np

from ufafuse.benchmarks.methods.base import Method, by_channel, choose_larger, padded
from ufafuse.benchmarks.metrics.planes import Plane

LEVELS = 4
_WINDOW = 3


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


METHODS = (
    Method(
        "lap",
        "LAP",
        "Burt and Adelson, The Laplacian pyramid as a compact image code, IEEE Transactions on Communications 31(4), 1983",
        by_channel(fuse_laplacian),
        {"levels": LEVELS, "window": _WINDOW},
    ),
)
