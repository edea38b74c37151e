"""Callbacks that tell how far something is, and their default."""

from collections.abc import Callable

OnCount = Callable[[int, int], None]
"""Called with (done, in all)."""

OnStep = Callable[[str, int, int], None]
"""Called with (what is done or comes next, steps done, steps in all)."""


def ignored(*_told: object) -> None:
    """Nobody wants to know."""
