"""Registering one frame to another: a camera moves, and a lens that is refocused changes the picture's scale.

The estimate is OpenCV's enhanced correlation coefficient (Evangelidis and Psarakis, "Parametric image alignment using
enhanced correlation coefficient maximization", PAMI 2008), which no gain or offset between the frames disturbs, on a pyramid
(see `ufafuse.runtime.registration.guesses`). It is believed only where the frames agree clearly better after it than before.
The pictures that are compared are H x W float32, grey, white = 1.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array, Matrix
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.frames import FrameKind, luma, reduced_size, to_grey
from ufafuse.runtime.registration.covering import Crop, farthest_move, stretch, valid_crop
from ufafuse.runtime.registration.guesses import MOTIONS, first_guess, other_guesses, scaling
from ufafuse.runtime.registration.parts import left_in_parts
from ufafuse.runtime.registration.periods import beside, periods
from ufafuse.runtime.registration.refine import MOST_STRETCHED, Compared, refined
from ufafuse.runtime.registration.votes import guess_of_most

# Frames are compared in pictures with a twelfth of their pixels, within limits. On made pairs of 1.5 megapixels with blurs of
# 2.5 and 6 pixels the farthest corner was 0.01 to 0.09 pixels wrong with 262,144, 0.01 to 0.13 with a million (six times the
# work), 0.05 to 0.07 with 131,072 (half of it).
_SHARE_COMPARED = 1 / 12
_LEAST_COMPARED, _MOST_COMPARED = 262_144, 1_000_000
# Of the disagreement (1 - correlation) of two frames made equally sharp, made pairs keep 0.005 to 0.78 where a shift of 0.6 to
# 4 pixels, a scale of 1.5 % or a turn of 0.4 degrees was undone, and 0.94 and more where there was none; a real stack keeps
# 0.25 to 0.4.
_CLEARLY_BETTER = 0.85
# In the middle one of the parts: what pulls an estimate of frames that lie where they should, the edge
# of a cup or a light that blooms, is in a few parts and outweighs the rest. There 0.96 to 1.01 is left of it; where one of the
# frames was moved by half a pixel and more 0.94 at most.
_BETTER_IN_PARTS = 0.95
_ASTRAY = 1.2  # of the disagreement before: an estimate that leaves more of it went to a wrong place, not nowhere
_SURELY_THERE = 0.8  # correlation from which on another guess than the first is believed: of a net many places agree a little
_OF_ANOTHER_PERIOD = 0.7  # of the disagreement: of a net 0.4 to 0.65 was left at the right period, of a comb by chance 0.8
# Of frames that agree less, what most of their parts agree on is asked for, too. Neighbours of real stacks had 0.992 to 0.9999;
# where a subject moved by itself, or stood nearer, and took the estimate with it, they had 0.94 to 0.986.
_CLOSELY = 0.99
_DOUBTFUL = 0.9  # below it the other guesses are tried, too: of a comb the first one led to 0.1 to 0.9, the right one to 0.96
WORTH_A_WARP = 0.3  # pixels: below it the interpolation costs more than the shift
# A frame of 3 megapixels in colour takes 45 ms of one core and keeps 93 to 99 % of its local sharpness (RMS of the Laplacian,
# moves of photographs by fractions of a pixel); Lanczos's eight taps keep 97 to 100 % in 240 ms, which a stack or a live pair
# cannot spare; linear keeps 69 to 84 % in 17 ms.
INTERPOLATION = cv2.INTER_CUBIC
_FARTHEST = 0.15  # of the frame's diagonal, that a corner may move
_LEAST_SIDE = 32


@dataclass(frozen=True)
class Alignment:
    """How a frame lies to the near one.

    Args:
        motion: The model that was fitted, a key of `MOTIONS`, or ``"none"`` where the frame is left as it is.
        matrix: 3 x 3; takes a pixel (x, y, 1) of the near frame to its place in the other one.
        before, confidence: Correlation of the two, made equally sharp, in [-1, 1]: as they came, and after ``matrix``.
        moved: Pixels that the farthest corner moves.
        crop: Where both frames show the scene.
        refused: Why an estimate was not used; empty where it was, or none was needed.
        estimated: What was estimated between two frames, believed or not: as far as the picture tells it, and with all that
            the motion has; empty where that led astray, or nothing was. See `ufafuse.runtime.registration.slow`.
        spread: Of the latter as `refine.Refined`, in pixels of the frame; None: not known. See `registration.steady`.
    """

    motion: str
    matrix: Matrix
    before: float
    confidence: float
    moved: float
    crop: Crop
    refused: str = ""
    estimated: tuple[Matrix, ...] = ()
    spread: Matrix | None = None

    def to_json(self) -> dict[str, Any]:
        """For a report."""
        values = {"motion": self.motion, "before": round(self.before, 4), "confidence": round(self.confidence, 4)}
        values |= {"moved_px": round(self.moved, 2), "crop": list(self.crop), "matrix": self.matrix.round(8).tolist()}
        return values | ({"refused": self.refused} if self.refused else {})


def check_motion(motion: str) -> None:
    """Raises: InputError unless ``motion`` is a key of `MOTIONS`."""
    if motion not in MOTIONS:
        raise InputError(f"`align={motion}` is not known: choose off, {', '.join(MOTIONS)}.")


def estimate(near: Array, other: Array, kind: FrameKind, motion: str) -> Alignment:
    """How ``other`` lies to ``near``.

    Args:
        near, other: As `frames.check_pair` passed them.
        kind: What they are.
        motion: A key of `MOTIONS`: refocusing needs ``"affine"``.

    Raises:
        InputError: The motion is not known.
    """
    return estimate_neighbours([near, other], kind, motion)[0]


def estimate_neighbours(frames: Sequence[Array], kind: FrameKind, motion: str, *, threads: int = 1) -> list[Alignment]:
    """How each frame of a stack but the first lies to the one before it.

    Args:
        frames: As `frames.check_frames` passed them.
        kind: What they are.
        motion: As `estimate`.
        threads: How many pairs are looked at side by side.

    Raises:
        InputError: The motion is not known.
    """
    size = frames[0].shape[:2]
    pixels = compared_pixels(size)
    with ThreadPoolExecutor(threads) as pool:
        pictures = list(pool.map(lambda frame: comparable(frame, kind, pixels), frames))
    return neighbours_of(pictures, size, motion, threads=threads)


def neighbours_of(pictures: Sequence[Array], size: tuple[int, ...], motion: str, *, threads: int = 1) -> list[Alignment]:
    """As `estimate_neighbours`, from what `comparable` made of the frames; ``size`` is theirs. Raises: InputError."""
    check_motion(motion)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda pair: estimate_pictures(pair[0], pair[1], size, motion), pairwise(pictures)))


def compared_pixels(size: tuple[int, ...]) -> int:
    """How many pixels the pictures have by which frames of this (height, width) are compared."""
    return int(np.clip(size[0] * size[1] * _SHARE_COMPARED, _LEAST_COMPARED, _MOST_COMPARED))


def estimate_pictures(
    a: Array,
    b: Array,
    size: tuple[int, ...],
    motion: str,
    *,
    better: float = _CLEARLY_BETTER,
    start: Matrix | None = None,
) -> Alignment:
    """As `estimate`, from what `comparable` made of two frames of ``size``.

    Args:
        a, b: The pictures, with `compared_pixels` of them where the result is to move a frame.
        size: (height, width) of the frames.
        motion: As `estimate`.
        better: What may be left of the disagreement before the estimate is believed.
        start: Takes a pixel of ``a`` to about its place in ``b``; None: that is looked for.
    """
    if min(size) < _LEAST_SIDE:
        return unmoved(size, _as_they_came(a, b), f"frames below {_LEAST_SIDE} pixels are too small to register")
    guess = first_guess(a, b, motion) if start is None else start
    if guess is None:
        found, astray = unmoved(size, _as_they_came(a, b), "the frames have too little in common"), True
    else:
        found, astray = _judged(a, b, size, motion, guess, better)
    if start is not None:
        return found
    if astray or (found.confidence < _DOUBTFUL and (found.motion != "none" or found.refused != "")):
        others = [_judged(a, b, size, motion, other, better)[0] for other in other_guesses(a, b, motion)]
        believed = [other for other in [found, *others] if not other.refused and other.confidence >= _SURELY_THERE]
        found = max(believed, key=lambda other: other.confidence, default=found)
    if found.confidence < _CLOSELY:
        found = _as_most(a, b, size, motion, found, better)
    return _at_its_period(a, b, size, motion, found, better)


def _as_most(a: Array, b: Array, size: tuple[int, ...], motion: str, found: Alignment, better: float) -> Alignment:
    """What was found, or what comes of the shift that most parts have, where that is better in most of them."""
    guess = guess_of_most(a, b)
    if guess is None:
        return found
    instead, _ = _judged(a, b, size, motion, guess, better)
    if instead.refused:
        return found
    scale = scaling(size, a.shape)
    here, there = (np.linalg.inv(scale) @ each.matrix @ scale for each in (found, instead))
    # How the two are made equally sharp depends on where they lie when that is decided: neither may gain by it.
    for first in (here, there):
        compared = Compared(a, b)
        compared.at(first)
        if left_in_parts(compared, there, here) > _BETTER_IN_PARTS:
            return found
    return instead


def _at_its_period(a: Array, b: Array, size: tuple[int, ...], motion: str, found: Alignment, better: float) -> Alignment:
    """What was found, or, of a pattern that repeats, the motion some periods away by which all else agrees, too."""
    moves = periods(a) if found.confidence >= _SURELY_THERE else []
    if not moves:
        return found
    scale = scaling(size, a.shape)
    here = np.linalg.inv(scale) @ found.matrix @ scale
    half = np.diag([0.5, 0.5, 1.0])  # of what does not repeat enough is left there, in a quarter of the time
    compared = Compared(cv2.pyrDown(a), cv2.pyrDown(b))

    def left(matrix: Matrix) -> float:
        return 1 - agreement(compared, half @ matrix @ np.linalg.inv(half))

    now = left(here)
    there = min(beside(here, moves), key=left)
    if left(there) > _OF_ANOTHER_PERIOD * now:
        return found
    instead, _ = _judged(a, b, size, motion, there, better)
    return found if instead.refused or 1 - instead.confidence > _OF_ANOTHER_PERIOD * (1 - found.confidence) else instead


def _judged(a: Array, b: Array, size: tuple[int, ...], motion: str, guess: Matrix, better: float) -> tuple[Alignment, bool]:
    """What comes of a guess at the motion between two pictures, and whether it led astray: another one may do better."""
    compared = Compared(a, b)
    found, whole, spread = refined(compared, guess, motion)
    scale = scaling(size, a.shape)
    matrix, whole = (scale @ each @ np.linalg.inv(scale) for each in (found, whole))
    moved, crop = farthest_move(matrix, size), valid_crop(matrix, size)
    after, before = agreement(compared, found), agreement(compared, np.eye(3))
    if crop is None or moved > _FARTHEST * float(np.hypot(size[0], size[1])):
        why = f"the estimate moves a corner by {moved:.0f} pixels, which is no registration"
        # Anew: how the two are made equally sharp was decided where they do not lie.
        return unmoved(size, _as_they_came(a, b), why), True
    astray = 1 - after > _ASTRAY * (1 - before) or stretch(whole) > MOST_STRETCHED
    kept: dict[str, Any] = {} if astray else {"estimated": (matrix, whole / whole[2, 2])}
    if kept and spread is not None:
        kept["spread"] = spread * (max(size[:2]) / max(a.shape))
    if moved < WORTH_A_WARP:
        return replace(unmoved(size, before, ""), **kept), False
    if 1 - after > better * (1 - before):
        why = f"after a move of {moved:.1f} pixels the frames agree no better"
        return replace(unmoved(size, before, why), **kept), astray
    if left_in_parts(compared, found) > _BETTER_IN_PARTS:
        why = f"after a move of {moved:.1f} pixels the frames agree no better in most of their parts"
        return replace(unmoved(size, before, why), **kept), False
    return Alignment(model_of(found, motion), matrix, before, after, moved, crop, **kept), astray


def model_of(matrix: Matrix, motion: str) -> str:
    """What a motion that was fitted turned out to be: itself, or a shift alone."""
    shifted_only = np.allclose(matrix[:2, :2], np.eye(2), atol=1e-9) and np.allclose(matrix[2, :2], 0, atol=1e-12)
    return "translation" if shifted_only else motion


def _as_they_came(a: Array, b: Array) -> float:
    return agreement(Compared(a, b), np.eye(3))


def chained(steps: Sequence[Alignment], size: tuple[int, ...], reference: int = 0) -> list[Alignment]:
    """How each other frame of a stack lies to the reference, from how each frame lies to the one before it.

    Args:
        steps: The estimates between neighbours.
        size: (height, width) of the frames.
        reference: The frame that stays as it is.

    Returns:
        As many alignments, in the frames' order without the reference; where a step was refused, the frame is taken to lie
        like its neighbour on the reference's side.
    """
    backwards = _outwards([inverse(step, size) for step in steps[:reference][::-1]], size)
    return backwards[::-1] + _outwards(steps[reference:], size)


def best_covered(steps: Sequence[Alignment], size: tuple[int, ...]) -> int:
    """The frame of a stack of which the others show most, the first of equals: most often the one of largest scale.

    Where another frame shows nothing, the reference's pixels have to stand, sharp or not: seven frames that were 3.6 %
    apart in scale got blurred margins of 27 pixels in the middle one's geometry, and none in the first one's. In sharpness the
    two were within 1 % of each other (local RMS of the Laplacian, after both were registered to a third picture).

    Args:
        steps, size: As `chained`.
    """
    areas = []
    for reference in range(len(steps) + 1):
        crop = Crop(0, size[0], 0, size[1])
        for alignment in chained(steps, size, reference):
            crop = crop.within(alignment.crop)
        areas.append((crop.bottom - crop.top) * (crop.right - crop.left))
    return int(np.argmax(areas))


def _outwards(steps: Sequence[Alignment], size: tuple[int, ...]) -> list[Alignment]:
    """Products of the steps that lead away from the reference."""
    found, last = list[Alignment](), unmoved(size, 1.0, "")
    for step in steps:
        last = followed(last, step, size)
        found.append(last)
    return found


def followed(before: Alignment, step: Alignment, size: tuple[int, ...]) -> Alignment:
    """How a frame lies to the reference, from how its neighbour does and from the step between the two."""
    motion = step.motion if step.motion != "none" else before.motion
    return replace(at_place(step, step.matrix @ before.matrix, size, motion), estimated=(), spread=None)


def at_place(step: Alignment, matrix: Matrix, size: tuple[int, ...], motion: str) -> Alignment:
    """How a frame lies to the reference, at a place that is known: ``step`` is how it was found."""
    matrix = matrix / matrix[2, 2]
    crop, distance = valid_crop(matrix, size), farthest_move(matrix, size)
    if crop is None or distance < WORTH_A_WARP:
        return replace(step, motion="none", matrix=matrix, moved=0.0, crop=Crop(0, size[0], 0, size[1]))
    return replace(step, motion=motion, matrix=matrix, moved=distance, crop=crop)


def inverse(step: Alignment, size: tuple[int, ...]) -> Alignment:
    """The same step seen from the other frame."""
    matrix, *estimated = (_inverse(each) for each in (step.matrix, *step.estimated))
    spread = None if step.spread is None else -step.spread
    return replace(step, matrix=matrix, moved=farthest_move(matrix, size), estimated=tuple(estimated), spread=spread)


def _inverse(matrix: Matrix) -> Matrix:
    found: Matrix = np.asarray(np.linalg.inv(matrix), np.float64)
    return found / found[2, 2]


def unmoved(size: tuple[int, ...], correlation: float, why: str) -> Alignment:
    """A frame that is left as it is, ``why`` where an estimate was refused."""
    return Alignment("none", np.eye(3), correlation, correlation, 0.0, Crop(0, size[0], 0, size[1]), why)


def comparable(frame: Array, kind: FrameKind, pixels: int) -> Array:
    """A grey picture of at most about ``pixels`` pixels, H x W float32 in [0, 1], to compare frames by."""
    if frame.shape[0] * frame.shape[1] <= pixels:
        return to_grey(frame, kind)
    side = reduced_size(frame.shape, pixels)
    reduced: Array = np.asarray(cv2.resize(luma(frame, kind), side, interpolation=cv2.INTER_AREA))
    return np.multiply(reduced, np.float32(1 / kind.unit), dtype=np.float32)


def agreement(compared: Compared, matrix: Matrix) -> float:
    """Correlation of the near picture and the moved other one where both show the scene, made equally sharp; 0 if flat."""
    crop = valid_crop(matrix, compared.shape)
    if crop is None:
        return 0.0
    alike = compared.at(matrix)
    x, y = (picture[crop.slices].ravel().astype(np.float64) for picture in (alike.near, alike.other))
    x, y = x - x.mean(), y - y.mean()
    # Not by BLAS, whose threads wait for each other busily: beside other work a product took 0.6 s instead of a millisecond.
    xx, yy, xy = (float(np.einsum("i,i->", a, b)) for a, b in ((x, x), (y, y), (x, y)))
    norm = float(np.sqrt(xx * yy))
    return xy / norm if norm > 0 else 0.0


def moved_like(frame: Array, near: Array, alignment: Alignment, kind: FrameKind) -> Array:
    """``frame`` in the near frame's geometry; where it shows nothing, the near frame's pixels.

    Args:
        frame, near: As `frames.check_pair` passed them.
        alignment: What `estimate` found.
        kind: What they are.

    Returns:
        A new frame, or ``frame`` itself where nothing moves.
    """
    if alignment.motion == "none":
        return frame
    moved = warped(frame, alignment, kind)
    top, bottom, left, right = alignment.crop
    for outside in (np.s_[:top], np.s_[bottom:], np.s_[top:bottom, :left], np.s_[top:bottom, right:]):
        moved[outside] = near[outside]
    return moved


def warped(frame: Array, alignment: Alignment, kind: FrameKind) -> Array:
    """A new frame in the other one's geometry, its last pixels repeated where it shows nothing, in the range of ``kind``."""
    size = frame.shape[1], frame.shape[0]
    flags = INTERPOLATION | cv2.WARP_INVERSE_MAP
    source = np.ascontiguousarray(frame)
    result = cv2.warpPerspective(source, alignment.matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    result = result.reshape(frame.shape)
    if kind.dtype != np.uint8:  # the interpolation overshoots at edges; uint8 saturates by itself
        colours = result[..., :3] if kind.channels == 4 else result
        np.clip(colours, kind.dtype.type(kind.low), kind.dtype.type(kind.white), out=colours)
    if kind.channels == 4 and kind.dtype == np.float32:
        np.clip(result[..., 3], 0, 1, out=result[..., 3])
    return result
