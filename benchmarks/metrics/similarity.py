"""Similarity to each source: Qc, which is what the paper's column Q^c holds although it cites Chen and Blum, and Qs and Qw."""

import numpy as np

from ufafuse.benchmarks.metrics.planes import Plane, filter_valid, gaussian
from ufafuse.benchmarks.metrics.truth import WINDOW, similarity_map

_TAPS = gaussian(7, 1.5)
_STABILISER = 2e-16
_GUARD = 1e-10
"""Not in the original, which divides 0 by 0 on most pictures; it is in the code that the published tables were made with."""

_FLAT = 1e-6
"""A variance, in squared levels, that is rounding noise."""


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


def weighted_similarity(near: Plane, far: Plane, fused: Plane) -> tuple[float, float]:
    """Qs and Qw: SSIM with each source, the one of more local variance counting more; -1..1, more is better.

    Planes are H x W in [0, 1], sides of 11 or more (NaN otherwise), of which SSIM is taken as of levels 0..255. Qs is the plain
    mean over all windows; in Qw a window counts by the larger of the sources' variances there, so that flat areas hardly do.
    Where both sources are flat they count alike.

    Returns:
        (Qs, Qw).

    Source: Piella and Heijmans, "A new quality metric for image fusion", ICIP 2003. As reference implementations do, with
    Wang's SSIM of 2004 (11 x 11 Gaussian window, two constants) in place of the index of 2002 that the paper has.
    """
    if min(fused.shape) < WINDOW:
        return float("nan"), float("nan")
    near, far, fused = (plane * 255 for plane in (near, far, fused))
    (like_near, variance_near), (like_far, variance_far) = (similarity_map(source, fused) for source in (near, far))
    flat = variance_near + variance_far < _FLAT
    variance_near, variance_far = (np.where(flat, 0.5, np.maximum(variance, 0)) for variance in (variance_near, variance_far))
    share = variance_near / (variance_near + variance_far)
    quality = share * like_near + (1 - share) * like_far
    weight = np.maximum(variance_near, variance_far)
    return float(np.mean(quality)), float(np.sum(weight * quality) / np.sum(weight))
