"""What people name: files, a folder, a pattern, a folder of stacks; in the order that a person would count them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.filebytes import real_path
from ufafuse.runtime.pictures import exif as ex
from ufafuse.runtime.pictures.frames_among import is_fused, without_doubles, without_results
from ufafuse.runtime.pictures.kinds import is_picture, is_video
from ufafuse.runtime.pictures.naming import in_natural_order, natural_key
from ufafuse.runtime.pictures.source import FileFrame
from ufafuse.runtime.texts import examples

_PATTERN = re.compile(r"[*?\[]")
_NO_FRAMES = frozenset(("truth", "depth"))  # stems of what is known of a stack, which may stand beside its frames
EVALUATION = "eval.json"  # what a folder holds that `ufa eval -o` wrote: its pictures are no frames, wherever it lies
NO_FOLDERS = frozenset(("__MACOSX", "@eaDir"))  # of archives and network drives: previews, no pictures
_NAMED = 3  # files in a note
_TIFF = frozenset((".tif", ".tiff", ".btf", ".tf8", ".stk", ".lsm"))


@dataclass(frozen=True)
class StackPaths:
    """The files of one stack, what its result is called, which pictures beside them are no frames, and why it is none."""

    name: str
    files: tuple[Path, ...]
    note: str = ""
    refused: str = ""


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder, in natural order; links to nowhere too, so that a frame that is missing is told."""
    return in_natural_order(path for path in folder.iterdir() if is_picture(path) and (path.is_file() or leads_nowhere(path)))


def leads_nowhere(path: Path) -> bool:
    """Whether it is a link to what is not there."""
    return path.is_symlink() and not path.exists()


def videos_in(folder: Path) -> list[Path]:
    """The videos of a folder, in natural order."""
    return sorted((path for path in folder.iterdir() if is_video(path) and not path.name.startswith(".")), key=natural_key)


def frames_in(folder: Path) -> list[Path]:
    """The frames of a stack's folder, in natural order: its pictures but for ``truth.*`` and ``depth.*`` beside two or more.

    Of a raw file and a JPEG of the same name the raw file is taken.
    """
    found = without_doubles(pictures_in(folder))
    frames = [path for path in found if path.stem.casefold() not in _NO_FRAMES]
    return frames if len(frames) > 1 else found


def expanded(names: Sequence[Path]) -> tuple[list[Path], str]:
    """The files behind what was named, in the order of the stack, and a note on that order (empty: as they were named).

    In folders and behind patterns, earlier results of ufafuse and what is no picture are no frames, and a file that is named
    beside a pattern that gives it is one frame; that is in the note.

    Args:
        names: Files, or one folder, or one pattern (``"dir/*.png"``).

    Raises:
        InputError: There is no such file, nothing in the folder, or a folder among files.
    """
    found: list[Path] = []
    left_out: list[Path] = []
    matched: list[bool] = []
    for name in names:
        if name.is_dir():
            if len(names) > 1:
                raise InputError(
                    f"{name} is a folder: give one folder alone for a stack; for pairs in near/ and far/ `pairs`, for many "
                    "stacks `stacks`."
                )
            frames = without_results(_folder(name))
            return frames, taken_without([path for path in pictures_in(name) if path not in frames])
        if name.exists() or not _PATTERN.search(str(name)):
            found.append(name)
            matched.append(False)
            continue
        matches = _matching(name)
        frames = without_results(without_doubles(_pictures_of(matches)))
        left_out += [path for path in matches if path not in frames]
        found += frames
        matched += [True] * len(frames)
    found, twice = once_each(found, matched)
    note = taken_once(twice)
    counted = in_natural_order(found)
    if len(found) > 2 and found == sorted(found) and found != counted:
        return counted, _joined("taken in the order of their numbers (2 before 10)", note)
    return found, _joined(taken_without(left_out), note)


def once_each(paths: Sequence[Path], matched: Sequence[bool]) -> tuple[list[Path], list[Path]]:
    """Files without those that a pattern gave beside another's naming of them; and those. A link is the file behind it.

    Who names a file twice, and by its name both times, is taken at their word.

    Args:
        paths: In their order.
        matched: Of each, whether a pattern gave it.
    """
    known: dict[Path, bool] = {}
    once: list[Path] = []
    twice: list[Path] = []
    for path, by_pattern in zip(paths, matched, strict=True):
        real = real_path(path)
        (twice if real in known and (known[real] or by_pattern) else once).append(path)
        known.setdefault(real, by_pattern)
    return once, twice


def taken_once(paths: Sequence[Path]) -> str:
    """The note on files that were named more than once; empty: none was."""
    names = list(dict.fromkeys(path.name for path in paths))
    return f"named twice and taken once: {examples(names)}" if names else ""


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def taken_without(paths: Sequence[Path]) -> str:
    """The note on which pictures are no frames; empty: all are."""
    shown = [path.name for path in paths[:_NAMED]]
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    last = f" and {shown.pop()}" if len(shown) > 1 and not more else ""
    return f"taken without {', '.join(shown)}{last}{more}" if paths else ""


def _pictures_of(paths: Sequence[Path]) -> list[Path]:
    """Those that are called pictures or videos; all where fewer than two are."""
    found = [path for path in paths if is_picture(path) or is_video(path)]
    return found if len(found) > 1 else list(paths)


def _folder(folder: Path) -> list[Path]:
    found = frames_in(folder)
    if found:
        return found
    videos = videos_in(folder)
    if len(videos) == 1:
        return videos
    if videos:
        raise InputError(f"{folder} holds {len(videos)} videos and no pictures: give one video, or many with `stacks`.")
    below = sum(1 for path in folder.iterdir() if path.is_dir())
    mend = "for a stack in each of its folders take `stacks`" if below else "give a folder of pictures"
    raise InputError(f"{folder} holds no pictures: {mend}.")


def _matching(pattern: Path) -> list[Path]:
    """The files behind a pattern, hidden ones only where it begins with a point; brackets of real folders are no pattern."""
    parts = pattern.parts
    patterns = (n for n, part in enumerate(parts) if _PATTERN.search(part) and not Path(*parts[: n + 1]).exists())
    index = next(patterns)  # for the whole is no file
    root = Path(*parts[:index])
    try:
        found = [path for path in root.glob(str(Path(*parts[index:]))) if path.is_file() or leads_nowhere(path)]
    except (ValueError, NotImplementedError) as error:
        raise InputError(f"{pattern} is no pattern ({error}): write it as DIR/*.png.") from error
    if not pattern.name.startswith("."):
        found = [path for path in found if not path.name.startswith(".")]
    if not found:
        raise InputError(f"{pattern} matches no file: check the folder and the pattern.")
    return in_natural_order(found)


def find_stacks(
    folder: Path, *, gap: float | None = None, every: int | None = None, passed: list[str] | None = None
) -> list[StackPaths]:
    """The stacks of a folder, in natural order.

    Without ``gap`` and ``every``: one for each folder in it that holds pictures or videos, and one for each TIFF and video in
    it. What cannot be fused is one with `StackPaths.refused`, or shows when it is read. With ``gap`` or ``every``: the
    pictures in the folder itself, cut where so many seconds lie between two frames, or after every so many.

    Args:
        folder: Where they are.
        gap: Seconds, by EXIF's time of exposure, or the file's where there is none.
        every: Frames of a stack.
        passed: Takes what is no stack, each with the reason.

    Raises:
        InputError: No folder, nothing in it, or numbers that do not fit.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give one that holds stacks.")
    if gap is not None and every is not None:
        raise InputError("stacks are cut by a gap in time or by a number of frames: give one of the two.")
    passed = [] if passed is None else passed
    found = list(_stacks_below(folder, passed)) if gap is None and every is None else _cut(folder, gap, every)
    if not found:
        loose = len(pictures_in(folder))
        mend = f"; it holds {loose} pictures: cut them with `gap` or `every`" if loose else ""
        raise InputError(f"{folder} holds no stacks, which are folders of pictures, TIFFs of several pages, or videos{mend}.")
    return found


def _stacks_below(folder: Path, passed: list[str]) -> Iterator[StackPaths]:
    for path in sorted(folder.iterdir(), key=natural_key):
        if path.name.startswith(".") or path.name in NO_FOLDERS:
            continue
        stack = None
        if leads_nowhere(path):
            name = path.stem if is_picture(path) or is_video(path) else path.name
            stack = StackPaths(name, (path,), refused=f"{path} is a link to what is not there: mend or remove it.")
        elif path.is_dir():
            stack = _stack_in(path, passed)
        elif path.suffix.lower() in _TIFF or is_video(path):
            stack = StackPaths(path.stem, (path,)) if _several(path) else None
        if stack is not None:
            yield stack
        elif path.is_file() and is_picture(path):
            passed.append(f"{path.name} is one picture, and no stack")


def _stack_in(folder: Path, passed: list[str]) -> StackPaths | None:
    """The stack in a folder of its own; None where there is none, which ``passed`` tells."""
    try:
        files, videos, pictures = frames_in(folder), videos_in(folder), pictures_in(folder)
    except OSError as error:
        return StackPaths(folder.name, (folder,), refused=f"{folder} cannot be read: {error.strerror}.")
    if files and all(map(is_fused, files)):  # where an earlier run put its results
        passed.append(f"{folder.name} holds results of ufafuse only")
        return None
    if files:
        files = without_results(files)
        return StackPaths(folder.name, tuple(files), taken_without([one for one in pictures if one not in files]))
    if len(videos) > 1:
        why = f"{folder} holds {len(videos)} videos and no pictures: give each a folder of its own, or none."
        return StackPaths(folder.name, tuple(videos), refused=why)
    if videos:
        return StackPaths(folder.name, tuple(videos))
    passed.append(f"{folder.name} holds no pictures")
    return None


def _several(path: Path) -> bool:
    """Whether a file holds more than one picture; one that cannot be opened counts, so that it is reported."""
    from ufafuse.runtime.pictures.source import stack_of

    if is_video(path):
        return True
    try:
        with stack_of([path]) as frames:
            return len(frames) > 1
    except InputError:
        return True


def _cut(folder: Path, gap: float | None, every: int | None) -> list[StackPaths]:
    files = without_results(without_doubles(pictures_in(folder)))
    if every is not None:
        if every < 2:
            raise InputError(f"a stack of {every} frames is none: give 2 or more.")
        if len(files) % every:
            raise InputError(
                f"{folder} holds {len(files)} pictures, which is no multiple of {every}: a frame is missing, or one too many."
            )
        groups = [files[at : at + every] for at in range(0, len(files), every)]
    else:
        assert gap is not None
        groups = cut_by_time(files, gap)
        alone = next((group for group in groups if len(group) < 2), None)
        if alone:
            raise InputError(f"{alone[0]} lies {gap:g} s or more from every other frame: give a longer gap, or take it away.")
    return [StackPaths(f"{group[0].stem}-{group[-1].stem}", tuple(group)) for group in groups]


def cut_by_time(files: Sequence[Path], gap: float) -> list[list[Path]]:
    """Frames in the order of their time, cut where ``gap`` seconds or more lie between two."""
    timed = sorted(((taken_at(path), natural_key(path), path) for path in files), key=lambda entry: entry[:2])
    groups: list[list[Path]] = [[timed[0][2]]] if timed else []
    for before, now in pairwise(timed):
        if now[0] - before[0] >= gap:
            groups.append([])
        groups[-1].append(now[2])
    return groups


def taken_at(path: Path) -> float:
    """When a picture was taken, in seconds: by its EXIF, or the time of its file. Raises: InputError."""
    try:
        found = ex.parse_exif(FileFrame(path).metadata.exif or b"")
    except InputError:
        if not path.exists():
            raise
        found = ex.Exif()
    text = found.text(ex.DATETIME_ORIGINAL) or found.text(ex.DATETIME)
    try:
        moment = dt.datetime.strptime(text, "%Y:%m:%d %H:%M:%S").replace(tzinfo=dt.timezone.utc)
    except ValueError:
        return path.stat().st_mtime
    fraction = found.text(ex.SUBSEC_ORIGINAL)
    return moment.timestamp() + (float(f"0.{fraction}") if fraction.isdecimal() else 0.0)
