"""By how much two pictures of a scene differ that is no work of the focus, and what of it hangs together."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Floats

_BLURS = (0.6, 1.2, 2.4, 4.2, 6.6)  # sigma in pixels
WINDOW = 2.0


def misfit(a: Floats, b: Floats) -> Floats:
    """The least difference of two pictures around each pixel, root mean square, the one or the other blurred by any amount.

    Args:
        a, b: h x w float32.
    """
    least = around((a - b) ** 2)
    for sigma in _BLURS:
        for blurred, other in ((a, b), (b, a)):
            np.minimum(least, around((soft(blurred, sigma) - other) ** 2), out=least)
    return np.sqrt(least)


def soft(picture: Floats, sigma: float) -> Floats:
    """A picture blurred by a Gaussian."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)


def around(picture: Floats) -> Floats:
    """The mean in the window around each pixel."""
    return soft(np.asarray(picture, np.float32), WINDOW)


def connected(where: NDArray[np.bool_], seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected parts that hold a seed."""
    _, labels = cv2.connectedComponents(where.astype(np.uint8))
    return np.isin(labels, np.unique(labels[seeds])) & where
