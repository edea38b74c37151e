"""Frames whose end never arrived."""

import numpy as np
import pytest

from ufafuse.runtime.pictures.lostrows import Rows, lost_rows, zero_rows


def frame(height=100, width=40, channels=3, dtype=np.uint8):
    return np.random.default_rng(0).integers(1, 200, (height, width, channels)).astype(dtype).squeeze()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_rows_of_zeros_are_counted_at_both_ends(channels, dtype):
    array = frame(channels=channels, dtype=dtype)
    assert zero_rows(array) == Rows(0, 0, 100)
    array[70:] = 0
    assert zero_rows(array) == Rows(0, 30, 100)
    array[:10] = 0
    assert zero_rows(array) == Rows(10, 30, 100)
    assert zero_rows(np.zeros_like(array)) == Rows(0, 0, 100)  # a black frame is told in other words


def test_what_alpha_hides_and_where_a_dark_ground_begins_is_not_counted():
    array = frame(channels=4)
    array[70:] = 0
    assert zero_rows(array) == Rows(0, 0, 100)
    array[70:, :, 3] = 255
    assert zero_rows(array) == Rows(0, 30, 100)
    dark = frame()
    dark[60:] = 0
    dark[60:70, ::5] = 3
    assert zero_rows(dark) == Rows(0, 0, 100)


def test_margins_are_not_told():
    whole, cut, margin = Rows(0, 0, 100), Rows(0, 30, 100), Rows(12, 14, 100)
    assert (
        lost_rows(["a", "b"], [whole, whole])
        == lost_rows(["a", "b"], [cut, cut])
        == lost_rows(["a", "b"], [whole, margin])
        == []
    )
    assert lost_rows(["a", "b"], [whole, Rows(0, 5, 100)]) == []
    (told,) = lost_rows(["a", "b"], [whole, cut])
    assert told.startswith("b: its last 30 of 100 rows are 0")
    (told,) = lost_rows(["a", "b"], [Rows(20, 0, 100), whole])
    assert told.startswith("a: its first 20 of 100 rows are 0")
