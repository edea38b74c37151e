"""Under which names a server without a token answers: those of this machine alone.

A page from elsewhere could else make a browser on this machine talk to it under a name of its own ("DNS rebinding").
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import HTTPConnection
from starlette.responses import Response

from ufafuse.runtime.stream.web.headers import Message, Receive, Send
from ufafuse.runtime.texts import one_line

_LONGEST_NAME = 100  # characters of a name that are told


class OwnNames:
    """An ASGI application around another one, which answers to names of this machine alone.

    Args:
        app: What answers.
        host: The address that is listened on, which requests may name.
        refused: Makes the answer to any other name, given one sentence.
    """

    def __init__(
        self, app: Callable[[Message, Receive, Send], Awaitable[None]], host: str, refused: Callable[[str], Response]
    ) -> None:
        self._app, self._refused = app, refused
        self._names = {"localhost", "127.0.0.1", "::1", host.lower()}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] == "http" and _name(asked := HTTPConnection(scope).headers.get("Host", "")) not in self._names:
            told = f"the request is for {one_line(asked)[:_LONGEST_NAME]!r}" if asked else "the request names no host"
            text = f"{told}, and without a token only names of this machine are answered: ask for localhost, or set a token."
            await self._refused(text)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _name(header: str) -> str:
    """The name in a Host header, without port and brackets."""
    bracketed, end, _ = header.partition("]")
    name = bracketed[1:] if end and header.startswith("[") else header.partition(":")[0]
    return name.lower()
