"""Folders, one camera, network cameras and videos through the pipeline, with a copy in the network's place."""

import queue
import threading
import time
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import pytest

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.images import write_image
from ufafuse.runtime.pictures.metadata import Metadata
from ufafuse.runtime.stream.drawn_numbers import read_number
from ufafuse.runtime.stream.messages import FAR, NEAR
from ufafuse.runtime.stream.options import PipelineOptions
from ufafuse.runtime.stream.pipeline import Pipeline
from ufafuse.runtime.stream.reader import RetryPolicy
from ufafuse.runtime.stream.sinks import MatroskaSink, sink_from_text
from ufafuse.runtime.stream.sources import IterableSource, SimSettings, SimSource, VideoFileSource, source_from_text

SMALL = (96, 192)


def test_an_idle_run_ends_when_told(fuse_marks, tmp_path):
    (tmp_path / "near").mkdir()
    (tmp_path / "far").mkdir()
    sources = [source_from_text(str(tmp_path / side), number) for number, side in enumerate(("near", "far"))]
    pipeline = Pipeline(*sources, fuse_marks, options=PipelineOptions(idle=0.3))
    summary = pipeline.run()
    assert summary["fused"] == 0
    assert "(`idle`)" in pipeline.events[-1].text


STAMPS = {NEAR: "cam_20260101_12000{}_100", FAR: "cam_20260101_12000{}_105"}


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ({NEAR: "{}", FAR: "{}"}, {}),
        (STAMPS, {}),
        (STAMPS, {"max_skew": 0.1, "far_offset": 0.02, "pair_by": "time"}),
        (None, {}),
        (None, {"alternate_by": "sharpness"}),
        (None, {"alternate_by": "number"}),
        (None, {"planes": 3}),
        (None, {"settle": 1, "planes": 3}),
    ],
)
def test_what_lies_in_a_folder_does_not_wait_for_what_may_come(tmp_path, numbered_picture, names, options):
    planes = options.get("planes", 2) * (1 + options.get("settle", 0))
    written = [(side, name.format(number)) for number in range(3) for side, name in (names or {}).items()]
    written = written or [(NEAR, f"{number:02d}") for number in range(3 * planes)]
    for number, (side, name) in enumerate(written):
        (tmp_path / str(side)).mkdir(exist_ok=True)
        picture = numbered_picture(len(written), side)
        blurred = picture[:, (number % 2) * 96 :][:, :96]
        blurred[:] = cv2.blur(blurred, (9, 9))
        cv2.imwrite(str(tmp_path / str(side) / f"{name}.png"), picture)
    sources = [source_from_text(str(folder), number) for number, folder in enumerate(sorted(tmp_path.iterdir()))]
    pipeline = Pipeline(
        *(sources if names else (sources[0], None)), lambda *frames: frames[0], options=PipelineOptions(frames=3, **options)
    )
    run = threading.Thread(target=pipeline.run, daemon=True)
    run.start()
    run.join(20)
    waits = run.is_alive()
    pipeline.stop()
    run.join(20)
    assert not waits
    assert pipeline.summary()["fused"] == 3


def test_a_run_is_not_idle_while_it_fuses(fuse_marks, numbered_picture):
    def slowly(near, far):
        time.sleep(0.3)
        return fuse_marks(near, far)

    sources = [IterableSource([numbered_picture(number, side) for number in range(8)]) for side in (NEAR, FAR)]
    summary = Pipeline(*sources, slowly, options=PipelineOptions(idle=0.2, queue=1)).run()
    assert (summary["fused"], summary["frames_in"]) == (8, [8, 8])


def test_what_is_paired_by_number_has_no_use_for_times(fuse_marks, tmp_path):
    sources = [source_from_text(str(tmp_path), side) for side in (NEAR, FAR)]
    for options in (PipelineOptions(max_skew=0.1), PipelineOptions(far_offset=0.1)):
        with pytest.raises(InputError, match="is about times"):
            Pipeline(*sources, fuse_marks, options=options)
    by_time = PipelineOptions(max_skew=0.1, far_offset=0.1, pair_by="time")
    Pipeline(*sources, fuse_marks, options=by_time)


@pytest.mark.parametrize(("suffix", "part"), [(".mkv", "of the 1.6 s that it declares"), (".avi", "that it declares")])
def test_a_video_that_lost_its_end_is_told(fuse_marks, tmp_path, sim, suffix, part):
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    with closing(sink_from_text(str(whole))) as sink:
        Pipeline(sim(NEAR, rate=25, count=40, speed=1), sim(FAR, rate=25, count=40), fuse_marks, sink).run()
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    pipeline = Pipeline(VideoFileSource(whole), VideoFileSource(cut), fuse_marks)
    pipeline.run()
    ended = {event.side: event.text for event in pipeline.events if event.kind == "ended"}
    assert part in ended["far"]
    pipeline = Pipeline(VideoFileSource(whole), VideoFileSource(whole), fuse_marks)
    pipeline.run()
    assert all("has no more frames" in event.text for event in pipeline.events if event.kind == "ended")


def test_what_results_will_not_have_of_frames_is_told_once(fuse_marks, numbered_picture, tmp_path):
    folders = [tmp_path / side for side in ("near", "far")]
    for side, (folder, icc) in enumerate(zip(folders, (bytes(16) + b"RGB " + bytes(200), None), strict=True)):
        folder.mkdir()
        for number in range(4):
            write_image(folder / f"{number}.png", numbered_picture(number, side), metadata=Metadata(icc=icc))
    sources = [source_from_text(str(folder), side) for side, folder in enumerate(folders)]
    pipeline = Pipeline(*sources, fuse_marks, options=PipelineOptions(idle=0.3))
    pipeline.run()
    told = [(event.side, event.text) for event in pipeline.events if event.kind == "caution"]
    assert [side for side, _ in told] == ["near"]
    assert "the colour profile 'unnamed, 220 bytes', which results do not say" in told[0][1]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_picture_is_no_video(tmp_path, numbered_picture, suffix):
    path = tmp_path / f"1{suffix}"
    cv2.imwrite(str(path), numbered_picture(1, NEAR))
    with pytest.raises(InputError, match="is a picture, not a video: give its folder"):
        source_from_text(str(path), NEAR)


def test_bare_motion_jpeg_is_one(tmp_path, numbered_picture):
    path = tmp_path / "x.mjpeg"
    path.write_bytes(b"".join(cv2.imencode(".jpg", numbered_picture(number, NEAR))[1].tobytes() for number in range(3)))
    assert isinstance(source_from_text(str(path), NEAR), VideoFileSource)


def test_folders_are_paired_by_number_as_files_appear(fuse_marks, recorder, numbered_picture, tmp_path, assert_adds_up):
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
def test_one_camera_that_alternates(fuse_marks, by, assert_adds_up):
    camera = SimSource(None, NEAR, SimSettings(size=(240, 320), rate=40, alternate=True, drop=0.1, speed=2))
    options = PipelineOptions(seconds=20, alternate_by=by, max_skew=1.5 / 40)
    pairs = []
    pipeline = Pipeline(camera, None, fuse_marks, on_frame=lambda item: pairs.append(item.pair), options=options)
    pipeline.start()
    until = time.monotonic() + 15
    while len(pairs) < 12 and time.monotonic() < until:
        time.sleep(0.01)
    pipeline.stop()
    assert pipeline.wait(10)
    assert_adds_up(pipeline.summary())
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


def test_a_network_camera_is_killed_and_restarted(fuse_marks, numbered_picture, numbers_in, assert_adds_up, kinds):
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


def test_two_videos_of_different_rates_and_a_start_offset(fuse_marks, recorder, numbered_picture, tmp_path, assert_adds_up):
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


def test_a_video_is_written_while_others_wait(fuse_marks, numbers_in, pictures_of, tmp_path, sim):
    path = tmp_path / "out.mkv"
    pipeline = Pipeline(sim(NEAR), sim(FAR), fuse_marks, MatroskaSink(path), options=PipelineOptions(frames=50, max_skew=0.004))
    summary = pipeline.run()
    numbers = [numbers_in(picture) for picture in pictures_of(path)]
    assert len(numbers) == 50
    assert all(near == far for near, far in numbers)
    assert summary["outputs"] == [str(path)]
