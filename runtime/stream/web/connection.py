"""What uvicorn leaves open towards clients that would hold on to the device: how many there are, and how slow."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_MOST_CONNECTIONS = 32
_SLOW_CLIENT_SECONDS = 10.0


class Connection(H11Protocol):
    """One client's connection. It is cut when there is no room for it, when a request takes its client more than ten
    seconds to send or an answer to take, and when the server ends.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the library's arguments
        super().__init__(*args, **kwargs)
        self._limits: dict[str, asyncio.TimerHandle] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as the library has it
        """Begin, if there is room for one more."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # `pause_writing` is to know of all that the system does not take
        self._limit("asking")
        if len(self.connections) > _MOST_CONNECTIONS:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Go on with the request; one that is not whole yet has a limited time."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
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
        self._limits[what] = self.loop.call_later(_SLOW_CLIENT_SECONDS, self.transport.abort)

    def _lift(self, what: str) -> None:
        if timer := self._limits.pop(what, None):
            timer.cancel()
