"""A small HTTP server for pictures and figures: loopback by default, a token for any other address.

Starlette routes, checks the Host header and the token, and streams; uvicorn speaks HTTP, in a thread of its own. What
they leave open is in `connection.py`. It speaks plain HTTP: put a reverse proxy with TLS before it where the network is
not yours. Both come with the extra ``view``: importing this module without them raises InputError with the command.
"""

from __future__ import annotations

import asyncio
import hmac
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from typing import Any

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.stream.web.address import check_access, listening
from ufafuse.runtime.stream.web.broadcast import Broadcast
from ufafuse.runtime.texts import json_text

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, BaseUser
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.middleware.authentication import AuthenticationMiddleware
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
    from starlette.routing import Route

    from ufafuse.runtime.stream.web.connection import Complaints, Connection
    from ufafuse.runtime.stream.web.headers import Headers
    from ufafuse.runtime.stream.web.hosts import OwnNames
    from ufafuse.runtime.stream.web.settings import settings
except ModuleNotFoundError as error:
    raise InputError(f"pictures over HTTP need {error.name}: run `pip install 'ufafuse[view]'`.") from error

_BACKLOG = 16  # connections that wait to be taken
_SEND_BUFFER = 256 << 10  # what a slow viewer may lag behind
_WAIT_SECONDS = 0.5  # for a new picture; how long the end of the server may take
_STOP_SECONDS = 5
_BOUNDARY = "frame"
_COOKIE = "ufafuse-token"
_MOST_VIEWERS = 24  # pictures that are streamed at once: each holds one of the 40 threads that answer everything else

Answer = Callable[[Request], Response]


def text(
    body: str,
    *,
    kind: str = "text/plain; charset=utf-8",
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with ``body``."""
    return Response(body, status, headers={"Content-Type": kind, **(headers or {})})


def as_json(values: Mapping[str, Any], *, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Answer with a JSON object."""
    return text(json_text(values) + "\n", kind="application/json", status=status)


def pictures(broadcast: Broadcast, request: Request, *, fastest: float) -> Response:
    """Answer with Motion JPEG until the viewer goes: always the newest picture, at most ``fastest`` a second."""
    kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
    if request.method == "HEAD":
        return text("", kind=kind)
    viewers: Viewers = request.app.state.viewers
    if viewers.count >= _MOST_VIEWERS:
        told = f"{_MOST_VIEWERS} streams of pictures are looked at already: close one\n"
        return text(told, status=HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": "5"})
    return StreamingResponse(_parts(broadcast, 1 / fastest, viewers), media_type=kind)


class Viewers:
    """How many streams of pictures are under way; figures, health and metrics have no part in it."""

    def __init__(self) -> None:
        self.count = 0


async def _parts(broadcast: Broadcast, pause: float, viewers: Viewers) -> AsyncIterator[bytes]:
    viewers.count += 1
    try:
        async for part in _endless_parts(broadcast, pause):
            yield part
    finally:
        viewers.count -= 1


async def _endless_parts(broadcast: Broadcast, pause: float) -> AsyncIterator[bytes]:
    number = 0
    while True:
        begun = time.monotonic()
        newest = await run_in_threadpool(broadcast.jpeg_after, number, _WAIT_SECONDS)
        if newest is None:
            continue
        number, data = newest
        head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        yield head.encode() + data + b"\r\n"
        await asyncio.sleep(max(0.0, pause - (time.monotonic() - begun)))


class PageServer:
    """Serves ``routes`` (path to function) in a thread of its own.

    Args:
        address: Host and port; port 0 takes any free one.
        routes: What answers which path.
        token: What clients must know; needed for any address but loopback.

    Raises:
        InputError: A token is missing.
        OutputError: The address cannot be used.
    """

    def __init__(self, address: tuple[str, int], routes: Mapping[str, Answer], *, token: str = "") -> None:
        host = address[0]
        check_access(address, token)
        self._socket = listening(address, waiting=_BACKLOG, send_buffer=_SEND_BUFFER)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        # Browsers keep cookies by host alone: without the port, two lines on one machine would log each other out.
        self.viewers = Viewers()
        cookie = f"{_COOKIE}-{self.address[1]}"
        application = _application(host, routes, token, cookie=cookie, viewers=self.viewers)
        self._server = uvicorn.Server(
            settings(application, Connection, backlog=_BACKLOG, timeout_graceful_shutdown=_STOP_SECONDS - 1)
        )
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="ufafuse-http", daemon=True)

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        host, port = self.address
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

    def start(self) -> None:
        """Serve until `stop`."""
        self._thread.start()

    async def _serve(self) -> None:
        asyncio.get_running_loop().set_exception_handler(Complaints())
        await run_in_threadpool(int)  # loads what answers need while there are files left to open: later they may run out
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Serve no more; viewers are hung up on, within a second or so."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        self._socket.close()


def _application(host: str, routes: Mapping[str, Answer], token: str, *, cookie: str, viewers: Viewers) -> Headers:
    """Without a token, only names of this machine are answered to: else a page from elsewhere could make a browser read us."""
    if token:
        checks = [Middleware(AuthenticationMiddleware, backend=_Token(token, cookie), on_error=_refused)]
    else:
        checks = [Middleware(OwnNames, host=host, refused=_elsewhere)]
    application = Starlette(
        routes=[Route(path, _keeping_token(answer, cookie) if token else answer) for path, answer in routes.items()],
        middleware=checks,
    )
    application.state.viewers = viewers
    return Headers(application)


class _Token(AuthenticationBackend):
    """Looks for the token in the address, in the Authorization header, then among the cookies."""

    def __init__(self, token: str, cookie: str) -> None:
        self._token = token.encode()
        self._cookie = cookie

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        """Raises: AuthenticationError when it is missing or another."""
        scheme, _, bearer = conn.headers.get("Authorization", "").partition(" ")
        named = bearer if scheme.lower() == "bearer" else conn.cookies.get(self._cookie, "")
        given = conn.query_params.get("token") or named
        if not hmac.compare_digest(given.encode(), self._token):
            raise AuthenticationError("a token is needed: add ?token=... once\n")
        return None


def _refused(_request: HTTPConnection, error: Exception) -> Response:
    return PlainTextResponse(str(error), HTTPStatus.UNAUTHORIZED, headers={"Connection": "close"})


def _elsewhere(told: str) -> Response:
    return text(told + "\n", status=HTTPStatus.BAD_REQUEST)


def _keeping_token(answer: Answer, cookie: str) -> Answer:
    """Before ``answer``, move the token from the address, which browsers show and keep, into a cookie."""

    def checked(request: Request) -> Response:
        token = request.query_params.get("token")
        if not token or "text/html" not in request.headers.get("Accept", ""):
            return answer(request)
        moved = RedirectResponse(request.url.path, HTTPStatus.SEE_OTHER)
        moved.set_cookie(cookie, token, httponly=True, samesite="strict")
        return moved

    return checked
