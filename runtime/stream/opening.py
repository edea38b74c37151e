"""Opening a source without being held up by it: a camera, a name server or a driver may hang in it for ever."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence

from ufafuse.runtime.errors import NO_THREADS, BackendError, InputError, UfaError, lacks_threads
from ufafuse.runtime.stream.messages import SIDES
from ufafuse.runtime.stream.sources.base import Source, SourceLost
from ufafuse.runtime.texts import one_line

OPEN_SECONDS = 30.0
_LOOK_EVERY = 0.1


class Opening(threading.Thread):
    """Opens ``source`` in a thread of its own, which is left behind (and closes the source) when nobody waits any more."""

    def __init__(self, source: Source) -> None:
        super().__init__(name="ufafuse-open", daemon=True)
        self._source = source
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self._left = False
        self._lock = threading.Lock()

    def run(self) -> None:
        """The thread's work."""
        try:
            self._source.open()
        except BaseException as error:  # noqa: BLE001 - whatever a source raises is told by who waits
            self._error = error
        if self._error is not None:
            closed(self._source)
        with self._lock:
            self._ended.set()
            left = self._left
        if left:
            closed(self._source)

    def opened(self, seconds: float, unless: Callable[[], bool]) -> bool:
        """Wait until the source is open; False when ``unless`` says so before.

        Raises:
            SourceLost: It took longer than ``seconds``.
            BaseException: What the source raised.
        """
        self.start()
        until = time.monotonic() + seconds
        try:
            while not self._ended.wait(_LOOK_EVERY):
                if unless():
                    return False
                if time.monotonic() > until:
                    raise SourceLost(f"{self._source.name} has not opened within {seconds:.0f} s")
        finally:
            self._leave()
        if self._error is not None:
            raise self._error
        return True

    def _leave(self) -> None:
        with self._lock:
            self._left = not self._ended.is_set()
        if self._left:
            interrupted(self._source)


def all_opened(sources: Sequence[Source], opened: list[Source], unless: Callable[[], bool]) -> bool:
    """Open the sources one after the other; False when ``unless`` put an end to it, with all of them closed.

    Args:
        sources: Of near and far, or the one camera.
        opened: Takes each that is open, to be closed by the caller where an error is raised.
        unless: As `Opening.opened`.

    Raises:
        UfaError: A source's own.
        InputError: A source cannot be opened, or not within `OPEN_SECONDS`.
        BackendError: The system starts no more threads.
    """
    for side, source in zip(SIDES, sources, strict=False):
        try:
            if not Opening(source).opened(OPEN_SECONDS, unless):
                for before in opened:
                    closed(before)
                return False
        except Exception as error:
            if isinstance(error, UfaError):
                raise
            if lacks_threads(error):
                raise BackendError(f"{NO_THREADS}.") from error
            why = str(error) if isinstance(error, SourceLost) else trouble_of(error)
            raise InputError(f"the {side} source cannot be opened: {why}. Check its name and its cable.") from error
        opened.append(source)
    return True


def closed(source: Source) -> str:
    """Close a source; what it raised, if anything: that is no reason to stop."""
    try:
        source.close()
    except Exception as error:  # noqa: BLE001 - see above
        return trouble_of(error)
    return ""


def interrupted(source: Source) -> None:
    """Ask a source to return from what it does; what it raises is no reason not to go on ending."""
    with contextlib.suppress(Exception):
        source.interrupt()


def trouble_of(error: BaseException) -> str:
    """An error of somebody else's code in one line, with its kind."""
    text = one_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
