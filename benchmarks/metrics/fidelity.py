"""VIFF: how much of the sources' visual information the fused picture carries."""

import numpy as np
from numpy.typing import NDArray

from ufafuse.benchmarks.metrics.planes import Plane, filter_valid, gaussian

_WINDOWS = (17, 9, 5, 3)
_SCALE_WEIGHTS = (1.0, 0.0, 0.15, 1.0)
_NOISE = 0.005 * 255**2  # of levels 0..255, and yet used on planes in [0, 1]: a quirk of the code behind the tables, kept
_TINY = 1e-10
_FLOOR = 1e-7  # not negligible: on [0, 1] the sums per pixel are of order 1e-5

SMALLEST_SIDE = 41
"""Below this the fourth scale has no pixel left: windows of 9, 5 and 3 taps, each before a halving, and one more of 3."""


def visual_fidelity(near: Plane, far: Plane, fused: Plane) -> float:
    """VIFF: visual information of the better source in each place, over four scales; about 0..1, more is better.

    Planes are H x W in [0, 1]. NaN where a side is too short for four scales.

    Source: Han et al., "A new image fusion performance metric based on visual information fidelity", Information Fusion
    14(2), 2013.
    """
    if min(fused.shape) < SMALLEST_SIDE:
        return float("nan")
    total = 0.0
    for number, (size, weight) in enumerate(zip(_WINDOWS, _SCALE_WEIGHTS, strict=True)):
        taps = gaussian(size, size / 5)
        if number:
            near, far, fused = (filter_valid(plane, taps)[::2, ::2] for plane in (near, far, fused))
        if weight:
            total += weight * _scale_ratio(near, far, fused, taps)
    return total / sum(_SCALE_WEIGHTS)


def _scale_ratio(near: Plane, far: Plane, fused: Plane, taps: NDArray[np.float64]) -> float:
    mean_fused = filter_valid(fused, taps)
    variance_fused = np.maximum(filter_valid(fused * fused, taps) - mean_fused**2, 0)
    parts = [_information(source, fused, mean_fused, variance_fused, taps) for source in (near, far)]
    (gain_near, kept_near, held_near), (gain_far, kept_far, held_far) = parts
    from_near = gain_near < gain_far
    kept = np.where(from_near, kept_near, kept_far)
    held = np.where(from_near, held_near, held_far)
    return float(np.sum(kept + _FLOOR) / np.sum(held + _FLOOR))


def _information(
    source: Plane, fused: Plane, mean_fused: Plane, variance_fused: Plane, taps: NDArray[np.float64]
) -> tuple[Plane, Plane, Plane]:
    """(gain, information kept, information held) per window. The order of the corrections is the original's, and matters."""
    mean = filter_valid(source, taps)
    variance = np.maximum(filter_valid(source * source, taps) - mean**2, 0)
    covariance = filter_valid(source * fused, taps) - mean * mean_fused
    gain = covariance / (variance + _TINY)
    distortion = variance_fused - gain * covariance

    flat = variance < _TINY
    gain[flat] = 0
    distortion[flat] = variance_fused[flat]
    variance[flat] = 0
    flat_fused = variance_fused < _TINY
    gain[flat_fused] = 0
    distortion[flat_fused] = 0
    opposed = gain < 0
    distortion[opposed] = variance_fused[opposed]
    gain[opposed] = 0
    distortion = np.maximum(distortion, _TINY)

    kept = np.log10(1 + gain**2 * variance / (distortion + _NOISE))
    held = np.log10(1 + variance / _NOISE)
    return gain, kept, held
