"""The cycle of one camera that moves its focus: found in what frames show, and kept in step though frames get lost."""

import numpy as np
import pytest

from ufafuse.runtime.stream import planes as sorting
from ufafuse.runtime.stream.cycle import CycleLearner, CycleTracker, settled_after
from ufafuse.runtime.stream.messages import Frame
from ufafuse.runtime.stream.planes import sorter_for
from ufafuse.runtime.stream.sources import SimSettings, SimSource

CELLS = 64


def settings(rng, planes):
    """Where each of ``planes`` settings is sharp."""
    shared = rng.normal(0, 1, CELLS)
    depth = rng.integers(0, planes, CELLS)
    return [shared + np.where(depth == plane, 0.6, -0.6) for plane in range(planes)]


def camera(planes, settle, hold, *, seed, frames=900, lost=0.0, noise=0.03, drift=0.0):
    """(sharpness, setting or None where the lens moves, frames since the last) of each frame that arrives."""
    rng = np.random.default_rng(seed)
    sharp = settings(rng, planes)
    wander, since = np.zeros(CELLS), 0
    start = int(rng.integers(0, planes * (settle + hold)))
    for number in range(start, start + frames):
        since += 1
        wander = wander + rng.normal(0, drift, CELLS)
        step, place = divmod(number, settle + hold)
        way = min(1.0, (place + 1) / (settle + 1))
        shown = way * sharp[step % planes] + (1 - way) * sharp[(step - 1) % planes]
        if rng.random() < lost:
            continue
        yield shown + wander + rng.normal(0, noise, CELLS), step % planes if place >= settle else None, since
        since = 0


SHAPES = [
    (2, 0, 1),
    (2, 1, 1),
    (2, 1, 2),
    (2, 0, 2),
    (2, 2, 1),
    (2, 3, 4),
    (3, 0, 1),
    (3, 1, 1),
    (3, 1, 3),
    (3, 2, 1),
    (5, 0, 1),
    (5, 1, 2),
]


@pytest.mark.parametrize("known", [True, False], ids=["losses known", "losses not known"])
@pytest.mark.parametrize("lost", [0.0, 0.02])
@pytest.mark.parametrize(("planes", "settle", "hold"), SHAPES)
def test_each_setting_gives_one_settled_frame_a_cycle(monkeypatch, planes, settle, hold, lost, known):
    monkeypatch.setattr(sorting, "sharpness_of", lambda shown: shown)
    monkeypatch.setattr(sorting, "small_of", lambda shown: None)
    for seed in range(2):
        told = []
        sorter = sorter_for(planes, "auto", "order", live=True, by_index=known, tell=told.append)
        index = found_at = wrong = used = settling = 0
        calls = {}
        frames = list(camera(planes, settle, hold, seed=seed, lost=lost, drift=0.01))
        for place, (sharpness, setting, since) in enumerate(frames):
            index += since
            [(_, plane)] = sorter.take(Frame(sharpness, index, 0.0, 0.0))
            if not sorter.told:
                assert plane is None
                found_at = place
                continue
            assert sorter.told == {"frames": planes * (settle + hold), "frames_a_plane": settle + hold}
            if plane is not None:
                used += 1
                settling += setting is None
                wrong += setting is not None and calls.setdefault(plane, setting) != setting
        assert found_at < (6 if lost else 2) * max(planes * (settle + hold), 4)
        assert sorted(calls.values()) == list(range(planes))
        assert used >= 0.93 * (len(frames) - found_at) / (settle + hold)
        assert wrong + settling <= 0.01 * used
        assert len(told) == 1


def test_what_has_no_cycle_is_not_given_one():
    rng = np.random.default_rng(1)
    still, three = rng.normal(0, 1, CELLS), settings(rng, 3)
    cases = {
        "one focus": lambda number: still + rng.normal(0, 0.03, CELLS),
        "a still picture": lambda number: still,
        "noise": lambda number: rng.normal(0, 1, CELLS),
        "three settings for two": lambda number: three[number % 3] + rng.normal(0, 0.03, CELLS),
    }
    for name, shown in cases.items():
        learner = CycleLearner(2)
        assert all(learner.look(shown(number)) is None for number in range(300)), name


def test_a_camera_that_changes_its_cycle_goes_astray():
    frames = list(camera(2, 0, 1, seed=3, frames=60))
    learner, tracker = CycleLearner(2), None
    for sharpness, _, _ in frames:
        if tracker is None:
            found = learner.look(sharpness)
            tracker = found and CycleTracker(found, sharpness)
        else:
            tracker.place_of(sharpness, 1)
    assert not tracker.astray
    for sharpness, _, _ in camera(2, 2, 3, seed=9, frames=60):
        tracker.place_of(sharpness, 1)
    assert tracker.astray


def test_how_many_frames_settle_after_a_step():
    rng = np.random.default_rng(2)
    rest, before = settings(rng, 2)
    for settle in range(4):
        way = [(place + 1) / (settle + 1) if place < settle else 1.0 for place in range(settle + 3)]
        seen = [part * rest + (1 - part) * before + rng.normal(0, 0.02, CELLS) for part in way]
        assert settled_after(seen) == settle
    assert settled_after([rest]) == 0


@pytest.mark.parametrize(("speed", "size"), [(0, (96, 192)), (2, (240, 320)), (24, (240, 320))])
def test_a_line_that_moves_fast_is_not_taken_for_a_focus_that_moves(speed, size):
    """Its own structure passes by again and again; the order is right as long as what is lost is known."""
    camera = SimSource(None, 0, SimSettings(size=size, alternate=True, speed=speed))
    sorter = sorter_for(2, None, "order", live=True, by_index=True, tell=lambda text: None)
    numbers = [number for number in range(260) if number % 53 != 37]
    planes = [sorter.take(Frame(camera.picture_of(number), number, 0.0, 0.0))[0][1] for number in numbers]
    assert planes == [number % 2 for number in numbers]
    assert bool(sorter.told) == (speed < 24)
