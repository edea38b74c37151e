"""Who is let in: how many requests are under way, and how many bytes they hold together.

Everything here is called on the server's event loop, so nothing is locked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from ufafuse.runtime.errors import UfaError

_LONGEST_RETRY = 60  # seconds
_MEMORY = 0.2  # of the newest request, in the running mean


class Refusal(UfaError):  # noqa: N818 - reads as what happened
    """A request that is not answered with a picture.

    Args:
        text: The reason, and what to do.
        status: HTTP's.
        retry_after: Seconds after which to come again; None: coming again does not help.
    """

    def __init__(self, text: str, status: int, *, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.status, self.retry_after = status, retry_after


class Ticket:
    """One request that was let in, and the bytes that it holds."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.bytes = 0

    def hold(self, count: int) -> None:
        """Take ``count`` more bytes. Raises: Refusal when there is no room for them."""
        self._admission.check_room(self, count)
        self.bytes += count
        self._admission.bytes += count


class Admission:
    """A bound on requests and bytes.

    Args:
        most: Requests that may be under way, waiting and in work.
        room: Bytes that they may hold together.
        workers: How many are fused at once, for the estimate of when to come again.
    """

    def __init__(self, *, most: int, room: int, workers: int = 1) -> None:
        self._most, self._room, self._workers = most, room, workers
        self._seconds = 0.0  # of a fusion, a running mean
        self.active, self.bytes = 0, 0
        self.closed = False

    @contextmanager
    def entered(self, size: int = 0) -> Iterator[Ticket]:
        """Let a request of ``size`` bytes in for the block's time.

        Raises:
            Refusal: The server is full or ends (503), or the request would never fit (413).
        """
        if self.closed:
            raise Refusal("the server is ending: ask another one.", 503, retry_after=self.retry_after)
        if self.active >= self._most:
            text = f"{self.active} requests are under way, which is all that may be: come again in {self.retry_after} s."
            raise Refusal(text, 503, retry_after=self.retry_after)
        ticket = Ticket(self)
        ticket.hold(size)
        self.active += 1
        try:
            yield ticket
        finally:
            self.active -= 1
            self.bytes -= ticket.bytes

    def check_room(self, ticket: Ticket, count: int) -> None:
        """Refuse ``count`` more bytes for which there is no room (`Refusal`)."""
        if ticket.bytes + count > self._room:
            text = f"the request holds {(ticket.bytes + count) / 1e6:.0f} MB decoded, {self._room / 1e6:.0f} MB are possible"
            raise Refusal(f"{text}: send smaller frames, or give the server more `max_memory`.", 413)
        if self.bytes + count > self._room:
            raise Refusal(
                f"requests under way hold {self.bytes / 1e6:.0f} MB of {self._room / 1e6:.0f}: come again in "
                f"{self.retry_after} s.",
                503,
                retry_after=self.retry_after,
            )

    def took(self, seconds: float) -> None:
        """Learn how long a fusion takes."""
        self._seconds = seconds if not self._seconds else (1 - _MEMORY) * self._seconds + _MEMORY * seconds

    @property
    def retry_after(self) -> int:
        """Seconds in which half of those under way will be done."""
        return max(1, min(_LONGEST_RETRY, math.ceil(self._seconds * self.active / self._workers / 2)))
