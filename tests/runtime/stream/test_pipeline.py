"""The pipeline with a copy in the network's place: fault by fault, with counts that add up."""

import queue
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from ufafuse.runtime.errors import InputError, OutputError, UfaError
from ufafuse.runtime.stream.feed import RetryPolicy
from ufafuse.runtime.stream.frames import FAR, NEAR
from ufafuse.runtime.stream.marks import read_number
from ufafuse.runtime.stream.options import PipelineOptions
from ufafuse.runtime.stream.pipeline import Pipeline
from ufafuse.runtime.stream.sinks import MatroskaSink
from ufafuse.runtime.stream.sinks.base import Sink
from ufafuse.runtime.stream.sources import IterableSource, PushSource, SimSettings, SimSource, Source, source_from_text

SMALL = (96, 192)


def sim(side, **settings):
    return SimSource(None, side, SimSettings(**{"size": SMALL, "rate": 100, **settings}))


def assert_adds_up(summary):
    for side in (NEAR, FAR):
        accounted = summary["fused"] + summary["dropped"] + summary["unmatched_by_side"][side]
        assert summary["frames_in"][side] == accounted, summary
    assert summary["waiting"] == 0


def kinds(pipeline, side=None):
    return [event.kind for event in pipeline.events if side in (None, event.side)]


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


def test_a_steady_line_loses_nothing(fuse_marks, recorder):
    pipeline = Pipeline(sim(NEAR), sim(FAR), fuse_marks, on_frame=recorder, options=PipelineOptions(frames=80))
    summary = pipeline.run()
    assert_adds_up(summary)
    recorder.assert_none_mixed()
    assert summary["ok"]
    assert summary["fused"] == summary["written"] == len(recorder.items) == 80
    assert summary["latency_ms"]["p50"] <= summary["latency_ms"]["p95"] <= summary["latency_ms"]["p99"] < 5000
    assert 10 < summary["fps"] < 120


def test_a_slow_fusion_drops_the_oldest_and_mixes_nothing(fuse_marks, recorder):
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


def test_block_makes_recordings_lossless(fuse_marks, numbered_picture):
    near, far = ([numbered_picture(number, side) for number in range(40)] for side in (NEAR, FAR))
    sink = Collect(pause=0.002)
    pipeline = Pipeline(IterableSource(near), IterableSource(far), fuse_marks, sink)
    summary = pipeline.run()
    assert_adds_up(summary)
    assert (summary["fused"], summary["dropped"], summary["unmatched"]) == (40, 0, 0)
    assert summary["when_late"] == "block"
    assert len(sink.pictures) == 40
    assert sink.closed == 1


def test_a_lost_source_comes_back_and_the_other_is_not_held_up(fuse_marks, recorder):
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


def test_a_source_that_stays_away_ends_the_run_when_told(fuse_marks):
    sink = Collect()
    pipeline = Pipeline(
        sim(NEAR, lost=[(0.3, 100)]),
        sim(FAR),
        fuse_marks,
        sink,
        options=PipelineOptions(retry=RetryPolicy(first=0.05, longest=0.1, give_up=0.3)),
    )
    with pytest.raises(UfaError, match="--give-up"):
        pipeline.run()
    summary = pipeline.summary()
    assert not summary["ok"]
    assert_adds_up(summary)
    assert summary["written"] == summary["fused"] == len(sink.pictures) > 0
    assert sink.closed == 1


def test_a_change_of_size_is_reported_and_such_pairs_are_not_fused(fuse_marks, recorder):
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


def test_sources_that_never_match_are_reported_once(fuse_marks):
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


def test_broken_frames_in_a_row_count_as_a_loss(fuse_marks):
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
def test_a_sink_that_fails_ends_the_run(fuse_marks, error):
    sink = Collect(fails_at=5, error=error)
    pipeline = Pipeline(sim(NEAR), sim(FAR), fuse_marks, sink)
    with pytest.raises(type(error)):
        pipeline.run()
    summary = pipeline.summary()
    assert_adds_up(summary)
    assert summary["written"] == len(sink.pictures) == 5
    assert sink.closed == 1
    assert summary["error"] == str(error)


def test_a_fusion_that_fails_ends_the_run_and_what_was_done_is_kept(fuse_marks):
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


def test_a_fusion_that_returns_no_picture_is_refused():
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


def test_stopping_fuses_what_waits(fuse_marks, recorder, numbered_picture):
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


def test_stopping_twice_gives_up_what_waits(fuse_marks):
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


def test_a_slow_reader_of_results_never_holds_up_the_cameras(fuse_marks):
    pipeline = Pipeline(
        sim(NEAR), sim(FAR), fuse_marks, on_frame=lambda item: time.sleep(0.1), options=PipelineOptions(seconds=1.0)
    )
    summary = pipeline.run()
    assert min(summary["frames_in"]) > 3 * summary["written"]
    assert summary["written"] <= 15
    assert summary["dropped"] > 0
    assert_adds_up(summary)


def test_late_pairs_are_counted(fuse_marks):
    def slow(near, far):
        time.sleep(0.05)
        return fuse_marks(near, far)

    options = PipelineOptions(frames=5, late_after=0.02)
    assert Pipeline(sim(NEAR), sim(FAR), slow, options=options).run()["late"] == 5


def test_the_map_goes_along(fuse_marks):
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


def test_an_idle_run_ends_when_told(fuse_marks, tmp_path):
    (tmp_path / "near").mkdir()
    (tmp_path / "far").mkdir()
    sources = [source_from_text(str(tmp_path / side), number) for number, side in enumerate(("near", "far"))]
    pipeline = Pipeline(*sources, fuse_marks, options=PipelineOptions(idle=0.3))
    summary = pipeline.run()
    assert summary["fused"] == 0
    assert "--idle" in pipeline.events[-1].text


def test_folders_are_paired_by_number_as_files_appear(fuse_marks, recorder, numbered_picture, tmp_path):
    folders = [tmp_path / "near", tmp_path / "far"]
    for folder in folders:
        folder.mkdir()

    def appear(side, numbers):
        for number in numbers:
            hidden = folders[side] / f".{number}.part"
            hidden.write_bytes(cv2.imencode(".png", numbered_picture(number, side))[1].tobytes())
            hidden.rename(folders[side] / f"frame_{number:06d}.png")

    appear(NEAR, range(5))
    sources = [source_from_text(str(folder), side) for side, folder in enumerate(folders)]
    pipeline = Pipeline(*sources, fuse_marks, on_frame=recorder, options=PipelineOptions(idle=0.8))
    pipeline.start()
    appear(FAR, (0, 1, 3, 4))
    appear(NEAR, (5, 6))
    appear(FAR, (5, 6))
    assert pipeline.wait(30)
    recorder.assert_none_mixed()
    assert [indices for _, indices, _ in recorder.items] == [(n, n) for n in (0, 1, 3, 4, 5, 6)]
    summary = pipeline.summary()
    assert_adds_up(summary)
    assert summary["unmatched_by_side"] == [1, 0]


@pytest.mark.parametrize("by", ["order", "sharpness"])
def test_one_camera_that_alternates(fuse_marks, by):
    camera = SimSource(None, NEAR, SimSettings(size=(240, 320), rate=60, alternate=True, drop=0.1, speed=2))
    options = PipelineOptions(seconds=1.5, alternate_by=by, max_skew=1.5 / 60)
    pairs = []
    pipeline = Pipeline(camera, None, fuse_marks, on_frame=lambda item: pairs.append(item.pair), options=options)
    summary = pipeline.run()
    assert_adds_up(summary)
    assert len(pairs) > 5
    first = pairs[0].near.index % 2  # the camera's first frame is the near one, whichever of its settings that was
    for pair in pairs:
        assert (pair.near.index % 2, pair.far.index) == (first, pair.near.index + 1)
        assert read_number(pair.near.array, first) == pair.near.index
        assert read_number(pair.far.array, 1 - first) == pair.far.index


class Camera:
    """An HTTP camera that can be killed and started again on the same port."""

    def __init__(self, numbered_picture, side):
        self.side = side
        self.picture = numbered_picture
        self.port = 0
        self.server = None

    def start(self):
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                mine = camera.server
                while camera.server is mine:
                    # Both cameras show the number of the same clock.
                    picture = camera.picture(int(time.monotonic() * 25) % 2**32, camera.side)
                    data = cv2.imencode(".jpg", picture)[1].tobytes()
                    try:
                        self.wfile.write(b"--frame\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(data), data))
                    except OSError:
                        return
                    time.sleep(0.04 - time.monotonic() % 0.04)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{self.port}/"

    def kill(self):
        server, self.server = self.server, None
        server.shutdown()
        server.server_close()


@contextmanager
def cameras(numbered_picture):
    pair = [Camera(numbered_picture, side) for side in (NEAR, FAR)]
    yield pair
    for camera in pair:
        if camera.server is not None:
            camera.kill()


def test_a_network_camera_is_killed_and_restarted_in_the_middle(fuse_marks, numbered_picture, numbers_in):
    with cameras(numbered_picture) as (near, far):
        sources = [source_from_text(camera.start(), side) for side, camera in enumerate((near, far))]
        items = queue.Queue()
        pipeline = Pipeline(
            *sources,
            fuse_marks,
            on_frame=items.put,
            options=PipelineOptions(max_skew=0.018, retry=RetryPolicy(first=0.05, longest=0.1)),
        )
        pipeline.start()
        for _ in range(10):
            items.get(timeout=30)
        near.kill()
        deadline = time.monotonic() + 10
        while "lost" not in kinds(pipeline) and time.monotonic() < deadline:
            time.sleep(0.02)
        near.start()
        while "back" not in kinds(pipeline) and time.monotonic() < deadline:
            time.sleep(0.02)
        while not items.empty():
            items.get()
        after = [items.get(timeout=30) for _ in range(10)]
        pipeline.stop()
        assert pipeline.wait(30)
    summary = pipeline.summary()
    assert_adds_up(summary)
    assert summary["reconnects"] == [1, 0]
    assert kinds(pipeline, "far") == []
    for item in after:
        numbers = numbers_in(item.fused)
        assert abs(numbers[NEAR] - numbers[FAR]) <= 1


def test_two_videos_of_different_rates_and_a_start_offset(fuse_marks, recorder, numbered_picture, tmp_path):
    rates, paths = (30.0, 24.0), [tmp_path / "near.avi", tmp_path / "far.avi"]
    for side, (rate, path) in enumerate(zip(rates, paths, strict=True)):
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), rate, SMALL[::-1])
        for number in range(round(rate * 3)):
            writer.write(numbered_picture(number, side))
        writer.release()
    offset, skew = 0.71, 0.012
    sources = [source_from_text(str(path), side) for side, path in enumerate(paths)]
    options = PipelineOptions(max_skew=skew, far_offset=offset)
    pipeline = Pipeline(*sources, fuse_marks, on_frame=recorder, options=options)
    summary = pipeline.run()
    assert_adds_up(summary)
    times = [[number / 30 for number in range(90)], [offset + number / 24 for number in range(72)]]
    expected = {}
    for far, moment in enumerate(times[FAR]):
        near = min(range(90), key=lambda number: abs(times[NEAR][number] - moment))
        if abs(times[NEAR][near] - moment) <= skew:
            expected[near] = far
    assert [numbers for numbers, _, _ in recorder.items] == sorted(expected.items())
    assert len(expected) > 30


def test_a_video_is_written_while_others_wait(fuse_marks, numbers_in, pictures_of, tmp_path):
    path = tmp_path / "out.mkv"
    pipeline = Pipeline(sim(NEAR), sim(FAR), fuse_marks, MatroskaSink(path), options=PipelineOptions(frames=50, max_skew=0.004))
    summary = pipeline.run()
    numbers = [numbers_in(picture) for picture in pictures_of(path)]
    assert len(numbers) == 50
    assert all(near == far for near, far in numbers)
    assert summary["outputs"] == [str(path)]


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"queue": 0}, "--queue 0"),
        ({"frames": 0}, "--frames 0"),
        ({"max_skew": -1}, "--max-skew -1"),
        ({"seconds": float("nan")}, "--seconds nan"),
        ({"when_late": "never"}, "--when-late never"),
        ({"pair_by": "colour"}, "--pair-by colour"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, part):
    with pytest.raises(InputError, match=part):
        PipelineOptions(**options)


def test_pairing_by_number_needs_numbers(fuse_marks):
    with pytest.raises(InputError, match="two folders"):
        Pipeline(sim(NEAR), sim(FAR), fuse_marks, options=PipelineOptions(pair_by="number"))
