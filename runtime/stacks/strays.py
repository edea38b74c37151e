"""What a frame of a stack shows that the frames before and after it do not: a shadow, an insect that flew by, a hand.

A rule that looks for what is sharp takes the edge of a shadow for detail, and dark without detail for a silhouette. But focus
only spreads light: what one frame shows in focus the next one shows blurred, in the same place, and its surroundings are as
much lighter as it is darker. So small pictures of the frames are compared, the one or the other blurred by several amounts.
What no blur makes like the frame before, nor like the frame after, while those two are alike, is in that frame alone, and the
frame takes no part there. A few frames in a row may show it, too. Of the first frame and the last only what is large and
differs much is told, for there are no frames on both sides. What walks slowly is in more of them: see `stacks.walkers`.

Lights beyond white are left as they are: out of focus they are larger, and as bright. So is what is thin: hairs vanish where
they are far out of focus, and moved outlines are no strays. And what is finer than a small picture's pixels, as gauze or print,
is darker in focus than out of it: light spreads evenly, and levels are about its root. So of each place two levels are kept,
the mean of its samples and that of their light, and only what lies outside of both has strayed.

Measured as root mean squares over windows, of white: between frames of drawn, made and real stacks in which nothing strayed
0.04 at most where the frames on both sides are alike, but for edges that moved; of black, grey and soft shadows 0.14 to 0.44.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Floats
from ufafuse.runtime.frames import FrameKind, luma
from ufafuse.runtime.registration.glance import glanced
from ufafuse.runtime.stacks.misfit import WINDOW, FocusSpan, connected, misfit
from ufafuse.runtime.stacks.order import FEWEST_ORDERED, by_maps, sharpness_map
from ufafuse.runtime.stacks.walkers import FEWEST_WALKED, walking

_PIXELS = 8_192  # of the small pictures: 16 KB of a frame are kept
_LONGEST = 3  # frames in a row that may show it
_SURELY, _SURELY_AT_ENDS = 0.07, 0.14  # of white: here something strayed,
_SOMEWHAT = 0.015  # and so far averages tell of it
_ALIKE = 0.35  # of that difference, that the frames before and after may have between them
_AT_A_GLANCE = 0.05  # of white: what is averaged differs less, and no more is looked at
_SOFT = 2.0  # sigma in pixels of the small pictures, as all below: in averages of this size
_MOVED = np.ones((5, 5), np.uint8)  # what lies so far apart may be there because something moved
# What is thinner is no stray. At the ends, where an outline that moved is in one frame as well, much is; so it is at the border
# of a white ground, which light beyond white moves.
_WIDE, _THICK = np.ones((3, 3), np.uint8), np.ones((7, 7), np.uint8)
_AROUND = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))  # its edge, which the averages do not show
_LIGHT, _AROUND_LIGHTS = 0.97, np.ones((9, 9), np.uint8)
_BRIGHTEST = 2.0  # of white: the level that light beyond white may have
_STRIP = 256  # rows of a frame whose light is looked at: floats of all would be larger than the frame
_GROUND = 0.04  # of the picture: what is beyond white in a larger piece is no light but a white ground
_DARK = 0.04  # of white: what is darker tells nothing of the exposure
_MOST = 0.3  # of the picture: what is more is no stray, but another scene or another light


class Strays:
    """Looks at a stack's frames, each once and in any order, and finds what is in one or a few of them alone.

    Args:
        size: (height, width) of the frames.
        kind: What they are.
    """

    def __init__(self, size: tuple[int, int], kind: FrameKind) -> None:
        self._size, self._kind = size, kind
        self._seen: dict[int, NDArray[np.float16]] = {}
        self._spread: dict[int, NDArray[np.float16]] = {}
        self._hidden: dict[int, NDArray[np.bool_]] = {}

    def look_at(self, index: int, frame: Array, covered: NDArray[np.uint8] | None) -> None:
        """Take a frame, by its number in the order of focus; ``covered`` is 0 where it shows nothing (None: nowhere)."""
        grey = luma(frame, self._kind)
        small = np.minimum(glanced(grey, replace(self._kind, channels=0), _PIXELS), _BRIGHTEST)
        self._seen[index] = small.astype(np.float16)
        self._spread[index] = _spread(grey, self._kind).astype(np.float16)
        if covered is not None:
            shown = cv2.resize(covered.astype(np.float32), small.shape[::-1], interpolation=cv2.INTER_AREA)
            self._hidden[index] = np.asarray(cv2.GaussianBlur(shown, (0, 0), WINDOW) < 1 - 1e-3)

    @property
    def pictures(self) -> dict[int, Floats]:
        """The small pictures that were kept of the frames, h x w, white = 1, by their numbers."""
        return {index: self._small(index) for index in self._seen}

    def order(self) -> list[int]:
        """The frames' numbers in the order in which they are sharp, which may not be the one that they were given in."""
        order = sorted(self._seen)
        better = self._better_order(order)
        return order if better is None else better

    def _better_order(self, order: Sequence[int]) -> list[int] | None:
        if len(order) < FEWEST_ORDERED:
            return None
        kind = FrameKind(np.dtype(np.float32), 0, 1.0, self._kind.order)
        better = by_maps([sharpness_map(self._small(index), kind) for index in order])
        return None if better is None else [order[place] for place in better]

    def _small(self, index: int) -> Floats:
        return self._seen[index].astype(np.float32)

    def found(self) -> dict[int, NDArray[np.uint8]]:
        """Where each frame shows what the others do not, by its number, H x W, 1 there; only frames that do."""
        order = sorted(self._seen)
        found = self._in_order(order)
        if found and (better := self._better_order(order)) is not None:
            # In another order than that of focus each frame may be the only one that is sharp.
            found = self._in_order(better)
        for index, where in self._walking(order).items():
            found[index] = found[index] | where if index in found else where
        return {index: self._at_full_size(where) for index, where in found.items()}

    def _walking(self, order: Sequence[int]) -> dict[int, NDArray[np.bool_]]:
        """What covers a place in more frames than a stray does, but goes on."""
        if len(order) < FEWEST_WALKED:
            return {}
        middle = self._small(order[len(order) // 2])
        factors = {index: _as_exposed(self._small(index), middle) for index in order}
        pictures, most = (
            [(seen[index].astype(np.float32) * factor).astype(np.float16) for index, factor in factors.items()]
            for seen in (self._seen, self._spread)
        )
        usable = ~_lit(pictures)[0]
        for hidden in self._hidden.values():
            usable &= ~hidden
        found = walking(pictures, usable, most)
        return {order[place]: where for place, where in found.items() if where.mean() <= _MOST}

    def _in_order(self, order: Sequence[int]) -> dict[int, NDArray[np.bool_]]:
        found: dict[int, NDArray[np.bool_]] = {}
        for length in range(1, _LONGEST + 1):
            for first in range(1, len(order) - length):
                run = order[first : first + length]
                # In a frame more than one thing may stray, or one that walks: where it was and is, two frames show it in a row.
                for index, where in self._in_run(run, order[first - 1], order[first + length]).items():
                    found[index] = found[index] | where if index in found else where
        if len(order) > 2:
            for end, beside, other in (order[:3], order[:-4:-1]):
                if not found.keys() & {end, beside, other}:
                    found |= self._in_run([end], beside, other, at_end=True)
        return found

    def _in_run(self, run: Sequence[int], before: int, after: int, *, at_end: bool = False) -> dict[int, NDArray[np.bool_]]:
        """What is in all frames of a run, but neither in the one before nor in the one after."""
        numbers = (before, *run, after)
        pictures = [self._small(index) for index in numbers]
        usable = np.ones(pictures[0].shape, bool)
        for index in numbers:
            usable &= ~self._hidden.get(index, np.zeros_like(usable))
        lit, blown = _lit(pictures)
        usable &= ~lit
        one, *strange, other = (
            FocusSpan(picture, self._spread[index].astype(np.float32)).exposed(_as_exposed(picture, pictures[0]))
            for index, picture in zip(numbers, pictures, strict=True)
        )
        sure = np.logical_and.reduce([_both_ways(one, picture, other, _MOVED) > _AT_A_GLANCE for picture in strange])
        sure &= usable
        if not sure.any():
            return {}
        way = np.minimum.reduce([_both_ways(one, picture, other) for picture in strange])
        least = np.minimum.reduce([np.minimum(misfit(one, picture), misfit(picture, other)) for picture in strange])
        apart = misfit(one.least, other.least)
        sure &= (apart < _ALIKE * least) & (least > (_SURELY_AT_ENDS if at_end else _SURELY))
        thick, sure = (cv2.morphologyEx(sure.astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0 for kernel in (_THICK, _WIDE))
        sure = thick if at_end else thick | (sure & ~blown)
        where = connected(usable & (way > _SOMEWHAT) & (apart < least) | sure, sure)
        if not sure.any() or where.mean() > _MOST:
            return {}
        return dict.fromkeys(run, cv2.dilate(where.astype(np.uint8), _AROUND) > 0)

    def _at_full_size(self, where: NDArray[np.bool_]) -> NDArray[np.uint8]:
        grown: Any = cv2.resize(where.astype(np.float32), self._size[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(grown > 0.25, np.uint8)


def shown_without(covered: NDArray[np.uint8] | None, strayed: NDArray[np.uint8] | None) -> NDArray[np.uint8] | None:
    """Where a frame takes part, 1 there (None: everywhere): where it shows something, and nothing strayed into it."""
    if strayed is None:
        return covered
    return 1 - strayed if covered is None else covered * (1 - strayed)


def _spread(grey: Array, kind: FrameKind) -> Floats:
    """The levels that light has when it is spread over each pixel of a small picture, h x w, white = 1."""
    height, width = grey.shape[0] // 2, grey.shape[1] // 2
    if height * width < _PIXELS:
        light: Any = _light(grey, kind)
    else:  # `glanced` begins like this
        light = np.empty((height, width), np.float32)
        for top in range(0, height, _STRIP):
            strip = light[top : top + _STRIP]
            whole = _light(grey[2 * top : 2 * (top + len(strip)), : 2 * width], kind)
            cv2.resize(whole, strip.shape[::-1], strip, interpolation=cv2.INTER_AREA)
    return np.sqrt(glanced(light, FrameKind(np.dtype(np.float32), 0, 1.0, kind.order), _PIXELS))


def _light(grey: Array, kind: FrameKind) -> Floats:
    """About how much light made each sample, 1 at white: its level squared."""
    if kind.plain:
        return np.asarray(cv2.LUT(grey, _light_of_bytes()), np.float32)
    levels = np.multiply(grey, np.float32(1 / kind.unit), dtype=np.float32)
    levels[levels >= _LIGHT] = _BRIGHTEST
    return np.square(levels, out=levels)


@cache
def _light_of_bytes() -> Floats:
    levels = np.arange(256, dtype=np.float32) / 255
    levels[levels >= _LIGHT] = _BRIGHTEST
    return np.square(levels, out=levels)


def _both_ways(one: FocusSpan, picture: FocusSpan, other: FocusSpan, around: NDArray[np.uint8] | None = None) -> Floats:
    """By how much a picture is darker on average than all of both others ``around`` each pixel, or lighter; 0 if neither is."""
    here, *there = (each.blurred(_SOFT) for each in (picture, one, other))
    low, high = np.minimum(*(each.least for each in there)), np.maximum(*(each.most for each in there))
    if around is not None:
        low, high = np.asarray(cv2.erode(low, around), np.float32), np.asarray(cv2.dilate(high, around), np.float32)
    return here.off(FocusSpan(low, high))


def _as_exposed(picture: Floats, other: Floats) -> float:
    """The factor that gives a picture the other's exposure, by the middle of what both show."""
    told = (picture > _DARK) & (other > _DARK) & (picture < _LIGHT) & (other < _LIGHT)
    return float(np.exp(np.median(np.log(other[told] / picture[told])))) if told.any() else 1.0


def _lit(pictures: Sequence[NDArray[Any]]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Around lights beyond white that are not as large in each picture, and around the borders of a white ground that move."""
    lights = np.stack([picture >= _LIGHT for picture in pictures])
    anywhere: Any = lights.any(0).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(anywhere)
    ground = (stats[:, cv2.CC_STAT_AREA] >= _GROUND * labels.size)[labels]
    changing = lights.any(0) & ~lights.all(0)
    around = [cv2.dilate(each.astype(np.uint8), _AROUND_LIGHTS) > 0 for each in (changing & ~ground, changing & ground)]
    return around[0], around[1]
