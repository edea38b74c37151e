"""Heights along surfaces: neighbours averaged, doubtful ones left out, gaps filled in from the surface that they lie in.

A height is measured in a window, so it tells also of what lies beside its surface, and where there is hardly any detail it is
chance. What surfaces have in common is that their heights change slowly, and that the picture shows where they end. So heights
are averaged by recursive filters whose feedback the picture's edges cut (the domain transform: Gastal and Oliveira, SIGGRAPH
2011), from wide averages to narrow ones: the narrowest counts in which enough is known. Those that differ from their neighbours
as by chance count little, and in a second round those that are far from what came out. What edges part from all that is known
gets the heights around it.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Floats

# How often the picture is halved, and how far averages reach there, in its pixels; from wide to narrow.
_SCALES = ((2, (128.0, 32.0, 8.0)), (1, (4.0,)))
_AGREEING = (2, (3.0,))
_EDGE = 0.1  # of the picture's range, over three channels: it parts two pixels like a sigma between them
_LEAST_RANGE = 25.0  # levels: a picture of a smaller range shows hardly any edges
_ENOUGH = 0.4  # of the weight of heights that are sure: then an average needs no wider one
_HARDLY = np.float32(1e-5)  # weight above nothing: enough for the widest average; sums are divided by no less
_AGREE = 0.05  # of the range of the heights: so far from the average around it, a height counts half
_USUAL = 0.25  # of the heights: where so many differ by more, that is no chance, but steep all over
_OUTLIER = 0.02, 0.5  # of that range, and in frames: so far off, a height counts half
_ROUNDS = 2  # of the domain transform, each half as wide as the one before
_CUT = -40.0  # of a feedback's logarithm: less would only be slower


def along_surfaces(position: Floats, weight: Floats, picture: NDArray[np.uint8]) -> Floats:
    """Average heights along the surfaces of a picture, and fill in those that are not known.

    Args:
        position: H x W float32, in frames; finite, also where it has no weight.
        weight: H x W float32 in [0, 1]: how far each height is believed.
        picture: H x W x 3: it shows where surfaces end.

    Returns:
        H x W float32, in frames.
    """
    edges = _edges(picture)
    known = position[weight > 0]
    low, high = np.quantile(known, (0.01, 0.99)) if known.size else (0.0, 0.0)
    span = float(high - low) + 1
    share, least = _OUTLIER
    off = np.float32(max(share, least / span))
    values, weight = _reduced((position - np.float32(low)) / np.float32(span), weight, edges[0].shape)
    deviation = _deviation(values, weight, edges)
    usual = float(np.quantile(deviation[weight > 0], _USUAL)) if known.size else 0.0
    believed: Any = weight / (1 + (deviation / np.float32(max(_AGREE, usual))) ** 4)
    doubt = (values - _spread(values, believed, edges)) / off
    found = _spread(values, believed / (1 + doubt * doubt), edges)
    large = cv2.resize(found, position.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(large * np.float32(span) + np.float32(low), np.float32)


class _Edges:
    """How far neighbouring pixels lie apart in what they show.

    Args:
        picture: h x w x 3 float32.
        unit: What counts as apart.
    """

    def __init__(self, picture: Floats, unit: float) -> None:
        self.shape = picture.shape[0], picture.shape[1]
        self._across, self._down = (np.abs(np.diff(picture, axis=axis)).sum(2) / np.float32(unit) for axis in (1, 0))

    def averaged(self, planes: Sequence[Floats], sigmas: Sequence[float]) -> Floats:
        """Average planes, h x w each, over so many pixels where the picture has no edges: sigmas x planes x h x w."""
        found: Any = np.broadcast_to(np.stack(planes), (len(sigmas), len(planes), *self.shape))
        for number in range(_ROUNDS):
            share = np.sqrt(3) * 2 ** (_ROUNDS - number - 1) / np.sqrt(4**_ROUNDS - 1)
            columns = np.array(found.transpose(3, 0, 1, 2), order="C")
            _along(columns, _feedback(self._across.T, sigmas, share))
            rows = np.ascontiguousarray(columns.transpose(3, 1, 2, 0))
            _along(rows, _feedback(self._down, sigmas, share))
            found = rows.transpose(1, 2, 0, 3)
        return np.ascontiguousarray(found)


def _feedback(apart: Floats, sigmas: Sequence[float], share: float) -> Floats:
    """How much of a line goes into the next one, lines x sigmas x 1 x length: less where they lie apart."""
    wide = np.array(sigmas, np.float32)[:, None]
    powers = np.exp(np.maximum((1 + wide * apart[:, None]) * np.float32(-np.sqrt(2) / share) / wide, np.float32(_CUT)))
    return np.asarray(powers[:, :, None], np.float32)


def _along(lines: Floats, feedback: Floats) -> None:
    """Filter lines, each with what comes before it and then with what comes after it, in place.

    Args:
        lines: n x sigmas x planes x length.
        feedback: n - 1 x sigmas x 1 x length, between neighbours.
    """
    own, step = 1 - feedback, np.empty_like(lines[0])
    lines[1:] *= own
    for before, here, share in zip(lines, lines[1:], feedback, strict=False):
        np.multiply(before, share, out=step)
        np.add(here, step, out=here)
    lines[:-1] *= own
    for after, here, share in zip(lines[:0:-1], lines[-2::-1], feedback[::-1], strict=False):
        np.multiply(after, share, out=step)
        np.add(here, step, out=here)


def _edges(picture: NDArray[np.uint8]) -> list[_Edges]:
    """The edges of the picture halved once, twice, and as often as is asked for."""
    small: Any = picture
    found, unit = [], 0.0
    for level in range(_SCALES[0][0]):
        half = (small.shape[1] + 1) // 2, (small.shape[0] + 1) // 2
        small = cv2.resize(small, half, interpolation=cv2.INTER_AREA)
        if level == 0:  # noise is no edge
            small = cv2.GaussianBlur(small, (0, 0), 0.5).astype(np.float32)
            low, high = np.quantile(small, (0.01, 0.99))
            unit = _EDGE * max(_LEAST_RANGE, float(high - low))
        found.append(_Edges(small, unit))
    return found


def _reduced(values: Floats, weight: Floats, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Values and their weights, averaged over the pixels of a smaller picture."""
    if values.shape == shape:
        return values, weight
    share = np.asarray(cv2.resize(weight, shape[::-1], interpolation=cv2.INTER_AREA), np.float32)
    total = cv2.resize(values * weight, shape[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(total / np.maximum(share, _HARDLY**2), np.float32), share


def _deviation(values: Floats, weight: Floats, edges: Sequence[_Edges]) -> Floats:
    """How far values lie from the average around each of them, in the root of the mean of squares around; 0 on a slope."""
    level, sigma = _AGREEING
    there = edges[level - 1]
    small, share = _reduced(values, weight, there.shape)
    share = share + _HARDLY**2
    ((total, known),) = there.averaged([share * small, share], sigma)
    square = there.averaged([share * (small - total / known) ** 2], sigma)[0, 0]
    return np.asarray(cv2.resize(np.sqrt(square / known), values.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _around(values: Floats, weight: Floats) -> Floats:
    """Averages of ever larger surroundings, until enough is known: for what edges part from all that is.

    So it is in a gap or a margin of a picture full of texture.
    """
    if values.size == 1:
        return values
    small, share = _reduced(values, weight, ((values.shape[0] + 1) // 2, (values.shape[1] + 1) // 2))
    wider = cv2.resize(_around(small, np.minimum(2 * share, 1)), values.shape[::-1], interpolation=cv2.INTER_LINEAR)
    enough = np.minimum(weight / np.float32(_ENOUGH), 1)
    return np.asarray(enough * values + (1 - enough) * wider, np.float32)


def _spread(values: Floats, weight: Floats, edges: Sequence[_Edges]) -> Floats:
    """Averages along surfaces: of the narrowest scale at which enough is known."""
    widest = edges[_SCALES[0][0] - 1].shape
    found: Any = _around(*_reduced(values, weight + _HARDLY, widest))
    enough = float(_HARDLY)  # of the widest average
    for level, sigmas in _SCALES:
        there = edges[level - 1]
        small, share = _reduced(values, weight, there.shape)
        for total, known in there.averaged([share * small, share], sigmas):
            wider = cv2.resize(found, there.shape[::-1], interpolation=cv2.INTER_LINEAR)
            missing = np.maximum(1 - known / np.float32(enough), 0)
            # What is missing of enough, the wider average gives.
            found = (1 - missing) * total / np.maximum(known, _HARDLY**2) + missing * wider
            enough = _ENOUGH
    return np.asarray(found, np.float32)
