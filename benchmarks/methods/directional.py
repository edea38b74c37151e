"""Fusion in directional transforms: curvelets (on the package ``curvelets``) and nonsubsampled contourlets."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from ufafuse.benchmarks.methods.base import Method, by_channel, choose_larger, padded
from ufafuse.benchmarks.metrics.planes import Plane
from ufafuse.runtime.errors import BackendError

if TYPE_CHECKING:
    from curvelets.numpy import UDCT

_SCALES = 5
_WEDGES = 3
_CURVELET_MULTIPLE = 64  # sides on which the transform of these scales and wedges inverts to rounding error
_DIRECTIONS = (4, 4, 8, 8)  # coarse to fine
_SPLINE = np.array([1, 4, 6, 4, 1]) / 16


@lru_cache(maxsize=4)
def _curvelets(shape: tuple[int, int]) -> "UDCT":
    try:
        from curvelets.numpy import UDCT
    except ImportError as error:
        raise BackendError("the method cvt needs the package `curvelets`: pip install 'ufafuse[bench]'.") from error
    return UDCT(shape=shape, num_scales=_SCALES, wedges_per_direction=_WEDGES)


def fuse_curvelet(near: Plane, far: Plane) -> Plane:
    """The curvelet coefficient of larger magnitude at every scale and wedge; the coarsest averaged. Planes H x W."""
    first, second = (padded(plane, _CURVELET_MULTIPLE) for plane in (near, far))
    transform = _curvelets(first.shape)
    bands_near: Any = transform.forward(first)  # by scale, direction and wedge
    bands_far: Any = transform.forward(second)
    fused = [[[(bands_near[0][0][0] + bands_far[0][0][0]) / 2]]]
    for directions in zip(bands_near[1:], bands_far[1:], strict=True):
        fused += [[[choose_larger(*pair) for pair in zip(*wedges, strict=True)] for wedges in zip(*directions, strict=True)]]
    picture: NDArray[Any] = np.real(transform.backward(fused))
    return picture[: near.shape[0], : near.shape[1]]


def fuse_contourlet(near: Plane, far: Plane) -> Plane:
    """Directional bands by larger local energy; the low pass from the frame with the larger directional norm. Planes H x W."""
    (low_near, first), (low_far, second) = contourlets(near), contourlets(far)
    fused = np.zeros_like(near)
    for bands_near, bands_far in zip(first, second, strict=True):
        for band_near, band_far in zip(bands_near, bands_far, strict=True):
            stronger = _energy(band_near) >= _energy(band_far)
            fused += np.where(stronger, band_near, band_far)
    norm_near, norm_far = (sum(_energy(band) for bands in levels for band in bands) for levels in (first, second))
    return fused + np.where(norm_near >= norm_far, low_near, low_far)


def _energy(band: Plane) -> Plane:
    return ndimage.uniform_filter(band**2, size=3, mode="nearest")


def contourlets(plane: Plane) -> tuple[Plane, list[list[Plane]]]:
    """Low pass and directional bands, finest level first, all of the plane's own size; their sum is the plane.

    The nonsubsampled pyramid is an undecimated spline pyramid; the nonsubsampled directional filter bank is cut in the
    frequency domain into smooth wedges that add up to one.
    """
    shape = plane.shape
    levels = []
    low = plane
    for level, count in enumerate(reversed(_DIRECTIONS)):
        taps = np.zeros(4 * 2**level + 1)
        taps[:: 2**level] = _SPLINE
        smoother = ndimage.correlate1d(ndimage.correlate1d(low, taps, axis=0), taps, axis=1)
        spectrum: Any = fft.rfft2(low - smoother)
        levels.append([fft.irfft2(spectrum * wedge, s=shape) for wedge in _wedges(shape, count)])
        low = smoother
    return low, levels


@lru_cache(maxsize=8)
def _wedges(shape: tuple[int, int], count: int) -> list[NDArray[np.float64]]:
    """Smooth angular windows on the half plane of `scipy.fft.rfft2`, ``count`` of them, summing to one everywhere."""
    angle = np.arctan2(fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None, :])
    step = np.pi / count
    windows = []
    for index in range(count):
        distance = np.abs((angle - index * step + np.pi / 2) % np.pi - np.pi / 2) / step
        windows.append(np.cos(np.pi / 2 * np.clip(distance, 0, 1)) ** 2)
    return windows


METHODS = (
    Method(
        "cvt",
        "CVT",
        "Nencini, Garzelli, Baronti and Alparone, Remote sensing image fusion using the curvelet transform, Information Fusion "
        "8(2), 2007; transform: Nguyen and Chauris, Uniform discrete curvelet transform, IEEE TSP 58(7), 2010",
        by_channel(fuse_curvelet),
        {"scales": _SCALES, "wedges per direction": _WEDGES},
        note="the cited paper sharpens satellite images; between two focus settings the larger coefficient is taken",
    ),
    Method(
        "nsct",
        "NSCT",
        "Zhang and Guo, Multifocus image fusion using the nonsubsampled contourlet transform, Signal Processing 89(7), 2009",
        by_channel(fuse_contourlet),
        {"directions, coarse to fine": list(_DIRECTIONS)},
        note="no kept library has the transform's own filters: a spline pyramid and smooth frequency wedges stand in for them; "
        "bands are chosen by 3 x 3 energy",
    ),
)
