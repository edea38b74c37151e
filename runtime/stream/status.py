"""The line of figures that people watch."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ufafuse.runtime.stream.messages import SIDES

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from ufafuse.runtime.stream.reader import Event

_PLAIN_EVERY = 30.0  # seconds between lines where stderr is no terminal, such as a journal


def line_of(figures: dict[str, Any]) -> str:
    """One line: frames in and rate first, which a narrow terminal keeps, what is not well, latency, what became of frames."""
    latency = " ".join(f"{name} {_milliseconds(value)}" for name, value in figures["latency_ms"].items())
    received = "/".join(str(count) for count in figures["frames_in"])
    line = (
        f"{latency} ms  fused {figures['fused']}  dropped {figures['dropped']}  "
        f"unmatched {figures['unmatched']}  late {figures['late']}"
    )
    unwell = [
        f"{side} {source['state']}"
        for side, source in zip(SIDES, figures["sources"], strict=False)
        if source["state"] not in ("reading", "ended")
    ]
    unwell += [f"ALARM {alarm['alarm']}" for alarm in figures["alarms"] if alarm["on"]]
    return "  ".join([f"in {received}", f"{figures['fps_now']:.1f} /s", *unwell, line])


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.{1 if value < 10 else 0}f}"


class StatusLine:
    """Shows the figures on a terminal in place, elsewhere as a line now and then; and events as lines of their own.

    Args:
        console: Where to: stderr, so that stdout stays free for results.
        quiet: Show events only.
    """

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._last = time.monotonic()
        self._status: Status | None = None

    def start(self) -> None:
        """Take the terminal's last line."""
        if self._console.is_terminal and not self._quiet:
            self._status = self._console.status("starting", spinner="line")
            self._status.start()

    def update(self, figures: dict[str, Any]) -> None:
        """Show these figures."""
        if self._status is not None:
            self._status.update(line_of(figures))
        elif not self._quiet and time.monotonic() - self._last >= _PLAIN_EVERY:
            self._last = time.monotonic()
            self._console.print(line_of(figures), markup=False)

    def event(self, event: Event) -> None:
        """Show an event; called from any thread. What ended the run is told by its caller, at the end."""
        if event.kind == "failed":
            return
        side = f"{event.side}: " if event.side else ""
        self._console.print(f"{event.seconds:8.1f} s  {side}{event.text}", markup=False)

    def close(self) -> None:
        """Free the terminal's line."""
        if self._status is not None:
            self._status.stop()
            self._status = None
