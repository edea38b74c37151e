"""How noisy a stack's frames are, and how much averaging that asks for.

A frame's noise is what a mask that knows no slopes and no curves (Immerkaer, Computer Vision and Image Understanding 1996)
leaves of small patches; fine texture is left by it too. But in a stack each place is out of focus in some frames, and shows its
noise alone there: of all frames the first quartile is taken, patch by patch, and of the patches the median. On drawn stacks
with noise of 1 to 10 levels it told 1.0 to 9.6; what JPEG has smeared it hardly sees (8 levels told as 3.7 after quality 90).

With noise of up to 3.5 levels the best weights are those that were learnt; from there on averaging more gains what it costs
below. Six kinds of drawn scenes, stacks of 3, 6 and 14 frames: 0.1, 0.2 and 0.4 dB at 4.5 levels, 0.4, 0.8 and 1.2 at 6, 0.8,
1.3 and 1.8 at 8, on faint surfaces up to 6 dB. Only a surface that is white noise itself lost some, 0.5 dB at most.

Where some frames are much noisier than the others (another sensitivity, or too dark and made brighter), their noise is sharper
than what is out of focus: the network would take it for detail. So it judges them without most of it, and the picture is made
of them as they are. Three drawn stacks of which each second frame has noise of 10 levels gain 7.6, 2.4 and 1.7 dB.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Floats
from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.stacks.gaps import FEWEST
from ufafuse.runtime.stacks.options import MOST_SMOOTHING

_SIDE, _ACROSS = 24, 8  # pixels of a patch, and patches along each side
_DARK, _LIGHT = 6.0, 240.0  # levels of 255: means of patches beyond which noise is cut off
_TO_SIGMA = 1 / (6 * 0.6745)  # of the mask's median response: the mask's own length, and where half of a normal law lies
_QUARTILE = 0.25
_RESAMPLED = 1.42  # cubic interpolation leaves 0.86 of white noise, and of the mask's response 0.6, over all shares of a pixel
# Of noise, half is left at half of the size (0.45 to 0.6); of texture, as lenses draw it, 0.7 of it to 4 times as much.
_MOST_HALVED = 0.65
_NOISY, _NOISIER = 2.5, 2.0  # levels of noise, and times the quietest frame's, that a network would take for detail
_BANDS = (0.86, 0.22, 0.1)  # of white noise's standard deviation, in the octaves of a pyramid
_CORED = 2.5  # of that, what is taken from each detail
_BEARABLE, _SLOPE = 3.5, 2.0  # levels of noise without smoothing, and how much more each further one asks for


class FrameNoise:
    """The noise of a stack's frames, which come one after the other.

    Args:
        size: Their height and width.
        kind: What they are.
    """

    def __init__(self, size: tuple[int, int], kind: FrameKind) -> None:
        self._kind = kind
        self._side = min(_SIDE, *size)
        self._tops, self._lefts = (_spread(length, self._side) for length in size)
        self._found: list[Floats] = []

    def add(self, frame: Array, covered: NDArray[np.uint8] | None, *, moved: bool = False) -> None:
        """Look at a frame.

        Args:
            frame: As the network sees it.
            covered: H x W of 0 and 1: where it shows something (None: everywhere).
            moved: It was registered, by parts of pixels.
        """
        if self._side < 3:  # the mask has as many
            return
        patches = self._patches_of(frame)
        sigma = _left_of(patches) * np.float32(_RESAMPLED if moved else 1)
        mean = patches.mean((1, 2))
        sigma[(mean < _DARK) | (mean > _LIGHT)] = np.nan
        if covered is not None:
            sigma[self._patches(covered).min((1, 2)) == 0] = np.nan
        self._found.append(sigma)

    def of(self, frame: Array) -> float:
        """The white noise of one frame that was not moved, by its quieter patches, in levels of 255; 0 where none is told.

        It may be in focus everywhere: what is left at half of its size tells noise from texture.
        """
        sigma, halved = self._quieter(frame)
        return sigma if halved <= _MOST_HALVED * sigma < np.inf else 0.0

    def at_most(self, frame: Array) -> float:
        """What `of` cannot be more than: texture is left by the mask, too. Infinite where nothing tells."""
        return self._quieter(frame)[0]

    def _quieter(self, frame: Array) -> tuple[float, float]:
        """What the mask leaves of the quieter patches of one frame, and of half of its size."""
        if self._side < 2 * 3:  # half of a patch has to hold the mask
            return np.inf, np.inf
        patches = self._patches_of(frame)
        mean = patches.mean((1, 2))
        telling = (mean >= _DARK) & (mean <= _LIGHT)
        if self._kind.channels == 4:  # what alpha hides was evened
            telling &= self._patches(frame[..., 3]).min((1, 2)) > 0
        patches = patches[telling]
        if not len(patches):
            return np.inf, np.inf
        even = patches[:, : self._side // 2 * 2, : self._side // 2 * 2]
        quads = even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]
        half = np.asarray(quads / 4, np.float32)
        sigma, halved = (float(np.sort(_left_of(each))[int(_QUARTILE * len(each))]) for each in (patches, half))
        return sigma, halved

    def _patches_of(self, frame: Array) -> Floats:
        plane = frame[..., 1] if frame.ndim == 3 and self._kind.channels >= 3 else frame.reshape(frame.shape[:2])
        return np.asarray(self._patches(plane).astype(np.float32) * np.float32(255 / self._kind.unit), np.float32)

    def _patches(self, plane: Array) -> Array:
        side = self._side
        return np.stack([plane[y : y + side, x : x + side] for y in self._tops for x in self._lefts])

    def sigma(self) -> float:
        """Its standard deviation, in levels of 255 as the network sees the frames; 0 where too few frames or patches tell."""
        if len(self._found) < FEWEST:
            return 0.0
        found = np.sort(np.stack(self._found), axis=0)[int(_QUARTILE * len(self._found))]  # what does not tell comes last
        found = found[np.isfinite(found)]
        return float(np.partition(found, len(found) // 2)[len(found) // 2]) if len(found) else 0.0


def is_noisier(sigma: float, quietest: float) -> bool:
    """Whether a frame's noise, in levels of 255, is so much more than the quietest one's that it looks like detail."""
    return sigma >= max(_NOISY, _NOISIER * quietest)


def without_noise(frame: Array, sigma: float) -> Array:
    """A copy of a frame, H x W [x 1, 3 or 4], without most of its noise of ``sigma`` levels; fine detail goes with it."""
    made = frame.copy()
    colours = made.reshape(*made.shape[:2], -1)[..., :3]
    details = list[Floats]()
    rest: Floats = colours.astype(np.float32)
    for _ in _BANDS:
        low = np.asarray(cv2.pyrDown(rest), np.float32)
        details.append(rest - _larger(low, rest))
        rest = low.reshape(*low.shape[:2], -1)
    for share, detail in zip(_BANDS[::-1], details[::-1], strict=True):
        kept = np.sign(detail) * np.maximum(np.abs(detail) - np.float32(_CORED * share * sigma), 0)
        rest = np.asarray(_larger(rest, detail) + kept, np.float32)
    colours[:] = rest if frame.dtype == np.float32 else np.rint(np.clip(rest, 0, np.iinfo(frame.dtype).max))
    return made


def _larger(small: Floats, like: Floats) -> Floats:
    return np.asarray(cv2.pyrUp(small, dstsize=like.shape[1::-1]), np.float32).reshape(like.shape)


def _left_of(patches: Floats) -> Floats:
    """What of each patch is left by the mask, as the standard deviation of white noise that would leave as much."""
    across = patches[:, :, :-2] - 2 * patches[:, :, 1:-1] + patches[:, :, 2:]
    left = np.abs(across[:, :-2] - 2 * across[:, 1:-1] + across[:, 2:]).reshape(len(patches), -1)
    middle = left.shape[1] // 2
    return np.asarray(np.partition(left, middle, axis=1)[:, middle] * np.float32(_TO_SIGMA), np.float32)


def smoothing_for(sigma: float) -> float:
    """The `StackOptions.smoothing` that noise of ``sigma`` levels of 255 asks for, 1 to `MOST_SMOOTHING`, to a tenth."""
    return round(min(max(1 + _SLOPE * (sigma - _BEARABLE), 1.0), MOST_SMOOTHING), 1)


def _spread(length: int, side: int) -> list[int]:
    """Where patches begin, along a side of the frame."""
    count = min(_ACROSS, length // side)
    return [number * (length - side) // max(1, count - 1) for number in range(count)]
