"""Registering a stack frame by frame: each is compared with its neighbour on the reference's side, and let go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.frames import Frame, FrameKind
from ufafuse.runtime.registration.align import (
    INTERPOLATION,
    Alignment,
    Crop,
    Picture,
    best_covered,
    comparable,
    compared_pixels,
    estimate_pictures,
    followed,
    unmoved,
)

Covered = NDArray[np.uint8]

_BELONGS = 0.25  # correlation of two neighbours made equally sharp, below which an unregistered frame shows something else


@dataclass(frozen=True)
class Move:
    """How one frame is brought into the reference's geometry.

    Attributes:
        alignment: How it lies to the reference.
        left_out: Why it takes no part in the fusion; empty where it does.
    """

    alignment: Alignment
    left_out: str = ""


def outwards(count: int, reference: int) -> Iterator[tuple[int, int | None]]:
    """The frames from the reference outwards, each with its neighbour on the reference's side (None: the reference)."""
    yield reference, None
    for index in range(reference + 1, count):
        yield index, index - 1
    for index in range(reference - 1, -1, -1):
        yield index, index + 1


class Chain:
    """The motions of a stack's frames, found one after the other from the reference outwards.

    Args:
        size: (height, width) of the frames.
        kind: What they are.
        motion: A key of `ufafuse.runtime.registration.align.MOTIONS`.
        keep: Frames that cannot be registered stay in the fusion, where their neighbour lies.
    """

    def __init__(self, size: tuple[int, int], kind: FrameKind, motion: str, *, keep: bool = False) -> None:
        self._size, self._kind, self._motion, self._keep = size, kind, motion, keep
        self._pictures: dict[int, Picture] = {}
        self._moves: dict[int, Move] = {}
        self._reference: int | None = None

    def add(self, index: int, neighbour: int | None, frame: Frame) -> Move:
        """Find how frame `index` lies, from its neighbour's place; in the order of `outwards`.

        A frame that shows something else is left out, and the next one is compared with the neighbour's.
        """
        picture = comparable(frame, self._kind, compared_pixels(self._size))
        if neighbour is None:
            self._reference = index
            move = Move(unmoved(self._size, 1.0, ""))
        else:
            move = self._next(self._pictures[neighbour], picture, self._moves[neighbour])
        self._moves[index] = move
        self._pictures[index] = self._pictures[neighbour] if move.left_out and neighbour is not None else picture
        if neighbour is not None and neighbour != self._reference:
            del self._pictures[neighbour]
        return move

    def _next(self, before: Picture, picture: Picture, neighbour: Move) -> Move:
        step = estimate_pictures(before, picture, self._size, self._motion)
        if step.refused and step.before < _BELONGS and not self._keep:
            why = f"it cannot be registered ({step.refused}) and agrees with its neighbour by {step.before:.2f} only"
            return Move(replace(neighbour.alignment, refused=step.refused), why)
        return Move(followed(neighbour.alignment, step, self._size))


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


def moved(frame: Frame, alignment: Alignment, kind: FrameKind) -> tuple[Frame, Covered | None]:
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
    size = frame.shape[1], frame.shape[0]
    flags = INTERPOLATION | cv2.WARP_INVERSE_MAP
    source = np.ascontiguousarray(frame)
    result = cv2.warpPerspective(source, alignment.matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    result = result.reshape(frame.shape)
    if kind.dtype != np.uint8:  # the interpolation overshoots at edges; uint8 saturates by itself
        np.clip(result, 0, kind.dtype.type(kind.white), out=result)
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
