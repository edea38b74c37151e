"""When a frame is cut, and into what."""

import contextlib

import pytest

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.memory import budget as module
from ufafuse.runtime.memory.budget import Budget
from ufafuse.runtime.memory.usage import Appetite

MB = 10**6


class Net:
    """A model of known appetite: 1000 bytes a pixel whole, 1200 in tiles."""

    def __init__(self, monkeypatch, *, resident=100, available=10_000):
        self.monkeypatch, self.measured, self.resident = monkeypatch, [], resident
        monkeypatch.setattr(module, "resident_bytes", lambda: self.resident * MB)
        monkeypatch.setattr(module, "available_bytes", lambda: available * MB)
        monkeypatch.setattr(module, "appetite_of", self.appetite)

    def appetite(self, run, *, limit):
        self.measured.append(run.__name__)
        return Appetite(20 * MB, 1000 if run.__name__ == "whole" else 1200, 10 * MB)

    def whole(self, side): ...

    def tiled(self, side): ...

    tiles_alike = False

    def reach(self):
        return 14, 1


@pytest.fixture
def net(monkeypatch):
    return Net(monkeypatch)


def grid_for(budget, size, net, result_bytes=0):
    with budget.planned(size, result_bytes, net) as grid:
        return grid


@pytest.mark.parametrize("tile", ["big", 0, -4, 1.5, True])
def test_tiles_that_make_no_sense(tile):
    with pytest.raises(InputError, match=r"`tile=.*` is not known"):
        Budget(tile)


@pytest.mark.parametrize("megabytes", [0, -1, float("nan")])
def test_budgets_that_make_no_sense(megabytes):
    with pytest.raises(InputError, match=r"`max_memory=.*` is too little"):
        Budget(max_memory=megabytes)


def test_without_a_budget_nothing_is_measured_where_memory_is_plenty(net):
    assert grid_for(Budget(), (1000, 1000), net) is None
    assert net.measured == []


def test_the_system_is_asked_once_for_the_frames_of_a_stream(net, monkeypatch):
    budget = Budget()
    assert grid_for(budget, (1000, 1000), net) is None
    monkeypatch.setattr(module, "available_bytes", lambda: 0)
    assert grid_for(budget, (1000, 1000), net) is None
    assert net.measured == []


def test_off_and_by_hand_measure_nothing(net):
    assert grid_for(Budget("off"), (100_000, 100_000), net) is None
    grid = grid_for(Budget(100), (1000, 1000), net)
    assert grid.window == (128, 128)
    assert net.measured == []


def test_a_frame_larger_than_what_is_left_is_cut(monkeypatch):
    net = Net(monkeypatch, available=1000)
    assert grid_for(Budget(), (600, 600), net) is None  # 380 MB of 800
    assert net.measured == ["whole"]
    grid = grid_for(Budget(), (1000, 1000), net)
    assert len(grid) > 1
    assert grid.window[0] * grid.window[1] * 1200 < 0.8 * 1000 * MB


def test_within_the_budget_whole_beyond_it_in_tiles(net):
    budget = Budget(max_memory=600)
    assert grid_for(budget, (640, 640), net) is None  # 100 + 20 + 410 of 570
    grid = grid_for(budget, (1000, 1000), net)
    room = 0.95 * 600 - 100 - 10 - 20
    assert grid.window[0] * grid.window[1] * 1200 <= room * MB
    assert net.measured == ["whole", "tiled"]  # once each
    larger = grid_for(budget, (1000, 1000), net, result_bytes=200 * MB)
    assert larger.window[0] * larger.window[1] * 1200 <= (room - 200) * MB


def test_off_beyond_the_budget_is_an_error(net):
    with pytest.raises(
        InputError, match=r"600 MB is too little for frames of 1000 x 1000: 1179 MB are needed to fuse them whole"
    ):
        grid_for(Budget("off", max_memory=600), (1000, 1000), net)


def test_by_hand_beyond_the_budget_is_an_error(net):
    assert grid_for(Budget(300, max_memory=600), (1000, 1000), net) is not None
    with pytest.raises(InputError, match="in tiles of 928 x 928 pixels"):
        grid_for(Budget(900, max_memory=600), (1000, 1000), net)


def test_a_budget_below_the_smallest_tile(net):
    with pytest.raises(InputError, match=r"in tiles of 29 x 29 pixels. Give more `max_memory`"):
        grid_for(Budget(max_memory=137), (1000, 1000), net)


def test_what_an_engine_keeps_is_not_counted_twice(net):
    """After a frame 300 MB are held by the engine; the next frame of that size still fits."""
    budget = Budget(max_memory=600)
    with budget.planned((640, 640), 0, net) as grid:
        assert grid is None
        net.resident += 300
    assert grid_for(budget, (640, 640), net) is None


def test_what_the_caller_takes_meanwhile_is_counted(net):
    budget = Budget(max_memory=600)
    assert grid_for(budget, (640, 640), net) is None
    net.resident += 100
    assert grid_for(budget, (640, 640), net) is not None


def test_the_lock_is_free_after_an_error(net):
    budget = Budget(max_memory=600)
    with contextlib.suppress(ValueError), budget.planned((640, 640), 0, net):
        raise ValueError
    assert grid_for(budget, (640, 640), net) is None
