"""The bytes of an input file, and of nothing that only looks like one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ufafuse.runtime.errors import InputError


class NoFile(InputError):  # noqa: N818 - what it is, and no defect
    """It is a pipe, a device, a socket or a folder, and will not become a file by waiting."""


def bytes_of(path: Path, most: int) -> bytes:
    """Read a regular file.

    A FIFO would be waited for and ``/dev/zero`` read for ever, so what is no regular file is refused, before and after it
    was opened, for it may have been exchanged meanwhile.

    Args:
        path: The file, or a link to it.
        most: Bytes that it may have.

    Raises:
        NoFile: It is something else than a file.
        InputError: It is empty, or too large.
        OSError: It cannot be opened or read.
    """
    check_file(path)
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO without a writer opens at once
    with os.fdopen(handle, "rb", buffering=0) as stream:
        status = os.fstat(handle)
        _refuse_no_file(path, status.st_mode)
        if status.st_size > most:
            raise InputError(
                f"{path} has {status.st_size / 1e6:.0f} MB, and at most {most / 1e6:.0f} MB are read: give another."
            )
        data = bytearray()
        while block := stream.read(status.st_size - len(data)):
            data += block
    if not data:
        raise InputError(f"{path} is empty (0 bytes): record or copy it again.")
    return bytes(data)


def check_file(path: Path, *, give: str = "an image file") -> None:
    """Refuse what is no regular file before a library opens it by its name, and waits for it or reads it for ever.

    Raises:
        NoFile: It is something else; ``give`` says what is wanted.
        OSError: It is not there.
    """
    _refuse_no_file(path, path.stat().st_mode, give)


def _refuse_no_file(path: Path, mode: int, give: str = "an image file") -> None:
    if not stat.S_ISREG(mode):
        raise NoFile(f"{path} is {kind_of(mode)}: give {give}.")


def real_path(path: Path) -> Path:
    """``Path.resolve``, which before Python 3.13 fails for links that go round in a circle: those end where they began."""
    return Path(os.path.realpath(path))


def identity_of(path: Path) -> tuple[int, int] | Path:
    """What all names of one file share, links of either kind among them; of what is not there, its name."""
    try:
        status = path.stat()
    except OSError:
        return real_path(path)
    return status.st_dev, status.st_ino


def same_file(path: Path, other: Path) -> bool:
    """Whether both are there and are one file or folder, by whatever names and links."""
    try:
        return path.samefile(other)
    except OSError:
        return False


def kind_of(mode: int) -> str:
    """What a path is that is no regular file, for the errors."""
    kinds = {stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket"}
    return next((name for test, name in kinds.items() if test(mode)), "a device")
