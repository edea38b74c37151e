import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ufafuse.runtime.stream.messages import FAR, NEAR, Frame
from ufafuse.runtime.stream.pairing import NearestPairing
from ufafuse.runtime.stream.pairqueue import BLOCK, DROP_OLDEST, PairQueue


def frame(moment, size=(2, 2), dtype=np.uint8):
    return Frame(np.zeros(size, dtype), 0, moment, 0.0)


def put_pair(queue, moment):
    queue.put(NEAR, frame(moment))
    queue.put(FAR, frame(moment))


def assert_adds_up(queue):
    counts = queue.counts()
    for side in (NEAR, FAR):
        assert counts.frames_in[side] == counts.taken + counts.dropped + counts.waiting + counts.unmatched[side]


def test_the_oldest_pair_is_dropped():
    queue = PairQueue(NearestPairing(0.1), size=2)
    for moment in (1.0, 2.0, 3.0):
        put_pair(queue, moment)
    assert queue.counts().dropped == 1
    assert queue.take(0).near.timestamp == 2.0
    assert_adds_up(queue)


def test_block_lets_the_reader_wait_until_there_is_room():
    queue = PairQueue(NearestPairing(0.1), size=1, when_late=BLOCK)
    done = []

    def read():
        for moment in (1.0, 2.0, 3.0):
            put_pair(queue, moment)
            done.append(moment)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    taken = []
    while len(taken) < 3:
        pair = queue.take(5)
        assert pair is not None
        taken.append(pair.near.timestamp)
    reader.join(5)
    assert taken == [1.0, 2.0, 3.0]
    assert queue.counts().dropped == 0


def test_a_recording_that_is_read_faster_waits_for_the_other():
    queue = PairQueue(NearestPairing(0.01, exact=True), size=100, when_late=DROP_OLDEST, hold=4)
    put = []

    def read():
        for number in range(20):
            queue.put(NEAR, frame(number / 10))
            put.append(number)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    deadline = time.monotonic() + 5
    while len(put) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(put) == 3, "the fourth frame waits inside put"
    for number in range(20):
        queue.put(FAR, frame(number / 10))
    reader.join(5)
    assert queue.counts().unmatched == [0, 0]
    assert queue.counts().waiting == 20


def test_ending_frees_a_waiting_reader_and_what_waits_is_still_taken():
    queue = PairQueue(NearestPairing(0.1), size=1, when_late=BLOCK)
    answers = []
    reader = threading.Thread(target=lambda: answers.extend([put_pair(queue, 1.0), queue.put(NEAR, frame(2.0))]), daemon=True)
    reader.start()
    time.sleep(0.05)
    queue.end(NEAR)
    queue.end(FAR)
    reader.join(5)
    assert answers[-1] is False
    assert not queue.finished
    assert queue.take(0).near.timestamp == 1.0
    assert queue.finished
    assert_adds_up(queue)


def test_a_frame_after_the_end_is_not_counted():
    queue = PairQueue(NearestPairing(0.1))
    queue.end(NEAR)
    assert queue.put(NEAR, frame(1.0)) is False
    assert queue.counts().frames_in == [0, 0]


def test_giving_up_counts_what_waited_as_dropped():
    queue = PairQueue(NearestPairing(0.1), size=5)
    for moment in (1.0, 2.0):
        put_pair(queue, moment)
    queue.put(NEAR, frame(3.0))
    queue.abandon()
    counts = queue.counts()
    assert (counts.dropped, counts.unmatched) == (2, [1, 0])
    assert queue.finished
    assert queue.take(0) is None


@pytest.mark.parametrize(("size", "dtype"), [((4, 4), np.uint8), ((2, 2), np.uint16)])
def test_frames_that_differ_are_unmatched_and_reported_once(size, dtype):
    told = []
    queue = PairQueue(NearestPairing(0.1), size=9, on_mismatch=told.append)
    for moment in (1.0, 2.0):
        queue.put(NEAR, frame(moment))
        queue.put(FAR, frame(moment, size, dtype))
    put_pair(queue, 3.0)
    assert len(told) == 1
    assert "cannot be fused" in told[0]
    assert queue.counts().unmatched == [2, 2]
    assert (queue.counts().mismatched, queue.mismatch) == (2, told[0])
    assert queue.take(0).near.timestamp == 3.0
    assert_adds_up(queue)


@settings(deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from("nft"), st.integers(0, 5)), max_size=120),
    size=st.integers(1, 3),
)
def test_the_counts_always_add_up(steps, size):
    queue = PairQueue(NearestPairing(3, waiting=4), size=size)
    clock = [0, 0]
    for what, amount in steps:
        if what == "t":
            queue.take(0)
        else:
            side = NEAR if what == "n" else FAR
            clock[side] += amount
            queue.put(side, frame(clock[side]))
    queue.end(NEAR)
    queue.end(FAR)
    assert_adds_up(queue)
    queue.abandon()
    assert_adds_up(queue)
    assert queue.counts().waiting == 0
