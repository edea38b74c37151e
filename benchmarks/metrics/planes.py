"""The two colour conventions that live in the paper's one table, and the filter that several metrics share.

AVG, STD, SEN and Qabf are taken on the red channel in levels 0..255; VIFF, Qc, Qm and all others on a float grey. Found by
running the original MATLAB code on the fused pictures that the authors published: only so do their figures come out.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.values import type_in_text

Plane = NDArray[np.float64]

GREY_WEIGHTS_BGR = np.array([0.0721, 0.7154, 0.2125])
"""Weights of blue, green and red (scikit-image's ``rgb2gray``)."""


def check_samples(image: object) -> None:
    """Refuse what is no array, and float samples that are no numbers: NaN would count as black (`InputError`)."""
    if not isinstance(image, np.ndarray):
        raise InputError(f"a metric was asked of {type_in_text(image)}: give a NumPy array.")
    if np.issubdtype(image.dtype, np.floating) and not np.isfinite(image).all():
        raise InputError("a metric was asked of a picture that holds NaN or infinity: repair it first.")


def as_levels(image: Array) -> NDArray[np.uint8]:
    """An image as 8-bit levels, which is what the metrics are defined on.

    Args:
        image: H x W, H x W x 3 (BGR) or H x W x 4 (BGRA; the alpha is dropped); uint8, uint16 (scaled by 1/257 and rounded)
            or float in [0, 1] (scaled by 255 and rounded).

    Raises:
        InputError: Another shape or sample type, NaN or infinity.
    """
    check_samples(image)
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)) or 0 in image.shape:
        raise InputError(f"a metric was asked of an array of shape {image.shape}: give H x W, H x W x 3 or H x W x 4.")
    if image.ndim == 3:
        image = image[..., 0] if image.shape[2] == 1 else image[..., :3]
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        return np.round(image / 257.0).astype(np.uint8)
    if np.issubdtype(image.dtype, np.floating):
        return np.round(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    raise InputError(f"a metric was asked of {image.dtype} samples: give uint8, uint16, or floats in [0, 1].")


def red(levels: NDArray[np.uint8]) -> Plane:
    """The red channel of a BGR picture, or a grey picture itself, as float64 levels 0..255."""
    return (levels if levels.ndim == 2 else levels[..., 2]).astype(np.float64)


def grey(levels: NDArray[np.uint8]) -> Plane:
    """Float grey in [0, 1], not rounded."""
    if levels.ndim == 2:
        return levels / 255.0
    return levels.astype(np.float64) @ GREY_WEIGHTS_BGR / 255.0


def stretched(plane: Plane) -> Plane:
    """Whole levels 0..255 from the least to the greatest value of ``plane``, halves rounded up; zeros where these are one."""
    low, high = plane.min(), plane.max()
    return np.floor((plane - low) / (high - low) * 255 + 0.5) if high > low else np.zeros_like(plane)


def gaussian(size: int, sigma: float) -> NDArray[np.float64]:
    """A 1-D Gaussian of ``size`` taps and unit sum; its outer product is the normalised 2-D one, exactly."""
    offsets = np.arange(size) - (size - 1) / 2
    taps = np.exp(-(offsets**2) / (2 * sigma**2))
    return taps / taps.sum()


def filter_valid(plane: Plane, taps: NDArray[np.float64]) -> Plane:
    """Correlate with ``taps`` along both axes and keep the part that needs no border: (H - n + 1) x (W - n + 1)."""
    margin = len(taps) // 2
    rows = ndimage.correlate1d(plane, taps, axis=0)[margin : plane.shape[0] - margin]
    return ndimage.correlate1d(rows, taps, axis=1)[:, margin : plane.shape[1] - margin]
