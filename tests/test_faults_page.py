"""The page of promises names tests that are there."""

import re
from pathlib import Path

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
