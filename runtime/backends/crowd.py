"""How many runs of a session are under way at once, and in how many streams its engine had best run them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SURE = 3  # runs that met another one: two frames that meet by accident are not worth another compilation
_ALONE = 16  # runs in succession that met no other: the crowd has gone


class Crowd:
    """Follows how many threads use a session at once.

    One frame is fastest with all cores; of several at once each had better keep to some of the cores, since small networks
    leave most of each core's time to waiting for the others.

    Args:
        streams: How many runs at once the engine is to be ready for; None: this is found from the calls.
        most: Streams that make sense: the cores.
    """

    def __init__(self, streams: int | None, most: int) -> None:
        self._fixed, self._most = streams, max(1, most)
        self._lock = threading.Lock()
        self._running = 0
        self._met = 0  # runs that met another one, since the crowd has gone
        self._alone = 0
        self._streams = 1

    @property
    def at_first(self) -> int:
        """Streams of a run that comes alone."""
        return self._fixed or 1

    @property
    def seen(self) -> bool:
        """Whether there is more than one way to run now."""
        return self._streams > 1

    @contextmanager
    def entered(self) -> Iterator[int]:
        """While the block runs, one run more is under way; gives the number of streams for it."""
        with self._lock:
            self._running += 1
            streams = self._fixed or self._found()
        try:
            yield streams
        finally:
            with self._lock:
                self._running -= 1

    def _found(self) -> int:
        if self._running > 1:
            self._met, self._alone = self._met + 1, 0
            if self._met >= _SURE:
                wanted = 1 << (self._running - 1).bit_length()  # powers of two: few compilations, however many threads come
                self._streams = max(self._streams, min(wanted, self._most))
        else:
            self._alone += 1
            if self._alone >= _ALONE:
                self._met, self._streams = 0, 1
        return self._streams
