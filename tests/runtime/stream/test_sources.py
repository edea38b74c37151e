import os
import threading
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from ufafuse.runtime.bayer import demosaiced
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pfnc import BrokenBuffer
from ufafuse.runtime.stream.drawn_numbers import read_number
from ufafuse.runtime.stream.messages import FAR, NEAR
from ufafuse.runtime.stream.sources import (
    BrokenFrame,
    DeviceSource,
    EndOfSource,
    FolderSource,
    HttpSource,
    IterableSource,
    PacedSource,
    PushSource,
    SimSettings,
    SimSource,
    SourceLost,
    UrlSource,
    VideoFileSource,
    opencv,
    source_from_text,
)
from ufafuse.runtime.stream.sources.secrets import without_password


def read_all(source, timeout=0.2):
    frames = []
    while True:
        try:
            frame = source.read(timeout)
        except EndOfSource:
            return frames
        if frame is not None:
            frames.append(frame)


def write_video(path, numbers, numbered_picture, *, rate=30.0, side=NEAR):
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), rate, (192, 96))
    for number in numbers:
        writer.write(numbered_picture(number, side))
    writer.release()


class TestText:
    @pytest.mark.parametrize(
        ("text", "kind"),
        [
            ("0", DeviceSource),
            ("/dev/video3?size=480x640&rate=30&fourcc=MJPG", DeviceSource),
            ("http://camera/stream", HttpSource),
            ("rtsp://user:secret@camera/stream", UrlSource),
            ("sim:", SimSource),
            ("sim:?rate=10&size=96x192", SimSource),
        ],
    )
    def test_each_kind_is_known(self, text, kind):
        assert isinstance(source_from_text(text, NEAR), kind)

    def test_files_folders_and_patterns(self, tmp_path):
        (tmp_path / "video.mkv").touch()
        assert isinstance(source_from_text(str(tmp_path / "video.mkv"), NEAR), VideoFileSource)
        assert isinstance(source_from_text(str(tmp_path), NEAR), FolderSource)
        assert isinstance(source_from_text(str(tmp_path / "*_A.png"), NEAR), FolderSource)

    @pytest.mark.parametrize(
        ("text", "part"),
        [
            ("missing.mp4", "no file, folder, camera or URL"),
            ("ftp://camera/x", "scheme ftp"),
            ("sim:missing.png", "does not exist"),
            ("sim:?rate=fast", "rate=fast"),
            ("sim:?rate=-1", "rate=-1"),
            ("sim:?drop=2", "from 0 to 1"),
            ("sim:?size=480", "height x width in pixels"),
            ("sim:?stall=10", "START:LENGTH"),
            ("sim:?resize=2:big", "height x width"),
            ("sim:?speed=1.5", "whole number"),
            ("sim:?focus=both", "fixed, alternate"),
            ("sim:?colour=red", "known here are: rate"),
            ("sim:?rate=1&rate=2", "twice"),
            ("0?fourcc=MJPEG", "four letters"),
            ("0?zoom=2", "known here are: size"),
        ],
    )
    def test_bad_text_is_one_clear_sentence(self, text, part):
        with pytest.raises(InputError, match=part) as caught:
            source_from_text(text, FAR)
        assert "\n" not in str(caught.value)

    def test_passwords_stay_out_of_reports(self):
        assert without_password("rtsp://user:p@ss@camera:554/x") == "rtsp://user@camera:554/x"
        assert source_from_text("http://user:secret@camera/", NEAR).name == "http://user@camera/"
        assert without_password("http://camera/a@b") == "http://camera/a@b"
        assert without_password("http://camera:80/a@b") == "http://camera:80/a@b"

    @pytest.mark.parametrize(
        "given",
        [
            "rtsp://user:{}@camera/1",
            "rtsp://:{}@camera/1",
            "rtsp://user:a/{}@camera/1",
            "rtsp://user:x@{}@camera:554/1",
            "rtsp://camera/1?user=admin&password={}&channel=1",
            "http://camera/mjpg?Token={}",
            "http://user@camera/;pwd={}#x",
            "rtspx://user:{}@camera/1",
            "gst:rtspsrc location=rtsp://user:{}@camera/1 latency=0 ! decodebin",
            'gst:rtspsrc location="rtsp://camera/1?api_key={}" user-id=user user-pw="{}" ! decodebin',
            "gst:rtspsrc user-pw={} proxy-pw={} ! nothing",
        ],
    )
    def test_no_password_is_told_wherever_it_stands(self, given):
        text = given.replace("{}", "hidden")
        shown = without_password(text)
        assert "hidden" not in shown
        assert "camera" in shown or "nothing" in shown
        try:
            told = source_from_text(text, NEAR).name
        except InputError as error:
            told = str(error)
        assert "hidden" not in told


class TestSim:
    @pytest.mark.parametrize(("focus", "expected"), [("alternate", "01201201"), ("back", "01210121")])
    def test_the_focus_of_one_camera_jumps_back_or_goes_back(self, focus, expected):
        camera = source_from_text(f"sim:?focus={focus}&planes=3&settle=1&size=96x192&defocus=12&speed=0", NEAR)
        settled = [camera.picture_of(number) for number in range(1, 16, 2)]
        first = [settled[expected.index(plane)][30:60] for plane in "012"]
        shown = "".join(str(next(at for at, it in enumerate(first) if np.array_equal(it, of[30:60]))) for of in settled)
        assert shown == expected
        moving = camera.picture_of(8)  # from setting 1 or 0, whichever came before, to the one after
        assert not any(np.array_equal(moving[30:60], it) for it in first)

    def test_both_sides_show_the_same_line_at_different_focus(self):
        settings = SimSettings(size=(240, 320))
        near, far = (SimSource(None, side, settings).picture_of(7) for side in (NEAR, FAR))
        assert (read_number(near, NEAR), read_number(far, FAR)) == (7, 7)
        assert near.shape == far.shape == (240, 320, 3)
        sharpness = [np.abs(cv2.Laplacian(picture[40:200], cv2.CV_32F)).mean(axis=(0, 2)) for picture in (near, far)]
        wins = sharpness[NEAR] > sharpness[FAR]
        assert 0.25 < wins.mean() < 0.75

    def test_frames_come_at_their_rate_with_their_faults(self):
        source = SimSource(None, NEAR, SimSettings(rate=100, size=(96, 192), drop=0.2, broken=0.1, count=60))
        source.begin(time.monotonic())
        source.open()
        broken = []

        def read(timeout):
            try:
                return source_read(timeout)
            except BrokenFrame as damage:
                broken.append(str(damage))
                return None

        source_read, source.read = source.read, read
        frames = read_all(source, timeout=0.5)
        assert 1 < len(frames) <= 55
        assert all(read_number(frame.array, NEAR) == frame.index for frame in frames)
        assert all(frame.timestamp <= frame.arrived for frame in frames)
        assert frames[-1].timestamp - frames[0].timestamp == pytest.approx((frames[-1].index - frames[0].index) / 100)

    def test_a_loss_ends_the_reading_and_refuses_to_open(self):
        source = SimSource(None, NEAR, SimSettings(rate=50, size=(96, 192), lost=[(0.1, 0.3)]))
        source.begin(time.monotonic())
        source.open()
        with pytest.raises(SourceLost, match="went away"):
            read_all(source)
        with pytest.raises(SourceLost, match="is away"):
            source.open()
        time.sleep(0.35)
        source.open()
        assert source.read(0.5).index >= 18

    def test_the_size_changes_when_told(self):
        source = SimSource(None, NEAR, SimSettings(rate=10, size=(96, 192), resize=[(1.0, (120, 240))]))
        assert source.picture_of(9).shape == (96, 192, 3)
        assert source.picture_of(10).shape == (120, 240, 3)

    def test_too_small_a_size_is_refused(self):
        with pytest.raises(InputError, match="too small"):
            source_from_text("sim:?size=20x20", NEAR)

    def test_a_grey_sixteen_bit_picture_will_do(self, tmp_path):
        path = tmp_path / "picture.png"
        cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 65536, (100, 200), np.uint16))
        assert source_from_text(f"sim:{path}?size=96x192", NEAR).picture_of(0).dtype == np.uint8


class TestVideoFile:
    def test_every_frame_comes_with_its_time(self, tmp_path, numbered_picture):
        write_video(tmp_path / "near.avi", range(20), numbered_picture, rate=20.0)
        source = VideoFileSource(tmp_path / "near.avi")
        source.open()
        frames = read_all(source)
        assert [read_number(frame.array, NEAR) for frame in frames] == list(range(20))
        assert [frame.timestamp for frame in frames] == pytest.approx([number / 20 for number in range(20)], abs=1e-3)
        source.close()

    def test_no_video_is_refused(self, tmp_path):
        (tmp_path / "text.mp4").write_text("no video")
        with pytest.raises(InputError, match="cannot be read as a video"):
            VideoFileSource(tmp_path / "text.mp4").open()

    def test_at_its_own_speed(self, tmp_path, numbered_picture):
        write_video(tmp_path / "near.avi", range(6), numbered_picture, rate=20.0)
        source = PacedSource(VideoFileSource(tmp_path / "near.avi"))
        source.open()
        epoch = time.monotonic()
        source.begin(epoch)
        frames = read_all(source, timeout=0.02)
        assert [frame.index for frame in frames] == list(range(6))
        assert all(frame.arrived >= epoch + frame.index / 20 - 1e-3 for frame in frames)
        assert frames[-1].timestamp == pytest.approx(epoch + 0.25, abs=0.01)
        source.close()


class TestFolder:
    def test_what_is_there_and_what_appears_in_the_order_of_numbers(self, tmp_path, numbered_picture):
        for number in (10, 9, 2):
            cv2.imwrite(str(tmp_path / f"f{number}.png"), numbered_picture(number, NEAR))
        source = FolderSource(tmp_path)
        source.open()
        assert [source.read(0).index for _ in range(3)] == [2, 9, 10]
        assert source.read(0) is None
        cv2.imwrite(str(tmp_path / "f11.png"), numbered_picture(11, NEAR))
        frame = source.read(0)
        assert (frame.index, read_number(frame.array, NEAR)) == (11, 11)

    def test_a_pattern_takes_one_side_of_a_folder_of_pairs(self, tmp_path, numbered_picture):
        for side, letter in enumerate("AB"):
            cv2.imwrite(str(tmp_path / f"part-07_{letter}.png"), numbered_picture(7, side))
        source = source_from_text(str(tmp_path / "*_B.png"), FAR)
        source.open()
        assert read_number(source.read(0).array, FAR) == 7
        assert source.read(0) is None

    @pytest.mark.parametrize("suffix", [".png", ".jpg"])
    def test_a_half_written_file_is_waited_for(self, tmp_path, numbered_picture, suffix):
        data = cv2.imencode(suffix, numbered_picture(3, NEAR))[1].tobytes()
        path = tmp_path / f"f3{suffix}"
        path.write_bytes(data[: len(data) // 2])
        source = FolderSource(tmp_path)
        assert source.read(0) is None
        path.write_bytes(data)
        assert read_number(source.read(0).array, NEAR) == 3

    def test_a_file_that_stays_broken_is_reported(self, tmp_path, monkeypatch):
        monkeypatch.setattr("ufafuse.runtime.stream.sources.folder._WRITING", 0.0)
        (tmp_path / "f1.png").write_bytes(b"rubbish")
        with pytest.raises(BrokenFrame, match=r"f1\.png"):
            FolderSource(tmp_path).read(0)

    def test_a_file_without_a_number_is_reported(self, tmp_path, numbered_picture):
        cv2.imwrite(str(tmp_path / "board.png"), numbered_picture(1, NEAR))
        source = FolderSource(tmp_path)
        with pytest.raises(BrokenFrame, match="no number"):
            source.read(0)
        assert source.read(0) is None

    def test_names_that_are_gone_are_forgotten(self, tmp_path, numbered_picture):
        source = FolderSource(tmp_path)
        for number in range(20):
            path = tmp_path / f"f{number}.png"
            cv2.imwrite(str(path), numbered_picture(number, NEAR))
            assert source.read(0).index == number
            path.unlink()
            source.read(0)
        assert len(source._seen) == 0

    def test_a_folder_at_rest_is_not_listed_again_and_again(self, tmp_path, numbered_picture, monkeypatch):
        os.utime(tmp_path, (0, time.time() - 10))
        source = FolderSource(tmp_path)
        listings = []
        listed = os.listdir
        monkeypatch.setattr(os, "listdir", lambda path: listings.append(path) or listed(path))
        for _ in range(5):
            assert source.read(0) is None
        assert len(listings) == 1
        cv2.imwrite(str(tmp_path / "f1.png"), numbered_picture(1, NEAR))
        assert source.read(0).index == 1

    def test_a_folder_that_vanishes_may_come_back(self, tmp_path, numbered_picture):
        folder = tmp_path / "in"
        source = FolderSource(folder)
        with pytest.raises(InputError, match="mkdir"):
            source.open()
        assert source.read(0) is None
        folder.mkdir()
        cv2.imwrite(str(folder / "f1.png"), numbered_picture(1, NEAR))
        assert source.read(0).index == 1


class FakeCapture:
    """The part of cv2.VideoCapture that a camera needs."""

    size = (480, 640)
    fails_after = 3

    def __init__(self, *arguments):
        self.arguments = arguments
        self.asked = {}
        self.reads = 0

    def isOpened(self):
        return self.arguments[0] != "/dev/video9"

    def set(self, key, value):
        self.asked[key] = value

    def get(self, key):
        if key == cv2.CAP_PROP_POS_MSEC:
            return (time.monotonic() - 0.04) * 1000
        return {cv2.CAP_PROP_FRAME_HEIGHT: self.size[0], cv2.CAP_PROP_FRAME_WIDTH: self.size[1]}[key]

    def read(self):
        self.reads += 1
        if self.reads > self.fails_after:
            return False, None
        return True, np.full((*self.size, 3), self.reads, np.uint8)

    def release(self):
        pass


class TestDevice:
    @pytest.fixture(autouse=True)
    def _fake(self, monkeypatch):
        monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)

    def test_frames_have_the_drivers_time_and_a_lost_camera_is_noticed(self):
        source = source_from_text("0?size=480x640&rate=30&fourcc=MJPG", NEAR)
        source.open()
        frame = source.read(0.1)
        assert frame.arrived - frame.timestamp == pytest.approx(0.04, abs=0.01)
        assert source._capture.asked[cv2.CAP_PROP_FPS] == 30
        source.read(0.1)
        source.read(0.1)
        with pytest.raises(SourceLost, match="/dev/video0 gives no picture"):
            source.read(0.1)
        source.close()
        source.open()
        assert source.read(0.1).index == 3, "the count goes on"

    @pytest.mark.parametrize(("fourcc", "bits"), [("Y10", 10), ("Y12", 12), ("RG12", 12), ("pRAA", 10), ("GREY", 8)])
    def test_raw_formats_come_with_all_their_bits(self, monkeypatch, fourcc, bits):
        """As OpenCV gives a driver's own bytes: words for Y10 and Y12, a row of bytes (padded lines and all) for what it
        does not know."""
        levels = np.random.default_rng(5).integers(0, 1 << bits, (6, 8)).astype(np.uint16)
        given = {"Y10": levels, "Y12": levels, "GREY": levels.astype(np.uint8)}.get(fourcc)
        if fourcc == "RG12":
            given = levels.view(np.uint8).reshape(1, -1)
        if fourcc == "pRAA":
            high, low = (levels >> 2).astype(np.uint8).reshape(6, 2, 4), (levels & 3).reshape(6, 2, 4)
            last = (low << np.array([0, 2, 4, 6])).sum(axis=2).astype(np.uint8)
            lines = np.dstack([high, last]).reshape(6, 10)
            given = np.hstack([lines, np.full((6, 22), 77, np.uint8)]).reshape(1, -1)
        code = cv2.VideoWriter.fourcc(*fourcc.ljust(4))
        known = {cv2.CAP_PROP_FRAME_HEIGHT: 6, cv2.CAP_PROP_FRAME_WIDTH: 8, cv2.CAP_PROP_FOURCC: code}
        monkeypatch.setattr(FakeCapture, "get", lambda self, key: known.get(key, 0))
        monkeypatch.setattr(FakeCapture, "read", lambda self: (True, given))
        source = source_from_text(f"0?fourcc={fourcc}", NEAR)
        source.open()
        assert source._capture.asked[cv2.CAP_PROP_CONVERT_RGB] == 0
        picture = source.read(0.1).array
        if fourcc in ("RG12", "pRAA"):
            np.testing.assert_array_equal(picture, demosaiced(levels, "rggb", white=(1 << bits) - 1))
        else:
            np.testing.assert_array_equal(picture, levels)
        given = given.reshape(-1)[:-3]
        with pytest.raises(BrokenBuffer):
            source.read(0.1)
        known[cv2.CAP_PROP_FOURCC] = 0
        with pytest.raises(InputError, match=f"does not offer {fourcc}: list its formats"):
            source.open()

    def test_an_implausible_driver_clock_is_not_used(self, monkeypatch):
        monkeypatch.setattr(FakeCapture, "get", lambda self, key: 12345.0)
        source = DeviceSource(0)
        source.open()
        frame = source.read(0.1)
        assert frame.timestamp == frame.arrived

    def test_what_piled_up_before_the_run_is_passed_over(self, monkeypatch):
        monkeypatch.setattr(FakeCapture, "fails_after", 16)
        moments = iter([number / 10 for number in range(16)])
        positions = {cv2.CAP_PROP_POS_MSEC: lambda: 1000 * next(moments)}
        monkeypatch.setattr(FakeCapture, "get", lambda self, key: positions.get(key, lambda: 480)())
        arrivals = [*(3 + number / 100 for number in range(4)), *(3.03 + number / 10 for number in range(1, 13))]
        clock = iter([0.0, *(arrival for arrival in arrivals for _ in ("asked", "came"))])
        monkeypatch.setattr(opencv, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        source = UrlSource("rtsp://camera/live")
        source.open()
        assert source.size == (480, 480)
        frames = [source.read(1) for _ in range(16)]
        new = [number for number, frame in enumerate(frames) if frame is not None]
        assert new == list(range(new[0], 16))
        assert 4 <= new[0] <= 12
        assert [frame.timestamp for frame in frames[new[0] :]] == pytest.approx([2.73 + number / 10 for number in new])

    def test_a_camera_that_does_not_open_is_away(self):
        with pytest.raises(SourceLost, match="video9 does not open"):
            DeviceSource("/dev/video9").open()

    def test_another_size_than_asked_for_is_no_silent_matter(self):
        with pytest.raises(InputError, match="asked for 1080x1920 and offers 480x640"):
            DeviceSource(0, size=(1080, 1920)).open()


class TestOwnSources:
    def test_pushed_frames_are_copies_with_times(self):
        source = PushSource(size=2)
        picture = np.zeros((4, 4), np.uint8)
        source.push(picture, 1.5, index=40)
        picture[:] = 9
        source.push(picture, copy=False)
        first, second = source.read(0), source.read(0)
        assert (first.timestamp, first.index, first.array.max()) == (1.5, 40, 0)
        assert second.array is picture
        assert second.index == 1
        assert source.read(0) is None

    def test_pushing_never_waits_and_says_what_it_lost(self):
        source = PushSource(size=2)
        for number in range(5):
            source.push(np.zeros((2, 2), np.uint8), float(number))
        assert source.overrun == 3
        assert source.read(0).timestamp == 3.0
        source.end()
        assert source.read(0).timestamp == 4.0
        with pytest.raises(EndOfSource):
            source.read(0)

    def test_a_reader_is_woken_by_a_push(self):
        source = PushSource()
        threading.Timer(0.05, source.push, (np.zeros((2, 2), np.uint8),)).start()
        assert source.read(5) is not None

    def test_a_generator_is_a_source(self):
        pictures = [np.zeros((2, 2), np.uint8)] * 2
        timed = IterableSource([(pictures[0], 0.5), (pictures[1], 0.7)])
        assert [frame.timestamp for frame in read_all(timed)] == [0.5, 0.7]
        assert [frame.timestamp for frame in read_all(IterableSource(pictures, interval=0.1))] == [0.0, 0.1]
        live = read_all(IterableSource(pictures, live=True))
        assert all(frame.timestamp == frame.arrived for frame in live)
