"""Several pieces of work at once, in their order."""

import threading
import time

import pytest

from ufafuse.runtime.atonce import InThisThread, in_order

NOTHING = {"cost": lambda _: 0.0, "room": 1.0}


def test_results_come_in_order_however_long_each_takes():
    def do(number):
        time.sleep(0.02 if number % 3 == 0 else 0.0)
        return number

    assert list(in_order(range(12), do, workers=4, **NOTHING)) == list(range(12))


def test_as_many_at_once_as_there_are_workers():
    meeting = threading.Barrier(3, timeout=10)
    assert list(in_order(range(6), lambda _: meeting.wait() >= 0, workers=3, **NOTHING)) == [True] * 6


@pytest.mark.parametrize(("cost", "most"), [(0.5, 2), (0.4, 2), (0.26, 3), (7.0, 1)])
def test_no_more_than_there_is_room_for(cost, most):
    lock, running, seen = threading.Lock(), [0], [0]

    def do(_):
        with lock:
            running[0] += 1
            seen[0] = max(seen[0], running[0])
        time.sleep(0.005)
        with lock:
            running[0] -= 1

    list(in_order(range(12), do, workers=8, cost=lambda _: cost, room=1.0))
    assert seen[0] <= most


def test_with_one_worker_each_result_comes_before_the_next_piece_is_taken():
    taken, here = [], threading.current_thread()
    results = in_order(
        (taken.append(number) or number for number in range(3)), lambda _: threading.current_thread(), workers=1, **NOTHING
    )
    assert next(results) is here
    assert taken == [0]


def test_an_error_comes_at_its_turn_and_ends_the_rest():
    begun = []

    def do(number):
        begun.append(number)
        if number == 2:
            raise ValueError("two")
        return number

    results = in_order(range(100), do, workers=2, **NOTHING)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert len(begun) < 10
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ufafuse-work")]


def test_who_stops_listening_leaves_no_threads_behind():
    results = in_order(range(100), lambda number: number, workers=3, **NOTHING)
    next(results)
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ufafuse-work")]


def test_in_this_thread_it_is_done_at_once_and_an_error_waits_to_be_asked_for():
    where = InThisThread().submit(threading.current_thread)
    assert where.done()
    assert where.result() is threading.current_thread()
    failed = InThisThread().submit(int, "no number")
    with pytest.raises(ValueError, match="no number"):
        failed.result()
