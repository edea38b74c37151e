"""The one kind of progress bar: what is done, how much of how much, how fast, how long yet."""

import time
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

_AFTER = 1.0  # seconds: what is done before is not worth a line that comes and goes


class Bars(Progress):
    """Bars on a terminal that vanish when the work is done; silent where there is no terminal, and in the first second.

    Args:
        console: Where they are shown.
    """

    def __init__(self, console: Console) -> None:
        self._since = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), Figures())
        super().__init__(*columns, console=console, transient=True, disable=not console.is_terminal)

    def stop(self) -> None:
        """End them; rich before 14.3 ends even what is not shown with an empty line."""
        if not self.disable:
            super().stop()

    def get_renderables(self) -> Iterable[RenderableType]:
        """Nothing in the first second, then the table of all bars."""
        if time.monotonic() - self._since >= _AFTER:
            yield from super().get_renderables()


class Figures(ProgressColumn):
    """``11 of 40  2.3/s  0:13 left``; without a known total what is known of it."""

    def render(self, task: Task) -> Text:
        """The figures of one bar."""
        return Text(figures(task.completed, task.total, speed=task.speed, elapsed=task.elapsed), no_wrap=True)


def figures(completed: float, total: float | None, *, speed: float | None, elapsed: float | None) -> str:
    """The figures of a bar as text.

    Args:
        completed, total: In any unit; a total of None is not known.
        speed: Units a second; None before the second one is done.
        elapsed: Seconds since the beginning.
    """
    parts = [f"{completed:.0f} of {total:.0f}" if total else f"{completed:.0f}" if completed else ""]
    parts.append("" if not speed else f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each")
    left = (total - completed) / speed if total and speed and completed < total else None
    parts.append(f"{_clock(elapsed or 0)}" if left is None else f"{_clock(left)} left")
    return "  ".join(part for part in parts if part)


def _clock(seconds: float) -> str:
    """``0:43``, or with hours ``1:02:43``."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
