"""A recording played at its own speed."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.stream.messages import Frame
from ufafuse.runtime.stream.sources.base import Source


class PacedSource(Source):
    """A recorded source turned into a live one: each frame comes when its timestamp says.

    Args:
        source: A recording whose timestamps are seconds from its start.
    """

    live = True

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self.numbered = source.numbered
        self._source = source
        self._epoch = 0.0
        self._next: Frame | None = None

    def begin(self, epoch: float) -> None:
        """The recording's second 0 is the run's first moment."""
        self._epoch = epoch
        self._source.begin(epoch)

    def open(self) -> None:
        """Open the recording."""
        self._source.open()
        self.size = self._source.size

    def read(self, timeout: float) -> Frame | None:
        """The next frame when its time has come."""
        until = time.monotonic() + timeout
        if self._next is None:
            self._next = self._source.read(timeout)
            if self._next is None:
                return None
        due = self._epoch + self._next.timestamp
        time.sleep(max(0.0, min(due, until) - time.monotonic()))
        if due > until:
            return None
        frame, self._next = self._next, None
        return replace(frame, timestamp=due, arrived=time.monotonic())

    def reads(self, path: Path) -> bool:
        """As the recording."""
        return self._source.reads(path)

    def example(self) -> Array | None:
        """As the recording."""
        return self._source.example()

    def interrupt(self) -> None:
        """End the read under way."""
        self._source.interrupt()

    def close(self) -> None:
        """Close the recording."""
        self._source.close()
