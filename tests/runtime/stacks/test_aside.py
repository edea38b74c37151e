"""Work beside the network: in order, one piece at a time, and nothing of what it raises is lost."""

import threading
import time

import pytest

from ufafuse.runtime.stacks.aside import Aside


@pytest.mark.parametrize("beside", [True, False])
def test_pieces_are_done_in_order_and_one_at_a_time(beside: bool) -> None:
    done: list[int] = []
    busy = threading.Lock()

    def piece(number: int) -> None:
        assert busy.acquire(blocking=False)
        time.sleep(0.001 * (number % 3))
        done.append(number)
        busy.release()

    with Aside(beside=beside) as aside:
        for number in range(12):
            aside.do(lambda number=number: piece(number))  # type: ignore[misc]
    assert done == list(range(12))


def test_the_caller_goes_on_while_a_piece_runs_and_others_wait() -> None:
    begun, may_end = threading.Event(), threading.Event()
    done: list[int] = []
    with Aside(beside=True) as aside:
        aside.do(lambda: (begun.set(), may_end.wait(10))[0])
        assert begun.wait(10)  # this thread is here though the piece has not ended
        for number in range(2):
            aside.do(lambda number=number: done.append(number))  # type: ignore[misc]
        assert done == []
        may_end.set()
    assert done == [0, 1]


def test_what_waits_is_bounded() -> None:
    """Each piece holds arrays as large as a frame."""
    done: list[int] = []
    left: list[int] = []

    def piece(number: int) -> None:
        time.sleep(0.002)
        done.append(number)

    with Aside(beside=True) as aside:
        for number in range(30):
            aside.do(lambda number=number: piece(number))  # type: ignore[misc]
            left.append(number + 1 - len(done))
    assert len(done) == 30
    assert max(left) <= 3


def _fail() -> None:
    raise ZeroDivisionError("a piece")


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("then", [0, 1, 5])
def test_what_a_piece_raises_reaches_the_caller(beside: bool, then: int) -> None:
    after: list[int] = []
    with pytest.raises(ZeroDivisionError, match="a piece"), Aside(beside=beside) as aside:
        aside.do(_fail)
        for number in range(then):
            aside.do(lambda number=number: after.append(number))  # type: ignore[misc]
    assert after == []
