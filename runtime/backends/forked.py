"""Engines whose threads stay behind when a process is forked."""

import os

from ufafuse.runtime.errors import BackendError

_BEGUN_IN: dict[str, int] = {}  # by engine: the process in which its threads were started


def check_process(engine: str) -> None:
    """Refuse an engine in a process that was forked from one in which it ran: it would wait for threads that are not there.

    With OpenVINO such a child hangs in some calls and not in others, without a word, as does one that opens a session of
    its own.

    Args:
        engine: As people call it.

    Raises:
        BackendError: It was begun in another process.
    """
    if _BEGUN_IN.setdefault(engine, os.getpid()) != os.getpid():
        raise BackendError(
            f"{engine} was used before this process was forked, and its threads stayed behind: begin processes by "
            '`multiprocessing.get_context("spawn")`, fork before anything is fused, or take `backend=onnxruntime`.'
        )
