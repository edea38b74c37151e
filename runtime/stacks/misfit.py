"""By how much two pictures of a scene differ that is no work of the focus, and what of it hangs together."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Floats

_BLURS = (0.6, 1.2, 2.4, 4.2, 6.6)  # sigma in pixels
WINDOW = 2.0


class FocusSpan(NamedTuple):
    """A picture of reduced size, as a lens out of focus may show it: what spreads is light, and levels are no light.

    Attributes:
        least, most: h x w float32: the mean of each place's levels, and the level that its light has when it is spread.
    """

    least: Floats
    most: Floats

    def blurred(self, sigma: float) -> "FocusSpan":
        """Both blurred by a Gaussian."""
        return FocusSpan(soft(self.least, sigma), soft(self.most, sigma))

    def exposed(self, factor: float) -> "FocusSpan":
        """Both with so many times the exposure."""
        return FocusSpan(self.least * np.float32(factor), self.most * np.float32(factor))

    def off(self, other: "FocusSpan") -> Floats:
        """By how much two differ at each place, whatever of both spans they show."""
        return np.maximum(np.maximum(self.least - other.most, other.least - self.most), 0)


def misfit(a: Floats | FocusSpan, b: Floats | FocusSpan) -> Floats:
    """The least difference of two pictures around each pixel, root mean square, the one or the other blurred by any amount.

    Args:
        a, b: h x w float32, or what the focus may make of them.
    """
    one, another = (each if isinstance(each, FocusSpan) else FocusSpan(each, each) for each in (a, b))
    least = around(one.off(another) ** 2)
    for sigma in _BLURS:
        for blurred, other in ((one, another), (another, one)):
            np.minimum(least, around(blurred.blurred(sigma).off(other) ** 2), out=least)
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
