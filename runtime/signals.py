"""Signals that ask a long run for its end."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def counted_signals(*, final: bool = False) -> Iterator[list[int]]:
    """SIGINT, SIGTERM and SIGHUP only add to a list: what they ask for is done outside of the handler, where locks are free.

    A terminal that was closed (SIGHUP) ends the run as well as they do; under nohup, which ignores it, it stays ignored.

    Args:
        final: The process ends with the block: whoever has asked for that by then need not ask again, and one more signal would
            but take the result and the exit code away.
    """
    asked: list[int] = []
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    heeded = [number for number in _ENDINGS if not (nohup and number == signal.SIGHUP)]
    before = {number: signal.signal(number, lambda received, _frame: asked.append(received)) for number in heeded}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if final and asked else handler)
