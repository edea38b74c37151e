"""Rows of the table of methods: a mean is compared with those over the same pairs or stacks only."""

import math

from ufafuse.benchmarks.evaluate import EvalRow, Evaluation
from ufafuse.benchmarks.tables import best, csv_text, is_best, measured_rows

NAMES = ["PSNR", "depth_error"]


def evaluation(values):
    """Of two stacks: by method the metrics of each, None where it failed."""
    rows = [
        EvalRow(f"s{number}", method, {} if found is None else found, error="" if found else "no picture")
        for method, both in values.items()
        for number, found in enumerate(both)
    ]
    return Evaluation(rows, what="stack")


def test_a_mean_over_fewer_than_others_have_is_told_and_is_no_best():
    rows = measured_rows(
        evaluation(
            {
                "all": [{"PSNR": 30.0, "depth_error": 0.5}, {"PSNR": 20.0, "depth_error": 1.5}],
                "unsure": [{"PSNR": 31.0, "depth_error": 0.1}, {"PSNR": 21.0, "depth_error": math.nan}],
                "failed": [{"PSNR": 50.0}, None],
                "without": [{"PSNR": 10.0}, {"PSNR": 10.0}],
            }
        )
    )
    notes = {row.method: row.note for row in rows}
    assert notes == {
        "all": "",
        "unsure": "its mean of depth_error is over only 1 of 2 stacks, not comparable with the others",
        "failed": "a mean over only 1 of 2 stacks, not comparable with the others",
        "without": "",
    }
    top = best(rows, NAMES)
    assert top == {"PSNR": 26.0, "depth_error": 1.0}
    marked = {(row.method, name) for row in rows for name in NAMES if is_best(row, name, top)}
    assert marked == {("unsure", "PSNR"), ("all", "depth_error")}


def test_what_no_method_has_of_a_stack_makes_no_difference():
    """A stack without a truth or a depth is one for all."""
    rows = measured_rows(evaluation({name: [{"PSNR": 30.0, "depth_error": 0.5}, {"SSIM": 0.5}] for name in ("one", "other")}))
    assert [(row.note, row.short) for row in rows] == [("", frozenset())] * 2


def test_the_means_of_the_file_are_those_of_its_rows():
    found = evaluation({"one": [{"PSNR": 30.0}, {"PSNR": math.nan}]})
    assert "mean,one,30.0" in csv_text(found)
