"""The paper's tables as data."""

import pytest

from ufafuse.benchmarks.published import PAPER_MS, other_pairs, published_table
from ufafuse.runtime.errors import InputError


def test_table_five_has_every_printed_row_and_the_recomputed_ones():
    table = published_table("V")
    printed = [row for row in table.rows if row.source == "published"]
    assert len(printed) == 19
    assert {row.source for row in table.rows} == {"published", "recomputed"}
    ours = next(row for row in printed if row.method == "UFA-FUSE")
    assert ours.metrics["AVG"] == 8.3401
    assert ours.time_s == pytest.approx(PAPER_MS / 1e3)
    assert "Qcb" not in ours.metrics


def test_printed_and_recomputed_rows_of_the_papers_network_are_told_apart():
    rows = {row.source: row for row in published_table("v").rows if row.method == "UFA-FUSE"}
    assert rows["published"].metrics["Qabf"] == 0.7417
    assert rows["recomputed"].metrics["Qabf"] == 0.7372


@pytest.mark.parametrize(("number", "best"), [("VI", 4.802), ("VII", 9.003)])
def test_the_tables_of_other_fusion_tasks_have_four_metrics(number, best):
    table = published_table(number)
    assert table.metrics == ("AVG", "STD", "VIFF", "Qabf")
    assert len(table.rows) == 6
    assert max(row.metrics["AVG"] for row in table.rows) == best


def test_an_unknown_table_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match="choose V, VI, VII"):
        published_table("IX")


LYTRO = [f"lytro_{number:02d}" for number in range(1, 21)]


@pytest.mark.parametrize(
    ("number", "names", "told"),
    [
        ("V", LYTRO, ""),
        ("v", [name.replace("_", "-") for name in LYTRO], ""),
        ("V", LYTRO[:7], "yours are 7 of them"),
        ("V", [*LYTRO, "mine"], "yours are 20 of them"),
        ("V", ["a", "b"], "yours are other pairs"),
        ("VI", ["a", "b"], "Table VI is of the paper's own pairs"),
    ],
)
def test_means_of_other_pairs_do_not_stand_beside_the_papers_without_a_word(number, names, told):
    text = other_pairs(number, names)
    assert bool(text) == bool(told)
    assert told in text
