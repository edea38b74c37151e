"""Drawn focus stacks written out, to validate on and to compare programs with: frames, truth and depth."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ufafuse.runtime.artefact import write_json
from ufafuse.runtime.callbacks import OnCount, ignored
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.images import write_image
from ufafuse.runtime.memory.room import check_room
from ufafuse.runtime.writing import check_apart, make_folder
from ufafuse.train import drawing
from ufafuse.train.dataset import SET_FILE, left_from_before, make_set_folder
from ufafuse.train.drawing import Rng
from ufafuse.train.photos import Pictures
from ufafuse.train.scenes import SceneOptions, Texture
from ufafuse.train.stackdata import DEPTH, TRUTH
from ufafuse.train.stacks import Stack, draw_stack

STACK_SIZE = (560, 560)  # pixels
_TO_DRAW = 200  # bytes a pixel: of two frames, measured
ROOM = 1.4  # side of a drawn picture, in sides of the scene: a surface is any part of one


@dataclass(frozen=True)
class StackPlan:
    """Which stacks are written.

    Attributes:
        count: how many.
        size: height and width of the frames in pixels.
        frames: how many each has. None: drawn, within what the options say.
        options: what they show.
        images: folder of photographs to take surfaces from. None: all surfaces are drawn.
        photo_share: how many surfaces are photographs, where there are any.
    """

    count: int
    size: tuple[int, int] = STACK_SIZE
    frames: int | None = None
    options: SceneOptions = field(default_factory=SceneOptions)
    images: Path | None = None
    photo_share: float = 0.45

    def __post_init__(self) -> None:
        """Refuse numbers that no stacks have (`InputError`)."""
        if self.count < 1:
            raise InputError(f"the number of stacks must be at least 1, got {self.count}.")
        if min(self.size) < 16:
            raise InputError(f"frames must be at least 16 x 16 pixels, got {self.size[0]} x {self.size[1]}.")
        if self.frames is not None and self.frames < 2:
            raise InputError(f"a stack has at least 2 frames, got {self.frames}.")
        if not 0 <= self.photo_share <= 1:
            raise InputError(f"the share of photographs must lie in [0, 1], got {self.photo_share}.")


def write_stacks(
    out: Path,
    plan: StackPlan,
    *,
    seed: int = 0,
    skip_bad: bool = False,
    force: bool = False,
    done: OnCount = ignored,
) -> dict[str, Any]:
    """Write drawn stacks, a folder each: `00.png`, ..., `truth.png` and `depth.tif`.

    Where not all frames cover the whole picture, all have an alpha channel, 0 where one shows nothing. The depth is float32:
    which frame has the surface in focus, counted from 0, between two frames as a fraction, and NaN where none has. The same
    plan and seed give the same files, so a set need not be kept as pictures.

    Args:
        out: folder to write, new or empty (with `force`: files are replaced).
        plan: how many, how large, and what they show.
        seed: draws everything.
        skip_bad: leave out photographs that cannot be used.
        force: write into a folder that is not empty.
        done: called with the number of stacks written and their total.

    Returns:
        {"ok", "out", "stacks", "frames", "photographs", "skipped"}, which `dataset.json` in `out` holds too, with the plan;
        and "warnings", where there are any.

    Raises:
        InputError: The photographs cannot be used, or there is no memory for frames of that size.
        OutputError: The folder is not empty, or cannot be written.
    """
    check_apart([out], [plan.images])
    side = max(plan.size)  # scenes are drawn square, and cut
    check_room(f"size={plan.size[0]}x{plan.size[1]}", "a stack of that size", _TO_DRAW * side**2)
    photos = Pictures(plan.images, skip_bad=skip_bad) if plan.images else None
    make_set_folder(out, force=force)
    texture, frames = _texture(plan, photos), 0
    written: list[Path] = []
    for number in range(plan.count):
        rng = np.random.default_rng((seed, number))
        stack = draw_stack(rng, max(plan.size), plan.options, texture, frames=plan.frames)
        written.append(out / f"{number:04d}")
        _write(written[-1], _middle(stack, plan.size), force=force)
        frames += len(stack.frames)
        done(number + 1, plan.count)
    result: dict[str, Any] = {"ok": True, "out": str(out), "stacks": plan.count, "frames": frames}
    result |= {"photographs": len(photos or ()), "skipped": photos.skipped if photos else []}
    if warnings := [*(photos.warnings if photos else ()), *left_from_before(out, written)]:
        result["warnings"] = warnings
    shown = {**asdict(plan), "images": str(plan.images) if plan.images else None}
    write_json(out / SET_FILE, {**result, "seed": seed, "plan": shown})
    return result


def _texture(plan: StackPlan, photos: Pictures | None) -> Texture:
    """Every surface is a picture of its own, drawn for it."""
    side = int(np.ceil(ROOM * (max(plan.size) + 2 * plan.options.max_radius)))

    def texture(rng: Rng) -> Any:  # noqa: ANN401 - an array of bytes
        if photos is not None and rng.random() < plan.photo_share:
            return photos[int(rng.integers(len(photos)))]
        return drawing.picture(side, rng)

    return texture


def _middle(stack: Stack, size: tuple[int, int]) -> Stack:
    """Cut the middle of a square stack."""
    top, left = ((side - wanted) // 2 for side, wanted in zip(stack.depth.shape, size, strict=True))
    rows, columns = slice(top, top + size[0]), slice(left, left + size[1])
    return Stack(
        stack.frames[:, rows, columns], stack.covered[:, rows, columns], stack.truth[rows, columns], stack.depth[rows, columns]
    )


def _write(folder: Path, stack: Stack, *, force: bool) -> None:
    make_folder(folder)
    digits = max(2, len(str(len(stack.frames) - 1)))
    names = [f"{number:0{digits}d}.png" for number in range(len(stack.frames))]
    for name, frame, covered in zip(names, stack.frames, stack.covered, strict=True):
        shown = frame if stack.covered.all() else np.dstack([frame, 255 * covered])
        write_image(folder / name, shown, force=force)
    for path in folder.glob("*.png"):
        if path.stem.isdigit() and path.name not in names:  # a frame of a longer stack that stood here
            path.unlink()
    write_image(folder / f"{TRUTH}.png", stack.truth, force=force)
    write_image(folder / f"{DEPTH}.tif", np.ascontiguousarray(stack.depth), force=force)
