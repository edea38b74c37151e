"""Stacks that appear in a folder while it is watched."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.frames_among import without_uncounted
from ufafuse.runtime.pictures.inputs import StackPaths, frames_in, taken_without
from ufafuse.runtime.pictures.naming import natural_key

_POLL = 0.25  # seconds

_Snapshot = tuple[tuple[str, int, int], ...]


def arriving(
    folder: Path, *, quiet: float = 5.0, every: int | None = None, goes_on: Callable[[], bool] = lambda: True
) -> Iterator[StackPaths]:
    """The stacks of a folder, one for each folder in it, as soon as each is complete; never ends by itself.

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
    given: set[str] = set()
    seen: dict[str, tuple[_Snapshot, float]] = {}
    while goes_on():
        for path in _folders(folder):
            if path.name in given:
                continue
            state = _state(path)
            before = seen.get(path.name)
            if before is None or before[0] != state:
                seen[path.name] = state, time.monotonic()
            elif _complete(state, time.monotonic() - before[1], quiet, every):
                given.add(path.name)
                del seen[path.name]
                there = [path / name for name, _, _ in state]
                files = without_uncounted(there)
                yield StackPaths(path.name, tuple(files[:every]), taken_without([one for one in there if one not in files]))
        time.sleep(_POLL)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted((path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")), key=natural_key)
    except OSError:  # unmounted or renamed: it may come back
        return []


def _state(folder: Path) -> _Snapshot:
    try:
        stats = [(path.name, path.stat()) for path in frames_in(folder)]
    except OSError:  # a file went away while it was looked at
        return ()
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def _complete(state: _Snapshot, still: float, quiet: float, every: int | None) -> bool:
    """Whether a stack that did not change for ``still`` seconds is complete. An empty file is one that is being written."""
    if len(state) < 2 or not all(size for _, size, _ in state):
        return False
    return still >= quiet or (every is not None and len(without_uncounted([Path(name) for name, _, _ in state])) >= every)
