"""Stacks that appear in a folder while it is watched."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.frames_among import is_fused, is_result, without_uncounted
from ufafuse.runtime.pictures.inputs import NAMED, StackPaths, frames_in, taken_without, videos_in
from ufafuse.runtime.pictures.naming import natural_key

_POLL = 0.25  # seconds

_Snapshot = tuple[tuple[str, int, int], ...]


def arriving(
    folder: Path, *, quiet: float = 5.0, every: int | None = None, goes_on: Callable[[], bool] = lambda: True
) -> Iterator[StackPaths]:
    """The stacks of a folder, one for each folder in it, as soon as each is complete; never ends by itself.

    A folder with another number of frames than it should have is a stack with `StackPaths.refused`, and so are frames that
    come after theirs was complete.

    Args:
        folder: What is watched.
        quiet: Seconds without any change after which a folder's stack is complete.
        every: How many frames make it complete at once (they still have to be written: a file that grows is waited for).
        goes_on: Asked again and again; False ends the watch.

    Raises:
        InputError: There is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: make it first (mkdir -p {folder}).")
    given: dict[str, _Given] = {}
    seen: dict[str, tuple[_Snapshot, float]] = {}
    while goes_on():
        for path in _folders(folder):
            if path.name in given:
                if late := given[path.name].late(path):
                    yield _refused(path, late, _too_late(late))
                continue
            state = _state(path)
            before = seen.get(path.name)
            if before is None or before[0] != state:
                seen[path.name] = state, time.monotonic()
            elif _complete(state, time.monotonic() - before[1], quiet, every):
                names = [name for name, _, _ in state]
                given[path.name] = _Given(_changed(path), set(names))
                del seen[path.name]
                there = [path / name for name in names]
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
    shown = ", ".join(str(path) for path in late[:NAMED]) + (f" and {len(late) - NAMED} more" if len(late) > NAMED else "")
    return f"{shown} came after the stack was complete: fuse its folder again, and give `quiet` a longer time."


@dataclass
class _Given:
    """A folder whose stack is under way: when it changed last, and the names in it."""

    changed: int
    names: set[str] = field(default_factory=set)

    def late(self, folder: Path) -> list[Path]:
        """Frames that were not there; each is told once. Results of ufafuse are none."""
        changed = _changed(folder)
        if changed == self.changed:
            return []
        state = _state(folder)
        if not all(size for _, size, _ in state):  # still being written
            return []
        self.changed = changed
        found = [folder / name for name, _, _ in state if name not in self.names]
        self.names |= {path.name for path in found}
        return [path for path in found if not is_result(path)]


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
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def _complete(state: _Snapshot, still: float, quiet: float, every: int | None) -> bool:
    """Whether a stack that did not change for ``still`` seconds is complete. An empty file is one that is being written."""
    if not state or not all(size for _, size, _ in state):
        return False
    return still >= quiet or (every is not None and len(without_uncounted([Path(name) for name, _, _ in state])) == every)
