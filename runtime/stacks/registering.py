"""Registering a stack frame by frame: each is compared with its neighbour on the reference's side, and let go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.registration.align import (
    Alignment,
    best_covered,
    comparable,
    compared_pixels,
    estimate_pictures,
    followed,
    inverse,
    neighbours_of,
    unmoved,
    warped,
)
from ufafuse.runtime.registration.covering import Crop
from ufafuse.runtime.registration.glance import fingerprint
from ufafuse.runtime.registration.slow import MOST_KEPT, Earlier, followed_slowly
from ufafuse.runtime.registration.steady import shows_something_else, steadied

Covered = NDArray[np.uint8]

KEPT_PICTURES = 8  # of earlier frames, where the memory may not grow with their number
# Of the disagreement with its neighbour: second takes of a slide had 0.05 to 0.2 of it with the frame that they repeat; in
# stacks that are in order (a board, a keyboard, drawn ones) no other frame agreed better than a neighbour.
_CLEARLY_NEARER = 0.5


@dataclass(frozen=True)
class Move:
    """How one frame is brought into the reference's geometry.

    Attributes:
        alignment: How it lies to the reference.
        left_out: Why it takes no part in the fusion; empty where it does.
        beside: The frame that it was compared with; None: it is the reference.
    """

    alignment: Alignment
    left_out: str = ""
    beside: int | None = None


def outwards(count: int, reference: int) -> Iterator[tuple[int, int | None]]:
    """The frames from the reference outwards, each with its neighbour on the reference's side (None: the reference)."""
    yield reference, None
    for index in range(reference + 1, count):
        yield index, index - 1
    for index in range(reference - 1, -1, -1):
        yield index, index + 1


def along_agreement(frames: Sequence[Array], kind: FrameKind, start: int | None) -> tuple[list[tuple[int, int | None]], bool]:
    """An order to register frames in, each with the earlier one that it agrees with best (a minimum spanning tree).

    Neighbours in the order given are preferred unless another frame agrees clearly better.

    Args:
        frames: In the order of focus, as far as it is known.
        kind: What they are.
        start: Which comes first; None: the one that agrees best with all others.

    Returns:
        Number and partner of each frame (None: the first has none), and whether all partners are neighbours.
    """
    count = len(frames)
    prints = np.stack([fingerprint(frame, kind) for frame in frames])
    apart = 1 - np.asarray(prints @ prints.T, np.float64)
    first = int(apart.sum(0).argmin()) if start is None else start
    beside = np.abs(np.subtract.outer(np.arange(count), np.arange(count))) == 1
    apart[beside] *= _CLEARLY_NEARER
    order: list[tuple[int, int | None]] = [(first, None)]
    placed, left = [first], [index for index in range(count) if index != first]
    while left:
        near = apart[np.ix_(placed, left)]
        row, column = np.unravel_index(int(near.argmin()), near.shape)
        order.append((left[column], placed[row]))
        placed.append(left.pop(int(column)))
    return order, all(partner is None or beside[index, partner] for index, partner in order)


def registered(
    frames: Sequence[Array],
    kind: FrameKind,
    motion: str,
    *,
    reference: int | None = None,
    order: Sequence[tuple[int, int | None]] | None = None,
    keep: bool = False,
    threads: int = 1,
) -> tuple[int, dict[int, Move]]:
    """How all frames of a stack lie, where they are at hand together.

    Args:
        frames: In the order of focus, as far as it is known.
        kind: What they are.
        motion: A key of `ufafuse.runtime.registration.guesses.MOTIONS`.
        reference: The frame that stays as it is; None: of more than two the one that the others cover best.
        order: As `along_agreement` gives it; None: each frame is compared with its neighbour.
        keep: As `Chain` takes it.
        threads: How many pairs are looked at side by side.

    Returns:
        The number of the reference, and the moves of all frames, in their order.
    """
    count, size = len(frames), frames[0].shape[:2]
    first = reference if reference is not None else (count // 2 if count > 2 else 0)
    order = list(outwards(count, first)) if order is None else order
    known: dict[tuple[int, int], Alignment] = {}
    in_line = all(partner is None or abs(index - partner) == 1 for index, partner in order)
    with ThreadPoolExecutor(threads) as pool:  # side by side, as nothing depends yet on what was found
        portraits = list(pool.map(lambda frame: Portrait.at(frame, kind), frames))
    if in_line:
        found = neighbours_of([each.picture for each in portraits], size, motion, threads=threads)
        known = both_ways(steadied(found, size, motion), size)

    def along(order: Sequence[tuple[int, int | None]]) -> dict[int, Move]:
        chain = Chain(size, kind, motion, keep=keep, most=None, known=known)
        return {index: chain.add(index, partner, portraits[index]) for index, partner in order}

    moves = along(order)
    if reference is None and count > 2:
        reference, seen_from_it = rebased(moves, size)
        # From it outwards, as where the frames are not kept, so that the picture is the same.
        again = in_line and reference != order[0][0]
        moves = along(list(outwards(count, reference))) if again else seen_from_it
    return reference or 0, dict(sorted(moves.items()))


def both_ways(steps: Sequence[Alignment], size: tuple[int, int]) -> dict[tuple[int, int], Alignment]:
    """How frames lie to the ones beside them, by the numbers of both, from how each but the first lies to the one before it."""
    found = {(index, index + 1): step for index, step in enumerate(steps)}
    return found | {(after, before): inverse(step, size) for (before, after), step in found.items()}


class Portrait(NamedTuple):
    """What a frame is compared with others by.

    Attributes:
        picture: As `comparable` gives it.
        seen: As `fingerprint` gives it.
    """

    picture: Array
    seen: Array

    @classmethod
    def at(cls, frame: Array, kind: FrameKind) -> Portrait:
        """Of a frame, H x W [x 1, 3 or 4]."""
        return cls(comparable(frame, kind, compared_pixels(frame.shape[:2])), fingerprint(frame, kind))


class Chain:
    """The motions of a stack's frames, found one after the other from the reference outwards.

    A frame is registered to the one beside it, for neighbours differ least. Where another frame agrees with it clearly better,
    to that one: names do not always follow the focus, and a frame taken once more at the end belongs beside its first take.

    Args:
        size: (height, width) of the frames.
        kind: What they are.
        motion: A key of `ufafuse.runtime.registration.guesses.MOTIONS`.
        keep: Frames that cannot be registered stay in the fusion, where their neighbour lies.
        most: How many frames are remembered to compare with; None: all.
        known: How a frame lies to another one, by their numbers, where that was estimated before.
    """

    def __init__(
        self,
        size: tuple[int, int],
        kind: FrameKind,
        motion: str,
        *,
        keep: bool = False,
        most: int | None = KEPT_PICTURES,
        known: Mapping[tuple[int, int], Alignment] | None = None,
    ) -> None:
        self._size, self._kind, self._motion, self._keep = size, kind, motion, keep
        self._pictures: dict[int, Array] = {}
        self._prints: dict[int, Array] = {}
        self._moves: dict[int, Move] = {}
        self._instead: dict[int, int] = {}  # of frames that were left out: the one they were compared with
        self._earlier: dict[int, list[Earlier]] = {}
        self._most, self._known = most, known or {}

    @staticmethod
    def bytes_held(size: tuple[int, int]) -> float:
        """What is kept of `KEPT_PICTURES` earlier frames, and of those from which on motion is followed, in bytes."""
        return 4.0 * (KEPT_PICTURES + MOST_KEPT) * compared_pixels(size)

    def add(self, index: int, neighbour: int | None, frame: Array | Portrait) -> Move:
        """Find how frame `index` lies, from the place of one before it; in the order of `outwards`.

        A frame that shows something else is left out, and the next one is compared with its neighbour.
        """
        picture, seen = frame if isinstance(frame, Portrait) else Portrait.at(frame, self._kind)
        if neighbour is None:
            move = Move(unmoved(self._size, 1.0, ""))
            self._earlier[index] = [Earlier.now(picture, np.eye(3))]
        else:
            beside = self._nearest(seen, self._instead.get(neighbour, neighbour))
            move = replace(self._next(index, beside, picture), beside=beside)
            if move.left_out:
                self._instead[index] = beside
        self._moves[index] = move
        if not move.left_out:
            self._keep_of(index, picture, seen)
        return move

    def _nearest(self, seen: Array, neighbour: int) -> int:
        """The frame before that agrees best with this one; its neighbour unless another one is clearly nearer."""
        apart = {index: 1 - float(before @ seen) for index, before in self._prints.items()}
        best = min(apart, key=lambda index: apart[index])
        return best if apart[best] < _CLEARLY_NEARER * apart[neighbour] else neighbour

    def _keep_of(self, index: int, picture: Array, seen: Array) -> None:
        self._pictures[index], self._prints[index] = picture, seen
        if self._most is not None and len(self._pictures) > self._most:
            # The first is the reference, from which the frames on its other side begin.
            oldest = list(self._pictures)[1]
            del self._pictures[oldest], self._prints[oldest]
            for other in [other for other in self._earlier if other not in (index, next(iter(self._pictures)))]:
                del self._earlier[other]  # each holds pictures of its own

    def _next(self, index: int, beside: int, picture: Array) -> Move:
        neighbour = self._moves[beside].alignment
        step = self._known.get((beside, index))
        if step is None:
            step = estimate_pictures(self._pictures[beside], picture, self._size, self._motion)
        if shows_something_else(step) and not self._keep:
            why = f"it cannot be registered ({step.refused}) and agrees with its neighbour by {step.before:.2f} only"
            return Move(replace(neighbour, refused=step.refused), why)
        earlier = self._earlier.get(beside) or [Earlier.now(self._pictures[beside], neighbour.matrix)]
        place, self._earlier[index] = followed_slowly(
            earlier, step, followed(neighbour, step, self._size), picture, self._size, self._motion
        )
        return Move(place)


def likely_reference(first: Alignment, last: Alignment, count: int, size: tuple[int, int]) -> int:
    """The frame that the others probably cover best, from the first step and the last one alone.

    Between them the steps are taken to change evenly, as a lens that is refocused by equal steps breathes.
    """
    steps = []
    for index in range(count - 1):
        share = index / max(1, count - 2)
        matrix = (1 - share) * first.matrix + share * last.matrix
        steps.append(replace(first, matrix=matrix, motion="affine"))
    return best_covered(steps, size)


def rebased(moves: Mapping[int, Move], size: tuple[int, int]) -> tuple[int, dict[int, Move]]:
    """The frame that the others cover best, and the moves into its geometry.

    Args:
        moves: Of all frames, into the geometry of one of them.
        size: (height, width) of the frames.
    """
    taking_part = [index for index, move in moves.items() if not move.left_out]
    areas = {}
    for reference in taking_part:
        crop = joint_crop([_seen_from(moves[reference], moves[index], size) for index in taking_part], size)
        areas[reference] = (crop.bottom - crop.top) * (crop.right - crop.left)
    best = max(sorted(areas), key=lambda index: areas[index])
    return best, {index: replace(move, alignment=_seen_from(moves[best], move, size)) for index, move in moves.items()}


def _seen_from(reference: Move, move: Move, size: tuple[int, int]) -> Alignment:
    if move is reference:
        return unmoved(size, 1.0, "")
    return followed(inverse(reference.alignment, size), move.alignment, size)


def moved(frame: Array, alignment: Alignment, kind: FrameKind) -> tuple[Array, Covered | None]:
    """A frame in the reference's geometry, and where it shows something.

    Args:
        frame: As `frames.check_frames` passed it.
        alignment: How it lies to the reference.
        kind: What it is.

    Returns:
        The frame (itself where nothing moves); H x W uint8, 1 where it shows the scene (None: everywhere). Pixels of alpha 0
        show nothing.
    """
    covered = None if kind.channels != 4 else (frame[..., 3] > 0).astype(np.uint8)
    if covered is not None and covered.all():
        covered = None
    if alignment.motion == "none":
        return frame, covered
    result = warped(frame, alignment, kind)
    size = frame.shape[1], frame.shape[0]
    mask: Any = np.full(frame.shape[:2], 255, np.uint8) if covered is None else covered * np.uint8(255)
    mask = cv2.warpPerspective(mask, alignment.matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    shown = (mask == 255).astype(np.uint8)
    return result, None if shown.all() else shown


def joint_crop(alignments: Sequence[Alignment], size: tuple[int, int]) -> Crop:
    """What all frames show, in pixels of the reference."""
    crop = Crop(0, size[0], 0, size[1])
    for alignment in alignments:
        crop = crop.within(alignment.crop)
    return crop
