"""Work on one frame beside the network's work on the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

_WAITING = 2  # pieces that may be left when another one is given, or the network would wait for every sum to be made


class Aside:
    """A second thread for sums and maxima: one piece at a time, in the order given, a few of them ahead.

    Args:
        beside: Whether there is room for what waits; False: everything is done at once, where it is given.
    """

    def __init__(self, *, beside: bool) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ufafuse-sums") if beside else None
        self._left: deque[Future[None]] = deque()
        self._failed = False

    def do(self, work: Callable[[], None]) -> None:
        """Do a piece as soon as those before are done; raises what one of them raised, after which none is done any more."""
        if self._pool is None:
            work()
            return
        self.wait(_WAITING)
        self._left.append(self._pool.submit(self._done, work))

    def _done(self, work: Callable[[], None]) -> None:
        if self._failed:
            return
        self._failed = True
        work()
        self._failed = False

    def wait(self, most: int = 0) -> None:
        """Until at most so many pieces are left; raises what one raised."""
        while len(self._left) > most:
            self._left.popleft().result()

    def __enter__(self) -> Aside:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            if self._pool is not None:
                self._pool.shutdown()
