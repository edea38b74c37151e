"""Who may ask: those who know the token, and anybody whether the server lives."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from ufafuse.runtime.stream.web.headers import Message, Receive, Send

HEALTH = "/v2/health"
_OPEN = frozenset((f"{HEALTH}/live", f"{HEALTH}/ready"))
NEEDED = "a token is needed: send the header `Authorization: Bearer TOKEN`."


def knows(token: str, header: str) -> bool:
    """Whether an Authorization header holds the token, compared in a time that tells nothing."""
    scheme, _, given = header.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


class Guard:
    """An ASGI application around another one that lets in who knows the token; health is told to all, for probes."""

    def __init__(self, app: Callable[[Message, Receive, Send], Awaitable[None]], token: str) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        health = scope["type"] == "http" and scope["path"] in _OPEN
        if scope["type"] == "http" and not health and not knows(self._token, _header(scope)):
            headers = {"WWW-Authenticate": "Bearer", "Connection": "close"}
            await JSONResponse({"error": NEEDED}, 401, headers=headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _header(scope: Message) -> str:
    return HTTPConnection(scope).headers.get("Authorization", "")
