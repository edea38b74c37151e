"""Engines that print to stdout from C, where ``--json`` promises one object and nothing else."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

_ONE_AT_A_TIME = threading.Lock()


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """While the block runs, what anything in this process writes to file descriptor 1 goes to descriptor 2."""
    with _ONE_AT_A_TIME, contextlib.ExitStack() as restored:
        with contextlib.suppress(ValueError, OSError):  # stdout is closed, or no file
            sys.stdout.flush()
        try:
            kept = os.dup(1)
        except OSError:  # there is no stdout: nothing to keep clean
            yield
            return
        restored.callback(os.close, kept)
        restored.callback(os.dup2, kept, 1)
        os.dup2(2, 1)
        yield
