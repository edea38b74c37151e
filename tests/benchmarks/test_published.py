"""The paper's tables as data."""

import pytest

from ufafuse.benchmarks.published import AUTHORS, GIVEN, MEASURED, OURS, PAPER_MS, TableRow, published_table
from ufafuse.benchmarks.tables import TIME, best, columns, legend, markdown_table, with_published
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


def _run_here():
    kinds = {"dwt": MEASURED, "rival-ifcnn": OURS, "rival-ifcnn-theirs": AUTHORS, "ufa": OURS, "ufa-edge": OURS, "DRPL": GIVEN}
    return [TableRow(name, kind, {"AVG": 9.0}, 0.5) for name, kind in kinds.items()]


def test_over_the_papers_pairs_each_methods_rows_stand_together_and_say_what_they_are():
    rows = with_published(_run_here(), published_table("V"), same=True)
    found = [(row.method, row.what) for row in rows]
    at = found.index(("IFCNN-MAX", "printed"))
    assert found[at : at + 4] == [
        ("IFCNN-MAX", "printed"),
        ("IFCNN", "released"),
        ("rival-ifcnn", "our training"),
        ("rival-ifcnn-theirs", "authors' weights"),
    ]
    assert found[:2] == [("DWT", "printed"), ("dwt", "run here")]
    at = found.index(("DRPL", "printed"))
    assert found[at + 1 : at + 3] == [("DRPL", "released"), ("DRPL", "given")]
    assert found[-4:] == [
        ("UFA-FUSE", "printed"),
        ("UFA-FUSE", "released"),
        ("ufa", "our training"),
        ("ufa-edge", "our training"),
    ]
    assert len(rows) == len(published_table("V").rows) + 6


@pytest.mark.parametrize("number", ["V", "VI", "VII"])
def test_over_other_pairs_every_row_of_the_paper_says_so_and_stands_below(number):
    rows = with_published(_run_here(), published_table(number), same=False)
    assert [row.method for row in rows[:6]] == [row.method for row in _run_here()]
    assert all(row.what in ("printed, other pairs", "released, other pairs") for row in rows[6:])
    assert markdown_table(rows).count("other pairs") == len(rows) - 6


def test_only_rows_that_were_run_here_can_be_the_best_and_times_stand_beside_times():
    rows = with_published(_run_here(), published_table("V"), same=True)
    assert best(rows, ["AVG"]) == {"AVG": 9.0}
    assert columns(rows)[-1] == TIME
    assert TIME not in columns(with_published(_run_here(), published_table("VI"), same=False))
    assert "| DWT | printed | 8.3285 |" in markdown_table(rows)
    assert markdown_table(rows).splitlines()[2].endswith("| 11.34 |")
    assert "our training: run in this evaluation with weights that we trained" in legend(rows)
