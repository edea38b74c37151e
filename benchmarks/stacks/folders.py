"""Folders of focus stacks, in the layout that `ufa eval --stacks` reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.filebytes import real_path
from ufafuse.runtime.images import read_image
from ufafuse.runtime.pictures.conform import ConformedFrame, common_kind
from ufafuse.runtime.pictures.frames_among import without_uncounted
from ufafuse.runtime.pictures.inputs import EVALUATION, pictures_in
from ufafuse.runtime.pictures.naming import natural_key
from ufafuse.runtime.pictures.picture import damage_words
from ufafuse.runtime.pictures.source import FrameSource

LAYOUT = "a folder for each stack, the frames in the order of their names, with truth.* and depth.tif where they are known"
_NO_FRAMES = ("truth", "depth")
_PAGES = frozenset({".tif", ".tiff"})


@dataclass(frozen=True)
class StackToScore:
    """The files of one stack.

    Args:
        name: The folder's, below the one that was searched.
        frames: In the natural order of their names (2 before 10).
        truth: The all-in-focus picture, where there is one.
        depth: Where each pixel is in focus, in frames from 0, where it is known.
        left_out: Names of pictures beside them that were made of them (`uncounted`).
    """

    name: str
    frames: tuple[Path, ...]
    truth: Path | None = None
    depth: Path | None = None
    left_out: tuple[str, ...] = ()


def find_stacks(folder: Path, pattern: str | None = None) -> list[StackToScore]:
    """The stacks in ``folder``, in natural order: each folder below it that holds frames; where none does, itself.

    A stack's folder is not looked into any further, nor is one that `ufa eval -o` wrote. Its frames are pictures, or the pages
    of one TIFF; what other programs made of them is none (`uncounted`).

    Args:
        folder: Where they are.
        pattern: Only stacks whose name matches it, as a shell does.

    Raises:
        InputError: There is none, a stack has fewer than two frames, or two truths.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"`stacks={folder}` is not a folder: give one that holds {LAYOUT}.")
    below = {part.relative_to(folder).as_posix(): part for part in _holding_frames(folder)}
    found = below or ({real_path(folder).name: folder} if _frames(folder) else {})
    if not found:
        raise InputError(f"`stacks={folder}` holds no stack: give {LAYOUT}.")
    chosen = [_stack(part, name) for name, part in found.items() if pattern is None or fnmatch(name, pattern)]
    if not chosen:
        raise InputError(f"no stack in {folder} has a name like {pattern}: look at the names with `ls {folder}`.")
    return chosen


def _holding_frames(folder: Path) -> Iterator[Path]:
    """The folders below this one that hold frames."""
    for part in sorted(folder.iterdir(), key=natural_key):
        if part.is_dir() and not part.name.startswith(".") and not (part / EVALUATION).is_file():
            if _frames(part):
                yield part
            else:
                yield from _holding_frames(part)


def _frames(folder: Path) -> list[Path]:
    return without_uncounted([path for path in pictures_in(folder) if path.stem.lower() not in _NO_FRAMES])


def _stack(folder: Path, name: str) -> StackToScore:
    frames = _frames(folder)
    if len(frames) < 2 and frames[0].suffix.lower() not in _PAGES:
        raise InputError(f"{folder} holds a single frame, {frames[0].name}: a stack has two or more.")
    beside = {what: [path for path in pictures_in(folder) if path.stem.lower() == what] for what in _NO_FRAMES}
    for what, paths in beside.items():
        if len(paths) > 1:
            raise InputError(f"{folder} holds {' and '.join(path.name for path in paths)}: keep one {what}.")
    truth, depth = (next(iter(beside[what]), None) for what in _NO_FRAMES)
    known = {*frames, *(path for paths in beside.values() for path in paths)}
    left_out = tuple(path.name for path in pictures_in(folder) if path not in known)
    return StackToScore(name, tuple(frames), truth, depth, left_out)


def alike_frames(found: Sequence[FrameSource], told: dict[str, None], *, scale: bool) -> list[FrameSource]:
    """A stack's frames brought to one kind, as `ufa fuse` does with them: grey among colour, 8 bits among 16, other profiles.

    Args:
        found: As their files have them.
        told: Takes what is done to which, and whenever one is read what is to be known of its file.
        scale: Frames of other sizes are scaled to the first one's: they are registered afterwards.

    Raises:
        InputError: What cannot be brought together.
    """
    common = common_kind(found, scale=scale, convert=True)
    told.update(dict.fromkeys(f"{note}." for note in common.notes))
    return [ConformedFrame(frame, common, strict=False, told=told) for frame in found]


def tell_damage(found: Sequence[FrameSource], told: dict[str, None]) -> None:
    """Look thoroughly into the files of frames that were read and not found to be damaged (`FrameSource.look_inside`)."""
    known = " ".join(told)
    told.update(
        {
            damage_words(frame.name, damage): None
            for frame in found
            if frame.name not in known and (damage := frame.look_inside())
        }
    )


def read_depth(path: Path, size: tuple[int, int], told: dict[str, None] | None = None) -> NDArray[np.float32]:
    """The truth of the heights: H x W float32, in frames from 0, NaN where it is not known; ``told`` as `read_image` takes it.

    Raises:
        InputError: It cannot be read, has another size, or is not one float a pixel.
    """
    depth = read_image(path, told=told)
    if depth.shape != size or depth.dtype != np.float32:
        found = f"{' x '.join(map(str, depth.shape))} of {depth.dtype}"
        raise InputError(
            f"{path} is {found}: heights are {size[0]} x {size[1]} of float32, in frames from 0, NaN where none is known."
        )
    return np.asarray(depth, np.float32)
