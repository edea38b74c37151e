"""The reports that are committed: each text is what the code of today writes of the figures beside it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ufafuse.benchmarks.evaluate import Evaluation
from ufafuse.benchmarks.published import published_table
from ufafuse.benchmarks.speed.report import markdown
from ufafuse.benchmarks.stacks.registered import BESTS
from ufafuse.benchmarks.tables import legend, markdown_table, measured_rows, with_published

REPORTS = Path(__file__).resolve().parents[2] / "reports"


def figures(name):
    return json.loads((REPORTS / name).read_text(encoding="utf-8"))


def text(name):
    return (REPORTS / name / "report.md").read_text(encoding="utf-8")


def test_every_report_is_compared():
    found = {path.parent.name for path in REPORTS.glob("*/report.md")}
    assert found == {"methods", "stacks", "speed", "speed-line", "speed-no-amx"}


def test_the_table_of_stacks_is_that_of_its_figures():
    evaluation = replace(Evaluation.from_json(figures("stacks/eval.json")), what="stack", bounds=tuple(BESTS))
    rows = measured_rows(evaluation)
    assert markdown_table(rows) in text("stacks")
    assert legend(rows) in text("stacks")


def test_the_table_of_methods_is_that_of_its_figures():
    evaluation = Evaluation.from_json(figures("methods/lytro.json"))
    rows = with_published(measured_rows(evaluation), published_table("V"), same=True)
    assert markdown_table(rows) in text("methods")


@pytest.mark.parametrize("name", ["speed", "speed-line", "speed-no-amx"])
def test_a_report_of_times_is_that_of_its_figures(name):
    result = figures(f"{name}/bench.json")
    plots = [path for path in ("latency.png", "quality.png", "layers.png") if (REPORTS / name / path).is_file()]
    assert markdown(result, plots) == text(name)
