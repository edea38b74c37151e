"""What every answer says to browsers: what it may load, who may frame or embed it, and what it must not pass on."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

POLICY = b"content-security-policy"
_ALWAYS = {
    b"server": b"ufafuse",
    b"cache-control": b"no-store",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",  # the address may still hold the token
    b"cross-origin-resource-policy": b"same-origin",
    POLICY: b"default-src 'none'; frame-ancestors 'none'",
}


class Headers:
    """An ASGI application around another one, whose answers get what they do not say themselves."""

    def __init__(self, app: Callable[[Message, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message.get("headers", [])}
                message["headers"] = [
                    *message.get("headers", []),
                    *((name, value) for name, value in _ALWAYS.items() if name not in own),
                ]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def policy_for(page: str) -> str:
    """A page's policy: its own scripts and styles (by their hashes), pictures and figures of this server, and nothing else."""
    hashes = {tag: " ".join(map(_hash, re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL))) for tag in ("script", "style")}
    return (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
