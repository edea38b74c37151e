"""Times of frames that come through a network: what piled up is passed over, what was held up keeps its age."""

import pytest

from ufafuse.runtime.stream.sources.clock import Backlog, StreamClock


def passed_over(moments, arrivals, *, opened=0.0):
    backlog = Backlog(opened)
    return [backlog.holds(moment, arrived) for moment, arrived in zip(moments, arrivals, strict=True)]


def test_a_burst_after_the_opening_is_old_and_what_follows_is_not():
    moments = [number / 10 for number in range(50)]
    burst = [3.0 + 0.01 * number for number in range(30)]
    live = [3.4 + 0.1 * number for number in range(20)]
    old = passed_over(moments, burst + live)
    assert old.index(False) in range(30, 40), "a third of a second or two until it is sure"
    assert not any(old[old.index(False) :])


def test_a_starved_reader_of_old_frames_is_not_taken_for_one_that_caught_up():
    moments = [number / 10 for number in range(60)]
    burst = [3.0 + 0.02 * number + (0.2 if number >= 9 else 0) for number in range(40)]
    old = passed_over(moments, burst + [burst[-1] + 0.1 * number for number in range(1, 21)])
    assert old.index(False) >= 40


def test_frames_that_were_read_as_they_came_are_all_new():
    moments = [number / 30 for number in range(5)]
    assert passed_over(moments, [0.02 + moment for moment in moments]) == [False] * 5


def test_a_third_of_a_second_is_passed_over_where_the_opening_took_long_and_nothing_piled_up():
    moments = [number / 30 for number in range(15)]
    old = passed_over(moments, [2.0 + moment for moment in moments])
    assert old.index(False) in (9, 10)
    assert not any(old[10:])


def test_a_video_that_comes_faster_than_it_plays_is_not_passed_over_for_ever():
    old = passed_over([number / 25 for number in range(100)], [0.5 + number / 1000 for number in range(100)])
    assert old == [True] * 13 + [False] * 87  # the opening took half a second: twelve frames' time


def test_frames_without_times_are_judged_by_their_arrival():
    arrivals = [2.0, 2.001, 2.002, 2.003] + [2.036 + number / 30 for number in range(12)]
    old = passed_over([0.0] * 16, arrivals)
    assert old == [True] * 12 + [False] * 4


def test_frames_that_a_network_held_up_keep_their_distances():
    clock = StreamClock()
    steady = [clock.exposed(number / 10, 100 + number / 10) for number in range(10)]
    assert steady == pytest.approx([100 + number / 10 for number in range(10)])
    held = [clock.exposed(1 + number / 10, 101.9) for number in range(10)]  # a second of silence, then all at once
    assert held == pytest.approx([101 + number / 10 for number in range(10)], abs=0.002)


def test_the_least_delay_counts():
    clock = StreamClock()
    assert clock.exposed(0.0, 10.3) == 10.3
    assert clock.exposed(0.1, 10.15) == pytest.approx(10.15)
    assert clock.exposed(0.2, 10.45) == pytest.approx(10.25, abs=0.001)


def test_a_clock_that_is_slower_than_ours_is_followed():
    clock = StreamClock()
    for number in range(2000):
        exposed = clock.exposed(number / 30 * 0.9995, 50 + number / 30)
    assert exposed == pytest.approx(50 + 1999 / 30, abs=0.005)


@pytest.mark.parametrize("moment", [0.0, -3.0, 1.0])
def test_a_clock_that_stands_still_or_goes_back_is_not_believed(moment):
    clock = StreamClock()
    clock.exposed(1.0, 20.0)
    assert clock.exposed(moment, 20.5) == 20.5


def test_a_clock_that_was_set_is_taken_anew():
    clock = StreamClock()
    clock.exposed(1000.0, 20.0)
    assert clock.exposed(1000.1, 30.0) == 30.0
    assert clock.exposed(1000.2, 30.1) == pytest.approx(30.1)
