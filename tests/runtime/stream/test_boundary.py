"""What a source raises, whatever it is, is that source's trouble: told, retried, and the other side goes on."""

import math
import threading
import time

import numpy as np
import pytest

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pfnc import raw_from
from ufafuse.runtime.stream.messages import FAR, NEAR, Frame, fault_in
from ufafuse.runtime.stream.options import PipelineOptions
from ufafuse.runtime.stream.pipeline import Pipeline
from ufafuse.runtime.stream.reader import RetryPolicy
from ufafuse.runtime.stream.sources import IterableSource, PushSource, SimSettings, SimSource, Source

TROUBLES = [
    ValueError("Invalid IPv6 URL"),
    UnicodeError("label too long"),
    FileNotFoundError(2, "No such file or directory"),
    KeyError("node"),
    RuntimeError(),
    MemoryError("32000 x 32000"),
    RecursionError("too deep"),
    AttributeError("'NoneType' object has no attribute 'payload'"),
    InputError("the camera offers another size"),
    AssertionError(),
    StopIteration(),
]


class Troubled(SimSource):
    """A simulated camera that raises ``error`` in the method ``where`` once it has given five frames, three times."""

    def __init__(self, error, where):
        super().__init__(None, NEAR, SimSettings(size=(96, 192), rate=200))
        self.error, self.where = error, where
        self.frames = self.raised = 0

    def _trouble(self, here):
        lost = self.frames >= 5 and self.raised < 3
        if lost and here == self.where:
            self.raised += 1
            raise self.error
        if lost and here == "read":  # lead to the opening and the closing
            if self.where == "close":
                self.raised += 1
            raise OSError("gone")

    def open(self):
        self._trouble("open")
        super().open()

    def read(self, timeout):
        self._trouble("read")
        frame = super().read(timeout)
        self.frames += frame is not None
        return frame

    def close(self):
        if self.where == "close" and self.raised:
            raise self.error


@pytest.mark.parametrize("where", ["open", "read", "close"])
@pytest.mark.parametrize("error", TROUBLES, ids=lambda error: type(error).__name__)
def test_any_error_is_told_and_retried(fuse_marks, sim, assert_adds_up, kinds, error, where):
    source = Troubled(error, where)
    options = PipelineOptions(retry=RetryPolicy(first=0.01, longest=0.05), seconds=20)
    pipeline = Pipeline(source, sim(FAR, rate=200), fuse_marks, options=options)
    pipeline.start()
    deadline = time.monotonic() + 15
    while source.frames < 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    pipeline.stop()
    assert pipeline.wait(10)
    assert pipeline.error is None
    summary = pipeline.summary()
    assert_adds_up(summary)
    assert source.frames >= 10
    assert source.raised == 3
    assert summary["reconnects"][NEAR] >= 1
    assert kinds(pipeline, "far") == []
    assert kinds(pipeline, "near")[0] == "lost"
    assert summary["broken"][NEAR] >= (3 if where == "read" else 0), "what is raised instead of a frame is counted"
    text = next(event.text for event in pipeline.events if event.kind == "lost")
    assert "\n" not in text


def test_an_error_while_opening_at_the_start_is_one_sentence_and_all_is_closed(fuse_marks):
    closed = []

    class Opens(PushSource):
        def close(self):
            closed.append(self.name)

    class Fails(Opens):
        def open(self):
            raise ValueError("Invalid\nIPv6 URL")

    with pytest.raises(InputError, match=r"the far source cannot be opened: ValueError: Invalid IPv6 URL\.") as caught:
        Pipeline(Opens("near"), Fails("far"), fuse_marks).start()
    assert isinstance(caught.value.__cause__, ValueError)
    assert sorted(closed) == ["far", "near"]


def test_a_recording_that_fails_ends_and_what_was_read_is_fused(fuse_marks, numbered_picture, assert_adds_up, recorder):
    def frames():
        for number in range(10):
            yield numbered_picture(number, NEAR)
        raise KeyError("the file's index")

    far = IterableSource([numbered_picture(number, FAR) for number in range(10)])
    pipeline = Pipeline(IterableSource(frames()), far, fuse_marks, on_frame=recorder)
    with pytest.raises(KeyError, match="index"):
        pipeline.run()
    summary = pipeline.summary()
    assert_adds_up(summary)
    assert summary["fused"] == len(recorder.items) == 10
    assert not summary["ok"]


def test_a_recording_of_your_own_goes_on_behind_a_frame_that_it_cannot_give(
    fuse_marks, numbered_picture, assert_adds_up, recorder, kinds
):
    class Fragile(IterableSource):
        def read(self, timeout):
            frame = super().read(timeout)
            if frame.index in (0, 4, 8, 9):
                raise TROUBLES[frame.index]
            return frame

    def pipeline():
        near = Fragile([numbered_picture(number, NEAR) for number in range(count)])
        return Pipeline(near, IterableSource([numbered_picture(number, FAR) for number in range(count)]), fuse_marks)

    count = 8
    whole = pipeline()
    summary = whole.run()
    assert_adds_up(summary)
    assert (summary["fused"], summary["broken"]) == (6, [2, 0])
    assert "ValueError: Invalid IPv6 URL" in next(event.text for event in whole.events if event.kind == "broken")
    count = 12
    failed = pipeline()
    with pytest.raises(AssertionError):
        failed.run()
    assert failed.summary()["fused"] == 6, "twice in a row is no single frame"


def test_a_buffer_that_is_not_whole_is_a_broken_frame(fuse_marks, sim, assert_adds_up, kinds):
    class Camera(SimSource):
        raised = 0

        def read(self, timeout):
            frame = super().read(timeout)
            if frame is not None and frame.index % 4 == 1:
                self.raised += 1
                raw_from(frame.array.tobytes()[:-1], "BGR8", *frame.array.shape[:2])
            return frame

    camera = Camera(None, NEAR, SimSettings(size=(96, 192), rate=100))
    pipeline = Pipeline(camera, sim(FAR), fuse_marks)
    pipeline.start()
    until = time.monotonic() + 20
    while camera.raised < 8 and time.monotonic() < until:
        time.sleep(0.01)
    pipeline.stop()
    assert pipeline.wait(10)
    summary = pipeline.summary()
    assert_adds_up(summary)
    assert summary["broken"][NEAR] == camera.raised >= 8
    assert summary["reconnects"] == [0, 0]
    assert "lost" not in kinds(pipeline)


NO_FRAMES = [
    Frame(np.zeros((2, 2), np.uint8), 0, math.nan, 0.0),
    Frame(np.zeros((2, 2), np.uint8), 0, math.inf, 0.0),
    Frame(np.zeros((2, 2), np.uint8), 0, -math.inf, 0.0),
    Frame(np.zeros((2, 2), np.uint8), 0, np.float32("nan"), 0.0),
    Frame(np.zeros((2, 2), np.uint8), 0, "now", 0.0),
    Frame(np.zeros((2, 2), np.uint8), 0, None, 0.0),
    Frame(np.zeros((2, 2), np.uint8), 1.5, 0.0, 0.0),
    Frame(np.zeros((2, 2), np.float32), 0, 0.0, 0.0),
    Frame(np.zeros((0, 2), np.uint8), 0, 0.0, 0.0),
    Frame(None, 0, 0.0, 0.0),
    "a frame",
]


@pytest.mark.parametrize("frame", NO_FRAMES, ids=repr)
def test_what_is_no_frame_is_said_to_be_none(frame):
    assert fault_in(frame)
    assert not fault_in(Frame(np.zeros((2, 2), np.uint8), np.int64(3), np.float64(0.5), 0))


@pytest.mark.parametrize("moment", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_none_is_a_broken_frame_and_spoils_no_other(
    fuse_marks, recorder, numbered_picture, assert_adds_up, moment
):
    near, far = PushSource("near", size=50), PushSource("far", size=50)

    def push():
        for number in range(20):
            near.push(numbered_picture(number, NEAR), moment if number in (3, 4, 10) else number / 10, index=number)
            far.push(numbered_picture(number, FAR), number / 10, index=number)
            time.sleep(0.02)
        near.end()
        far.end()

    pipeline = Pipeline(near, far, fuse_marks, on_frame=recorder, options=PipelineOptions(waiting=30, when_late="block"))
    threading.Thread(target=push, daemon=True).start()
    summary = pipeline.run()
    assert_adds_up(summary)
    recorder.assert_none_mixed()
    assert summary["broken"] == [3, 0]
    assert summary["fused"] == 17
    assert "no moment in seconds" in next(event.text for event in pipeline.events if event.kind == "broken")


def test_the_callbacks_text_is_one_line(fuse_marks, sim):
    class Rude(Source):
        name = "rude"
        opened = 0

        def open(self):
            self.opened += 1

        def read(self, timeout):
            raise RuntimeError("a\r\n\x1b[2Jb")

    pipeline = Pipeline(Rude(), sim(FAR), fuse_marks, options=PipelineOptions(seconds=0.3))
    pipeline.run()
    assert all("\n" not in event.text and "\x1b" not in event.text for event in pipeline.events)
