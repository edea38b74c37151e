"""Fused pictures as Motion JPEG over HTTP, for browsers and other programs."""

from __future__ import annotations

from ufafuse.runtime.stream.frames import FusedPair
from ufafuse.runtime.stream.sinks.base import Sink
from ufafuse.runtime.stream.web.broadcast import Broadcast
from ufafuse.runtime.stream.web.server import Request, Server

_FASTEST = 60.0


class HttpSink(Sink):
    """Serves the newest fused picture to whoever looks; who is slow misses some, and nobody holds up the line.

    Args:
        address: Host and port.
        token: Needed for any address but loopback.
        quality: JPEG quality, 1 to 100.
    """

    def __init__(self, address: tuple[str, int], *, token: str = "", quality: int = 90) -> None:
        super().__init__()
        self._address = address
        self._token = token
        self._broadcast = Broadcast(quality=quality)
        self._server: Server | None = None
        self.name = f"http://{address[0]}:{address[1]}/"

    def open(self) -> None:
        """Begin to serve. Raises: InputError without a token where one is needed, OutputError when the port is taken."""
        self._server = Server(self._address, {"/": self._stream, "/fused.mjpeg": self._stream}, token=self._token)
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

    def _stream(self, request: Request) -> None:
        request.pictures(self._broadcast, fastest=_FASTEST)
