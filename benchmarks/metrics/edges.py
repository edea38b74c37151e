"""Qabf: how much of the sources' edges the fused picture keeps."""

import numpy as np
from scipy import ndimage

from ufafuse.benchmarks.metrics.planes import Plane

_STRENGTH = (0.9994, 15.0, 0.5)  # the paper's Gamma, kappa (its sign turned) and sigma, for the edge's strength
_ANGLE = (0.9879, 22.0, 0.8)  # ... and for its orientation
_SMOOTH, _STEP = np.array([1.0, 2.0, 1.0]), np.array([-1.0, 0.0, 1.0])


def edge_transfer(near: Plane, far: Plane, fused: Plane) -> float:
    """Qabf: edge strength and orientation handed on from both sources, weighted by the sources' strength; 0..1, more is better.

    Where two gradients are equal the ratio is the gradient itself and not 1, as in the code that the published tables were
    made with; so the measure depends on the scale of the levels: planes are H x W in 0..255. NaN where no source has an edge.

    Source: Xydeas and Petrovic, "Objective image fusion performance measure", Electronics Letters 36(4), 2000.
    """
    strength_near, angle_near = _sobel(near)
    strength_far, angle_far = _sobel(far)
    strength_fused, angle_fused = _sobel(fused)
    kept_near = _kept(strength_near, angle_near, strength_fused, angle_fused)
    kept_far = _kept(strength_far, angle_far, strength_fused, angle_fused)
    total = np.sum(strength_near + strength_far)
    if total == 0:
        return float("nan")
    return float(np.sum(kept_near * strength_near + kept_far * strength_far) / total)


def _sobel(plane: Plane) -> tuple[Plane, Plane]:
    """Gradient strength, and orientation in (-pi/2, pi/2], +pi/2 where the horizontal part is exactly zero."""

    def derivative(axis: int) -> Plane:
        step = ndimage.correlate1d(plane, _STEP, axis=axis, mode="constant")
        return ndimage.correlate1d(step, _SMOOTH, axis=1 - axis, mode="constant")

    # Correlation with these signs is the convolution of the original code up to a common sign, which cancels in the ratio
    # of the two only if it is common: rows run downwards, hence the minus.
    horizontal, vertical = derivative(1), -derivative(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.where(horizontal == 0, np.pi / 2, np.arctan(vertical / horizontal))
    return np.sqrt(horizontal**2 + vertical**2), angle


def _kept(strength: Plane, angle: Plane, strength_fused: Plane, angle_fused: Plane) -> Plane:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(strength > strength_fused, strength_fused / strength, strength / strength_fused)
    ratio = np.where(strength == strength_fused, strength_fused, ratio)
    agreement = 1 - np.abs(angle - angle_fused) / (np.pi / 2)
    return _sigmoid(ratio, *_STRENGTH) * _sigmoid(agreement, *_ANGLE)


def _sigmoid(value: Plane, top: float, slope: float, middle: float) -> Plane:
    # The upper clip keeps exp() finite where a ratio is a raw gradient of up to 1443 levels; the result is `top` either way.
    return top / (1 + np.exp(-slope * (np.minimum(value, 40.0) - middle)))
