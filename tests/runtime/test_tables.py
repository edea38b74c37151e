"""Columns go, rows stay whole."""

from ufafuse.runtime.tables import kept_columns, left_out, markdown

HEADS = ["what", "p50", "p90", "MiB"]
ROWS = [["a long name", "1.0", "2.0", "345"], ["b", "10.0", "20.0", "6"]]


def test_all_columns_where_they_fit():
    assert kept_columns(HEADS, ROWS, drop=["MiB", "p90"], width=80) == [0, 1, 2, 3]
    assert left_out(HEADS, [0, 1, 2, 3]) == ""


def test_columns_go_in_the_order_given_until_the_rest_fits():
    assert kept_columns(HEADS, ROWS, drop=["MiB", "p90"], width=12 + 5 + 5) == [0, 1, 2]
    assert kept_columns(HEADS, ROWS, drop=["MiB", "p90"], width=12 + 5) == [0, 1]
    assert left_out(HEADS, [0, 1]) == "not shown for want of width: p90, MiB"


def test_what_may_not_go_stays():
    assert kept_columns(HEADS, ROWS, drop=["MiB"], width=1) == [0, 1, 2]


def test_words_begin_at_the_left_and_a_bar_ends_no_cell():
    text = markdown(HEADS[:2], [["a|b", "1.0"]], left=[0])
    assert text.splitlines() == ["| what | p50 |", "|---|---:|", r"| a\|b | 1.0 |"]
