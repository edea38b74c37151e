"""What uvicorn leaves open towards clients that would hold on to the device: how many there are, and how slow.

uvicorn has no public place for this, so its protocol class is extended; `USED` lists what is relied on, and a test holds it
against the release that is installed.
"""

from __future__ import annotations

import asyncio
import os
import resource
import time
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from ufafuse.runtime import console
from ufafuse.runtime.stream.web.address import NO_MORE

_SPARE_HANDLES = 16  # of the process, or a quarter of them, that connections leave to what is done besides
_TOLD_EVERY = 60.0  # seconds
USED = (
    *("connections", "cycle", "loop", "transport"),
    *("connection_made", "data_received", "pause_writing", "resume_writing", "connection_lost", "shutdown"),
)


class Connection(H11Protocol):
    """One client's connection. It is cut when a request takes its client more than ten seconds to send or an answer to take,
    and when the server ends. Where there are too many, the one that has asked nothing for longest has to go: whoever connects
    and asks at once is answered, however many hold connections without a word, or without the token.
    """

    most = 64  # connections: more than there may be streams of pictures, so that what is asked beside them is answered
    slow_seconds = 10.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the library's arguments
        super().__init__(*args, **kwargs)
        self.since = 0.0
        self._limits: dict[str, asyncio.TimerHandle] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as the library has it
        """Begin, if there is room for one more."""
        super().connection_made(transport)
        # `pause_writing` is to know of all that the system does not take. TLS pauses at its limit and not beyond: 0 is always.
        transport.set_write_buffer_limits(0 if transport.get_extra_info("sslcontext") is None else 1)
        self._limit("asking")
        self.since = self.loop.time()
        others = [other for other in self.connections if isinstance(other, Connection) and not other.transport.is_closing()]
        if len(others) > self.most or _handles_run_out():
            idle = [other for other in others if not other.answering]
            min(idle, key=lambda other: other.since, default=self).transport.abort()

    @property
    def answering(self) -> bool:
        """Whether an answer is under way."""
        return self.cycle is not None and not self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        """Go on with the request; one that is not whole yet has a limited time."""
        super().data_received(data)
        if self.answering:
            self.since = self.loop.time()
            self._lift("asking")
        elif "asking" not in self._limits:
            self._limit("asking")

    def pause_writing(self) -> None:
        """The client takes no more at present: give it a limited time."""
        super().pause_writing()
        self._limit("taking")

    def resume_writing(self) -> None:
        """The client has taken everything."""
        self._lift("taking")
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the limits with the connection."""
        self._lift("asking")
        self._lift("taking")
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server ends: an answer that goes on for ever ends with it."""
        self.transport.abort()

    def _limit(self, what: str) -> None:
        self._limits[what] = self.loop.call_later(self.slow_seconds, self.transport.abort)

    def _lift(self, what: str) -> None:
        if timer := self._limits.pop(what, None):
            timer.cancel()


def _handles_run_out() -> bool:
    """Whether the process has hardly any handle left."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        used = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only how many
    except OSError as error:  # none is left to look with, or the system does not tell
        return error.errno in NO_MORE
    return limit != resource.RLIM_INFINITY and used >= limit - min(_SPARE_HANDLES, limit // 4)


class Complaints:
    """What an event loop says of connections that it cannot take: a sentence a minute, and no traceback each time."""

    def __init__(self) -> None:
        self._told_at = float("-inf")

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take one of them, as `asyncio.loop.set_exception_handler` has it."""
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in NO_MORE:
            loop.default_exception_handler(context)
            return
        if time.monotonic() - self._told_at > _TOLD_EVERY:
            self._told_at = time.monotonic()
            console.err.print(f"connections cannot be taken: {error.strerror}. Allow this process more of them (`ulimit -n`).")
