"""Work on one frame beside the network's work on the next."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType


class Aside:
    """A second thread for sums and maxima, which leave all cores but one idle: one piece at a time, in the order given.

    Args:
        beside: Whether there is room for what waits; False: everything is done at once, where it is given.
    """

    def __init__(self, *, beside: bool) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ufafuse-sums") if beside else None
        self._running: Future[None] | None = None

    def do(self, work: Callable[[], None]) -> None:
        """Begin a piece as soon as the one before is done; raises what that one raised."""
        if self._pool is None:
            work()
            return
        self.wait()
        self._running = self._pool.submit(work)

    def wait(self) -> None:
        """Until all is done; raises what the last piece raised."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def __enter__(self) -> Aside:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            if self._pool is not None:
                self._pool.shutdown()
