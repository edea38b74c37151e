"""A small HTTP server for pictures and figures: loopback by default, a token for any other address.

It stands on the standard library's `ThreadingHTTPServer`: a handful of GET paths without bodies need no framework, and
the device gets no further package to keep current. What the library leaves open is closed here: a limit on
connections, time limits on slow clients, the token, and a check of the Host header against pages that make a browser
ask on their behalf. It speaks plain HTTP: put a reverse proxy with TLS before it where the network is not yours.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.stream.web.broadcast import Broadcast

_MOST_CONNECTIONS = 32
_SLOW_CLIENT_SECONDS = 10.0
_SEND_BUFFER = 256 << 10  # what a slow viewer may lag behind
_BOUNDARY = "frame"
_COOKIE = "ufafuse-token"

Route = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One request; routes answer through `text`, `json` and `pictures`."""

    server: Server
    timeout = _SLOW_CLIENT_SECONDS
    protocol_version = "HTTP/1.1"
    server_version = "ufafuse"
    sys_version = ""

    def setup(self) -> None:
        """Bound what the kernel keeps for a viewer that does not read."""
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        super().setup()

    def do_GET(self) -> None:
        """Answer, after the checks."""
        address = urlsplit(self.path)
        given = parse_qs(address.query).get("token", [""])[0]
        if not self.server.knows_host(self.headers.get("Host", "")):
            self.text("this server does not answer to that name\n", status=HTTPStatus.FORBIDDEN)
        elif not self.server.token_fits(given or self._token_of_headers()):
            self.text("a token is needed: add ?token=... once\n", status=HTTPStatus.UNAUTHORIZED)
        elif given and self.server.token and "text/html" in self.headers.get("Accept", ""):
            self._keep_token(given, address.path)
        elif address.path in self.server.routes:
            self._answer(self.server.routes[address.path])
        else:
            self.text("no such page\n", status=HTTPStatus.NOT_FOUND)

    def _answer(self, route: Route) -> None:
        try:
            route(self)
        except OSError:  # the viewer has gone or is too slow: its affair
            self.close_connection = True

    def _token_of_headers(self) -> str:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return token
        try:
            return SimpleCookie(self.headers.get("Cookie", ""))[_COOKIE].value
        except (CookieError, KeyError):
            return ""

    def _keep_token(self, token: str, path: str) -> None:
        """Move the token from the address, which browsers show and keep, into a cookie."""
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Set-Cookie", f"{_COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/")
        self.send_header("Location", path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def text(self, body: str, *, kind: str = "text/plain; charset=utf-8", status: HTTPStatus = HTTPStatus.OK) -> None:
        """Answer with ``body``."""
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(data)

    def json(self, values: Mapping[str, Any], *, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Answer with a JSON object."""
        self.text(json.dumps(values) + "\n", kind="application/json", status=status)

    def pictures(self, broadcast: Broadcast, *, fastest: float) -> None:
        """Answer with Motion JPEG until the viewer goes: always the newest picture, at most ``fastest`` a second."""
        self.close_connection = True
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        number = 0
        while not self.server.closing.is_set():
            begun = time.monotonic()
            newest = broadcast.jpeg_after(number, 1.0)
            if newest is None:
                continue
            number, data = newest
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data + b"\r\n")
            self.server.closing.wait(max(0.0, 1 / fastest - (time.monotonic() - begun)))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the library's signature
        """Keep requests out of the run's messages."""


class Server(ThreadingHTTPServer):
    """Serves ``routes`` (path to function) in threads of their own.

    Args:
        address: Host and port; port 0 takes any free one.
        routes: What answers which path.
        token: What clients must know; needed for any address but loopback.

    Raises:
        InputError: A token is missing.
        OutputError: The address cannot be used.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 16

    def __init__(self, address: tuple[str, int], routes: Mapping[str, Route], *, token: str = "") -> None:
        host, port = address
        self._loopback = is_loopback(host)
        if not self._loopback and not token:
            raise InputError(
                f"{host}:{port} can be reached from other machines: add --token SECRET (or UFAFUSE_TOKEN), or use 127.0.0.1."
            )
        if token and not re.fullmatch(r"[A-Za-z0-9._~-]+", token):
            raise InputError("the token holds characters that an address cannot: use letters, digits and . _ ~ - alone.")
        self.routes = routes
        self.token = token
        self.closing = threading.Event()
        self._room = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), Request)
        except OSError as error:
            raise OutputError(f"nothing can be served on {host}:{port}: {error.strerror}. Choose another port.") from error
        self._thread = threading.Thread(target=self.serve_forever, args=(0.2,), name="ufafuse-http", daemon=True)

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        host, port = self.server_address[:2]
        return f"http://[{host!s}]:{port}/" if ":" in str(host) else f"http://{host!s}:{port}/"

    def start(self) -> None:
        """Serve until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Serve no more; connections end within a second or so."""
        self.closing.set()
        if self._thread.is_alive():
            self.shutdown()
        self.server_close()

    def token_fits(self, given: str) -> bool:
        """Whether ``given`` is the token, or none is needed."""
        return not self.token or hmac.compare_digest(given.encode(), self.token.encode())

    def knows_host(self, host: str) -> bool:
        """Whether a Host header is one of ours: without a token, a page from elsewhere may not make a browser read us."""
        return bool(self.token) or is_loopback(urlsplit(f"//{host}").hostname or "")

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the library's signature
        """Begin a thread for the connection, if there is room for one more."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - likewise
        """Serve the connection, then make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - likewise
        """Keep quiet about clients that hang up; anything else is a defect and keeps its traceback."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def is_loopback(host: str) -> bool:
    """Whether ``host`` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_address(text: str, option: str) -> tuple[str, int]:
    """Host and port from ``8080``, ``0.0.0.0:8080`` or ``[::1]:8080``; the host is 127.0.0.1 where none is given.

    Raises:
        InputError: It is no address.
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise InputError(f"{option} {text} is no port or host:port: give 8080, or 0.0.0.0:8080 with --token.")
    return host.strip("[]") or "127.0.0.1", int(port)
