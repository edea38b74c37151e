"""Qc: Cvejic's measure, which is what the paper's column Q^c holds although it cites Chen and Blum."""

import numpy as np

from ufafuse.benchmarks.metrics.planes import Plane, filter_valid, gaussian

_TAPS = gaussian(7, 1.5)
_STABILISER = 2e-16
_GUARD = 1e-10
"""Not in the original, which divides 0 by 0 on most pictures; it is in the code that the published tables were made with."""


def structural_transfer(near: Plane, far: Plane, fused: Plane) -> float:
    """Qc: local similarity of the fused picture to each source, weighted by the covariance with it; about 0..1, more is better.

    Planes are H x W in [0, 1], sides of 7 or more (NaN otherwise). Ill-conditioned: in flat areas the sign of a covariance is
    rounding noise, so two correct implementations differ by up to 4e-3 on a picture and 6e-4 in the mean of twenty.

    Source: Cvejic, Loza, Bull and Canagarajah, "A similarity metric for assessment of image fusion algorithms", International
    Journal of Signal Processing 2(3), 2005.
    """
    if min(fused.shape) < len(_TAPS):
        return float("nan")
    mean_fused = filter_valid(fused, _TAPS)
    variance_fused = filter_valid(fused * fused, _TAPS) - mean_fused**2
    (quality_near, covariance_near), (quality_far, covariance_far) = (
        _similarity(source, fused, mean_fused, variance_fused) for source in (near, far)
    )
    share = covariance_near / (covariance_near + covariance_far + _GUARD)
    quality = share * quality_near + (1 - share) * quality_far
    quality[share < 0] = 0  # the quality is set here, not the share: as the original does
    quality[share > 1] = 1
    return float(np.mean(quality))


def _similarity(source: Plane, fused: Plane, mean_fused: Plane, variance_fused: Plane) -> tuple[Plane, Plane]:
    mean = filter_valid(source, _TAPS)
    variance = filter_valid(source * source, _TAPS) - mean**2
    covariance = filter_valid(source * fused, _TAPS) - mean * mean_fused
    above = (2 * mean * mean_fused + _STABILISER) * (2 * covariance + _STABILISER)
    below = (mean**2 + mean_fused**2 + _STABILISER) * (variance + variance_fused + _STABILISER)
    return above / (below + _GUARD), covariance
