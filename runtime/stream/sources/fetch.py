"""A GET that ends: what is done with a connection has one deadline altogether, however slowly the server drips."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

SILENCE_SECONDS = 5.0  # a server that sends nothing for this long has gone
_MOST_REDIRECTIONS = 5
_REDIRECTIONS = frozenset({301, 302, 303, 307, 308})
_SCHEMES = {"http": 80, "https": 443}
_KEPT_IN_A_TARGET = "%/:=&?~#+!$,;'@()*[]"


class Refused(Exception):  # noqa: N818 - an answer, not a defect
    """The server answered with an error; the text is its status."""


class SourceConnection:
    """One connection to a server at a time, and whatever is read from it.

    No proxy is used, and a redirection to another host, or from https to http, is followed without the password.

    Example:
        >>> link = SourceConnection()
        >>> answer = link.get("http://camera/video", seconds=10)
        >>> link.allow(10)
        >>> answer.read(1000)  # TimeoutError after ten seconds, even if a byte came in each of them
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._until = float("inf")
        self._cut = False

    def get(self, url: str, *, seconds: float) -> http.client.HTTPResponse:
        """The answer to a GET, its headers read.

        Args:
            url: http or https; ``http://user:password@host/`` sends basic authentication.
            seconds: For all of it: the name, connecting, redirections, headers. (A name server that does not answer is waited
                for as the system's resolver is set.)

        Raises:
            Refused: The server answered with an error.
            OSError, ValueError, http.client.HTTPException: Nobody answers, in time, with what can be understood.
        """
        self.close()
        self._cut = False
        self.allow(seconds)
        parts, origin = urlsplit(url), urlsplit(url)
        answer: http.client.HTTPResponse | None = None
        for _ in range(_MOST_REDIRECTIONS + 1):
            same = (parts.hostname, parts.port) == (origin.hostname, origin.port) and parts.scheme in (origin.scheme, "https")
            answer = self._asked(parts, _authorization(origin) if same else {})
            if answer.status not in _REDIRECTIONS:
                break
            parts = urlsplit(urljoin(parts.geturl(), answer.headers.get("Location", "")))
            self.close()
        assert answer is not None, "there is at least one turn"
        if answer.status != http.client.OK:
            self.close()
            raise Refused(f"{answer.status} {answer.reason}")
        return answer

    def allow(self, seconds: float) -> None:
        """From now on all that is read must come within ``seconds``."""
        self._until = time.monotonic() + seconds

    def cut(self) -> None:
        """From any thread: end the read or the connecting under way, which raises OSError."""
        self._cut = True
        self._until = 0.0
        if self._socket is not None:
            with contextlib.suppress(OSError):  # not connected yet, or not any more
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up; may be called twice."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @property
    def seconds_left(self) -> float:
        """Until the deadline. Raises: TimeoutError when it has passed."""
        left = self._until - time.monotonic()
        if self._cut or left <= 0:
            raise TimeoutError("cut off" if self._cut else "it took too long")
        return left

    def _asked(self, parts: SplitResult, headers: dict[str, str]) -> http.client.HTTPResponse:
        if parts.scheme not in _SCHEMES:
            raise ValueError(f"it sends on to {parts.scheme or 'nowhere'}:, which is not followed")
        host = (parts.hostname or "").encode("idna").decode()
        port = parts.port or _SCHEMES[parts.scheme]
        connection = http.client.HTTPConnection(host, port)
        connection.sock = self._connected(host, port, secure=parts.scheme == "https")
        named = f"[{host}]" if ":" in host else host
        target = quote(
            parts._replace(scheme="", netloc="", fragment="").geturl() or "/", safe=_KEPT_IN_A_TARGET, errors="surrogateescape"
        )
        standard = {"Host": named if parts.port is None else f"{named}:{port}", "User-Agent": "ufafuse", "Connection": "close"}
        connection.request("GET", target, headers=standard | headers)
        answer = http.client.HTTPResponse(cast("socket.socket", _Wire(self, connection.sock)), method="GET")
        answer.begin()
        return answer

    def _connected(self, host: str, port: int, *, secure: bool) -> socket.socket:
        failure: OSError = OSError(f"{host} has no address")
        for channel, address in _channels(host, port):
            self._socket = channel
            try:
                channel.settimeout(min(self.seconds_left, SILENCE_SECONDS))
                channel.connect(address)
                if secure:
                    self._socket = ssl.create_default_context().wrap_socket(channel, server_hostname=host)
            except OSError as error:
                failure = error
                self.close()
            else:
                return self._socket
        raise failure


class _Wire(io.RawIOBase):
    """What an `http.client.HTTPResponse` reads from: a socket whose reads end at the link's deadline."""

    def __init__(self, link: SourceConnection, channel: socket.socket) -> None:
        self._link = link
        self._channel = channel

    def makefile(self, _mode: str) -> io.BufferedReader:
        """As a socket's."""
        return io.BufferedReader(self, 1 << 16)

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - whatever can be written into
        """Raises: TimeoutError, OSError."""
        self._channel.settimeout(min(self._link.seconds_left, SILENCE_SECONDS))
        return self._channel.recv_into(buffer)


def _channels(host: str, port: int) -> Iterator[tuple[socket.socket, Any]]:
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        yield socket.socket(family, kind, protocol), address


def _authorization(parts: SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return {"Authorization": "Basic " + base64.b64encode(credentials).decode()}
