"""What every sink has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ufafuse.runtime.stream.messages import FusedPair


class Sink(ABC):
    """Where fused pictures go. Used by one thread.

    Attributes:
        name: What reports call it.
        outputs: Files and folders written so far.
        caution: A sentence for whoever starts a run with it, where there is something to know.
        tell: Takes a sentence for people while it runs.
        spares: Asked of a file that may not be written because it is read; set by who runs it.
    """

    name: str = ""
    caution: str = ""
    spares: Callable[[Path], bool] = staticmethod(lambda path: False)  # noqa: ARG005 - replaced by who runs it
    tell: Callable[[str], None] = staticmethod(lambda text: None)  # noqa: ARG005 - likewise

    def __init__(self) -> None:
        self.outputs: list[Path] = []

    def places(self) -> list[Path]:
        """The first file that each part of it would write."""
        return []

    def open(self) -> None:
        """Check, before anything runs, that writing can work. Raises: OutputError."""

    @abstractmethod
    def write(self, item: FusedPair) -> None:
        """Write one fused picture.

        Raises:
            OutputError: It could not be written (disk full, reader gone); what was written before stays whole.
        """

    def close(self) -> None:
        """Finish what is open, so that it plays; may be called twice. Raises: OutputError."""
