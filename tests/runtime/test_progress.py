"""The one kind of progress bar."""

import io

import pytest
from rich.console import Console

from ufafuse.runtime import progress
from ufafuse.runtime.progress import Bars, figures


@pytest.mark.parametrize(
    ("done", "total", "speed", "elapsed", "text"),
    [
        (11, 40, 2.26, 5, "11 of 40  2.3/s  0:13 left"),
        (1, 4, 0.25, 4, "1 of 4  4.0 s each  0:12 left"),
        (11, None, 2, 5, "11  2.0/s  0:05"),
        (0, None, None, 12, "0:12"),
        (0, 3, None, None, "0 of 3  0:00"),
        (1, 7201, 1, 1, "1 of 7201  1.0/s  2:00:00 left"),
        (3, 3, 1, 3, "3 of 3  1.0/s  0:03"),
    ],
)
def test_what_how_much_how_fast_how_long(done, total, speed, elapsed, text):
    assert figures(done, total, speed=speed, elapsed=elapsed) == text


@pytest.mark.parametrize("after", [0.0, 60.0])
def test_what_is_done_at_once_gets_no_line(after, monkeypatch):
    monkeypatch.setattr(progress, "_AFTER", after)
    out = io.StringIO()
    with Bars(Console(file=out, force_terminal=True, width=80)) as bars:
        bars.advance(bars.add_task("working", total=2))
        bars.refresh()
    assert ("working" in out.getvalue()) == (after == 0.0)
    if after == 0.0:
        assert "1 of 2" in out.getvalue()
