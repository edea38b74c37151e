"""The order of focus of a stack whose frames came in another one.

A shell sorts names letter by letter: frame 10 comes before frame 2. And some programs number frames by nothing that has to do
with focus. Registration goes from neighbour to neighbour, which differ least; out of order it goes astray.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.frames import FrameKind, luma
from ufafuse.runtime.pictures.naming import natural_order

_CELLS = 16  # along the longer side of the maps of sharpness that frames are told apart by
_OCTAVES = 5
# Of the way through the stack in the order given, before another one is believed: eleven stacks in order, with and without
# shifts of 6 pixels, had a shorter way of 0.79 to 1.00; a slide whose last three frames were taken anew has 0.64.
_CLEARLY_SHORTER = 0.7
_ROUNDS = 4
_LEAST_GAIN = 1e-6  # below it is rounding
BY_NUMBER, BY_SHARPNESS = "by the numbers in their names", "by where they are sharp"  # how another order was found
FEWEST_ORDERED = 4  # frames: of fewer any order is near that of focus


def by_number(names: Sequence[str]) -> list[int] | None:
    """The order of the numbers in names that came in the order of their letters; None where both are the same or neither is.

    Args:
        names: As they were given, such as ``["f1.png", "f10.png", "f2.png"]``, which gives [0, 2, 1].
    """
    if list(names) != sorted(names):
        return None
    order = natural_order(names)
    return order if order != list(range(len(names))) else None


def by_sharpness(frames: Sequence[Array], kind: FrameKind) -> list[int] | None:
    """The order in which the sharp part moves through the picture in small steps; None where the order given is one.

    Args:
        frames: Not moved; any order.
        kind: What they are.
    """
    if len(frames) < FEWEST_ORDERED:
        return None
    return by_maps([sharpness_map(frame, kind) for frame in frames])


def by_maps(found: Sequence[NDArray[np.float32]]) -> list[int] | None:
    """As `by_sharpness`, from the `sharpness_map` of each of at least `FEWEST_ORDERED` frames."""
    maps = np.stack(found)
    apart = np.stack([np.sqrt(((maps - one) ** 2).mean(1)) for one in maps])  # one by one: all at once are gigabytes
    given = list(range(len(maps)))
    ends = np.unravel_index(int(apart.argmax()), apart.shape)  # the two that are most unlike: one of them begins the stack
    best = min((_shortened(_nearest_from(int(end), apart), apart) for end in ends), key=lambda way: _length(way, apart))
    if _length(best, apart) > _CLEARLY_SHORTER * _length(given, apart):
        return None
    if best.index(0) > best.index(len(given) - 1):
        best.reverse()  # the end that came first stays the first
    return best


def sharpness_map(frame: Array, kind: FrameKind) -> NDArray[np.float32]:
    """The logarithm of the energy of every octave of detail, cell by cell: a shift of the camera hardly changes it.

    The finest octave alone does not tell frames apart that have it nowhere, or in the same few places.
    """
    grey = luma(frame, kind)
    factor = min(1.0, max(512 / max(grey.shape), 1 / min(grey.shape)))  # of a strip some pixel has to be left
    reduced = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    rest = np.asarray(reduced, np.float32) / np.float32(kind.full)
    cells = max(1, round(_CELLS * rest.shape[1] / max(rest.shape))), max(1, round(_CELLS * rest.shape[0] / max(rest.shape)))
    found = []
    for _ in range(_OCTAVES):
        smooth = np.asarray(cv2.GaussianBlur(rest, (0, 0), 1.2), np.float32)
        energy = cv2.GaussianBlur((rest - smooth) ** 2, (0, 0), 1.5)
        found.append(np.log(cv2.resize(energy, cells, interpolation=cv2.INTER_AREA) + 1e-6).ravel())
        if min(rest.shape) > 1:
            rest = np.asarray(cv2.resize(smooth, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32)
    return np.concatenate(found).astype(np.float32)


def _nearest_from(start: int, apart: NDArray[np.float32]) -> list[int]:
    way, left = [start], set(range(len(apart))) - {start}
    while left:
        way.append(min(left, key=lambda index: float(apart[way[-1], index])))
        left.remove(way[-1])
    return way


def _length(way: Sequence[int], apart: NDArray[np.float32]) -> float:
    return float(apart[way[:-1], way[1:]].sum())


def _shortened(way: list[int], apart: NDArray[np.float32]) -> list[int]:
    """Turn parts of the way round while that makes it shorter (2-opt)."""
    count = len(way)
    between = np.zeros((count + 2, count + 2), np.float32)  # by place in the way; to what lies before and behind it nothing
    earlier = np.triu(np.ones((count, count), bool), 1)
    for _ in range(_ROUNDS * count):
        between[1:-1, 1:-1] = apart[np.ix_(way, way)]
        steps = np.diagonal(between, 1)
        # Of turning round all from a first place (rows) to a last one (columns): the two steps that go, and those that come.
        gain = (steps[:-1, None] + steps[None, 1:]) - (between[:-2, 1:-1] + between[1:-1, 2:])
        first, last = np.unravel_index(int(np.where(earlier, gain, 0).argmax()), gain.shape)
        if gain[first, last] <= _LEAST_GAIN:
            break
        way[first : last + 1] = way[first : last + 1][::-1]
    return way
