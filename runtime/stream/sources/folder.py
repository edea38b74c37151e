"""A folder in which image files appear."""

from __future__ import annotations

import fnmatch
import re
import time
from collections import deque
from pathlib import Path

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.images import decode_image
from ufafuse.runtime.pairs import is_image
from ufafuse.runtime.stream.frames import Frame
from ufafuse.runtime.stream.sources.base import BrokenFrame, Source

_POLL = 0.1
_WRITING = 2.0  # seconds that a file may be half written before it counts as broken
_CLOCK_STEP = 1.0  # seconds within which a folder may change twice and show one time
_LOOK_ANYWAY = 5.0  # for network folders whose clock is not ours


class FolderSource(Source):
    """Image files of a folder in the order of their numbers: those that are there, then those that appear.

    The last run of digits in a file's name is its number (``frame_000123_A.png``: 123) and says which files belong
    together. The folder is watched for ever; the run's own limits end it.

    Args:
        folder: Where the files appear.
        pattern: Which of them to take, such as ``*_A.png``.
    """

    live = False
    numbered = True

    def __init__(self, folder: Path, pattern: str = "*") -> None:
        self.name = str(folder / pattern) if pattern != "*" else str(folder)
        self._folder = folder
        self._pattern = pattern
        self._taken: set[str] = set()
        self._coming: deque[Path] = deque()
        self._changed = self._looked = 0.0

    def open(self) -> None:
        """Raises: InputError when there is no such folder."""
        if not self._folder.is_dir():
            raise InputError(f"{self._folder} is not a folder: make it first (mkdir -p {self._folder}).")

    def read(self, timeout: float) -> Frame | None:
        """The file with the lowest number that was not taken yet; a half-written one is waited for."""
        until = time.monotonic() + timeout
        while True:
            if not self._coming:
                self._look()
            if self._coming:
                frame = self._decoded(self._coming[0])
                if frame is not None:
                    self._coming.popleft()
                    return frame
            if time.monotonic() + _POLL > until:
                time.sleep(max(0.0, until - time.monotonic()))
                return None
            time.sleep(_POLL)

    def _look(self) -> None:
        """Queue the files that are new. Only names that still exist are remembered, so that memory stays flat."""
        try:
            if self._unchanged():
                return
            present = {path.name: path for path in self._folder.iterdir() if is_image(path)}
        except OSError:  # unmounted or removed: it may come back
            return
        matching = {name: path for name, path in present.items() if fnmatch.fnmatch(name, self._pattern)}
        new = [path for name, path in matching.items() if name not in self._taken]
        self._coming.extend(sorted(new, key=lambda path: (number_in(path) or 0, path.name)))
        self._taken = set(matching)

    def _unchanged(self) -> bool:
        """Whether listing a folder, which may hold a hundred thousand files, would show nothing new."""
        changed, now = self._folder.stat().st_mtime, time.time()
        settled = changed == self._changed and self._looked > changed + _CLOCK_STEP and now - self._looked < _LOOK_ANYWAY
        if not settled:
            self._changed, self._looked = changed, now
        return settled

    def _decoded(self, path: Path) -> Frame | None:
        """The file as a frame, or None while it is being written."""
        number = number_in(path)
        if number is None:
            self._coming.popleft()
            raise BrokenFrame(f"{path.name} has no number in its name, so nothing says which file belongs to it")
        try:
            written = path.stat().st_mtime
            array = decode_image(path.read_bytes(), path.name)
        except (InputError, OSError) as error:
            if path.exists() and time.time() - path.stat().st_mtime < _WRITING:
                return None
            self._coming.popleft()
            raise BrokenFrame(str(error)) from error
        return Frame(array, number, written, time.monotonic())


def number_in(path: Path) -> int | None:
    """The last run of digits in the file's stem."""
    found = re.findall(r"\d+", path.stem)
    return int(found[-1]) if found else None
