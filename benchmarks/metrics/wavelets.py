"""Qm: Wang and Liu's multi-scale edge measure."""

import numpy as np

from ufafuse.benchmarks.metrics.planes import Plane

_LEVEL_EXPONENTS = (2 / 3, 1 / 3)
_MULTIPLE = 2 ** len(_LEVEL_EXPONENTS)


def multiscale_edges(near: Plane, far: Plane, fused: Plane) -> float:
    """Qm: wavelet details kept from each source, weighted by their energy, over two Haar levels; 0..3 (not 1), more is better.

    Planes are H x W in [0, 1] (the measure depends on the scale). Sides that are not multiples of four are cropped at the
    bottom and the right; NaN where less than 4 x 4 is left, or where no source has any detail.

    Source: Wang and Liu, "A novel image fusion metric based on multi-scale analysis", ICSP 2008 (``metricPWW``).
    """
    height, width = (side - side % _MULTIPLE for side in fused.shape)
    planes = [plane[:height, :width] for plane in (near, far, fused)]
    product = 1.0
    for exponent in _LEVEL_EXPONENTS:
        bands = [_haar(plane) for plane in planes]
        product *= _level_quality(*(details for _, details in bands)) ** exponent
        planes = [low for low, _ in bands]
    return product


def _haar(plane: Plane) -> tuple[Plane, Plane]:
    """One orthonormal Haar step on 2 x 2 blocks: (low pass H/2 x W/2, three detail bands 3 x H/2 x W/2)."""
    top, bottom = plane[::2], plane[1::2]
    low, high = (top + bottom) / np.sqrt(2), (bottom - top) / np.sqrt(2)

    def along_columns(half: Plane) -> tuple[Plane, Plane]:
        left, right = half[:, ::2], half[:, 1::2]
        return (left + right) / np.sqrt(2), (right - left) / np.sqrt(2)

    low_low, low_high = along_columns(low)
    return low_low, np.stack([low_high, *along_columns(high)])


def _level_quality(near: Plane, far: Plane, fused: Plane) -> float:
    """Each 3 x h x w: the details of one level."""
    kept = weight = 0.0
    for source in (near, far):
        energy = np.sum(source**2, axis=0)
        kept += float(np.sum(np.sum(np.exp(-np.abs(source - fused)), axis=0) * energy))
        weight += float(np.sum(energy))
    return kept / weight if weight > 0 else float("nan")
