"""Motion that is too little from each frame of a stack to the next to be believed, and not to be lost over all of them.

A camera that sinks by a tenth of a pixel with each of a hundred frames, a lens that breathes by a fiftieth of a percent: no two
neighbours tell it, and each taken to lie like the one before it, the last is ten pixels off. So what was estimated is kept,
believed or not, and multiplied up from some frames before. Where that leads away from where the frame was put, the two are
compared on that earlier frame and this one: neither was made from that pair, so that they agree clearly better is no chance.

Measured on drawn stacks of 16 to 60 frames that lay still, such products led up to 3.6 pixels away, and at most 7 % of the
disagreement went with them; of stacks that drifted, turned or breathed 10 to 60 % went from half a pixel on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ufafuse.runtime.arrays import Array, Matrix
from ufafuse.runtime.registration.align import WORTH_A_WARP, Alignment, agreement, at_place, model_of
from ufafuse.runtime.registration.covering import farthest_move
from ufafuse.runtime.registration.guesses import scaling
from ufafuse.runtime.registration.refine import Compared, refined

_BETTER = 0.9  # what may be left of the disagreement: twice as far from what chance leaves as from nothing gained
_AGAIN = 1.5  # times the distance at which the two were compared in vain, before they are compared again
_MOST_A_STEP = 0.6  # pixels of the pictures that are compared: what is not believed of more is no slow motion, but wrong
_FAR, _BETTER_FAR = 1.2, 0.8  # such pixels away, from where on true motion would show more than that
_MOST_TRIED = 2  # comparisons a frame; one takes about half of an estimate's time
MOST_KEPT = 7  # frames: one each of those 0, 1, 2 to 3, 4 to 7 and so on before


@dataclass(frozen=True)
class Earlier:
    """A frame from which on motion is followed.

    Attributes:
        picture: What it is compared by.
        place: 3 x 3; how it lies to the reference.
        tracks: How the present frame lies to it by the products of what was estimated: as far as each pair of frames told, and
            with all that was found.
        tried: Pixels by which each of them led away when it was last compared in vain.
        age: How many frames ago it was.
    """

    picture: Array
    place: Matrix
    tracks: tuple[Matrix, ...]
    tried: tuple[float, ...] = (0.0, 0.0)
    age: int = 0

    @classmethod
    def now(cls, picture: Array, place: Matrix) -> "Earlier":
        """The present frame, to follow what comes after."""
        return cls(picture, place, (np.eye(3), np.eye(3)))

    def after(self, steps: Sequence[Matrix]) -> "Earlier":
        """The same, one step on, by what was estimated of it."""
        tracks = tuple(one @ track for one, track in zip(steps, self.tracks, strict=True))
        return replace(self, tracks=tuple(track / track[2, 2] for track in tracks), age=self.age + 1)

    def led(self, which: int) -> Matrix:
        """Where one of the tracks leads."""
        return self.tracks[which] @ self.place

    def with_tried(self, which: int, pixels: float) -> "Earlier":
        """The same, with what was compared in vain."""
        return replace(self, tried=tuple(pixels if index == which else tried for index, tried in enumerate(self.tried)))


def followed_slowly(
    earlier: Sequence[Earlier], step: Alignment, place: Alignment, picture: Array, size: tuple[int, ...], motion: str
) -> tuple[Alignment, list[Earlier]]:
    """The place of a frame, mended where slow motion tells another one, and what to follow from it on.

    Args:
        earlier: What was followed up to the frame that this one was compared with, the youngest first.
        step: How it lies to that frame.
        place: How it lies to the reference, by that frame's place and the step alone.
        picture: What it is compared by.
        size: (height, width) of the frames.
        motion: The model that was fitted.
    """
    slow = _MOST_A_STEP * max(1.0, size[0] / picture.shape[0])
    estimated = step.estimated or (step.matrix, step.matrix)
    steps = [each if farthest_move(each, size, step.matrix) <= slow else step.matrix for each in estimated]
    known = [one.after(steps) for one in earlier]
    for which in (0, 1):  # a shift tells itself sooner than all the rest
        apart = [farthest_move(one.led(which), size, place.matrix) for one in known]
        # What a pair was estimated from cannot tell whether that is so.
        asked = [
            index
            for index, one in enumerate(known)
            if one.age > 1 and apart[index] >= max(WORTH_A_WARP, _AGAIN * one.tried[which])
        ]
        # The farther it leads away, the more it shows.
        for index in sorted(asked, key=lambda index: -apart[index])[:_MOST_TRIED]:
            there = known[index].led(which)
            if _agrees(known[index], there, place.matrix, picture, size, motion if which else ""):
                place = replace(at_place(place, there, size, model_of(there, motion)), refused="")
                known = [each.with_tried(which, 0.0) for each in known]
                break
            known[index] = known[index].with_tried(which, apart[index])
    return place, _thinned([Earlier.now(picture, place.matrix), *known])


def _agrees(one: Earlier, there: Matrix, place: Matrix, picture: Array, size: tuple[int, ...], motion: str) -> bool:
    """Whether a frame agrees clearly better with the earlier one where a track leads than where it was put.

    Of a ``motion`` that is more than a shift (empty: of a shift) all parts of that pair have to tell the same, too: silhouettes
    that go out of focus agree better when they are made smaller.
    """
    scale = scaling(size, picture.shape)
    back = np.linalg.inv(one.place)
    led, put = (np.linalg.inv(scale) @ matrix @ back @ scale for matrix in (there, place))
    # How the two are made equally sharp depends on where they lie when that is decided: neither may gain by it.
    better = _BETTER if farthest_move(led, picture.shape, put) < _FAR else _BETTER_FAR
    for first in (put, led):
        compared = Compared(one.picture, picture)
        compared.at(first)
        if 1 - agreement(compared, led) > better * (1 - agreement(compared, put)):
            return False
    return not motion or refined(compared, led, motion).all_told


def _thinned(known: Sequence[Earlier]) -> list[Earlier]:
    """One of each octave of age, the oldest: what is followed for long stays."""
    kept: dict[int, Earlier] = {}
    for one in known:
        kept[one.age.bit_length()] = one  # the youngest come first
    return [one for octave, one in sorted(kept.items()) if octave < MOST_KEPT]
