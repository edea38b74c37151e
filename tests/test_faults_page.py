"""The page of promises names tests that are there."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_each_promise_has_its_test() -> None:
    named = re.findall(r"`([a-z_/]+\.py)::(\w+)`", (ROOT / "docs" / "faults.md").read_text())
    assert len(named) > 40
    for file, test in named:
        text = (ROOT / "tests" / file).read_text()
        assert re.search(rf"def {test}\(", text), f"{file} has no {test}"


def test_each_row_of_a_table_names_one() -> None:
    rows = [
        line for line in (ROOT / "docs" / "faults.md").read_text().splitlines() if line.startswith("| ") and "---" not in line
    ]
    for row in rows:
        assert "::" in row or row == "| fault | what is promised | held by |", row


# The tests that rows name shorten these times, or they would take minutes: the figures that the page tells are held here.
FIGURES = [
    ("a server drips its headers", "ten seconds in all", "stream.sources.mjpeg", "_OPEN_SECONDS", 10),
    ("a server drips its headers", "a silence after five", "stream.sources.fetch", "SILENCE_SECONDS", 5),
    ("a picture that drips", "ten seconds after", "stream.sources.mjpeg", "_PART_SECONDS", 10),
    ("an RTSP or other server", "after five seconds", "stream.sources.opencv", "NETWORK_TIMEOUT_MS", 5000),
    ("an RTSP camera stands still", "(`gst:` ten)", "stream.sources.gst", "_SILENT_SECONDS", 10),
    ("a source hangs while", "half a minute", "stream.opening", "OPEN_SECONDS", 30),
    ("a source raises anything", "after 0.25 s to", "stream.reader", "RetryPolicy.first", 0.25),
    ("a source raises anything", "to 10 s", "stream.reader", "RetryPolicy.longest", 10),
    ("a file with a time in the future", "two seconds at most", "stream.sources.folder", "_WRITING", 2),
    ("a picture that declares", "268 million at most", "pixels", "MOST_PIXELS", 1 << 28),
    ("a pair that kills its worker", "after four times", "batches.on_ray", "_RETRIES", 3),
    ("an output that takes nothing", "given up ten seconds", "stream.pipeline", "_DRAIN_SECONDS", 10),
    ("an output that takes nothing", "one second after", "stream.pipeline", "_JOIN_SECONDS", 0.8),
    ("many tabs with the page", "24 streams", "stream.web.server", "_MOST_VIEWERS", 24),
]


@pytest.mark.parametrize(("row", "words", "module", "name", "value"), FIGURES)
def test_the_figures_on_the_page_are_the_programs(row: str, words: str, module: str, name: str, value: float) -> None:
    (told,) = (line for line in (ROOT / "docs" / "faults.md").read_text().splitlines() if line.startswith(f"| {row}"))
    assert words in told
    found: object = importlib.import_module(f"ufafuse.runtime.{module}")
    for part in name.split("."):
        found = getattr(found, part)
    assert found == value
