"""Stopping a run from outside without losing anything."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stop:
    """`requested` once SIGTERM, SIGINT or SIGHUP (under nohup not) came; a second signal does what it always does."""

    def __init__(self) -> None:
        """Not requested yet."""
        self.requested = False

    @contextlib.contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Take the signals while the block runs (in the main thread: Python delivers them nowhere else)."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}
        if before[signal.SIGHUP] is signal.SIG_IGN:
            del before[signal.SIGHUP]

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def request(_number: int, _frame: FrameType | None) -> None:
            self.requested = True
            restore()

        for number in before:
            signal.signal(number, request)
        try:
            yield self
        finally:
            restore()


def leave_signals_to_the_parent() -> None:
    """For worker processes: a Ctrl-C reaches them too, but only the parent may decide what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
