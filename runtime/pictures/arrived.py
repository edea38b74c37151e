"""Whether a picture's file is there as a whole: its size says nothing where a program sets it before it writes.

Windows does so with what it copies to a share, and so does ``rsync --preallocate``. Formats that pack their samples are refused
until all of them are there; BMP, PNM, PFM and some TIFFs are whole to any reader from the first moment on, and black.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.decode import read_picture
from ufafuse.runtime.pictures.lostrows import Rows, lost_rows, zero_rows


def has_gap(path: Path) -> bool:
    """Whether a part of a file was never written; False where its file system cannot tell, and where there is no such file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.lseek(handle, 0, os.SEEK_HOLE) < os.fstat(handle).st_size
    except OSError:  # an empty file, a pipe, or a file system without it
        return False
    finally:
        os.close(handle)


def rows_if_whole(path: Path) -> Rows | None:
    """Rows of 0 at the ends of a picture's file; None where it cannot be read, or has a gap."""
    if has_gap(path):
        return None
    try:
        return zero_rows(read_picture(path).array)
    except InputError:
        return None


def whole_together(rows: Sequence[Rows | None]) -> bool:
    """Whether files of one stack are whole, by what `rows_if_whole` says of each."""
    found = [each for each in rows if each is not None]
    return len(found) == len(rows) and not lost_rows([""] * len(found), found)
