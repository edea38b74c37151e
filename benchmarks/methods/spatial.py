"""Fusion that decides in the picture itself: plain averaging, spatial frequency of blocks, guided filtering, dense SIFT."""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ufafuse.benchmarks.methods.base import Channels, Method, by_weight, grey_levels, majority, without_small_regions
from ufafuse.benchmarks.metrics.planes import Plane, gaussian
from ufafuse.network.rivals.maps import guided_filter

_BLOCK, _THRESHOLD = 32, 1.75
_BASE_WINDOW, _SALIENCY_SIGMA, _SALIENCY_WINDOW = 31, 5.0, 11
_BASE_GUIDE, _DETAIL_GUIDE = (45, 0.3), (7, 1e-6)
_SIFT_SCALE, _SIFT_BLOCK, _SIFT_BINS = 48, 8, 4
_SMALL_REGION = 0.01


def weight_half(near: Plane, far: Plane) -> Plane:  # noqa: ARG001 - one half, whatever the frames hold
    """One half everywhere: the mean of the two frames, which every method has to beat. Planes H x W."""
    return np.full(near.shape, 0.5)


def weight_spatial_frequency(near: Plane, far: Plane) -> Plane:
    """Weight of the near frame: block by block the larger spatial frequency, one half where they are close. Planes H x W."""
    difference = _block_frequency(near) - _block_frequency(far)
    choice = np.where(difference > _THRESHOLD, 1.0, np.where(difference < -_THRESHOLD, 0.0, 0.5))
    # The vote turns a block that disagrees with its neighbours round; blocks without a winner stay as they are.
    share = ndimage.uniform_filter(choice, size=3, mode="nearest")
    choice = np.where(choice == 0.5, 0.5, (share > 0.5).astype(np.float64))
    full = choice.repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1)
    return full[: near.shape[0], : near.shape[1]]


def _block_frequency(plane: Plane) -> Plane:
    down, across = np.zeros_like(plane), np.zeros_like(plane)
    down[1:] = np.diff(plane, axis=0) ** 2
    across[:, 1:] = np.diff(plane, axis=1) ** 2
    energy = down + across
    height, width = (-(-side // _BLOCK) for side in plane.shape)
    labels = np.arange(plane.shape[0])[:, None] // _BLOCK * width + np.arange(plane.shape[1]) // _BLOCK
    return np.sqrt(ndimage.mean(energy, labels, np.arange(height * width))).reshape(height, width)


def fuse_guided(near: Channels, far: Channels) -> Channels:
    """Base and detail layers, each weighted by a guided filter of the saliency's winner."""
    greys = [grey_levels(channels) / 255 for channels in (near, far)]
    saliency = [_saliency(plane) for plane in greys]
    winner = (saliency[0] >= saliency[1]).astype(np.float64)
    base_weight, detail_weight = (
        _normalised(guided_filter(greys[0], winner, *guide), guided_filter(greys[1], 1 - winner, *guide))
        for guide in (_BASE_GUIDE, _DETAIL_GUIDE)
    )
    bases = [_box(channels, _BASE_WINDOW) for channels in (near, far)]
    details = [channels - base for channels, base in zip((near, far), bases, strict=True)]
    return base_weight * bases[0] + (1 - base_weight) * bases[1] + detail_weight * details[0] + (1 - detail_weight) * details[1]


def _saliency(plane: Plane) -> Plane:
    taps = gaussian(_SALIENCY_WINDOW, _SALIENCY_SIGMA)
    return _separable(np.abs(ndimage.laplace(plane)), taps)


def _separable(plane: Plane, taps: NDArray[np.float64]) -> Plane:
    return ndimage.correlate1d(ndimage.correlate1d(plane, taps, axis=0), taps, axis=1)


def _normalised(first: Plane, second: Plane) -> Channels:
    first, second = np.clip(first, 0, 1), np.clip(second, 0, 1)
    return ((first + 1e-12) / (first + second + 2e-12))[..., None]


def _box(planes: Channels, side: int) -> Channels:
    blurred = cv2.blur(np.ascontiguousarray(planes), (side, side), borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.float64).reshape(planes.shape)


def weight_dense_sift(near: Plane, far: Plane) -> Plane:
    """Weight of the near frame from unnormalised dense SIFT activity: block votes, small regions removed, doubt resolved by
    spatial frequency. Planes H x W.
    """
    activity_near, activity_far = (_sift_activity(plane) for plane in (near, far))
    # A block votes as a whole for each of its pixels; counting the votes of all blocks that cover a pixel is two box sums.
    block_wins = _box(activity_near - activity_far, _SIFT_BLOCK) > 0
    share = _box(block_wins.astype(np.float64), _SIFT_BLOCK)
    smallest = _SMALL_REGION * near.size
    sure_near = without_small_regions(share > 1 - 1e-9, smallest)
    sure_far = without_small_regions(share < 1e-9, smallest)
    sharper = _frequency(near) >= _frequency(far)
    decided = np.where(sure_near & ~sure_far, 1.0, np.where(sure_far & ~sure_near, 0.0, sharper.astype(np.float64)))
    return majority(decided > 0.5, _SIFT_BLOCK + 1).astype(np.float64)


def _sift_activity(plane: Plane) -> Plane:
    """L1 norm of the unnormalised SIFT descriptor at every pixel.

    Its orientation bins share out each gradient, so that the norm is the gradient's strength under the sum of the spatial
    bins' triangular windows: a separable filter.
    """
    strength = np.hypot(ndimage.sobel(plane, axis=0), ndimage.sobel(plane, axis=1)) / 8
    return _separable(strength, _sift_window())


def _sift_window() -> NDArray[np.float64]:
    bin_side = _SIFT_SCALE // _SIFT_BINS
    triangle = 1 - np.abs(np.arange(1 - bin_side, bin_side)) / bin_side
    window = np.zeros((_SIFT_BINS - 1) * bin_side + len(triangle))
    for index in range(_SIFT_BINS):
        window[index * bin_side : index * bin_side + len(triangle)] += triangle
    return window / window.sum()


def _frequency(plane: Plane) -> Plane:
    down = np.diff(plane, axis=0, prepend=plane[:1])
    across = np.diff(plane, axis=1, prepend=plane[:, :1])
    return _box(down**2 + across**2, _SIFT_BLOCK)


METHODS = (
    Method("average", "AVERAGE", "none: the mean of the two frames, the floor of every comparison", by_weight(weight_half)),
    Method(
        "sf",
        "SF",
        "Li, Kwok and Wang, Combination of images with diverse focuses using the spatial frequency, Information Fusion 2(3), "
        "2001",
        by_weight(weight_spatial_frequency),
        {"block": _BLOCK, "threshold": _THRESHOLD, "vote": 3},
    ),
    Method(
        "gff",
        "GFF",
        "Li, Kang and Hu, Image fusion with guided filtering, IEEE Transactions on Image Processing 22(7), 2013",
        fuse_guided,
        {
            "base window": _BASE_WINDOW,
            "saliency": {"window": _SALIENCY_WINDOW, "sigma": _SALIENCY_SIGMA},
            "base guide": {"radius": _BASE_GUIDE[0], "epsilon": _BASE_GUIDE[1]},
            "detail guide": {"radius": _DETAIL_GUIDE[0], "epsilon": _DETAIL_GUIDE[1]},
        },
    ),
    Method(
        "dsift",
        "DSIFT",
        "Liu, Liu and Wang, Multi-focus image fusion with dense SIFT, Information Fusion 23, 2015",
        by_weight(weight_dense_sift),
        {"scale": _SIFT_SCALE, "block": _SIFT_BLOCK, "smallest region": _SMALL_REGION},
        note="the search for shifted matches between unregistered frames is left out: pairs are registered here",
    ),
)
