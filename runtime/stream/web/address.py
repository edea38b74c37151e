"""Where pictures and figures may be served; needs no library, so that a wrong option is told before anything else."""

from __future__ import annotations

import ipaddress

from ufafuse.runtime.errors import InputError


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
