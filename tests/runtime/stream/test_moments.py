"""Time is not to be trusted: clocks that are set, stamps that leap, files from the future."""

import os
import socket
import time
from random import Random

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ufafuse.runtime.stream.messages import FAR, NEAR, Frame, FusedPair, Pair
from ufafuse.runtime.stream.moments import Moments, Timeline
from ufafuse.runtime.stream.options import PipelineOptions
from ufafuse.runtime.stream.pairing import NearestPairing
from ufafuse.runtime.stream.pipeline import Pipeline
from ufafuse.runtime.stream.reader import RetryPolicy
from ufafuse.runtime.stream.sinks import FolderSink, MatroskaSink
from ufafuse.runtime.stream.sources import BrokenFrame, FolderSource, IterableSource, PushSource, Source, folder

PICTURE = np.zeros((32, 48, 3), np.uint8)
WRONG = [1e6, -1e6, 1e300, 4000.0]


def frames_of(stamps, arrivals=None):
    arrivals = arrivals or [number / 30 for number in range(len(stamps))]
    return [
        Frame(PICTURE, number, stamp, arrived) for number, (stamp, arrived) in enumerate(zip(stamps, arrivals, strict=True))
    ]


class TestMoments:
    @pytest.mark.parametrize("wrong", [1e6, 1e300, 4000.0, -1e6])
    def test_one_wrong_stamp_costs_one_frame(self, wrong):
        stamps = [number / 30 for number in range(100)]
        stamps[40] += wrong
        moments = Moments()
        assert [frame.index for frame in frames_of(stamps) if moments.fault_of(frame)] == [40]

    @pytest.mark.parametrize("by", [1e6, -1e6])
    def test_a_clock_that_was_set_is_followed_after_three(self, by):
        stamps = [number / 30 + by * (number >= 40) for number in range(100)]
        moments = Moments()
        assert [frame.index for frame in frames_of(stamps) if moments.fault_of(frame)] == [40, 41]

    def test_a_clock_that_was_set_back_is_followed_at_once(self):
        stamps = [1e6 + number / 30 - 600 * (number >= 40) for number in range(100)]
        moments = Moments()
        assert not any(map(moments.fault_of, frames_of(stamps)))

    def test_a_pause_and_a_burst_are_no_leap(self):
        stamps = [number / 30 + 7200 * (number >= 10) for number in range(30)]
        moments = Moments()
        assert not any(map(moments.fault_of, frames_of(stamps, stamps)))
        burst = [20.0 if number > 5 else number / 30 for number in range(600)]
        moments = Moments()
        assert not any(map(moments.fault_of, frames_of([number / 30 for number in range(600)], burst)))


class TestTimeline:
    @pytest.mark.parametrize("wrong", WRONG)
    def test_one_wrong_stamp_does_not_ruin_the_rest(self, wrong):
        stamps = [number / 30 for number in range(100)]
        stamps[40] += wrong
        timeline = Timeline()
        times = [timeline.advance(frame) for frame in frames_of(stamps)]
        assert times == pytest.approx([number / 30 for number in range(100)], abs=0.05)

    @pytest.mark.parametrize("set_by", [-60, -3600, 86400 * 365 * 50])
    def test_a_clock_that_was_set_does_not_either(self, set_by):
        stamps = [1e9 + number / 30 + set_by * (number >= 40) for number in range(100)]
        timeline = Timeline()
        times = [timeline.advance(frame) for frame in frames_of(stamps)]
        assert times == pytest.approx([number / 30 for number in range(100)], abs=0.05)

    def test_a_pause_that_was_one_stays(self):
        stamps = [0.0, 0.04, 40_000.0, 40_000.04]
        timeline = Timeline()
        assert [timeline.advance(frame) for frame in frames_of(stamps, stamps)] == pytest.approx(stamps)

    def test_a_recording_read_fast_keeps_its_pauses(self):
        stamps = [0.0, 0.04, 600.0, 600.04]
        timeline = Timeline()
        assert [timeline.advance(frame) for frame in frames_of(stamps, [0.0, 0.001, 0.002, 0.003])] == pytest.approx(stamps)

    @given(st.lists(st.floats(-1e9, 1e9, allow_nan=False), min_size=1, max_size=50))
    def test_it_never_goes_back(self, stamps):
        timeline = Timeline()
        times = [timeline.advance(frame) for frame in frames_of(stamps)]
        assert times == sorted(times)
        assert times[-1] <= 3601 * len(times)


class TestSegments:
    def written(self, tmp_path, stamps, segment):
        sink = MatroskaSink(tmp_path / "x.mkv", segment=segment)
        for frame in frames_of(stamps):
            sink.write(FusedPair(Pair(frame, frame), PICTURE, None, frame.index, 0.0))
        sink.close()
        return sink.outputs

    @pytest.mark.parametrize("set_by", [-60, 0, 1e6])
    def test_a_clock_that_was_set_does_not_stop_them(self, tmp_path, set_by):
        outputs = self.written(tmp_path, [number / 10 + set_by * (number >= 25) for number in range(100)], 2.0)
        assert len(outputs) == 5
        for path in outputs:
            video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
            assert video.get(cv2.CAP_PROP_FPS) < 15, "300 frames were squeezed to a millisecond each"
            video.release()

    def test_a_name_that_was_taken_meanwhile_does_not_end_the_run(self, tmp_path):
        (tmp_path / "x-2.mkv").write_bytes(b"another run's")
        outputs = self.written(tmp_path, [number / 10 for number in range(50)], 2.0)
        assert [path.name for path in outputs] == ["x.mkv", "x-3.mkv", "x-4.mkv"]
        assert (tmp_path / "x-2.mkv").read_bytes() == b"another run's"


@pytest.mark.parametrize(("wrong", "live"), [(1e6, False), (-1e6, False), (1e9, False), (1e6, True), (-1e6, True)])
def test_one_wrong_stamp_costs_at_most_two_frames_of_a_run(fuse_marks, recorder, numbered_picture, assert_adds_up, wrong, live):
    def camera(side):
        for number in range(100):
            if live:
                time.sleep(0.01)
            yield numbered_picture(number, side), number / 100 + wrong * (side == NEAR and number == 40)

    sources = [IterableSource(camera(side), live=live) for side in (NEAR, FAR)]
    pipeline = Pipeline(*sources, fuse_marks, on_frame=recorder, options=PipelineOptions(when_late="block", waiting=150))
    summary = pipeline.run()
    assert_adds_up(summary)
    recorder.assert_none_mixed()
    assert all(near == far for _, (near, far), _ in recorder.items)
    assert summary["fused"] >= 98, summary


def test_both_clocks_set_back_lose_a_moment_of_frames(fuse_marks, recorder, numbered_picture, assert_adds_up):
    def camera(side):
        for number in range(150):
            time.sleep(0.01)
            yield numbered_picture(number, side), 1e6 + number / 100 - 60 * (number >= 75)

    sources = [IterableSource(camera(side), live=True) for side in (NEAR, FAR)]
    pipeline = Pipeline(*sources, fuse_marks, on_frame=recorder, options=PipelineOptions(when_late="block", waiting=150))
    summary = pipeline.run()
    assert_adds_up(summary)
    assert all(near == far for _, (near, far), _ in recorder.items)
    assert summary["fused"] >= 120


class TestDefaultSkew:
    @given(
        rate=st.sampled_from([50, 60, 100, 200]), lost=st.lists(st.integers(2, 300), max_size=40), seed=st.integers(0, 2**32)
    )
    @settings(max_examples=60, deadline=None)
    def test_no_frame_goes_with_its_partners_neighbour(self, rate, lost, seed):
        """Whatever gets lost, and however late one side's thread runs, frames of one trigger go together or not at all."""
        random = Random(seed)
        missing = {(random.choice((NEAR, FAR)), number) for number in lost}
        arrivals = []
        for side in (NEAR, FAR):
            free = 0.0  # a source's frames come one after the other
            for number in range(300):
                free = max(free, number / rate + random.random() * 0.04)
                if (side, number) not in missing:
                    arrivals.append((free, side, number))
        pairing = PipelineOptions().pairing_for([PushSource(), PushSource()])
        assert isinstance(pairing, NearestPairing)
        pairs = []
        for _, side, number in sorted(arrivals):
            jitter = random.uniform(-0.1, 0.1) / rate
            pairs += pairing.add(side, Frame(PICTURE, number, number / rate + jitter, 0.0))
        assert len(pairs) > 100
        mixed = [(pair.near.index, pair.far.index) for pair in pairs if pair.near.index != pair.far.index]
        assert not mixed

    def test_free_running_cameras_still_pair(self):
        pairing = PipelineOptions().pairing_for([PushSource(), PushSource()])
        pairs = []
        for number in range(120):
            pairs += pairing.add(NEAR, Frame(PICTURE, number, number / 60, 0.0))
            pairs += pairing.add(FAR, Frame(PICTURE, number, (number + 0.49) / 60, 0.0))
        assert len(pairs) > 110
        assert pairing.max_skew == pytest.approx(0.7 / 60, rel=0.01)

    def test_what_was_asked_for_is_what_holds(self):
        pairing = PipelineOptions(max_skew=0.05).pairing_for([PushSource(), PushSource()])
        for number in range(100):
            pairing.add(NEAR, Frame(PICTURE, number, number / 200, 0.0))
        assert pairing.max_skew == 0.05


class TestFolders:
    def png(self, number, numbered_picture):
        return cv2.imencode(".png", numbered_picture(number, NEAR))[1].tobytes()

    @pytest.mark.parametrize("age", [-86400 * 365, -60, 0, 5, 1e9])
    def test_a_broken_file_of_any_age_blocks_its_side_for_two_seconds_at_most(
        self, tmp_path, numbered_picture, age, monkeypatch
    ):
        assert folder._WRITING <= 2
        monkeypatch.setattr(folder, "_WRITING", 0.4)
        path = tmp_path / "f1.png"
        path.write_bytes(self.png(1, numbered_picture)[:-50])
        os.utime(path, (time.time() - age,) * 2)
        (tmp_path / "f2.png").write_bytes(self.png(2, numbered_picture))
        source = FolderSource(tmp_path)
        begun = time.monotonic()
        with pytest.raises(BrokenFrame, match=r"f1\.png"):
            while time.monotonic() - begun < 6:
                assert source.read(0.1) is None
        assert time.monotonic() - begun < 1.9
        assert source.read(1).index == 2

    def test_a_slow_writer_is_waited_for_however_old_its_clock_makes_the_file(self, tmp_path, numbered_picture, monkeypatch):
        monkeypatch.setattr(folder, "_WRITING", 0.8)
        source = FolderSource(tmp_path)
        assert source.read(0) is None
        data = self.png(3, numbered_picture)
        path = tmp_path / "f3.png"
        for end in range(0, len(data), len(data) // 6 + 1):
            path.write_bytes(data[:end])
            os.utime(path, (1.0 + end, 1.0 + end))
            assert source.read(0.2) is None
        path.write_bytes(data)
        assert source.read(1).index == 3

    def test_a_file_that_is_taken_away_between_two_looks_is_no_trouble(self, tmp_path, numbered_picture, monkeypatch):
        for number in (1, 2):
            (tmp_path / f"f{number}.png").write_bytes(self.png(number, numbered_picture))
        source = FolderSource(tmp_path)
        source._look()
        (tmp_path / "f1.png").unlink()
        with pytest.raises(BrokenFrame, match="No such file"):
            source.read(0)
        assert source.read(0).index == 2

    @pytest.mark.parametrize("kind", ["pipe", "zero", "socket", "folder", "dangling"])
    def test_what_is_no_file_is_passed_over_at_once(self, tmp_path, numbered_picture, kind):
        path = tmp_path / "f1.png"
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "zero":
            path.symlink_to("/dev/zero")
        elif kind == "folder":
            path.mkdir()
        elif kind == "dangling":
            path.symlink_to(tmp_path / "nothing")
        else:
            with socket.socket(socket.AF_UNIX) as channel:
                channel.bind(str(path))
        (tmp_path / "f2.png").write_bytes(self.png(2, numbered_picture))
        source = FolderSource(tmp_path)
        begun = time.monotonic()
        with pytest.raises(BrokenFrame):
            source.read(0)
        assert source.read(0).index == 2
        assert time.monotonic() - begun < 1

    def test_a_picture_that_declares_too_much_is_not_decoded(self, tmp_path, numbered_picture):
        (tmp_path / "f1.png").write_bytes(self.png(1, numbered_picture))
        os.utime(tmp_path / "f1.png", (1, 1))
        with pytest.raises(BrokenFrame, match="declares 96 x 192 pixels"):
            FolderSource(tmp_path, most=1000).read(0)

    def test_a_number_longer_than_any_counters_is_none(self, tmp_path, numbered_picture):
        (tmp_path / ("f" + "9" * 240 + ".png")).write_bytes(self.png(1, numbered_picture))
        with pytest.raises(BrokenFrame, match="no number"):
            FolderSource(tmp_path).read(0)


def test_a_name_that_is_sent_again_ends_no_run_and_overwrites_nothing(fuse_marks, numbered_picture, kinds, tmp_path):
    folders = [tmp_path / "near", tmp_path / "far"]
    out = tmp_path / "out"

    def send(numbers, level):
        for side, path in enumerate(folders):
            path.mkdir(exist_ok=True)
            for number in numbers:
                picture = numbered_picture(number, side)
                picture[40:60] = level
                hidden = path / f".{number}.part"
                hidden.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
                hidden.rename(path / f"f{number}.png")

    def until(names):
        deadline = time.monotonic() + 20
        while {path.name for path in out.glob("[!.]*")} != names and time.monotonic() < deadline:
            time.sleep(0.05)
        assert {path.name for path in out.glob("[!.]*")} == names

    send(range(3), 0)
    pipeline = Pipeline(*map(FolderSource, folders), fuse_marks, FolderSink(out), options=PipelineOptions(idle=30))
    pipeline.start()
    first = {f"0000000{number}.png" for number in range(3)}
    until(first)
    for path in folders:
        (path / "f1.png").unlink()
    time.sleep(0.5)  # a listing without it
    send([1], 255)
    until(first | {"00000001-2.png"})
    send([3], 0)
    until(first | {"00000001-2.png", "00000003.png"})
    pipeline.stop()
    assert pipeline.wait(10)
    assert pipeline.error is None
    assert cv2.imread(str(out / "00000001.png"))[50].max() == 0
    assert cv2.imread(str(out / "00000001-2.png"))[50].min() == 255
    assert kinds(pipeline).count("caution") == 1


def test_a_recording_that_hangs_is_told(fuse_marks, numbered_picture, kinds):
    """A disk or a mounted folder that does not answer: its thread waits in the kernel."""

    class Mounted(Source):
        live, numbered, name = False, True, "mounted"

        def open(self):
            pass

        def read(self, timeout):
            time.sleep(1.0)

    options = PipelineOptions(stall_after=0.3, seconds=1.5, retry=RetryPolicy())
    pipeline = Pipeline(Mounted(), Mounted(), fuse_marks, options=options)
    pipeline.run()
    assert "stalled" in kinds(pipeline, "near")
    assert "disk does not answer" in next(event.text for event in pipeline.events if event.kind == "stalled")
