"""Scores of fused stacks; one that fails does not stop the others."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.benchmarks.evaluate import FAILURES, EvalRow, Evaluation, keep_picture, reason
from ufafuse.benchmarks.metrics import against_truth
from ufafuse.benchmarks.stacks.contestants import FusedStack, NetworkContestant, StackContestant
from ufafuse.benchmarks.stacks.folders import StackToScore, alike_frames, read_depth, tell_damage
from ufafuse.benchmarks.stacks.levels import luma
from ufafuse.benchmarks.stacks.registered import BESTS, Registered, registered
from ufafuse.runtime.arrays import Bytes, Floats
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.images import read_image
from ufafuse.runtime.pictures.source import stack_of
from ufafuse.runtime.registration.covering import Crop
from ufafuse.runtime.stacks.height import SURE, Height, filled

_MEND = "smaller frames, or fewer of them, may do"

OnRow = Callable[[EvalRow], None]
OnStack = Callable[[StackToScore, Registered, dict[str, Bytes]], None]


def evaluate_stacks(
    stacks: list[StackToScore],
    contestants: list[StackContestant],
    *,
    align: str | None = None,
    pictures: Path | None = None,
    done: OnRow = ignored,
    on_stack: OnStack = ignored,
) -> Evaluation:
    """Fuse (where needed) and score every stack of every contestant, one stack after the other.

    Args:
        stacks: From `folders.find_stacks`.
        contestants: From `contestants.stack_contestants`.
        align: How frames are registered: "off", or a key of `MOTIONS`. None: "affine", and "off" where there is a truth.
        pictures: Write each fused picture to ``pictures/CONTESTANT/STACK.png``, replacing what is there.
        done: Called after each row.
        on_stack: Called after each stack with its registered frames and its fused pictures by contestant, 8-bit levels in one
            geometry.

    Returns:
        Rows in the order of contestants and stacks, with `BESTS` where there is a truth: of each pixel the frame closest to
        it. A stack that cannot be read, registered or scored has rows with errors. In the rows: ``PSNR`` and ``SSIM`` (with a
        truth), what `detail.Detail.kept` says, and with a depth ``depth_error`` (median absolute error in frames of the heights
        that a method is sure of, where there is detail), ``depth_known`` (the share of that part where it is sure) and
        ``depth_filled`` (mean absolute error of its heights, filled in, wherever there is a true one).
    """
    rows: list[EvalRow] = []

    def add(row: EvalRow) -> None:
        rows.append(row)
        done(row)

    keep = any(contestant.folds for contestant in contestants)
    for stack in stacks:
        failed = _one_stack(stack, contestants, align, keep, pictures, add, on_stack)
        scored = {row.method for row in rows if row.name == stack.name} if failed else set()
        for contestant in contestants if failed else ():
            if contestant.name not in scored:
                add(EvalRow(stack.name, contestant.name, error=failed))
    order = [*(contestant.name for contestant in contestants), *BESTS]
    rows.sort(key=lambda row: order.index(row.method))
    networks = [contestant for contestant in contestants if isinstance(contestant, NetworkContestant)]
    told = {network.name: network.facts() for network in networks}
    kinds = {contestant.name: contestant.kind for contestant in contestants}
    return Evaluation(rows, told, what="stack", bounds=tuple(BESTS), kinds=kinds)


def _one_stack(
    stack: StackToScore,
    contestants: list[StackContestant],
    align: str | None,
    keep: bool,  # noqa: FBT001 - the registered frames, for those who fold
    pictures: Path | None,
    add: OnRow,
    on_stack: OnStack,
) -> str:
    """Score one stack; returns why it could not be, or nothing."""
    told: dict[str, None] = {}
    try:
        with stack_of(stack.frames, inside="quickly") as found:
            truth = read_image(stack.truth, told=told) if stack.truth else None
            motion = align or ("affine" if truth is None else "off")
            sources = alike_frames(found, told, scale=motion != "off")
            frames = registered(stack.name, sources, align=motion, truth=truth, keep=keep)
            depth = _depth_of(stack.depth, frames, told) if stack.depth else None
            tell_damage(found, told)
            left_out = [f"{made} was taken for a result, not for a frame." for made in stack.left_out]
            frames.notes = [*told, *frames.notes, *left_out]
            made = _scored(frames, depth, contestants, pictures, add)
    except FAILURES as error:
        return reason(error, _MEND)
    on_stack(stack, frames, made)  # what that cannot write is nothing that one stack fails by
    return ""


def _depth_of(path: Path, frames: Registered, told: dict[str, None]) -> NDArray[np.float32]:
    """The truth of the heights, moved as the stack's truth was. ``told`` as `read_depth` takes it."""
    depth = read_depth(path, frames.size, told)
    if frames.truth is None and any(alignment.moved > 0 for alignment in frames.pyramid.alignments):
        reference = frames.sources[frames.pyramid.reference].name
        told[f"{path.name} is taken to lie as {reference} does, which the others were moved onto: no truth tells where."] = None
    if frames.truth_moved is None:
        return depth
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP  # between two surfaces there is none
    outside = float("nan")
    moved = cv2.warpPerspective(depth, frames.truth_moved, depth.shape[::-1], flags=flags, borderValue=outside)
    return np.asarray(moved, np.float32)


def _scored(
    frames: Registered,
    depth: NDArray[np.float32] | None,
    contestants: list[StackContestant],
    pictures: Path | None,
    add: OnRow,
) -> dict[str, Bytes]:
    """A row for each contestant, and their pictures."""
    scoring, made = _Scoring(frames, depth), dict[str, Bytes]()
    for contestant in contestants:
        try:
            result = contestant.fused(frames, want_height=depth is not None)
            row = scoring.row(contestant.name, result)
            if pictures is not None:
                keep_picture(pictures, contestant.name, frames.name, result.picture.levels)
        except FAILURES as error:
            row = EvalRow(frames.name, contestant.name, error=reason(error, _MEND))
        else:
            made[contestant.name] = result.picture.levels
        add(row)
    for name, picture in frames.bests.items():
        add(EvalRow(frames.name, name, scoring.metrics(picture, frames.crop)))
    made |= frames.bests
    return made


class _Scoring:
    """Measures pictures of one stack."""

    def __init__(self, frames: Registered, depth: NDArray[np.float32] | None) -> None:
        self._frames, self._depth = frames, depth
        self._detail = frames.detail if frames.truth is None else frames.detail.confirmed(luma(frames.truth))

    def row(self, method: str, result: FusedStack) -> EvalRow:
        crop = self._frames.crop.within(result.picture.crop)
        metrics = self.metrics(result.picture.levels, crop)
        notes = [*([result.picture.note] if result.picture.note else []), *(sentence[:-1] for sentence in result.told)]
        if self._depth is not None and result.height is not None:
            if result.order:
                notes.append("its heights count the frames in another order than they were given in")
            else:
                metrics |= self._heights(result.height, result.picture.levels, self._depth, crop)
        return EvalRow(self._frames.name, method, metrics, result.ms, note="; ".join(notes))

    def metrics(self, levels: Bytes, crop: Crop) -> dict[str, float]:
        truth = self._frames.truth
        found = {} if truth is None else against_truth(truth[crop.slices], levels[crop.slices])
        return found | self._detail.kept(luma(levels), crop)

    def _heights(self, height: Height, picture: Bytes, depth: Floats, crop: Crop) -> dict[str, float]:
        everywhere = filled(height, picture)
        position, confidence, everywhere, depth = (
            plane[crop.slices] for plane in (height.position, height.confidence, everywhere, depth)
        )
        textured = (self._detail.sharp | self._detail.low)[crop.slices] & np.isfinite(depth)
        known = textured & (confidence >= SURE) & np.isfinite(position)
        error = np.abs(position[known] - depth[known])
        return {
            "depth_error": float(np.median(error)) if error.size else float("nan"),
            "depth_known": float(known.sum() / textured.sum()) if textured.any() else float("nan"),
            "depth_filled": float(np.nanmean(np.abs(everywhere - depth))) if np.isfinite(depth).any() else float("nan"),
        }
