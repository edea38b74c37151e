"""Stacks that appear in a folder while it is watched."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.arrived import rows_if_whole, whole_together
from ufafuse.runtime.pictures.frames_among import is_fused, is_result, without_uncounted
from ufafuse.runtime.pictures.inputs import StackPaths, frames_in, taken_without, videos_in
from ufafuse.runtime.pictures.kinds import is_picture, is_video
from ufafuse.runtime.pictures.lostrows import Rows
from ufafuse.runtime.pictures.naming import natural_key
from ufafuse.runtime.texts import examples

_POLL = 0.25  # seconds
_LAST_BYTES = 2.0  # seconds that a frame which came slowly stands still: of less than a block nothing tells that it is missing


class _File(NamedTuple):
    """A frame's name, and what tells it from another one of that name."""

    name: str
    size: int
    changed: int
    inode: int


_Snapshot = tuple[_File, ...]


def arriving(
    folder: Path,
    *,
    quiet: float = 5.0,
    every: int | None = None,
    goes_on: Callable[[], bool] = lambda: True,
    tell: Callable[[str], None] = ignored,
) -> Iterator[StackPaths]:
    """The stacks of a folder, one for each folder in it, as soon as each is complete; never ends by itself.

    A folder with another number of frames than it should have is a stack with `StackPaths.refused`, and so are frames that
    come after theirs was complete, or take the place of one that was in it.

    Args:
        folder: What is watched.
        quiet: Seconds without any change after which a folder's stack is complete.
        every: How many frames make it complete at once, if each is there as a whole: one that is not is waited for, until the
            folder has been quiet.
        goes_on: Asked again and again; False ends the watch.
        tell: Told once where pictures or videos lie in ``folder`` itself, which belong to no stack.

    Raises:
        InputError: There is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: make it first (mkdir -p {folder}).")
    given: dict[str, _Given] = {}
    seen: dict[str, _Seen] = {}
    loose = _Loose(folder, tell)
    while goes_on():
        loose.look()
        found = _folders(folder)
        for gone in given.keys() - {path.name for path in found}:
            given[gone].gone = True
        for path in found:
            if path.name in given:
                if late := given[path.name].late(path):
                    yield _refused(path, late, _too_late(late))
                continue
            state = _state(path)
            before = seen.get(path.name)
            if before is None or before.state != state:
                seen[path.name] = _Seen(state, time.monotonic()) if before is None else before.changed_to(state)
            elif _complete(path, before, quiet, every):
                given[path.name] = _Given(_changed(path), {file.name: file for file in state})
                del seen[path.name]
                there = [path / file.name for file in state]
                if not all(map(is_fused, there)):  # where results are put
                    yield _stack(path, there, every)
        time.sleep(_POLL)


def _stack(folder: Path, there: list[Path], every: int | None) -> StackPaths:
    files = without_uncounted(there)
    if every is not None and len(files) != every:
        mend = "take out what does not belong" if len(files) > every else "some are missing"
        return _refused(folder, files, f"{folder} holds {len(files)} frames, and a stack has {every}: {mend}.")
    return StackPaths(folder.name, tuple(files), taken_without([one for one in there if one not in files]))


def _refused(folder: Path, files: list[Path], why: str) -> StackPaths:
    return StackPaths(folder.name, tuple(files), refused=why)


def _too_late(late: list[Path]) -> str:
    names = examples([str(path) for path in late])
    return f"{names} came after the stack was complete: fuse its folder again, and give `quiet` a longer time."


@dataclass
class _Seen:
    """A folder whose stack may not be complete.

    Args:
        state: Its frames.
        since: When they were seen first as they are.
        rows: What `rows_if_whole` said of each.
        lacked: Some frame was found not to be whole.
    """

    state: _Snapshot
    since: float
    rows: dict[_File, Rows | None] = field(default_factory=dict)
    lacked: bool = False

    def changed_to(self, state: _Snapshot) -> _Seen:
        """The folder as it is now."""
        return _Seen(state, time.monotonic(), self.rows, self.lacked)

    def is_whole(self, folder: Path) -> bool:
        """Whether each frame is there as a whole; each is read once as long as it stays as it is."""
        self.rows = {file: self._rows_of(folder, file) for file in self.state}
        found = whole_together(list(self.rows.values()))
        self.lacked |= not found
        return found

    def _rows_of(self, folder: Path, file: _File) -> Rows | None:
        return self.rows[file] if file in self.rows else rows_if_whole(folder / file.name)


@dataclass
class _Given:
    """A folder whose stack is under way: when it changed last, the frames in it, and whether it was taken away or emptied."""

    changed: int
    known: dict[str, _File] = field(default_factory=dict)
    gone: bool = False

    def late(self, folder: Path) -> list[Path]:
        """Frames that were not there, or take the place of one that was; each is told once. Results of ufafuse are none."""
        changed = _changed(folder)
        if changed == self.changed and not self.gone:
            return []
        state = _state(folder)
        if not state:
            self.gone = True
            return []
        if not all(file.size for file in state):  # still being written
            return []
        found = self._new(state)
        self.changed, self.gone = changed, False
        self.known |= {file.name: file for file in state}
        return [folder / file.name for file in found if not is_result(folder / file.name)]

    def _new(self, state: _Snapshot) -> list[_File]:
        """The files that are not those of their names; one that only grew was still being written when it was given."""
        pairs = [(file, self.known.get(file.name)) for file in state]
        others = any(old is not None and (file.inode != old.inode or file.size < old.size) for file, old in pairs)
        replaced = self.gone or others
        return [file for file, old in pairs if old is None or (replaced and file[:3] != old[:3])]


class _Loose:
    """Tells, once, of the first picture or video in a folder itself that is no result."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self._folder = folder
        self._tell = tell
        self._told = False
        self._results: set[str] = set()  # whose notes need not be read again

    def look(self) -> None:
        """Look once."""
        if self._told:
            return
        with contextlib.suppress(OSError):  # unmounted or renamed: it may come back
            first = next(filter(self._is_loose, sorted(self._folder.iterdir())), None)
            if first is not None:
                self._told = True
                self._tell(
                    f"{first} lies in the watched folder itself, and is passed over like all there: give each stack a folder"
                )

    def _is_loose(self, path: Path) -> bool:
        if path.name in self._results or not (is_picture(path) or is_video(path)):
            return False
        if not path.is_file() or not path.stat().st_size:  # no file, or one that is still being written
            return False
        if is_result(path):
            self._results.add(path.name)
            return False
        return True


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted((path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")), key=natural_key)
    except OSError:  # unmounted or renamed: it may come back
        return []


def _changed(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _state(folder: Path) -> _Snapshot:
    """The frames in a folder, or its one video; a link to nowhere is one that will be told to be missing."""
    try:
        found = frames_in(folder) or videos_in(folder)
        stats = [(path.name, path.stat() if path.exists() else path.lstat()) for path in found]
    except OSError:  # a file went away while it was looked at
        return ()
    return tuple(_File(name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in stats)


def _complete(folder: Path, seen: _Seen, quiet: float, every: int | None) -> bool:
    """Whether a stack that is as it was seen before is complete. An empty file is one that is being written."""
    if not seen.state or not all(file.size for file in seen.state):
        return False
    still = time.monotonic() - seen.since
    if still >= quiet:
        return True
    if every is None or len(without_uncounted([Path(file.name) for file in seen.state])) != every:
        return False
    return seen.is_whole(folder) and (not seen.lacked or still >= _LAST_BYTES)
