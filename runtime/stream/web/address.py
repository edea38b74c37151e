"""Where pictures and figures may be served; needs no library, so that a wrong option is told before anything else."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
import time
from typing import Any

from ufafuse.runtime.errors import InputError, OutputError


def is_loopback(host: str) -> bool:
    """Whether ``host`` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_address(text: str, name: str) -> tuple[str, int]:
    """Host and port from ``8080``, ``0.0.0.0:8080`` or ``[::1]:8080``; the host is 127.0.0.1 where none is given.

    Raises:
        InputError: It is no address.
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise InputError(f"`{name}={text}` is no port or host:port: give 8080, or 0.0.0.0:8080 with a `token`.")
    return host.strip("[]") or "127.0.0.1", int(port)


def check_access(address: tuple[str, int], token: str) -> None:
    """Refuse to serve beyond this machine without a token, and tokens that cannot stand in an address or a header.

    Raises:
        InputError: A token is missing, or holds other characters.
    """
    host, port = address
    if not is_loopback(host) and not token:
        raise InputError(
            f"{host}:{port} can be reached from other machines: add a `token` (or UFAFUSE_TOKEN), or use 127.0.0.1."
        )
    if token and not re.fullmatch(r"[A-Za-z0-9._~-]+", token):
        raise InputError("the token holds characters that an address cannot: use letters, digits and . _ ~ - alone.")


NO_MORE = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))  # of what a connection needs
_PAUSE = 0.5  # seconds


class _Listening(socket.socket):
    """Where no handle is left for a connection, it says so once and has none to give for a while.

    An event loop takes as many connections in a row as may wait. For each that fails it would complain, and begin to listen
    anew a second later: thousands of lines a second in a log, and no time for those who are there.
    """

    _failed_at = float("-inf")

    def accept(self) -> tuple[socket.socket, Any]:
        """As a socket's. Raises: OSError."""
        if time.monotonic() - self._failed_at < _PAUSE:
            raise BlockingIOError
        try:
            return super().accept()
        except OSError as error:
            if error.errno in NO_MORE:
                self._failed_at = time.monotonic()
            raise


def listening(address: tuple[str, int], *, waiting: int, send_buffer: int | None = None) -> socket.socket:
    """A socket that takes connections from now on: whether the port is free is known before anything else begins.

    Args:
        address: Host and port; port 0 takes any free one.
        waiting: Connections that may wait to be taken.
        send_buffer: Bytes that a slow client may lag behind, which its connection inherits; None: as the system has it.

    Raises:
        OutputError: The address cannot be used.
    """
    host, port = address
    made = _Listening(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if send_buffer is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        made.bind(address)
        made.listen(waiting)
    except OSError as error:
        made.close()
        raise OutputError(f"nothing can be served on {host}:{port}: {error.strerror}. Choose another port.") from error
    return made
