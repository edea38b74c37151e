"""Ending as quickly as it was asked for, before anything was begun."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SAID = {signal.SIGINT: "interrupted", signal.SIGTERM: "ended by SIGTERM"}


@contextmanager
def endable() -> Iterator[None]:
    """While the block imports modules: SIGINT and SIGTERM end the process at once, with a word and their exit code.

    Nothing was begun that would have to be cleaned up, and an error raised inside of an import may become any other.
    """
    mine = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {}
    if threading.current_thread() is threading.main_thread():  # only there handlers may be set
        before = {number: signal.signal(number, _leave) for number, usual in mine.items() if signal.getsignal(number) == usual}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, _frame: FrameType | None) -> None:
    said = _SAID[signal.Signals(number)]
    if "--json" in sys.argv:
        os.write(1, f'{{"ok": false, "error": "{said}"}}\n'.encode())
    os.write(2, f"{said}\n".encode())
    os._exit(128 + number)
