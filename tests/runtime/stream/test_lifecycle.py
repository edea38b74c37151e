"""A pipeline in somebody's program: begun, ended and failing in every order, with all that came accounted for."""

import threading
import time

import numpy as np
import pytest

from ufafuse.runtime.errors import BackendError, InputError
from ufafuse.runtime.stream import Pipeline, PipelineOptions, PushSource
from ufafuse.runtime.stream.sources.base import Source
from ufafuse.runtime.stream.sources.folder import FolderSource

PICTURE = np.zeros((24, 32, 3), np.uint8)


def made(fuse=lambda near, far: near, **arguments):
    near, far = PushSource("near"), PushSource("far")
    return Pipeline(near, far, fuse, **arguments), near, far


def push(near, far, count, *, pause=0.005):
    for number in range(count):
        near.push(PICTURE, timestamp=number * 0.05)
        far.push(PICTURE, timestamp=number * 0.05)
        time.sleep(pause)


def check_sums(summary):
    for came, unmatched in zip(summary["frames_in"], summary["unmatched_by_side"], strict=True):
        assert came == summary["fused"] + summary["dropped"] + unmatched


def raising(error):
    def function(*_given):
        raise error

    return function


@pytest.mark.parametrize(
    "error", [ValueError("no such thing"), SystemExit(3), KeyboardInterrupt()], ids=lambda error: type(error).__name__
)
@pytest.mark.parametrize("where", ["fuse", "on_frame", "on_event"])
def test_whatever_somebodys_function_raises_ends_the_run_and_is_told(error, where):
    pipeline, near, far = made(**{where: raising(error)})
    pipeline.start()
    if where == "on_event":
        pipeline.report("caution", "", "something")
    push(near, far, 5)
    assert pipeline.wait(10)
    summary = pipeline.summary()
    assert not summary["ok"]
    assert summary["error"] == (str(error) or type(error).__name__)
    assert pipeline.error is error
    check_sums(summary)


class Leaving(Source):
    """Raises what ends a program, where it is asked to."""

    def __init__(self, where):
        self.name, self.where = "leaving", where

    def open(self):
        if self.where == "open":
            raise SystemExit(3)

    def read(self, timeout):
        raise SystemExit(3)


def test_a_source_that_would_end_its_thread_ends_the_run():
    pipeline = Pipeline(PushSource("near"), Leaving("read"), lambda near, far: near)
    with pytest.raises(SystemExit):
        pipeline.run()
    assert not pipeline.summary()["ok"]


def test_a_source_that_would_end_the_thread_that_opens_it_is_not_waited_for():
    began = time.monotonic()
    with pytest.raises(SystemExit):
        Pipeline(PushSource("near"), Leaving("open"), lambda near, far: near).start()
    assert time.monotonic() - began < 5


def test_it_is_started_once():
    pipeline, near, far = made()
    pipeline.start()
    before = threading.active_count()
    with pytest.raises(InputError, match="make another one"):
        pipeline.start()
    assert threading.active_count() == before
    push(near, far, 3)
    pipeline.stop()
    assert pipeline.wait(10)
    assert pipeline.summary()["fused"]
    with pytest.raises(InputError, match="make another one"):
        pipeline.run()


def test_one_that_was_stopped_before_it_began_is_over():
    pipeline, *_ = made()
    pipeline.stop()
    assert pipeline.wait(5)
    pipeline.start()
    assert pipeline.wait(5)
    assert pipeline.summary()["frames_in"] == [0, 0]


def test_one_that_could_not_start_is_not_waited_for(monkeypatch, tmp_path):
    pipeline = Pipeline(PushSource("near"), FolderSource(tmp_path / "missing"), lambda near, far: near)
    with pytest.raises(InputError, match="is not a folder"):
        pipeline.start()
    pipeline.stop()
    assert pipeline.wait(5)
    start, threads = threading.Thread.start, []

    def refuse(thread):
        threads.append(thread)
        if len(threads) == 5:  # two open the sources, two fuse and write
            raise RuntimeError("can't start new thread")
        start(thread)

    before = threading.active_count()
    pipeline, *_ = made()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(BackendError, match="starts no more threads"):
        pipeline.start()
    assert pipeline.wait(5)
    until = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.05)
    assert threading.active_count() == before


def test_one_source_is_not_two():
    source = PushSource("camera")
    with pytest.raises(InputError, match="`near` and `far` are one source"):
        Pipeline(source, source, lambda near, far: near)


def test_frames_that_were_pushed_in_vain_are_told():
    pipeline, near, far = made(lambda near, far: time.sleep(0.05) or near)
    pipeline.start()
    for number in range(200):
        near.push(PICTURE, timestamp=number * 0.05)
    near.push(None)
    time.sleep(0.3)
    near.push(PICTURE, timestamp=99.0)
    far.push(PICTURE, timestamp=99.0)
    time.sleep(0.5)
    pipeline.stop()
    assert pipeline.wait(10)
    summary = pipeline.summary()
    assert near.overrun + summary["frames_in"][0] + summary["broken"][0] == 202
    assert any("near is given frames faster than they are taken" in text for text in summary["events"])
    assert any("no picture but NoneType" in text for text in summary["events"])


def test_an_output_that_takes_nothing_is_told_and_one_that_is_always_slow_seldom():
    delays = iter([0.0, 0.5, 0.0, 0.3, 0.4, 0.5, 0.3, 0.0])
    told = []
    pipeline, near, far = made(
        on_frame=lambda _item: time.sleep(next(delays, 0.0)),
        on_event=lambda event: told.append((event.kind, event.side, event.text)),
        options=PipelineOptions(stall_after=0.2),
    )
    pipeline.start()
    for number in range(12):
        near.push(PICTURE, timestamp=number * 0.05)
        far.push(PICTURE, timestamp=number * 0.05)
        time.sleep(0.3)
    pipeline.stop()
    assert pipeline.wait(10)
    of_output = [(kind, side) for kind, side, text in told if text.startswith("on_frame")]
    assert of_output[:2] == [("stalled", ""), ("resumed", "")]
    assert len(of_output) <= 4


@pytest.fixture
def begun_threads():
    """Give what tells the threads of ours that were begun since: other tests of this process may have left some."""
    before = set(threading.enumerate())
    return lambda: {each.name for each in set(threading.enumerate()) - before if each.name.startswith("ufafuse-")}


def test_with_ends_what_was_started(begun_threads):
    fused = []
    pipeline, near, far = made(on_frame=fused.append)
    with pipeline as begun:
        assert begun is pipeline
        push(near, far, 3)
        near.end()
        far.end()
        assert pipeline.wait(10)
    assert len(fused) == 3
    pipeline, near, far = made()
    with pipeline:  # whose sources would go on for ever
        push(near, far, 3)
    assert pipeline.wait(0)
    assert pipeline.summary()["ok"]
    check_sums(pipeline.summary())
    assert not begun_threads()


def test_with_raises_what_ended_the_run_unless_the_block_has_an_error_of_its_own(begun_threads):
    pipeline, near, far = made(raising(ValueError("no such thing")))
    with pytest.raises(ValueError, match="no such thing"), pipeline:
        push(near, far, 3)
        pipeline.wait(10)
    pipeline, near, far = made(raising(ValueError("no such thing")))
    with pytest.raises(KeyError, match="mine"), pipeline:
        push(near, far, 3)
        raise KeyError("mine")
    assert pipeline.wait(0)
    assert not begun_threads()
