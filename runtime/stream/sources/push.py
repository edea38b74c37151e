"""Sources for programs that have their own camera SDK."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.stream.messages import Frame
from ufafuse.runtime.stream.sources.base import EndOfSource, Source
from ufafuse.runtime.values import check_instance, check_some, check_value, is_number, is_switch, is_text, is_whole


class PushSource(Source):
    """Frames that your own code hands over, from any thread.

    Args:
        name: What reports call it.
        size: Frames that wait here until the pipeline takes them; then the oldest is lost, as in a camera's driver.

    Attributes:
        overrun: Frames lost that way; they never count as received, and that there are some is told once.

    Raises:
        InputError: The name is no text, or the size no whole number above 0.

    Example:
        >>> near = PushSource("near")
        >>> near.push(picture, timestamp=camera_seconds)
    """

    def __init__(self, name: str = "pushed", *, size: int = 4) -> None:
        check_value("name", name, is_text)
        check_value("size", size, is_whole)
        check_some("size", size)  # of none each frame would be lost as soon as it came
        self.name = name
        self.overrun = 0
        self._size = size
        self._count = 0
        self._waiting: deque[Frame] = deque()
        self._ended = False
        self._changed = threading.Condition()

    def push(
        self,
        array: Array,
        timestamp: float | None = None,
        *,
        index: int | None = None,
        plane: int | None = None,
        copy: bool = True,
    ) -> None:
        """Hand over one picture; never waits.

        Args:
            array: H x W or H x W x 3 (BGR), uint8 or uint16.
            timestamp: Exposure in seconds, of a clock that both sources share; the moment of this call without.
            index: The camera's own frame number; a count without.
            plane: The focus setting of a camera that moves its focus, from 0; -1 while the lens moves. None: not known.
            copy: False when ``array`` is yours to give away. SDKs reuse their buffers, so True is the safe way.
        """
        arrived = time.monotonic()
        picture = array.copy() if copy and isinstance(array, np.ndarray) else array  # what is no picture is told by who reads
        with self._changed:
            number = self._count if index is None else index
            self._count += 1
            moment = arrived if timestamp is None else timestamp
            self._waiting.append(Frame(picture, number, moment, arrived, plane))
            if len(self._waiting) > self._size:
                self._waiting.popleft()
                self.overrun += 1
                self.remark = f"{self.name} is given frames faster than they are taken: the oldest of them are lost (`overrun`)"
            self._changed.notify()

    def end(self) -> None:
        """No more frames will come; the run ends when those at hand are fused."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def open(self) -> None:
        """Nothing to open."""

    def read(self, timeout: float) -> Frame | None:
        """The oldest frame that waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended, timeout)
            if self._waiting:
                return self._waiting.popleft()
            if self._ended:
                raise EndOfSource
            return None


class IterableSource(Source):
    """Frames from a generator or list of arrays, or of (array, timestamp in seconds).

    Args:
        frames: Read in the pipeline's own thread, one by one.
        name: What reports call it.
        live: Whether frames are lost when nobody takes them; False reads as fast as wanted and loses none.
        interval: Seconds between frames that come without a timestamp and are not live.

    Raises:
        InputError: One of these is of another type, or the interval is no number above 0.
    """

    def __init__(
        self,
        frames: Iterable[Array | tuple[Array, float]],
        name: str = "frames",
        *,
        live: bool = False,
        interval: float = 1 / 25,
    ) -> None:
        check_instance("frames", frames, Iterable, given="a list of frames, or a generator")
        check_value("name", name, is_text)
        check_value("live", live, is_switch)
        check_value("interval", interval, is_number)
        if not 0 < interval < math.inf:
            raise InputError(f"`interval={interval}` is out of range: give seconds above 0.")
        self.name = name
        self.live = live
        self._frames: Iterator[Array | tuple[Array, float]] = iter(frames)
        self._interval = interval
        self._count = 0

    def open(self) -> None:
        """Nothing to open."""

    def read(self, timeout: float) -> Frame | None:  # noqa: ARG002 - the generator waits by its own clock
        """The generator's next item."""
        try:
            item = next(self._frames)
        except StopIteration:
            raise EndOfSource from None
        arrived = time.monotonic()
        array, timestamp = item if isinstance(item, tuple) else (item, arrived if self.live else self._count * self._interval)
        self._count += 1
        return Frame(array, self._count - 1, timestamp, arrived)
