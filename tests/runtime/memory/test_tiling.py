"""Windows cover the frame, lie on the network's grid, and give every core its halo."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ufafuse.runtime.memory.tiling import Grid, grid_of_step, grid_within, round_up

SIDES = st.integers(1, 700)
STRIDES = st.sampled_from([1, 2, 3, 8, 32])


def check(grid: Grid, halo: int, stride: int) -> None:
    for axis in (0, 1):
        spans, length = grid.spans(axis), grid.size[axis]
        assert spans[0].first == 0
        assert spans[-1].last == spans[-1].stop == length
        assert all(a.last == b.first for a, b in pairwise(spans))
        for span in spans:
            assert 0 <= span.start <= span.first < span.last <= span.stop <= length
            assert span.stop - span.start == grid.window[axis]
            assert span.start % stride == 0
            assert span.first % stride == 0
            assert span.start == 0 or span.first - span.start >= halo
            assert span.stop == length or span.stop - span.last >= halo
            assert span.inner.start == span.first - span.start
    tiles = list(grid)
    assert len(tiles) == len(grid)
    assert sum((t.rows.last - t.rows.first) * (t.columns.last - t.columns.first) for t in tiles) == grid.size[0] * grid.size[1]
    seen = sum((t.rows.stop - t.rows.start) * (t.columns.stop - t.columns.start) for t in tiles)
    assert grid.work == pytest.approx(seen / (grid.size[0] * grid.size[1]))


@given(height=SIDES, width=SIDES, step=st.integers(1, 900), halo=st.integers(0, 80), stride=STRIDES)
@settings(max_examples=300, deadline=None)
def test_tiles_of_a_given_side(height: int, width: int, step: int, halo: int, stride: int) -> None:
    grid = grid_of_step((height, width), step, halo=halo, stride=stride)
    check(grid, halo, stride)
    least = round_up(step, stride) + 2 * round_up(halo, stride)
    for length, window in zip((height, width), grid.window, strict=True):
        assert min(length, least) <= window < max(length, least) + stride
        assert window == length or window < least + stride


@given(height=SIDES, width=SIDES, pixels=st.integers(1, 200_000), halo=st.integers(0, 80), stride=STRIDES)
@settings(max_examples=300, deadline=None)
def test_tiles_within_a_budget(height: int, width: int, pixels: int, halo: int, stride: int) -> None:
    grid = grid_within((height, width), pixels, halo=halo, stride=stride)
    smallest = grid_of_step((height, width), 1, halo=halo, stride=stride)
    if grid is None:
        assert smallest.window[0] * smallest.window[1] > pixels
        return
    check(grid, halo, stride)
    assert grid.window[0] * grid.window[1] <= pixels


def test_a_frame_within_the_budget_is_one_tile() -> None:
    grid = grid_within((400, 600), 240_000, halo=14, stride=1)
    assert grid is not None
    assert len(grid) == 1
    assert grid.work == 1


@pytest.mark.parametrize(("pixels", "work"), [(1_000_000, 1.06), (500_000, 1.08), (100_000, 1.2)])
def test_a_large_frame_costs_little_more_than_its_own_pixels(pixels: int, work: float) -> None:
    """6000 x 4000 with the paper's halo; and finding the tiles takes no time worth measuring."""
    grid = grid_within((4000, 6000), pixels, halo=14, stride=1)
    assert grid is not None
    assert grid.work < work
