"""Starting quickly, and what keeps a program from starting."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unswept() -> Iterator[None]:
    """While the block imports modules: all that they make stays, so nobody need look for what could go.

    That is a twentieth of a start.
    """
    swept = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if swept:
            gc.enable()


def cut_short(error: BaseException) -> str | None:
    """What is told of a module's compiled file that a full disk has cut short: Python finds it broken at each start.

    Args:
        error: What its import raised.

    Returns:
        A sentence; None of any other error.
    """
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "_compile_bytecode":  # of Python's own import
            return f"{trace.tb_frame.f_locals['bytecode_path']} is cut short, as a full disk leaves files: delete it."
        trace = trace.tb_next
    return None
