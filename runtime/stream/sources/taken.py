"""The files of a watched folder that were taken already, and whether one of them is another file by now."""

from __future__ import annotations

import os
import stat
import time
import zlib
from pathlib import Path
from typing import NamedTuple

_LOOK_EVERY = 1.0  # seconds between two looks at all files, at least
_PAUSE = 50  # times what a look took, likewise: on a hundred thousand files 2 % of the time


class _Mark(NamedTuple):
    """What tells a file from another one of its name."""

    inode: int
    written: int
    size: int


class TakenFiles:
    """Remembers files by name. One that another file replaced, or that was written anew, is told once it stands still.

    Only names that still exist are remembered, so that memory stays flat.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: set[str] = set()
        self._taken: dict[str, tuple[_Mark, int]] = {}  # with what its bytes add up to
        self._changing: dict[str, _Mark] = {}
        self._due = 0.0

    def __len__(self) -> int:
        return len(self._names)

    def new(self, names: set[str]) -> set[str]:
        """Those of ``names`` that are not known yet."""
        return names - self._names

    def keep(self, names: set[str]) -> bool:
        """These are all that there are: remember them, and forget others; whether there were any."""
        gone = self._names - names
        for name in gone:
            self._taken.pop(name, None)
            self._changing.pop(name, None)
        self._names = names
        return bool(gone)

    def take(self, name: str, status: os.stat_result, data: bytes) -> bool:
        """Remember that a file was read; False where it is the same file, with the same bytes, as the last time."""
        total = zlib.crc32(data)
        before = self._taken.get(name)
        self._taken[name] = _mark_of(status), total
        return before is None or (before[0].inode, before[1]) != (status.st_ino, total)

    def pass_over(self, name: str) -> None:
        """Remember that a file cannot be read: as it is now, it is not tried again."""
        try:
            mark = _mark_of((self._folder / name).stat())
        except OSError:
            mark = _Mark(0, 0, 0)
        self._taken[name] = mark, 0

    def replaced(self) -> list[str]:
        """Files that have become others since they were taken, and have not changed since the last look."""
        begun = time.monotonic()
        if begun < self._due:
            return []
        found = [name for name in self._taken if self._is_another(name)]
        for name in found:
            del self._changing[name]
            mark, total = self._taken[name]
            self._taken[name] = mark._replace(written=-1), total  # it waits to be read: not told again before
        ended = time.monotonic()
        self._due = ended + max(_LOOK_EVERY, _PAUSE * (ended - begun))
        return found

    def _is_another(self, name: str) -> bool:
        before = self._taken[name][0]
        if before.written < 0:
            return False
        try:
            status = os.stat(f"{self._folder}/{name}")  # noqa: PTH116 - a hundred thousand paths take a second to make
        except OSError:  # gone, or out of reach
            return False
        mark = _mark_of(status)
        if mark == before or not stat.S_ISREG(status.st_mode):
            self._changing.pop(name, None)
            return False
        still = self._changing.get(name) == mark
        self._changing[name] = mark
        return still


def _mark_of(status: os.stat_result) -> _Mark:
    return _Mark(status.st_ino, status.st_mtime_ns, status.st_size)
