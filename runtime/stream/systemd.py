"""Talking to systemd: ready, alive, stopping (the protocol of sd_notify(3), which is one datagram)."""

from __future__ import annotations

import os
import socket


class Notifier:
    """Sends states to the service manager; does nothing where there is none."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._watchdog = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        self.watchdog_seconds = int(microseconds) / 1e6 if self._watchdog and microseconds.isdecimal() else 0.0

    def ready(self) -> None:
        """Sources and outputs are open."""
        self._send("READY=1")

    def alive(self, status: str) -> None:
        """The line runs; ``status`` stands in ``systemctl status``."""
        self._send(f"WATCHDOG=1\nSTATUS={status}")

    def stopping(self) -> None:
        """The queues are being drained."""
        self._send("STOPPING=1")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        # A leading @ stands for the zero byte of Linux's abstract sockets.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.sendto(state.encode(), address)
        except OSError:  # the manager is gone: nothing here depends on it
            return
