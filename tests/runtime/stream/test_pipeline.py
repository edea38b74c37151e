"""The pipeline with a copy in the network's place: fault by fault, with counts that add up."""

import threading
import time

import numpy as np
import pytest

from ufafuse.runtime.errors import InputError, OutputError, UfaError
from ufafuse.runtime.stream.messages import FAR, NEAR
from ufafuse.runtime.stream.options import PipelineOptions
from ufafuse.runtime.stream.pipeline import Pipeline
from ufafuse.runtime.stream.reader import RetryPolicy
from ufafuse.runtime.stream.sinks.base import Sink
from ufafuse.runtime.stream.sources import IterableSource, PushSource, SimSettings, SimSource, Source, source_from_text

SMALL = (96, 192)


def run_until(pipeline, condition):
    """Run until ``condition()`` holds, or half a minute has passed; the summary."""
    pipeline.start()
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    pipeline.stop()
    assert pipeline.wait(30)
    assert pipeline.error is None
    return pipeline.summary()


class Collect(Sink):
    """Keeps the fused pictures; raises ``error`` at picture ``fails_at``."""

    def __init__(self, fails_at=None, error=None, pause=0.0):
        super().__init__()
        self.pictures = []
        self.closed = 0
        self.fails_at, self.error, self.pause = fails_at, error, pause

    def write(self, item):
        time.sleep(self.pause)
        if len(self.pictures) == self.fails_at:
            raise self.error
        self.pictures.append(item.fused)

    def close(self):
        self.closed += 1


def test_a_steady_line_loses_nothing(fuse_marks, recorder, sim, assert_adds_up):
    pipeline = Pipeline(sim(NEAR), sim(FAR), fuse_marks, on_frame=recorder, options=PipelineOptions(frames=80))
    summary = pipeline.run()
    assert_adds_up(summary)
    recorder.assert_none_mixed()
    assert summary["ok"]
    assert summary["fused"] == summary["written"] == len(recorder.items) == 80
    assert summary["latency_ms"]["p50"] <= summary["latency_ms"]["p95"] <= summary["latency_ms"]["p99"] < 5000
    assert 10 < summary["fps"] < 120


def test_a_slow_fusion_drops_the_oldest_and_mixes_nothing(fuse_marks, recorder, sim, assert_adds_up, kinds):
    def slow(near, far):
        time.sleep(0.03)
        return fuse_marks(near, far)

    faults = {"jitter": 2, "drop": 0.05, "broken": 0.03, "stall": [(0.5, 0.3)]}
    pipeline = Pipeline(
        sim(NEAR, **faults),
        sim(FAR, **{**faults, "seed": 7, "stall": []}),
        slow,
        on_frame=recorder,
        options=PipelineOptions(seconds=1.5, max_skew=0.005, stall_after=0.15),
    )
    summary = pipeline.run()
    assert_adds_up(summary)
    recorder.assert_none_mixed()
    assert all(near == far for _, (near, far), _ in recorder.items)
    assert summary["dropped"] > 5
    assert min(summary["unmatched_by_side"]) > 0
    assert sum(summary["broken"]) > 0
    assert "stalled" in kinds(pipeline, "near")
    assert "resumed" in kinds(pipeline, "near")


def test_the_frames_size_is_told_before_the_run_begins(fuse_marks):
    order = []

    class Watched(SimSource):
        def open(self):
            order.append("open")
            super().open()

        def begin(self, epoch):
            order.append("begin")
            super().begin(epoch)

    sources = [Watched(None, side, SimSettings(size=SMALL, rate=100)) for side in (NEAR, FAR)]
    Pipeline(*sources, fuse_marks, options=PipelineOptions(frames=3), prepare=order.append).run()
    assert order == ["open", "open", SMALL, "begin", "begin"]


def test_what_cannot_be_prepared_ends_before_it_began(fuse_marks):
    closed = []

    class Watched(PushSource):
        def close(self):
            closed.append(self.name)

    def refuse(size):
        raise InputError(f"frames of {size} do not fit")

    with pytest.raises(InputError, match="frames of None do not fit"):
        Pipeline(Watched("near"), Watched("far"), fuse_marks, prepare=refuse).run()
    assert closed == ["near", "far"]


def test_block_makes_recordings_lossless(fuse_marks, numbered_picture, assert_adds_up):
    near, far = ([numbered_picture(number, side) for number in range(40)] for side in (NEAR, FAR))
    sink = Collect(pause=0.002)
    pipeline = Pipeline(IterableSource(near), IterableSource(far), fuse_marks, sink)
    summary = pipeline.run()
    assert_adds_up(summary)
    assert (summary["fused"], summary["dropped"], summary["unmatched"]) == (40, 0, 0)
    assert summary["when_late"] == "block"
    assert len(sink.pictures) == 40
    assert sink.closed == 1


def test_a_lost_source_comes_back_and_the_other_is_not_held_up(fuse_marks, recorder, sim, assert_adds_up, kinds):
    pipeline = Pipeline(
        sim(NEAR, lost=[(0.4, 0.6)]),
        sim(FAR),
        fuse_marks,
        on_frame=recorder,
        options=PipelineOptions(retry=RetryPolicy(first=0.05, longest=0.2), stall_after=0.5),
    )
    summary = run_until(pipeline, lambda: recorder.items and recorder.items[-1][1][NEAR] > 110)
    assert_adds_up(summary)
    recorder.assert_none_mixed()
    assert summary["reconnects"] == [1, 0]
    assert kinds(pipeline, "near").count("stalled") == 0, "its silence counts from its return"
    assert kinds(pipeline, "near")[:2] == ["lost", "back"]
    assert summary["frames_in"][FAR] > summary["frames_in"][NEAR] + 15


def test_a_source_that_stays_away_ends_the_run_when_told(fuse_marks, sim, assert_adds_up):
    sink = Collect()
    pipeline = Pipeline(
        sim(NEAR, lost=[(0.3, 100)]),
        sim(FAR),
        fuse_marks,
        sink,
        options=PipelineOptions(retry=RetryPolicy(first=0.05, longest=0.1, give_up=0.3)),
    )
    with pytest.raises(UfaError, match="`give_up`"):
        pipeline.run()
    summary = pipeline.summary()
    assert not summary["ok"]
    assert_adds_up(summary)
    assert summary["written"] == summary["fused"] == len(sink.pictures) > 0
    assert sink.closed == 1


def test_a_change_of_size_is_reported_and_such_pairs_are_not_fused(fuse_marks, recorder, sim, assert_adds_up, kinds):
    change = {"resize": [(0.4, (120, 240))]}
    pipeline = Pipeline(
        sim(NEAR, **change),
        sim(FAR, resize=[(0.6, (120, 240))]),
        fuse_marks,
        on_frame=recorder,
        options=PipelineOptions(max_skew=0.004),
    )
    summary = run_until(pipeline, lambda: recorder.items and recorder.items[-1][1][NEAR] > 80)
    assert_adds_up(summary)
    recorder.assert_none_mixed()
    assert kinds(pipeline).count("mismatch") == 1
    assert (kinds(pipeline, "near").count("size"), kinds(pipeline, "far").count("size")) == (1, 1)
    assert summary["unmatched"] > 0


def test_sources_that_never_match_are_reported_once(fuse_marks, assert_adds_up):
    near, far = (IterableSource(moments(offset), live=True) for offset in (0.0, 0.3))
    options = PipelineOptions(seconds=1.0, stall_after=0.3)
    pipeline = Pipeline(near, far, fuse_marks, options=options)
    summary = pipeline.run()
    assert_adds_up(summary)
    assert summary["fused"] == 0
    told = [event.text for event in pipeline.events if event.kind == "unpaired"]
    assert len(told) == 1
    assert "ms apart" in told[0]


def moments(offset):
    """Ten small pictures a second for half a minute."""
    for number in range(300):
        time.sleep(0.1)
        yield np.zeros((8, 8), np.uint8), number + offset


@pytest.mark.parametrize("always", [True, False])
def test_a_callback_that_raises_ends_the_run_whoever_calls_it(fuse_marks, numbered_picture, always):
    def on_event(event):
        if always or event.kind == "ended":
            raise KeyError(event.kind)

    def frames(side):
        yield from (numbered_picture(number, side) for number in range(3))
        yield "no picture"
        yield numbered_picture(3, side)[1:]

    pipeline = Pipeline(*(IterableSource(frames(side)) for side in (NEAR, FAR)), fuse_marks, on_event=on_event)
    pipeline.start()
    assert pipeline.wait(20)
    assert isinstance(pipeline.error, KeyError)


def test_a_source_that_cannot_be_interrupted_does_not_hold_up_the_end(fuse_marks, sim):
    class Stubborn(SimSource):
        def interrupt(self):
            raise RuntimeError("not now")

    settings = SimSettings(size=SMALL, rate=100)
    pipeline = Pipeline(Stubborn(None, NEAR, settings), sim(FAR), fuse_marks, options=PipelineOptions(seconds=0.3))
    pipeline.start()
    assert pipeline.wait(20)
    assert pipeline.error is None


def test_broken_frames_in_a_row_count_as_a_loss(fuse_marks, sim, assert_adds_up):
    class Rubbish(Source):
        name = "rubbish"
        opened = 0

        def open(self):
            self.opened += 1

        def read(self, timeout):
            return PushSourceFrame("no picture")

    class PushSourceFrame:
        def __init__(self, array):
            self.array = array

    source = Rubbish()
    options = PipelineOptions(seconds=0.6, retry=RetryPolicy(first=0.05))
    pipeline = Pipeline(source, sim(FAR), fuse_marks, options=options)
    summary = pipeline.run()
    assert source.opened > 1
    assert summary["broken"][NEAR] >= 100
    assert summary["frames_in"][NEAR] == 0
    assert_adds_up(summary)


@pytest.mark.parametrize("error", [OutputError("the disk is full"), ZeroDivisionError("a defect")])
def test_a_sink_that_fails_ends_the_run(fuse_marks, error, sim, assert_adds_up):
    sink = Collect(fails_at=5, error=error)
    pipeline = Pipeline(sim(NEAR), sim(FAR), fuse_marks, sink)
    with pytest.raises(type(error)):
        pipeline.run()
    summary = pipeline.summary()
    assert_adds_up(summary)
    assert summary["written"] == len(sink.pictures) == 5
    assert sink.closed == 1
    assert summary["error"] == str(error)


def test_a_fusion_that_fails_ends_the_run_and_what_was_done_is_kept(fuse_marks, sim, assert_adds_up):
    done = []

    def fails(near, far):
        if len(done) == 7:
            raise UfaError("the engine broke")
        done.append(1)
        return fuse_marks(near, far)

    sink = Collect()
    pipeline = Pipeline(sim(NEAR), sim(FAR), fails, sink)
    with pytest.raises(UfaError, match="engine broke"):
        pipeline.run()
    assert_adds_up(pipeline.summary())
    assert len(sink.pictures) == 7


def test_a_fusion_that_returns_no_picture_is_refused(sim):
    pipeline = Pipeline(sim(NEAR), sim(FAR), lambda near, far: near.astype(np.float64))
    with pytest.raises(UfaError, match="float64 samples"):
        pipeline.run()


def test_a_source_whose_generator_fails_ends_the_run(fuse_marks, numbered_picture):
    def frames():
        yield numbered_picture(0, NEAR)
        raise KeyError("the camera SDK")

    pipeline = Pipeline(IterableSource(frames()), IterableSource([numbered_picture(0, FAR)]), fuse_marks)
    with pytest.raises(KeyError):
        pipeline.run()


@pytest.mark.parametrize(
    ("near", "far", "part"), [("http://127.0.0.1:9/", "sim:", "near"), ("sim:", "http://127.0.0.1:9/", "far")]
)
def test_a_source_that_does_not_open_is_bad_input(fuse_marks, near, far, part):
    pipeline = Pipeline(source_from_text(near, NEAR), source_from_text(far, FAR), fuse_marks)
    with pytest.raises(InputError, match=f"the {part} source cannot be opened"):
        pipeline.start()


def test_stopping_fuses_what_waits(fuse_marks, recorder, numbered_picture, assert_adds_up):
    release = threading.Event()

    def held(near, far):
        release.wait(5)
        return fuse_marks(near, far)

    near, far = PushSource("near"), PushSource("far")
    pipeline = Pipeline(near, far, held, on_frame=recorder, options=PipelineOptions(queue=2))
    pipeline.start()
    for number in range(3):
        pushed = time.monotonic()
        near.push(numbered_picture(number, NEAR), pushed, index=number)
        far.push(numbered_picture(number, FAR), pushed, index=number)
        deadline = time.monotonic() + 5
        while pipeline.figures()["waiting"] <= number and time.monotonic() < deadline:
            time.sleep(0.005)
    pipeline.stop()
    assert not pipeline.wait(0.1)
    release.set()
    assert pipeline.wait(30)
    recorder.assert_none_mixed()
    assert [indices for _, indices, _ in recorder.items] == [(0, 0), (1, 1), (2, 2)]
    assert_adds_up(pipeline.summary())


def test_stopping_twice_gives_up_what_waits(fuse_marks, sim, assert_adds_up):
    release = threading.Event()

    def held(near, far):
        release.wait(5)
        return fuse_marks(near, far)

    pipeline = Pipeline(sim(NEAR), sim(FAR), held)
    pipeline.start()
    time.sleep(0.2)
    pipeline.stop()
    pipeline.stop()
    release.set()
    assert pipeline.wait(30)
    summary = pipeline.summary()
    assert summary["fused"] == 1
    assert summary["dropped"] >= 2
    assert_adds_up(summary)


def test_a_slow_reader_of_results_never_holds_up_the_cameras(fuse_marks, sim, assert_adds_up):
    release = threading.Event()
    pipeline = Pipeline(sim(NEAR), sim(FAR), fuse_marks, on_frame=lambda item: release.wait(30))

    def cameras_went_on():
        done = min(pipeline.summary()["frames_in"]) > 50
        if done:
            assert pipeline.summary()["written"] == 0  # the reader still has the first picture
            release.set()
        return done

    summary = run_until(pipeline, cameras_went_on)
    assert min(summary["frames_in"]) > 50
    assert summary["dropped"] > 20
    assert_adds_up(summary)


def test_late_pairs_are_counted(fuse_marks, sim):
    def slow(near, far):
        time.sleep(0.05)
        return fuse_marks(near, far)

    options = PipelineOptions(frames=5, late_after=0.02)
    assert Pipeline(sim(NEAR), sim(FAR), slow, options=options).run()["late"] == 5


def test_the_map_goes_along(fuse_marks, sim):
    seen = []
    weights = np.ones(SMALL, np.float32)
    pipeline = Pipeline(
        sim(NEAR),
        sim(FAR),
        lambda near, far: (fuse_marks(near, far), weights),
        on_frame=lambda item: seen.append(item.map is weights),
        options=PipelineOptions(frames=3),
    )
    pipeline.run()
    assert seen == [True] * 3


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"queue": 0}, "`queue=0`"),
        ({"frames": 0}, "`frames=0`"),
        ({"max_skew": -1}, "`max_skew=-1`"),
        ({"seconds": float("nan")}, "`seconds=nan`"),
        ({"when_late": "never"}, "`when_late=never`"),
        ({"pair_by": "colour"}, "`pair_by=colour`"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, part):
    with pytest.raises(InputError, match=part):
        PipelineOptions(**options)


def test_pairing_by_number_needs_numbers(fuse_marks, sim):
    with pytest.raises(InputError, match="two folders"):
        Pipeline(sim(NEAR), sim(FAR), fuse_marks, options=PipelineOptions(pair_by="number"))
