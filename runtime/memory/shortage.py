"""Errors that mean no more than that there is not enough memory, whoever raises them and however they put it."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from ufafuse.runtime.errors import InputError, UfaError

NOT_ENOUGH = "there is not enough memory"
_OPENCV = -4  # its StsNoMem
_WORDS = ("bad_alloc", "can't alloc", "cannot allocate memory", "insufficient memory", "failed to allocate", "out of memory")


def is_shortage(error: BaseException) -> bool:
    """Whether memory was refused: to Python or NumPy, to OpenCV, by the system, or to an engine that says so in words."""
    if isinstance(error, MemoryError) or getattr(error, "code", None) == _OPENCV:
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    text = str(error).casefold()
    return isinstance(error, RuntimeError) and any(word in text for word in _WORDS)


@contextlib.contextmanager
def shortage_told(name: str) -> Iterator[None]:
    """Tell a shortage as an `InputError` that says what it stopped: one of many is then a row, and the next may be smaller."""
    try:
        yield
    except UfaError:
        raise
    except Exception as error:
        if not is_shortage(error):
            raise
        raise InputError(
            f"{name} cannot be fused: {NOT_ENOUGH}. Give a bound for it (`max_memory`), smaller frames, or free some."
        ) from error
