"""Fused pictures as Motion JPEG over HTTP, for browsers and other programs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ufafuse.runtime.stream.messages import FusedPair
from ufafuse.runtime.stream.sinks.base import Sink

if TYPE_CHECKING:
    from ufafuse.runtime.stream.web.server import PageServer

_FASTEST = 60.0


class HttpSink(Sink):
    """Serves the newest fused picture to whoever looks; who is slow misses some, and nobody holds up the line.

    Args:
        address: Host and port.
        token: Needed for any address but loopback.
        quality: JPEG quality, 1 to 100.
        white: The level of 16-bit pictures that becomes 255; None: it is found.

    Raises:
        InputError: The extra ``view`` is not installed.
    """

    def __init__(self, address: tuple[str, int], *, token: str = "", quality: int = 90, white: float | None = None) -> None:
        from ufafuse.runtime.stream.web import broadcast, server  # an extra: nobody else needs it

        super().__init__()
        self._web = server
        self._address = address
        self._token = token
        self._broadcast = broadcast.Broadcast(quality=quality, white=white)
        self._server: PageServer | None = None
        self.name = f"http://{address[0]}:{address[1]}/"

    def open(self) -> None:
        """Begin to serve. Raises: InputError without a token where one is needed, OutputError when the port is taken."""
        stream = partial(self._web.pictures, self._broadcast, fastest=_FASTEST)
        self._server = self._web.PageServer(self._address, {"/": stream, "/fused.mjpeg": stream}, token=self._token)
        self.name = self._server.url
        self._server.start()

    def write(self, item: FusedPair) -> None:
        """Make the picture the newest."""
        self._broadcast.publish(item.fused)

    def close(self) -> None:
        """Serve no more."""
        if self._server is not None:
            self._server.stop()
            self._server = None
