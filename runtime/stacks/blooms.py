"""Lights beyond white, which are larger out of focus than in it: of frames that show one, the smallest is the one in focus.

Solder, screws, wet eyes: what such a light has beyond white spreads as it goes out of focus, and the disc that comes of it is
white as well, with a rim as steep as that of the light itself. So a rule that looks for what is sharp takes any of the discs.
But what is cut off at white is missing in the mean: the more is cut off, the more the light is in one place. Of the frames
between which a light goes out of focus, the one with the lowest mean around it shows it best, and where the others show it,
they take no part. That cannot be told of one pixel: the means are those of windows.

A white part before a dark ground looks alike at its edge: frames that have it far out of focus are darker there. But on the
way from the frame that shows it to those that show the ground none is sharp, while a light that blooms has a steep rim in all
the frames between. So frames are compared along the order of focus, as far as the detail at what is white stays.

Of stacks drawn by a pinhole's views over a lens, in linear light, two screws gain 1.4 and 7.8 dB of the whole picture, a
board 0.36, others 0 to 0.1; of twelve drawn boards one has such lights, and gains 0.2. None loses more than 0.005.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Floats
from ufafuse.runtime.frames import FrameKind, for_opencv, reduced_size
from ufafuse.runtime.lights import highest

Gains = Mapping[int, tuple[float, ...]]

_NO_GAINS: Gains = MappingProxyType({})
_PIXELS = 524_288  # of the pictures that are looked at; all below is in their pixels, and levels are those of bytes
_CELL = 8  # pixels: what is kept of a frame is kept for each of such squares: 64 KB
_WINDOW = 8.0  # sigma of the windows whose means are compared
_TOUCHED = 0.02  # of a window, that may show something else
_WHITE = 0.98  # of white: what is lighter may be cut off
_TOP = 255.0
_RIM = np.ones((5, 5), np.uint8)  # what is so near to white counts as detail of the light
_AROUND = np.ones((11, 11), np.uint8)  # so near to white a frame shows a light, or its disc
_LEAST, _RANGE = 2.0, 3.0  # levels that the means lie apart where it begins to tell, and how many more tell all
_STAYS, _STAYS_RANGE = 0.3, 0.2  # of a frame's detail at what is white, that the frames compared with it have at least,
_ALL, _FLICKER = 0.8, 0.02  # and so much where the means lie apart by no more than this share, as under a lamp that flickers
_SHARP = 0.1  # of the most detail that any frame has there: so much has each of them
_MOST_WEIGHT, _LEAST_WEIGHT = 35, -37  # powers of ten: what weights reach, and what hardly counts beside any other
_LIFT, _HELD = 16.0, 6_000  # how much the others may be raised; and how many of the most a sum of floats holds


class Blooms:
    """Looks at a stack's frames, each once and in any order, and finds where each shows a light larger than another one does.

    Args:
        size: (height, width) of the frames.
        kind: What they are.
        white: The level that light beyond white has: until all 16-bit frames were read, the kind's is the highest of the file.
    """

    def __init__(self, size: tuple[int, int], kind: FrameKind, white: float) -> None:
        self._size, self._kind, self._white = size, kind, white
        self._small = reduced_size(size, _PIXELS)[::-1]
        self._cells = tuple(-(-side // _CELL) for side in self._small)
        self._means: dict[int, Floats] = {}  # infinite where the frame shows nothing
        self._details: dict[int, Floats] = {}  # energies; of frames that show white
        self._found: dict[int, NDArray[np.float16]] = {}
        self._count = 0

    def look_at(self, index: int, frame: Array, covered: NDArray[np.uint8] | None, gains: Gains = _NO_GAINS) -> None:
        """Take a frame.

        Args:
            index: Its number.
            frame: H x W [x 1, 3 or 4].
            covered: H x W: 0 where it shows nothing; None: it shows something everywhere.
            gains: What frames were multiplied by, by their numbers: where that is less than 1 their white is lower.
        """
        small = self._reduced(frame)
        brightest, white = self._white_in(small, gains.get(index, ()))
        if white.any():
            self._means[index] = self._windowed(self._mean(small))
            # At what is white alone: other things around have their own focus.
            edges = cv2.Laplacian(cv2.GaussianBlur(brightest, (0, 0), 1), cv2.CV_32F) * cv2.dilate(white, _RIM)
            self._details[index] = self._windowed(edges * edges)
        else:  # no light can be smaller in it, nor larger
            self._means[index] = np.zeros(self._cells, np.float32)
        if covered is not None:
            self._means[index][self._touched_by(1 - covered)] = np.inf

    def _reduced(self, frame: Array) -> Array:
        frame = for_opencv(frame)
        if self._small == self._size:
            return frame
        return np.asarray(cv2.resize(frame, self._small[::-1], interpolation=cv2.INTER_AREA))

    def _mean(self, small: Array) -> Floats:
        """The mean of the channels: blur leaves it, but not that of the brightest one of each pixel."""
        levels = self._levels(small.reshape(*self._small, -1))
        if self._kind.grey:
            return levels[..., 0]
        shares = np.zeros((1, levels.shape[2]), np.float32)
        shares[:, :3] = 1 / 3
        return np.asarray(cv2.transform(levels, shares), np.float32)

    def _white_in(self, small: Array, gains: Sequence[float]) -> tuple[Floats, NDArray[np.uint8]]:
        """The brightest channel, white = 255, and where it may be cut off, 1 there."""
        brightest = self._levels(highest(small, self._kind))
        return brightest, (brightest >= _WHITE * _TOP * min((1.0, *gains))).astype(np.uint8)

    def _levels(self, samples: Array) -> Floats:
        return np.minimum(samples * np.float32(_TOP / self._white), np.float32(_TOP), dtype=np.float32)

    def _touched_by(self, mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """The cells in whose windows something is that is 1 in a mask, H x W."""
        small = np.asarray(cv2.resize(mask.astype(np.float32), self._small[::-1], interpolation=cv2.INTER_AREA), np.float32)
        return self._windowed(small) > _TOUCHED

    def _windowed(self, plane: Floats) -> Floats:
        half = cv2.resize(plane, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) if min(plane.shape) > 1 else plane
        smooth = cv2.GaussianBlur(half, (0, 0), _WINDOW / 2)
        return np.asarray(cv2.resize(smooth, self._cells[::-1], interpolation=cv2.INTER_AREA), np.float32)

    def find(self, order: Callable[[], Sequence[int]], strayed: Mapping[int, NDArray[np.uint8]]) -> None:
        """Find where each frame blooms, after the last one was looked at.

        Args:
            order: Gives the frames' numbers in the order in which they are sharp, either way round; called only where two
                frames show white.
            strayed: Where something strayed into a frame, by its number, H x W, 1 there: that is darker, but no smaller light.
        """
        for index, where in strayed.items():
            self._means[index][self._touched_by(where)] = np.inf
        self._count = len(self._means)
        if len(self._details) > 1:
            self._find_in([index for index in order() if index in self._means])
        self._means.clear()
        self._details.clear()

    def _find_in(self, order: Sequence[int]) -> None:
        none = np.zeros(self._cells, np.float32)
        means = np.stack([self._means[index] for index in order])
        details = np.stack([self._details.get(index, none) for index in order])
        places = details.max(0) > 0
        means, details = means[:, places], details[:, places]
        details[np.isinf(means)] = np.inf  # a frame that shows nothing is passed over
        for place, index in enumerate(order):
            if index in self._details:
                share = np.maximum(*(_larger_than(place, step, means, details) for step in (-1, 1)))
                if share.any():
                    self._found[index] = np.zeros(self._cells, np.float16)
                    self._found[index][places] = share

    @property
    def lift(self) -> float:
        """By what all weights are to be multiplied, a power of two; 1 where nothing blooms.

        The least that a score gives is only 180 times what a frame that blooms counts.
        """
        return float(2 ** np.floor(np.log2(np.clip(_HELD / max(1, self._count), 1, _LIFT)))) if self._found else 1.0

    def bound(self, index: int, frame: Array, gains: Gains = _NO_GAINS) -> Floats | None:
        """The most that a frame's weights, times `lift`, are to be, H x W; None: it blooms nowhere. After `find`.

        Args:
            index, frame, gains: As `look_at` was given them.
        """
        found = self._found.get(index)
        if found is None:
            return None
        white = self._white_in(self._reduced(frame), gains.get(index, ()))[1]
        if not white.any():
            return None
        near = cv2.blur(cv2.dilate(white, _AROUND).astype(np.float32), (3, 3))
        share = cv2.resize(found.astype(np.float32), near.shape[::-1], interpolation=cv2.INTER_LINEAR) * near
        at_full_size = cv2.resize(share, self._size[::-1], interpolation=cv2.INTER_LINEAR)
        # The root: half a doubt is to weigh more than what any score is worth.
        powers = _MOST_WEIGHT + (_LEAST_WEIGHT - _MOST_WEIGHT) * np.sqrt(np.maximum(at_full_size, 0))
        bound = np.power(np.float32(10), powers) * np.float32(self.lift)
        bound[powers <= _LEAST_WEIGHT] = 10.0**_LEAST_WEIGHT
        return np.asarray(bound, np.float32)


def _larger_than(place: int, step: int, means: Floats, details: Floats) -> Floats:
    """How surely a frame's lights are larger than in one of the frames on one side, places in [0, 1].

    Args:
        place: The frame's, in the order of focus.
        step: 1 or -1: the side.
        means, details: Frames x places: infinite where a frame shows nothing.
    """
    own, detail = means[place], details[place]
    larger = np.zeros(own.shape, np.float32)
    lowest, least = own.copy(), detail.copy()
    most = np.where(np.isfinite(details), details, 0).max(0)
    enough = np.where(np.isfinite(own), np.maximum(_STAYS * detail, _SHARP * most), np.inf)
    other = place + step
    while 0 <= other < len(means):
        np.minimum(least, details[other], out=least)
        alive = least > enough
        if not alive.any():
            break
        lower = alive & (means[other] <= lowest) & np.isfinite(means[other])
        np.minimum(lowest, means[other], out=lowest)
        if lower.any():
            less = own[lower] - means[other][lower]
            apart = np.clip((less - _LEAST) / _RANGE, 0, 1)
            doubt = np.clip(2 - less / (_FLICKER * own[lower]), 0, 1)
            stays = np.clip((least[lower] / detail[lower] - (_STAYS + (_ALL - _STAYS) * doubt)) / _STAYS_RANGE, 0, 1)
            larger[lower] = np.maximum(larger[lower], apart * stays)
        other += step
    return larger
