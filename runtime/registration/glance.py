"""A glance at frames that nobody asked to register: do they lie apart all the same? In milliseconds, for every pair takes one.

Most frames lie where they should, and pictures of a quarter of the pixels show it: the first step of an estimate that begins
with no motion at all goes less far than would be told, or the frames agree no better after its last one. Of 300 moves of 0.8
to 40 pixels, made of forty real and made pairs, whatever the estimate from all the pixels told was a first step of at least
0.95 times the distance, and at most 0.87 of the disagreement was left after the last one. Only what both leave open is
estimated from all the pixels, and from this step on: without the search for a start it takes two thirds of the time and told
the same.
"""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array, Matrix
from ufafuse.runtime.frames import FrameKind, luma, reduced_size
from ufafuse.runtime.registration.align import agreement, comparable, estimate_pictures
from ufafuse.runtime.registration.covering import farthest_move
from ufafuse.runtime.registration.guesses import phase_shift, scaling
from ufafuse.runtime.registration.refine import Compared, first_step, without_doubt

PIXELS = 65_536
_FINGERPRINT_PIXELS = 16_384
_MOTION = "affine"
_SURELY_BETTER = 0.7  # of the disagreement, that may be left before somebody is warned
_SEEN = 1.5  # pixels: from here on a shift is told
_SEEN_AT_GLANCE = 0.15  # pixels of the picture that is glanced at
_SURELY_STILL = 0.8  # of what would be told: a first step below it ends the matter
_SURELY_NO_BETTER = 0.93  # of the disagreement in those pictures, as `_SURELY_BETTER`
_COARSELY = 0.75  # pixels of the coarsest picture, an eighth of a frame's of 520 x 520: a shift beyond it is no small one
_FAR = 4.0  # pixels of the picture that is glanced at: a first step beyond it may lead anywhere
_LEAST_SIDE = 64


def unaligned_by(near: Array, other: Array, kind: FrameKind) -> float:
    """Pixels that the farthest corner would have to move, by a glance at small pictures; 0 where no shift is seen.

    Args:
        near, other: As `frames.check_frames` passed them.
        kind: What they are.
    """
    size = near.shape[:2]
    a, b = (glanced(frame, kind, PIXELS) for frame in (near, other))
    seen = max(_SEEN, _SEEN_AT_GLANCE * max(1.0, (size[0] * size[1] / PIXELS) ** 0.5))
    start, no_better = _first_guess(a, b)
    if start is not None:
        scale = scaling(size, a.shape)
        still = farthest_move(scale @ start @ np.linalg.inv(scale), size) < _SURELY_STILL * seen
        if still or no_better():
            return 0.0
        if farthest_move(start, a.shape) > _FAR:
            start = None
    found = estimate_pictures(a, b, size, _MOTION, better=_SURELY_BETTER, start=start)
    return found.moved if found.moved >= seen else 0.0


def glanced(frame: Array, kind: FrameKind, pixels: int) -> Array:
    """As `align.comparable`, in a third of the time: halved as often as that goes, and then reduced.

    Args:
        frame, kind: As `unaligned_by`.
        pixels: How many the picture has, at most about.
    """
    grey = halved(luma(frame, kind), pixels)
    enough = grey.size <= pixels
    reduced = grey if enough else cv2.resize(grey, reduced_size(grey.shape, pixels), interpolation=cv2.INTER_AREA)
    return np.multiply(reduced, np.float32(1 / kind.unit), dtype=np.float32)


def fingerprint(frame: Array, kind: FrameKind) -> Array:
    """What tells which frames of a stack are alike: their scalar product is the correlation of small pictures of the two.

    Those are not made equally sharp, as `Alignment.confidence` is of: frames near each other in focus agree best.

    Returns:
        float32, one axis, of mean 0 and length 1 (all 0 where the frame is flat).
    """
    # Halved only as far as leaves the last step its averages over whole pixels and parts of them: a quarter of the time.
    grey = halved(luma(frame, kind), 4 * _FINGERPRINT_PIXELS)
    small = cv2.GaussianBlur(comparable(grey, replace(kind, channels=0), _FINGERPRINT_PIXELS), (0, 0), 1.0)
    small = (small - small.mean()).ravel()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-12), np.float32)


def halved(frame: Array, pixels: int) -> Array:
    """A frame of half of the sides, as often as ``pixels`` of them are left; an odd row or column at the end is cut off."""
    while (frame.shape[0] // 2) * (frame.shape[1] // 2) >= pixels:
        height, width = frame.shape[0] // 2, frame.shape[1] // 2
        frame = cv2.resize(frame[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
    return frame


def _first_guess(a: Array, b: Array) -> tuple[Matrix | None, Callable[[], bool]]:
    """How ``b`` lies to ``a``, where that is a small motion (None: it may be a large one, or nothing tells), and a question.

    That is whether the two surely agree no better after any small motion.
    """
    if min(a.shape) < _LEAST_SIDE:
        return None, lambda: False
    a, b = cv2.pyrDown(a), cv2.pyrDown(b)
    if np.hypot(*phase_shift(cv2.pyrDown(a), cv2.pyrDown(b))[:2, 2]) > _COARSELY:
        return None, lambda: False
    compared = Compared(a, b)
    step = first_step(compared, _MOTION)
    if step is None:
        return None, lambda: False
    twice = np.diag([2.0, 2.0, 1.0])  # cv2.pyrDown keeps pixel 0 at pixel 0

    def no_better() -> bool:
        left = 1 - agreement(compared, without_doubt(compared, _MOTION))
        return left > _SURELY_NO_BETTER * (1 - agreement(compared, np.eye(3)))

    return np.asarray(twice @ step @ np.linalg.inv(twice)), no_better
