"""Qcb: Chen and Blum's measure, which is what the paper cites for its column Q^c."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from ufafuse.benchmarks.metrics.planes import Plane, stretched

_NARROW, _WIDE = 2.0, 4.0
_REACH = 15
_CYCLES_PER_DEGREE = 30.0


def contrast_preservation(near: Plane, far: Plane, fused: Plane) -> float:
    """Qcb: local contrast, filtered as the eye does, kept from each source; 0..1, more is better.

    Planes are H x W on any scale (each is stretched to 0..255 first). Pixels where neither source has any contrast are left
    out; NaN where there is no other pixel.

    Source: Chen and Blum, "A new automated quality assessment algorithm for image fusion", Image and Vision Computing 27(10),
    2009.
    """
    sensitivity = _sensitivity(*fused.shape)
    contrast_near, contrast_far, contrast_fused = (_masked(plane, sensitivity) for plane in (near, far, fused))
    energy = contrast_near**2 + contrast_far**2
    with np.errstate(divide="ignore", invalid="ignore"):
        near_part = contrast_near**2 / energy * _preserved(contrast_near, contrast_fused)
        far_part = contrast_far**2 / energy * _preserved(contrast_far, contrast_fused)
    quality = (near_part + far_part)[energy > 0]
    return float(np.mean(quality)) if quality.size else float("nan")


def _sensitivity(height: int, width: int) -> NDArray[np.float64]:
    """The eye's contrast sensitivity (difference of two Gaussians) for `scipy.fft.rfft2`'s half plane."""
    down = height / _CYCLES_PER_DEGREE * 2 * fft.fftfreq(height)[:, None]
    across = width / _CYCLES_PER_DEGREE * 2 * fft.rfftfreq(width)[None, :]
    radius = np.hypot(down, across)
    return np.exp(-((radius / 15.3870) ** 2)) - 0.7622 * np.exp(-((radius / 1.3456) ** 2))


def _masked(plane: Plane, sensitivity: NDArray[np.float64]) -> Plane:
    spectrum: Any = fft.rfft2(stretched(plane))
    seen = np.asarray(fft.irfft2(spectrum * sensitivity, s=plane.shape))
    with np.errstate(divide="ignore", invalid="ignore"):
        contrast = np.abs(_blurred(seen, _NARROW) / _blurred(seen, _WIDE) - 1)
    contrast[~np.isfinite(contrast)] = 0  # a picture without any level but one
    return contrast**3 / (contrast**2 + 0.0001)


def _blurred(plane: Plane, sigma: float) -> Plane:
    """A 31 x 31 Gaussian, not normalised to its cut-off sum, over zeros outside the picture."""
    offsets = np.arange(-_REACH, _REACH + 1)
    taps = np.exp(-(offsets**2) / (2 * sigma**2)) / (np.sqrt(2 * np.pi) * sigma)
    rows = ndimage.correlate1d(plane, taps, axis=0, mode="constant")
    return ndimage.correlate1d(rows, taps, axis=1, mode="constant")


def _preserved(source: Plane, fused: Plane) -> Plane:
    # 0 over 0 means that neither has contrast here: nothing is lost, and its weight is zero anyhow.
    return np.where(source < fused, source / fused, np.where(source > 0, fused / source, 0.0))
