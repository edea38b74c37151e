"""PSNR and SSIM, where the all-in-focus picture is known."""

import numpy as np

from ufafuse.benchmarks.metrics.planes import Plane, filter_valid, gaussian
from ufafuse.runtime.arrays import Bytes
from ufafuse.runtime.checks.tolerances import psnr as psnr_of

WINDOW = 11
_TAPS = gaussian(WINDOW, 1.5)
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def psnr(truth: Bytes, fused: Bytes) -> float:
    """Peak signal to noise ratio in dB over all channels, peak 255; finite.

    Both H x W or H x W x 3, uint8. Equal pictures count as one level of error in one sample, so that a mean over pairs and a
    JSON file stay finite: 107 dB for 520 x 520 colour.
    """
    error = float(np.mean((truth.astype(np.float64) - fused) ** 2))
    return psnr_of(max(error, 1 / truth.size))


def ssim(truth: Bytes, fused: Bytes) -> float:
    """Structural similarity, -1..1: 11 x 11 Gaussian window of sigma 1.5, 'valid' part, mean over pixels and channels.

    Both H x W or H x W x 3, uint8, sides of 11 or more (NaN otherwise).

    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP 13(4), 2004.
    """
    if min(truth.shape[:2]) < WINDOW:
        return float("nan")
    planes = [truth.reshape(*truth.shape[:2], -1), fused.reshape(*fused.shape[:2], -1)]
    channels = zip(*(np.moveaxis(plane.astype(np.float64), 2, 0) for plane in planes), strict=True)
    return float(np.mean([np.mean(similarity_map(first, second)[0]) for first, second in channels]))


def similarity_map(first: Plane, second: Plane) -> tuple[Plane, Plane]:
    """SSIM of each whole window, and the variance of ``first`` in it: (H - 10) x (W - 10). Planes are H x W levels 0..255."""
    mean_first, mean_second = filter_valid(first, _TAPS), filter_valid(second, _TAPS)
    variance_first = filter_valid(first**2, _TAPS) - mean_first**2
    variance_second = filter_valid(second**2, _TAPS) - mean_second**2
    covariance = filter_valid(first * second, _TAPS) - mean_first * mean_second
    luminance = (2 * mean_first * mean_second + _C1) / (mean_first**2 + mean_second**2 + _C1)
    return luminance * (2 * covariance + _C2) / (variance_first + variance_second + _C2), variance_first
