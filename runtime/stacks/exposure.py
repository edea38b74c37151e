"""Frames whose exposure failed: a flash that did not fire, a lamp that went out, a shutter that stayed open.

Such a frame says nothing that another does not say better, and cannot be matched to the others; but dark without any detail is
what a silhouette against the light looks like, so the network would take it for the sharp one. It is left out, and told.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array, Floats
from ufafuse.runtime.frames import FrameKind, in_text, luma, reduced_size
from ufafuse.runtime.registration.gain import MOST_GAIN

FEWEST = 3  # frames: of two nobody knows which one failed
_PIXELS = 4_096  # of the small pictures that are compared
_SAMPLED = 65_536  # pixels that they are averaged from
_DARK = 0.04  # of white: what is darker is noise
_LEAST_SHARE = 0.01  # of the picture, that must be lighter than this in the middle of the frames
_HIDDEN = -1.0
BLACK = 0.01  # of the others' brightness
_IS_BLACK = "it is black where the others are not"
_LIT, _LIT_SHARE = 0.25, 1e-4  # of the brightest light of the others, and of the picture: more light than that is no failure


class Exposures:
    """What the frames of a stack usually look like, and which of them do not.

    Args:
        frames: Some of the frames, H x W [x 1, 3 or 4], from all over the stack.
        kind: What they are.
        fewest: Nothing is said of fewer.
    """

    def __init__(self, frames: Sequence[Array], kind: FrameKind, *, fewest: int = FEWEST) -> None:
        self._kind = kind
        small = np.stack([_small(frame, kind) for frame in frames])
        self._usual = np.partition(small, len(frames) // 2, axis=0)[len(frames) // 2]
        self._usable = self._usual > _DARK
        self._known = len(frames) >= fewest and bool(self._usable.mean() >= _LEAST_SHARE)

    def failed(self, frame: Array) -> str:
        """Why a frame can be of no use, in a few words; empty where it can.

        That is where it is darker or lighter than the middle of the frames by more than the gain of a frame can be matched:
        the median of the ratios of small pictures, which focus and motion do not disturb. Lamps in the night light up much of a
        frame that has them out of focus, and little of the one that has them sharp: where light is as bright, nothing failed.
        """
        if not self._known:
            return ""
        here = _small(frame, self._kind)
        shown = self._usable & (here != _HIDDEN)
        if shown.mean() < _LEAST_SHARE:
            return ""
        ratios = here[shown] / self._usual[shown]
        ratio = float(np.partition(ratios, len(ratios) // 2)[len(ratios) // 2])
        if ratio > MOST_GAIN:
            return f"it has {ratio:.0f} times the others' brightness"
        if ratio >= 1 / MOST_GAIN or self._lit(frame):
            return ""
        if ratio < BLACK:
            return _IS_BLACK
        return f"it has {100 * ratio:.0f} % of the others' brightness"

    def _lit(self, frame: Array) -> bool:
        bright = luma(frame, self._kind) >= _LIT * float(self._usual.max()) * self._kind.unit
        return float(bright.mean()) > _LIT_SHARE


def black_of_two(frames: Sequence[Array], kind: FrameKind, names: Sequence[str]) -> str:
    """What to tell of a pair of which one frame is black where the other is not; empty of any other."""
    for frame, other, name in zip(frames, reversed(frames), names, strict=True):
        if Exposures([other], kind, fewest=1).failed(frame) == _IS_BLACK:
            return black_words(name)
    return ""


def black_words(name: str) -> str:
    """What is told of the black frame of a pair."""
    return f"{in_text(name)} is black: there is nothing in it to fuse: take the other frame as it is."


def _small(frame: Array, kind: FrameKind) -> Floats:
    """A small grey picture, the level that the network sees as 1 at 1; `_HIDDEN` where alpha hides some of it."""
    step = max(1, int((frame.shape[0] * frame.shape[1] / _SAMPLED) ** 0.5))
    sample = np.ascontiguousarray(frame[::step, ::step])
    size = reduced_size(sample.shape, _PIXELS)
    grey = cv2.resize(np.asarray(luma(sample, kind), np.float32), size, interpolation=cv2.INTER_AREA)
    small = np.asarray(grey / np.float32(kind.unit), np.float32).reshape(size[::-1])
    if kind.channels == 4:
        shown = cv2.resize((sample[..., 3] > 0).astype(np.float32), size, interpolation=cv2.INTER_AREA).reshape(size[::-1])
        small[shown < 1] = _HIDDEN
    return small
