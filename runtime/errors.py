"""The errors a user can meet. Each text says what was asked, what was found and what to do."""

import contextlib
import errno
from collections.abc import Iterator

NOT_ENOUGH = "there is not enough memory"
NO_THREADS = (
    "the system starts no more threads: end other programs, or allow more (`ulimit -u`, a container's limit of processes)"
)
_NO_MEMORY_IN_OPENCV = -4
_WORDS = ("bad_alloc", "can't alloc", "cannot allocate memory", "insufficient memory", "failed to allocate", "out of memory")
_WORDS_OF_THREADS = (
    "start new thread",
    "resource temporarily unavailable",
    "pthread_create failed",
)  # Python's, C++'s, ONNX Runtime's


class UfaError(Exception):
    """Something the user can mend; the command line prints its text and ends with ``exit_code``."""

    exit_code = 2


class InputError(UfaError):
    """A frame, a file, a folder or an option cannot be used."""


class ModelError(UfaError):
    """A model file is broken, foreign, stale or does not fit the request."""


class BackendError(UfaError):
    """An inference engine is missing, or refuses the model or the machine."""


class OutputError(UfaError):
    """A result cannot be written."""


class CheckFailed(UfaError):  # noqa: N818 - reads as what happened, and is no fault of the input
    """The work was done and a check of its result fell short."""

    exit_code = 1


def is_shortage(error: BaseException) -> bool:
    """Whether memory was refused: to Python or NumPy, to OpenCV, by the system, or to an engine that says so in words."""
    if isinstance(error, MemoryError) or getattr(error, "code", None) == _NO_MEMORY_IN_OPENCV:
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return _says(error, _WORDS)


def lacks_threads(error: BaseException) -> bool:
    """Whether the system refused to start a thread: to Python, or to an engine that says so in words."""
    return _says(error, _WORDS_OF_THREADS)


def _says(error: BaseException, words: tuple[str, ...]) -> bool:
    """Whether an error of others has one of the words; what ours tell may be somebody's file name."""
    text = str(error).casefold()
    return not isinstance(error, UfaError | OSError) and any(word in text for word in words)


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
