import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ufafuse.runtime.stream.messages import FAR, NEAR, Frame
from ufafuse.runtime.stream.pairing import NearestPairing, PlanePairing
from ufafuse.runtime.stream.sorters import InTurn, OfTwo
from ufafuse.runtime.stream.sources.sim import SimSettings, SimSource


def run(pairing, times, frame_at, order=None):
    """Feed both sides' times in the order of time (or as given), end both, and return the pairs as times."""
    arrivals = order or sorted([(moment, side) for side in (NEAR, FAR) for moment in times[side]])
    pairs = []
    for moment, side in arrivals:
        pairs += pairing.add(side, frame_at(moment))
    for side in (NEAR, FAR):
        pairs += pairing.end(side)
    return [(pair.near.timestamp, pair.far.timestamp) for pair in pairs]


def assert_adds_up(pairing, pairs, times):
    for side in (NEAR, FAR):
        assert pairing.received[side] == len(times[side]) == len(pairs) + pairing.unmatched[side]
        assert pairing.waiting(side) == 0


def test_equal_times_pair_at_once(frame_at):
    pairing = NearestPairing(0.02)
    assert pairing.add(NEAR, frame_at(1.0)) == []
    assert len(pairing.add(FAR, frame_at(1.0))) == 1


def test_a_clear_pair_of_a_live_stream_does_not_wait_for_the_next_frame(frame_at):
    pairing = NearestPairing(0.02)
    for number in range(3):
        pairing.add(NEAR, frame_at(number / 10))
        pairing.add(FAR, frame_at(number / 10))
    pairing.add(NEAR, frame_at(0.3))
    assert len(pairing.add(FAR, frame_at(0.305))) == 1


def test_an_unclear_pair_waits_for_the_frame_that_could_be_nearer(frame_at):
    pairing = NearestPairing(0.09)
    for number in range(3):
        pairing.add(NEAR, frame_at(number / 10))
        pairing.add(FAR, frame_at(number / 10))
    assert pairing.add(NEAR, frame_at(0.30)) == []
    assert pairing.add(FAR, frame_at(0.38)) == []
    pair = pairing.add(NEAR, frame_at(0.40))[0]
    assert (pair.near.timestamp, pair.far.timestamp) == (0.40, 0.38)
    assert pairing.unmatched == [1, 0]


@pytest.mark.parametrize("exact", [False, True])
def test_a_pair_does_not_wait_for_a_side_from_which_nothing_comes(frame_at, exact):
    pairing = NearestPairing(0.09, exact=exact)
    assert pairing.add(NEAR, frame_at(0.30)) == []
    assert pairing.add(FAR, frame_at(0.31)) == []
    assert pairing.quiet(FAR) == []  # a later frame of the near side may be nearer
    assert len(pairing.quiet(NEAR)) == 1
    assert pairing.add(NEAR, frame_at(0.40)) == []
    assert pairing.add(FAR, frame_at(0.48)) == []  # the near side has come back
    assert len(pairing.add(NEAR, frame_at(0.50)) + pairing.quiet(FAR)) == 1
    assert pairing.unmatched == [1, 0]


def test_a_live_stream_stops_waiting_when_the_other_side_has_gone_on(frame_at):
    pairing = NearestPairing(0.09)
    for number in range(3):
        pairing.add(NEAR, frame_at(number / 10))
        pairing.add(FAR, frame_at(number / 10))
    pairing.add(NEAR, frame_at(0.30))
    assert pairing.add(FAR, frame_at(0.38)) == []
    assert pairing.add(FAR, frame_at(0.48)) == []
    pair = pairing.add(FAR, frame_at(0.58))[0]
    assert (pair.near.timestamp, pair.far.timestamp) == (0.30, 0.38)


def test_different_rates_and_an_offset(frame_at):
    times = [[number / 30 for number in range(90)], [0.21 + number / 25 for number in range(75)]]
    pairing = NearestPairing(0.02, exact=True)
    pairs = run(pairing, times, frame_at)
    assert_adds_up(pairing, pairs, times)
    assert all(abs(near - far) <= 0.02 for near, far in pairs)
    in_reach = [far for far in times[FAR] if min(abs(near - far) for near in times[NEAR]) <= 0.02]
    assert [far for _, far in pairs] == in_reach, "the slower side's frames all have a partner of their own"
    for near, far in pairs:
        assert abs(near - far) == min(abs(other - far) for other in times[NEAR])


def test_an_offset_of_the_far_clock_is_taken_out(frame_at):
    times = [[0.0, 0.1, 0.2], [0.35, 0.45, 0.55]]
    pairing = NearestPairing(0.001, far_offset=-0.35, exact=True)
    assert len(run(pairing, times, frame_at)) == 3
    again = NearestPairing(0.001, far_offset=-0.35, exact=True)
    (pair,) = [*again.add(NEAR, frame_at(1.0)), *again.add(FAR, frame_at(1.35)), *again.end(NEAR), *again.end(FAR)]
    assert pair.skew == pytest.approx(0, abs=1e-9), "told as it was paired by"


def test_a_dead_side_leaves_the_other_unmatched_and_memory_bounded(frame_at):
    pairing = NearestPairing(0.02, waiting=8)
    for number in range(1000):
        pairing.add(NEAR, frame_at(number / 30))
    assert pairing.waiting(NEAR) == 8
    assert pairing.unmatched[NEAR] == 992


def test_a_fast_side_may_wait_for_the_other_ones_thread(frame_at):
    pairing = NearestPairing(0.001, waiting=3)
    for number in range(20):
        pairing.add(NEAR, frame_at(number / 400))
    pairs = [pair for number in range(20) for pair in pairing.add(FAR, frame_at(number / 400))]
    assert len(pairs) == 20
    for number in range(1000):
        pairing.add(NEAR, frame_at(1 + number / 4000))
    assert pairing.waiting(NEAR) == 64


def test_a_side_that_ended_makes_the_rest_hopeless(frame_at):
    pairing = NearestPairing(0.02, exact=True)
    pairing.add(NEAR, frame_at(0.0))
    pairing.add(FAR, frame_at(0.0))
    pairing.end(NEAR)
    assert not pairing.hopeless(FAR)
    pairing.add(FAR, frame_at(0.1))
    assert pairing.hopeless(FAR)
    assert pairing.unmatched == [0, 1]


def test_the_nearest_miss_is_remembered(frame_at):
    pairing = NearestPairing(0.01, exact=True)
    run(pairing, [[0.0, 0.1], [0.04, 0.15]], frame_at)
    assert pairing.nearest_miss == pytest.approx(0.04)


def test_numbers_pair_frames_that_have_no_time():
    def frame(number):
        return Frame(np.zeros((2, 2), np.uint8), number, 0.0, 0.0)

    pairing = NearestPairing(0, by_number=True, exact=True)
    pairs = [pair for number in (1, 2, 4) for pair in pairing.add(NEAR, frame(number))]
    pairs += [pair for number in (1, 3, 4, 5) for pair in pairing.add(FAR, frame(number))]
    pairing.end(NEAR)
    assert [(pair.near.index, pair.far.index) for pair in pairs] == [(1, 1), (4, 4)]
    assert pairing.unmatched == [1, 2]
    assert pairing.nearest_miss == math.inf


def assert_no_lonely_frame_is_nearer(times, pairs):
    """Of the frames that could take a paired one's place without crossing another pair."""
    fences = [(-math.inf, -math.inf), *pairs, (math.inf, math.inf)]
    for before, pair, after in zip(fences, pairs, fences[2:], strict=False):
        for side in (NEAR, FAR):
            rivals = [moment for moment in times[side] if before[side] < moment < after[side]]
            assert min(abs(moment - pair[1 - side]) for moment in rivals) == abs(pair[0] - pair[1])


moments = st.lists(st.integers(0, 400), max_size=40, unique=True).map(sorted)


@settings(max_examples=300, deadline=None)
@given(near=moments, far=moments, skew=st.integers(0, 30), exact=st.booleans())
def test_every_frame_is_accounted_for_and_no_pair_is_too_far_apart(near, far, skew, exact):
    times = [near, far]
    pairing = NearestPairing(skew, exact=exact, waiting=1000)
    pairs = run(pairing, times, lambda moment: Frame(np.zeros((1, 1), np.uint8), 0, moment, 0.0))
    assert_adds_up(pairing, pairs, times)
    assert all(abs(a - b) <= skew for a, b in pairs)
    assert pairs == sorted(pairs), "pairs keep the order of time"
    assert [b for _, b in pairs] == sorted(b for _, b in pairs)
    if exact:
        assert_no_lonely_frame_is_nearer(times, pairs)


@settings(deadline=None)
@given(near=moments, far=moments, seed=st.randoms())
def test_recordings_pair_alike_however_they_are_read(near, far, seed):
    """Each side is read in order, but how the two interleave depends on the threads."""

    def frame_of(moment):
        return Frame(np.zeros((1, 1), np.uint8), 0, moment, 0.0)

    waiting = [[(moment, side) for moment in times] for side, times in enumerate((near, far))]
    order = []
    while any(waiting):
        order.append(seed.choice([side for side in waiting if side]).pop(0))
    expected = run(NearestPairing(10, exact=True), [near, far], frame_of)
    assert run(NearestPairing(10, exact=True), [near, far], frame_of, order) == expected


def test_an_alternating_camera_gives_consecutive_pairs(frame_at):
    pairing = PlanePairing(2, InTurn(2, 0, by_index=False))
    pairs = [pair for number in range(5) for pair in pairing.add(NEAR, frame_at(number / 30, number))]
    pairing.end(NEAR)
    assert [(pair.near.index, pair.far.index) for pair in pairs] == [(0, 1), (2, 3)]
    assert pairing.received == [3, 2]
    assert pairing.unmatched == [1, 0]


def test_the_first_frame_may_be_the_far_one(frame_at):
    pairing = PlanePairing(2, InTurn(2, 0, by_index=False), swap=True)
    pairs = [pair for number in range(5) for pair in pairing.add(NEAR, frame_at(number / 30, number))]
    assert [(pair.near.index, pair.far.index) for pair in pairs] == [(1, 2), (3, 4)]


def test_an_alternating_pair_may_not_be_too_far_apart(frame_at):
    pairing = PlanePairing(2, InTurn(2, 0, by_index=False), max_skew=0.05)
    pairs = [pair for moment in (0.0, 0.03, 0.06, 0.5, 0.53, 0.56) for pair in pairing.add(NEAR, frame_at(moment))]
    assert [pair.far.timestamp for pair in pairs] == [0.03, 0.56]
    assert pairing.unmatched == [1, 1]


def test_sharpness_keeps_the_sides_apart_when_frames_get_lost():
    line = SimSource(None, NEAR, SimSettings(alternate=True, speed=3))
    rng = np.random.default_rng(5)
    numbers = [number for number in range(200) if rng.random() > 0.15]
    pairing = PlanePairing(2, OfTwo(), max_skew=1.5 / 30)
    pairs = []
    for number in numbers:
        pairs += pairing.add(NEAR, Frame(line.picture_of(number), number, number / 30, 0.0))
    pairing.end(NEAR)
    assert all(pair.near.index % 2 == 0 and pair.far.index == pair.near.index + 1 for pair in pairs)
    kept = set(numbers)
    assert len(pairs) == sum(number % 2 == 0 and number + 1 in kept for number in kept)
    assert sum(pairing.received) == len(numbers) == 2 * len(pairs) + sum(pairing.unmatched)
    assert pairing.received[NEAR] == sum(number % 2 == 0 for number in numbers)


def test_any_time_apart_is_allowed_by_default():
    assert PlanePairing(2, InTurn(2, 0, by_index=False)).max_skew == math.inf
