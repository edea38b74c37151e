"""Files that grow for hours: one writer at a time, and no half piece at their end."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO

from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.errors import OutputError
from ufafuse.runtime.locks import locked_alone
from ufafuse.runtime.writing import check_is_file, make_folder

_PATIENCE = 10.0  # seconds, with a pipe that takes nothing


def opened_alone(path: Path, *, force: bool, append: bool = False, keep: bool = False) -> IO[bytes]:
    """A new file, or with ``force`` an empty one in the place of what is there; unbuffered.

    With ``append`` each write goes to its end, wherever that is by then: whoever looks after logs may cut it; and of a pipe
    it takes what there is room for, without waiting. With ``keep`` what is there stays, and is written on.

    Raises:
        OutputError: Another process is writing it: two would write over each other; it is a socket, or with ``append`` a pipe
            that nobody reads.
        OSError: It cannot be opened, or is there without ``force``.
    """
    check_is_file(path, streams=True)
    how = (0 if force or keep else os.O_EXCL) | (os.O_APPEND | os.O_NONBLOCK if append else 0)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o666)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise OutputError(f"{path} is a pipe or a terminal that nobody has opened: start its reader first.") from error
    try:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            _lock(handle, path)
            if not keep:
                os.ftruncate(handle, 0)
    except BaseException:
        os.close(handle)
        raise
    return os.fdopen(handle, "wb", buffering=0)


def _lock(handle: int, path: Path) -> None:
    if not locked_alone(handle):
        raise OutputError(f"{path} is being written by another process: choose another name, or end that one.")


def is_removed(handle: int) -> bool:
    """Whether a file that is written has no name any more: what is written into it is lost with its end."""
    status = os.fstat(handle)
    return stat.S_ISREG(status.st_mode) and not status.st_nlink


class Home:
    """Where results of hours go. A folder that is removed meanwhile is made anew, for a line is not to end for it.

    On the same disk alone: where one was unmounted, what is left at its place belongs to another, which would fill unseen.

    Args:
        folder: It, or where it will be made.
    """

    def __init__(self, folder: Path) -> None:
        self._disk = _disk_of(folder)

    def restore(self, folder: Path, tell: Callable[[str], None]) -> None:
        """Make ``folder`` where it is not there, and tell. Raises: OutputError."""
        if folder.is_dir():
            return
        if _disk_of(folder) != self._disk:
            raise OutputError(f"{folder} is gone with the disk that it was on: mount it again.")
        make_folder(folder)
        tell(f"{folder} was not there: it is made")


def _disk_of(folder: Path) -> int:
    """The file system that a folder is on, or would be made on; by functions that no link and no right can trouble."""
    whole = Path(os.path.realpath(folder))
    return next(place for place in (whole, *whole.parents) if os.path.isdir(place)).stat().st_dev  # noqa: PTH112


class Lines:
    """A text file to which whole lines are added, each of which reaches the operating system at once.

    One that was removed meanwhile is begun anew, which is told; one that was renamed is written on. Where another file has been
    put in its place, as logrotate does, that one is.

    Args:
        path: The file.
        force: Replace it if it is there.
        tell: Takes a sentence for people.

    Raises:
        OutputError: As `opened_alone`.
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path, *, force: bool, tell: Callable[[str], None] = ignored) -> None:
        self._path, self._tell = path, tell
        self._stream = opened_alone(path, force=force, append=True)
        self._handle = self._stream.fileno()
        self._home = Home(path.parent)

    def add(self, text: str) -> None:
        """Add a line. Raises: OSError, OutputError; then the file ends with the line before."""
        if is_removed(self._handle):
            self._home.restore(self._path.parent, self._tell)
            there = self._path.exists()
            self._go_on_in(opened_alone(self._path, force=False, append=True, keep=True))
            if not there:
                self._tell(f"{self._path} was removed while it was written: it is begun anew")
        elif self._is_replaced():
            with contextlib.suppress(OutputError, OSError):  # it is another process's or user's: this one keeps its own
                self._go_on_in(opened_alone(self._path, force=False, append=True, keep=True))
        whole = os.fstat(self._handle).st_size
        data = memoryview(f"{text}\n".encode())
        left = data
        try:
            while left:  # a full disk may take a part
                taken = self._stream.write(left)
                if taken is None:
                    self._wait()
                left = left[taken or 0 :]
        except OSError:
            with contextlib.suppress(OSError):  # a pipe has no end to cut off
                self._stream.truncate(whole)
            raise

    def _is_replaced(self) -> bool:
        """Whether another file has the name of the one that is written."""
        ours = os.fstat(self._handle)
        try:
            there = self._path.stat()
        except OSError:  # nothing has
            return False
        return stat.S_ISREG(ours.st_mode) and stat.S_ISREG(there.st_mode) and not os.path.samestat(ours, there)

    def _go_on_in(self, stream: IO[bytes]) -> None:
        self._stream.close()
        self._stream = stream
        self._handle = stream.fileno()

    def _wait(self) -> None:
        """For a pipe that is full. Raises: OutputError, where nobody reads it."""
        if not select.select([], [self._handle], [], _PATIENCE)[1]:
            raise OutputError(f"{self._path} has taken nothing for {_PATIENCE:g} s: start it again with a reader that reads.")

    def close(self) -> None:
        """Close it. Raises: OSError."""
        self._stream.close()
