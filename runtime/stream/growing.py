"""Files that grow for hours: one writer at a time, and no half piece at their end."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import IO

from ufafuse.runtime.errors import OutputError
from ufafuse.runtime.locks import locked_alone


def opened_alone(path: Path, *, force: bool) -> IO[bytes]:
    """A new file, or with ``force`` an empty one in the place of what is there; unbuffered.

    Raises:
        OutputError: Another process is writing it: two would write over each other.
        OSError: It cannot be opened, or is there without ``force``.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (0 if force else os.O_EXCL), 0o666)
    try:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            _lock(handle, path)
            os.ftruncate(handle, 0)
    except BaseException:
        os.close(handle)
        raise
    return os.fdopen(handle, "wb", buffering=0)


def _lock(handle: int, path: Path) -> None:
    if not locked_alone(handle):
        raise OutputError(f"{path} is being written by another process: choose another name, or end that one.")


class Lines:
    """A text file to which whole lines are added, each of which reaches the operating system at once.

    Args:
        path: The file.
        force: Replace it if it is there.

    Raises:
        OutputError: As `opened_alone`.
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path, *, force: bool) -> None:
        self._stream = opened_alone(path, force=force)
        self._whole = 0

    def add(self, text: str) -> None:
        """Add a line. Raises: OSError; then the file ends with the line before."""
        data = memoryview(f"{text}\n".encode())
        left = data
        try:
            while left:  # a full disk may take a part
                left = left[self._stream.write(left) or 0 :]
        except OSError:
            with contextlib.suppress(OSError):  # a pipe has no end to cut off
                self._stream.truncate(self._whole)
            raise
        self._whole += len(data)

    def close(self) -> None:
        """Close it. Raises: OSError."""
        self._stream.close()
