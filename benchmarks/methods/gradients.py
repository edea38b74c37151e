"""Fusion of gradients weighted at two scales, and the picture that has them."""

from typing import Any

import numpy as np
from scipy import fft, ndimage

from ufafuse.benchmarks.methods.base import Channels, Method, grey_levels, without_small_regions
from ufafuse.benchmarks.metrics.planes import Plane
from ufafuse.runtime.arrays import Mask

_LARGE, _SMALL = 5.0, 1.0
_SMALL_REGION = 0.01
_ANCHOR = 1e-3


def fuse_weighted_gradients(near: Channels, far: Channels) -> Channels:
    """Gradients of the frame with the larger structure saliency: at a large scale, and at a small one near borders."""
    greys = [grey_levels(channels) for channels in (near, far)]
    large_near, large_far = (structure_saliency(plane, _LARGE) for plane in greys)
    from_near = without_small_regions(large_near > large_far, _SMALL_REGION * large_near.size)
    small_near, small_far = (structure_saliency(plane, _SMALL) for plane in greys)
    local = small_near / np.maximum(small_near + small_far, 1e-12)
    weight = np.where(_near_border(from_near), local, from_near.astype(np.float64))
    fused = [_with_gradients(near[..., at], far[..., at], weight) for at in range(near.shape[2])]
    return np.stack(fused, axis=-1)


def structure_saliency(plane: Plane, sigma: float) -> Plane:
    """Strength of the local structure: sqrt((l1 + l2)^2 + 0.5 (l1 - l2)^2) of the gradient covariance's eigenvalues.

    Args:
        plane: H x W levels.
        sigma: Of the Gaussian window in which the covariance is taken, in pixels.
    """
    down, across = np.gradient(plane)
    dd, aa, da = (ndimage.gaussian_filter(product, sigma) for product in (down * down, across * across, down * across))
    trace, difference_squared = dd + aa, (dd - aa) ** 2 + 4 * da**2
    return np.sqrt(trace**2 + 0.5 * difference_squared)


def _near_border(mask: Mask) -> Mask:
    radius = int(2 * _LARGE)
    return ndimage.maximum_filter(mask, 2 * radius + 1) != ndimage.minimum_filter(mask, 2 * radius + 1)


def _with_gradients(near: Plane, far: Plane, weight: Plane) -> Plane:
    """The plane whose gradients are nearest to the weighted ones, loosely held to the weighted levels.

    A Poisson equation with free borders, solved exactly by a cosine transform.
    """

    def blend(first: Plane, second: Plane, share: Plane) -> Plane:
        return share * first + (1 - share) * second

    mean_down, mean_across = (weight[1:] + weight[:-1]) / 2, (weight[:, 1:] + weight[:, :-1]) / 2
    down = blend(np.diff(near, axis=0), np.diff(far, axis=0), mean_down)
    across = blend(np.diff(near, axis=1), np.diff(far, axis=1), mean_across)
    divergence = np.diff(np.pad(down, ((1, 1), (0, 0))), axis=0) + np.diff(np.pad(across, ((0, 0), (1, 1))), axis=1)
    right = _ANCHOR * blend(near, far, weight) - divergence
    rows, columns = (2 - 2 * np.cos(np.pi * np.arange(side) / side) for side in near.shape)
    spectrum: Any = fft.dctn(right)
    return np.asarray(fft.idctn(spectrum / (rows[:, None] + columns[None] + _ANCHOR)))


METHODS = (
    Method(
        "mwgf",
        "MWGF",
        "Zhou, Li and Wang, Multi-scale weighted gradient-based fusion for multi-focus images, Information Fusion 20, 2014",
        fuse_weighted_gradients,
        {"large scale": _LARGE, "small scale": _SMALL, "smallest region": _SMALL_REGION, "anchor": _ANCHOR},
        note="a cosine-transform Poisson solver, loosely held to the chosen levels, finds the picture from its gradients",
    ),
)
