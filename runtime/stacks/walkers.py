"""What walks or flies through a stack more slowly than by its own width a frame, and so covers a place in several frames.

No frame right before and after shows what it hides, and in those that do the focus may be another one altogether: that a place
is dark in some frames says nothing yet, for in focus a twig is dark, too. What tells is that it goes on. Each small picture is
compared with the middle of those around it; a spot that is darker or lighter, of one size, and goes on evenly from frame to
frame for about its own width and more, is followed. And focus only spreads light: what a twig in focus is short of, its
surroundings have too much of. So most of the spots have to be short of as much light as they are together with their
surroundings, and to be like the nearest frames without them by no blur.

Of 60 discs with a radius of 6 to 18 pixels that walked by 4 to 16 a frame through drawn stacks of ten frames 47 were found; the
others were small, or nearly as dark as what is behind them, or they hid most places in half of the frames. Nothing was found in
drawn and real stacks in which nothing walks, such as ruled and dotted boards that come into focus line by line.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Floats
from ufafuse.runtime.stacks.misfit import connected, misfit
from ufafuse.runtime.stacks.misfit import soft as blurred

FEWEST_WALKED = 6  # frames of a stack: in fewer nothing goes on for long
_SEEN_IN, _TOLD_BY = 5, 3  # frames at least, in which it has to be seen, and off the border
_AROUND_EACH = 8  # frames on each side of one, that tell what is usual
_SMOOTH = 0.7  # sigma in pixels of the small pictures, as all below
_DIFFERS, _SOMEWHAT = 0.07, 0.025  # of white: of a spot, and of its edge
_WIDE = np.ones((3, 3), np.uint8)  # what is thinner is no spot
_LEAST_AREA, _LARGEST = 10, 0.1  # pixels, and of the picture
_BORDER = 2  # pixels
_MOST_SPOTS = 8  # of a frame, the largest
_AS_LARGE = 2.2  # times: what two neighbouring frames show of it
_LEAST_STEP, _FARTHEST = 0.8, 0.2  # pixels a frame, and of the picture's longer side
_OFF, _OFF_STEP = 1.5, 0.2  # from where it is looked for: pixels, and of a step
_MISSED = 2  # frames in a row that may not show it, as before what is as dark
_FAR_ENOUGH = 0.8  # times its width, along its way: at the ends of that, it is not always told
# Of the light that a spot is short of, what it is together with its surroundings: against the middle of the frames, and one.
_LOST, _LOST_FROM_ONE, _MOST_LOST = 0.55, 0.85, 1.7
_UNLIKE, _BESIDE = 0.25, 2  # of what a spot differs by: what is no work of the focus, in so many frames without it
_STILL_THERE = 0.5  # of its contrast with its surroundings, that those may show
_MOSTLY = 0.5  # of the spots, of which that has to be so
_SURROUNDINGS = 6.0  # sigma
_MARGIN = np.ones((5, 5), np.uint8)
_EDGE = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
_KEPT = 64  # pictures of what two frames differ by
_LEFT = 2  # frames that have to show a place


@dataclass(frozen=True)
class _Spot:
    """A place that is darker or lighter than usual in one frame.

    Attributes:
        frame: Its number.
        pixels: Where it is, in the flat picture.
        centre: Across and down.
    """

    frame: int
    pixels: NDArray[np.intp]
    centre: NDArray[np.float64]

    def drawn(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        where = np.zeros(shape, np.uint8)
        where.flat[self.pixels] = 1
        return where

    def as_large_as(self, other: "_Spot") -> bool:
        return 1 / _AS_LARGE <= self.pixels.size / other.pixels.size <= _AS_LARGE


def walking(
    pictures: Sequence[NDArray[Any]], usable: NDArray[np.bool_], most: Sequence[NDArray[Any]] | None = None
) -> dict[int, NDArray[np.bool_]]:
    """Where each picture shows what walks through them, by its place among them; only those that do.

    Args:
        pictures: h x w floats, white = 1, equally exposed, in the order in which they were taken.
        usable: h x w; where they may be compared.
        most: What each may be out of focus, at most, as `misfit.FocusSpan` has it; None: what it is.
    """
    soft, brightest = (
        np.stack([blurred(picture.astype(np.float32), _SMOOTH).astype(np.float16) for picture in each])
        for each in (pictures, pictures if most is None else most)
    )
    if len(soft) < FEWEST_WALKED:
        return {}
    dark, light = list[list[_Spot]](), list[list[_Spot]]()
    for index in range(len(soft)):
        here, usual = soft[index].astype(np.float32), _usual(soft, index)
        # Gauze that comes into focus stripe by stripe is darker there, and nothing that walks.
        dark.append(_short_of(index, usual, brightest[index].astype(np.float32), usable))
        light.append(_short_of(index, here, _usual(brightest, index), usable))
    no_focus = _NoFocus(soft)
    found: dict[int, NDArray[np.bool_]] = {}
    for sign, spots in ((-1, dark), (1, light)):
        for walk in _walks(spots, usable.shape):
            if not no_focus.made(walk):
                continue
            for frame, where in _all_along(walk, np.float32(sign), soft):
                found[frame] = found[frame] | where if frame in found else where
    return _left_enough(found, len(soft)) if found else {}


def _short_of(index: int, lighter: Floats, darker: Floats, usable: NDArray[np.bool_]) -> list[_Spot]:
    """The spots by which a frame, or what is usual, is short of the other's light, which is that of the levels' squares."""
    return _spots(index, (lighter - darker) * usable, lighter**2 - darker**2)


def _left_enough(found: Mapping[int, NDArray[np.bool_]], count: int) -> dict[int, NDArray[np.bool_]]:
    """What was found with a margin; without it where too few frames would be left to show a place, or not at all."""
    wide = {index: cv2.dilate(where.astype(np.uint8), _EDGE) > 0 for index, where in found.items()}
    with_margin, without = (count - np.sum(list(each.values()), 0) >= _LEFT for each in (wide, found))
    return {index: (wide[index] & with_margin) | (where & without) for index, where in found.items()}


class _NoFocus:
    """Asks whether what a spot differs by from the nearest frames without it is no work of the focus."""

    def __init__(self, soft: Array) -> None:
        self._soft = soft
        self._known: dict[tuple[int, int], Floats] = {}

    def made(self, walk: Sequence[_Spot]) -> bool:
        """Whether most of the spots of a walk are none of the focus."""
        own = {spot.frame: spot for spot in walk}
        asked = [spot for spot in walk if self._is_inside(spot)]
        return len(asked) >= _TOLD_BY and sum(self._told(spot, own) for spot in asked) >= _MOSTLY * len(asked)

    def _is_inside(self, spot: _Spot) -> bool:
        """Whether it lies off the picture's border, beyond which nobody knows where the light is."""
        height, width = self._soft.shape[1:]
        rows, columns = np.unravel_index(spot.pixels, (height, width))
        ends = rows.min(), columns.min(), height - 1 - rows.max(), width - 1 - columns.max()
        return min(ends) >= _BORDER

    def _told(self, spot: _Spot, own: Mapping[int, _Spot]) -> bool:
        there = self._soft.reshape(len(self._soft), -1)[:, spot.pixels].astype(np.float32).mean(1)
        away = np.abs(there - there[spot.frame])
        without = [int(index) for index in np.flatnonzero(away > away.max() / 2)]
        own_contrast = self._contrast(spot, spot.frame)
        for index in sorted(without, key=lambda index: abs(index - spot.frame))[:_BESIDE]:
            unlike = float(self._between(spot.frame, index).flat[spot.pixels].mean())
            still_there = self._contrast(spot, index) / own_contrast if own_contrast else 1.0
            if unlike < _UNLIKE * away[index] or still_there > _STILL_THERE or not self._lost(spot, index, own.get(index)):
                return False
        return True

    def _contrast(self, spot: _Spot, frame: int) -> float:
        """By how much a frame is darker or lighter at a spot than around it."""
        where = spot.drawn(self._soft.shape[1:])
        ring = cv2.dilate(where, _EDGE) > cv2.dilate(where, _WIDE)
        picture = self._soft[frame]
        return float(picture[where > 0].mean(dtype=np.float32) - picture[ring].mean(dtype=np.float32)) if ring.any() else 0.0

    def _lost(self, spot: _Spot, other: int, there: _Spot | None) -> bool:
        """Whether the spot and its surroundings together differ from another frame, but for the spot that goes on ``there``."""
        light = self._soft[spot.frame].astype(np.float32) ** 2 - self._soft[other].astype(np.float32) ** 2
        if there is not None:
            light[cv2.dilate(there.drawn(light.shape), _MARGIN) > 0] = 0
        return _is_lost(light, spot.pixels, _LOST_FROM_ONE)

    def _between(self, one: int, other: int) -> Floats:
        if (one, other) not in self._known:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[one, other] = misfit(*(self._soft[index].astype(np.float32) for index in (one, other)))
        return self._known[one, other]


def _is_lost(light: Array, pixels: NDArray[np.intp], least: float) -> bool:
    """Whether what a spot differs by in linear light is not in its surroundings the other way round."""
    spot = np.zeros_like(light)
    spot.flat[pixels] = light.flat[pixels]
    alone, together = (float(blurred(each, _SURROUNDINGS).flat[pixels].mean()) for each in (spot, light))
    return least * alone**2 < together * alone < _MOST_LOST * alone**2


def _usual(soft: Array, index: int) -> Floats:
    """The middle of the pictures around one, of as many at the ends as in the midst."""
    first = min(max(0, index - _AROUND_EACH), max(0, len(soft) - 2 * _AROUND_EACH - 1))
    around = np.sort(soft[first : first + 2 * _AROUND_EACH + 1].astype(np.float32), 0)  # np.median would load numpy.ma
    return np.asarray((around[(len(around) - 1) // 2] + around[len(around) // 2]) / 2, np.float32)


def _spots(frame: int, away: Array, light: Array) -> list[_Spot]:
    """The spots of a frame that differs from what is usual by ``away``, and in linear light by ``light``."""
    core = cv2.morphologyEx((away > _DIFFERS).astype(np.uint8), cv2.MORPH_OPEN, _WIDE)
    count, labels, stats, centres = cv2.connectedComponentsWithStats(core)
    areas = stats[:, cv2.CC_STAT_AREA]
    fitting = [label for label in range(1, count) if _LEAST_AREA <= areas[label] <= _LARGEST * away.size]
    spots = list[_Spot]()
    for label in sorted(fitting, key=lambda label: -areas[label]):
        pixels = np.flatnonzero(labels == label)
        if len(spots) < _MOST_SPOTS and _is_lost(light, pixels, _LOST):
            spots.append(_Spot(frame, pixels, centres[label]))
    return spots


def _walks(spots: Sequence[Sequence[_Spot]], shape: tuple[int, ...]) -> list[list[_Spot]]:
    """The spots that go on evenly through several frames by about their own width and more."""
    taken: set[int] = set()
    found = []
    for first, second in ((a, b) for here, there in pairwise(spots) for a, b in product(here, there)):
        step = float(np.hypot(*(second.centre - first.centre)))
        if id(first) in taken or not _LEAST_STEP <= step <= _FARTHEST * max(shape) or not second.as_large_as(first):
            continue
        walk = _followed([first, second], spots)
        if len(walk) >= _SEEN_IN and _farther_than_wide(walk, shape):
            found.append(walk)
            taken |= {id(spot) for spot in walk}
    return found


def _farther_than_wide(walk: Sequence[_Spot], shape: tuple[int, ...]) -> bool:
    way = walk[-1].centre - walk[0].centre
    ways = [np.stack(np.unravel_index(spot.pixels, shape)[::-1], 1) @ way for spot in walk]
    return bool(way @ way > _FAR_ENOUGH * np.mean([np.ptp(along) for along in ways]))


def _followed(walk: list[_Spot], spots: Sequence[Sequence[_Spot]]) -> list[_Spot]:
    """A walk, with the spots of later frames that lie where it leads."""
    onward: _Spot | None = walk[-1]
    while onward is not None:
        last, onward = walk[-1], None
        step = (last.centre - walk[0].centre) / (last.frame - walk[0].frame)
        for frame in range(last.frame + 1, min(last.frame + 2 + _MISSED, len(spots))):
            ahead = last.centre + step * (frame - last.frame)
            off = [(float(np.hypot(*(spot.centre - ahead))), place) for place, spot in enumerate(spots[frame])]
            off = [each for each in off if spots[frame][each[1]].as_large_as(last)]
            if off and min(off)[0] <= _OFF + _OFF_STEP * float(np.hypot(*step)):
                onward = spots[frame][min(off)[1]]
                walk = [*walk, onward]
                break
    return walk


def _all_along(walk: Sequence[_Spot], sign: np.float32, soft: Array) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Where the frames show what walks; those, too, that may not be compared there, where it goes on as before."""
    own = {spot.frame: spot for spot in walk}
    # In the midst of its way it may be half of what is usual, and only in part be told from that.
    whole = sorted(walk, key=lambda spot: spot.pixels.size)[len(walk) * 3 // 4]
    step = (walk[-1].centre - walk[0].centre) / (walk[-1].frame - walk[0].frame)
    between = range(walk[0].frame, walk[-1].frame + 1)
    for frames, onward in ((between, True), (range(walk[0].frame)[::-1], False), (range(between.stop, len(soft)), False)):
        for frame in frames:
            nearest = own[min(own, key=lambda index: abs(index - frame))]
            x, y = nearest.centre + step * (frame - nearest.frame) - whole.centre
            shift = np.array([[1, 0, x], [0, 1, y]])
            drawn = whole.drawn(soft.shape[1:])
            where = np.asarray(cv2.warpAffine(drawn, shift, drawn.shape[::-1], flags=cv2.INTER_NEAREST), np.uint8)
            away = sign * (soft[frame].astype(np.float32) - _usual(soft, frame))
            if frame in own:
                where = where | nearest.drawn(where.shape)
            elif not where.any() or float(away[where > 0].mean()) <= _DIFFERS:
                if onward:
                    continue
                break
            yield frame, _with_edge(where, away)


def _with_edge(where: NDArray[np.uint8], away: Array) -> NDArray[np.bool_]:
    """A spot with what differs somewhat beside it."""
    spot = where > 0
    return connected((away > _SOMEWHAT) & (cv2.dilate(where, _EDGE) > 0) | spot, spot)
