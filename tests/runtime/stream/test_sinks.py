import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.images import read_image
from ufafuse.runtime.stream.drawn_numbers import read_number
from ufafuse.runtime.stream.messages import NEAR, Frame, FusedPair, Pair
from ufafuse.runtime.stream.sinks import FolderSink, HttpSink, MatroskaSink, OpenCvSink, SinkOptions, sink_from_text
from ufafuse.runtime.stream.sinks.matroska import MatroskaWriter
from ufafuse.runtime.stream.sinks.video import EightBit


@pytest.fixture
def item(numbered_picture):
    def make(number, moment=None, size=(96, 192), picture=None):
        picture = numbered_picture(number, NEAR, size) if picture is None else picture
        frame = Frame(picture, number, number / 10 if moment is None else moment, 0.0)
        return FusedPair(Pair(frame, frame), picture, None, number, 0.0)

    return make


def write_all(sink, items):
    sink.open()
    for item in items:
        sink.write(item)
    sink.close()


def times_of(path):
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    times = []
    while video.read()[0]:
        times.append(round(video.get(cv2.CAP_PROP_POS_MSEC)))
    video.release()
    return times


class TestText:
    @pytest.mark.parametrize(
        ("text", "kind"),
        [
            ("x.mkv", MatroskaSink),
            ("-", MatroskaSink),
            ("X.AVI", OpenCvSink),
            ("x.mp4", OpenCvSink),
            ("out", FolderSink),
            ("out/*.jpg", FolderSink),
            ("http://127.0.0.1:0", HttpSink),
            ("http://0.0.0.0:8090/", HttpSink),
        ],
    )
    def test_each_kind_is_known(self, text, kind):
        assert isinstance(sink_from_text(text), kind)

    def test_none_is_no_sink(self):
        assert sink_from_text("none") is None

    def test_an_existing_folder_may_have_a_dot_in_its_name(self, tmp_path):
        (tmp_path / "run.1").mkdir()
        assert isinstance(sink_from_text(str(tmp_path / "run.1")), FolderSink)

    @pytest.mark.parametrize(("text", "part"), [("x.mov", r"videos end in \.mkv"), ("http://camera", "no port or host:port")])
    def test_bad_text_is_refused(self, text, part):
        with pytest.raises(InputError, match=part):
            sink_from_text(text)

    def test_an_unknown_image_format_is_refused(self):
        with pytest.raises(OutputError, match="unknown suffix"):
            sink_from_text("out/*.gif")


class TestMatroska:
    def test_pictures_and_true_times(self, tmp_path, item, pictures_of):
        moments = [5.0, 5.1, 5.25, 9.0, 9.04, 14.5]
        path = tmp_path / "x.mkv"
        sink = MatroskaSink(path)
        write_all(sink, [item(number, moment) for number, moment in enumerate(moments)])
        assert [read_number(picture, NEAR) for picture in pictures_of(path)] == list(range(6))
        assert times_of(path) == [0, 100, 250, 4000, 4040, 9500]
        assert sink.outputs == [path]

    def test_the_file_can_be_seeked_in_and_has_a_duration(self, tmp_path, item):
        path = tmp_path / "x.mkv"
        write_all(MatroskaSink(path), [item(number) for number in range(100)])
        video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        assert video.get(cv2.CAP_PROP_FRAME_COUNT) == pytest.approx(100, abs=2)
        video.set(cv2.CAP_PROP_POS_MSEC, 7000)
        assert read_number(video.read()[1], NEAR) == pytest.approx(70, abs=1)
        video.release()

    def test_times_that_stand_still_move_on(self, tmp_path, item):
        path = tmp_path / "x.mkv"
        write_all(MatroskaSink(path), [item(number, moment) for number, moment in enumerate([1.0, 1.0, 0.5, 1.002])])
        assert times_of(path) == [0, 1, 2, 3]

    def test_an_unclosed_file_plays_all_that_was_written(self, tmp_path, item, pictures_of):
        path = tmp_path / "x.mkv"
        sink = MatroskaSink(path)
        sink.open()
        for number in range(75):
            sink.write(item(number))
            if number in (0, 30, 74):
                numbers = [read_number(picture, NEAR) for picture in pictures_of(path)]
                assert numbers == list(range(number + 1))
        sink.close()

    def test_grey_and_sixteen_bit_pictures_are_shown_in_eight_bits(self, tmp_path, item, pictures_of):
        for name, picture in {
            "grey": np.full((64, 64), 200, np.uint8),
            "sixteen": np.full((64, 64, 3), 200 << 8, np.uint16),
            "alpha": np.full((64, 64, 4), 200, np.uint8),
            "one": np.full((64, 64, 1), 200, np.uint8),
        }.items():
            path = tmp_path / f"{name}.mkv"
            write_all(MatroskaSink(path), [item(0, picture=picture)])
            assert abs(int(next(pictures_of(path))[32, 32, 0]) - 200) <= 1

    def test_a_new_size_begins_a_new_file(self, tmp_path, item, pictures_of):
        sink = MatroskaSink(tmp_path / "x.mkv")
        write_all(sink, [item(0), item(1), item(2, size=(120, 240)), item(3, size=(120, 240))])
        assert sink.outputs == [tmp_path / "x.mkv", tmp_path / "x-2.mkv"]
        assert [[read_number(picture, NEAR) for picture in pictures_of(path)] for path in sink.outputs] == [[0, 1], [2, 3]]

    def test_segments(self, tmp_path, item):
        sink = MatroskaSink(tmp_path / "x.mkv", segment=1.0)
        write_all(sink, [item(number) for number in range(25)])
        assert [path.name for path in sink.outputs] == ["x.mkv", "x-2.mkv", "x-3.mkv"]
        assert [len(times_of(path)) for path in sink.outputs] == [10, 10, 5]

    def test_the_time_may_stand_in_the_name(self, tmp_path, item):
        sink = MatroskaSink(tmp_path / "x-%Y.mkv", segment=1.0)
        write_all(sink, [item(0), item(20)])
        first, second = sink.outputs
        assert "%" not in first.name
        assert second.stem == first.stem + "-2"

    def test_an_existing_file_is_not_replaced_unless_told(self, tmp_path, item):
        path = tmp_path / "x.mkv"
        path.write_text("mine")
        with pytest.raises(OutputError, match="force=True"):
            MatroskaSink(path).open()
        assert path.read_text() == "mine"
        write_all(MatroskaSink(path, force=True), [item(0)])
        assert times_of(path) == [0]

    def test_a_missing_folder_is_named(self, tmp_path):
        with pytest.raises(OutputError, match="mkdir -p"):
            MatroskaSink(tmp_path / "no" / "x.mkv").open()

    def test_without_pictures_no_file_is_left(self, tmp_path):
        sink = MatroskaSink(tmp_path / "x.mkv")
        write_all(sink, [])
        sink.close()
        assert list(tmp_path.iterdir()) == []
        assert sink.outputs == []


class FullDisk(io.BytesIO):
    """A seekable file on a disk with room for ``room`` bytes; a write that does not fit is cut, as write(2) does."""

    def __init__(self, room):
        super().__init__()
        self.room = room

    def write(self, data):
        left = self.room - self.tell()
        if left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(bytes(data[:left]))


@pytest.mark.parametrize("room", [3000, 9999, 20000, 30001])
def test_a_full_disk_leaves_whole_pictures_only(tmp_path, numbered_picture, pictures_of, room):
    disk = FullDisk(room)
    writer = MatroskaWriter(disk, (96, 192))
    written = 0
    with pytest.raises(OSError, match="No space"):
        for number in range(100):
            writer.write(cv2.imencode(".jpg", numbered_picture(number, NEAR))[1].tobytes(), number * 40)
            written += 1
    writer.close()
    path = tmp_path / "x.mkv"
    path.write_bytes(disk.getvalue())
    assert writer.frames == written
    assert [read_number(picture, NEAR) for picture in pictures_of(path)] == list(range(written))


def test_a_disk_without_room_for_the_header_leaves_nothing(tmp_path, item, monkeypatch):
    def refuse(stream, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ufafuse.runtime.stream.sinks.video.MatroskaWriter", refuse)
    sink = MatroskaSink(tmp_path / "x.mkv")
    sink.open()
    with pytest.raises(OutputError, match="No space left"):
        sink.write(item(0))
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_go_round_for_days_cost_no_more_and_are_told_seldom(tmp_path, item, monkeypatch):
    told, asked = [], []
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: asked.append(path) or exists(path))
    sink = FolderSink(tmp_path / "out", ".jpg")
    sink.tell = told.append
    sink.open()
    for number in range(60):
        sink.write(item(number % 3))
    assert len(list((tmp_path / "out").iterdir())) == 60
    assert len(asked) < 60 * 4
    assert len(told) == 6
    assert told[-1] == "number 1 came again: its picture is 00000001-12.jpg (32 such until now)"


@pytest.mark.parametrize("text", ["run-%Y", "run-%Y/*.jpg", "run-%Y.mkv"])
def test_whatever_is_written_may_have_the_time_in_its_name(tmp_path, text):
    sink = sink_from_text(str(tmp_path / text))
    assert sink.places()[0].relative_to(tmp_path).parts[0].startswith("run-20")


@pytest.mark.parametrize("sink", [MatroskaSink, OpenCvSink], ids=lambda sink: sink.__name__)
@pytest.mark.parametrize("more", [0, 3])
def test_a_video_that_was_removed_is_told_and_another_one_is_begun(tmp_path, item, sink, more, pictures_of):
    path, told = tmp_path / ("x.mkv" if sink is MatroskaSink else "x.avi"), []
    sink = sink(path)
    sink.tell = told.append
    sink.open()
    for number in range(3):
        sink.write(item(number))
    path.unlink()
    for number in range(3, 3 + more):
        sink.write(item(number))
    sink.close()
    assert told == [f"{path} was removed while it was written: its pictures are lost"]
    assert sink.outputs == ([path] if more else [])
    assert not more or [read_number(picture, NEAR) for picture in pictures_of(path)] == [3, 4, 5]


WRITE_TO_LIMIT = """
import resource, sys
import numpy as np
from pathlib import Path
from types import SimpleNamespace
from ufafuse.runtime.errors import OutputError
from ufafuse.runtime.stream.messages import Frame, FusedPair, Pair
from ufafuse.runtime.stream.sinks import MatroskaSink
sys.dont_write_bytecode = True  # or modules that are imported from here on would be cut short too, and stay so
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
sink = MatroskaSink(Path(sys.argv[1]))
sink.open()
picture = np.random.default_rng(0).integers(0, 256, (96, 192, 3), np.uint8)
try:
    for number in range(1000):
        frame = Frame(picture, number, number / 10, 0.0)
        sink.write(FusedPair(Pair(frame, frame), picture, None, number, 0.0))
except OutputError as error:
    sink.close()
    print(number, error)
"""


def test_a_real_limit_of_the_operating_system_is_a_clear_line(tmp_path):
    path = tmp_path / "x.mkv"
    done = subprocess.run(
        [sys.executable, "-c", WRITE_TO_LIMIT, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    written, _, text = done.stdout.partition(" ")
    assert f"its {written} pictures until now are whole" in text
    assert len(times_of(path)) == int(written) > 3


class TestOpenCv:
    @pytest.mark.parametrize("suffix", [".avi", ".mp4"])
    def test_pictures_at_a_constant_rate(self, tmp_path, item, pictures_of, suffix):
        path = tmp_path / f"x{suffix}"
        write_all(OpenCvSink(path, rate=10.0), [item(number) for number in range(12)])
        assert [read_number(picture, NEAR) for picture in pictures_of(path)] == list(range(12))
        assert times_of(path) == [number * 100 for number in range(12)]

    def test_a_file_that_a_kill_destroys_says_so(self, tmp_path):
        assert "costs all of it" in OpenCvSink(tmp_path / "x.mp4").caution
        assert "costs its last 60 seconds" in OpenCvSink(tmp_path / "x.mp4", segment=60).caution
        assert not OpenCvSink(tmp_path / "x.avi").caution
        assert not MatroskaSink(tmp_path / "x.mkv").caution

    def test_a_grey_picture_is_written(self, tmp_path, item):
        path = tmp_path / "x.avi"
        write_all(OpenCvSink(path), [item(0, picture=np.zeros((64, 64), np.uint8))])
        assert len(times_of(path)) == 1

    def test_little_room_is_noticed_before_opencv_loses_frames(self, tmp_path, item, monkeypatch):
        sink = OpenCvSink(tmp_path / "x.avi")
        sink.open()
        sink.write(item(0))
        monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=5 << 20))
        with pytest.raises(OutputError, match="5 MiB are left"):
            sink.write(item(1))
        sink.close()
        assert len(times_of(tmp_path / "x.avi")) == 1
        full = OpenCvSink(tmp_path / "y.avi")
        with pytest.raises(OutputError, match="5 MiB are left"):
            full.write(item(0))
        assert not (tmp_path / "y.avi").exists()

    def test_frames_that_opencv_lost_are_noticed(self, tmp_path, item):
        sink = OpenCvSink(tmp_path / "x.avi")
        sink.open()
        sink.write(item(0))
        sink._frames += 3
        with pytest.raises(OutputError, match="holds 1 of the 4 frames"):
            sink.close()

    def test_what_opencv_cannot_open_is_refused(self, tmp_path, item, monkeypatch):
        class Closed:
            fourcc = staticmethod(cv2.VideoWriter.fourcc)

            def __init__(self, *arguments):
                pass

            def isOpened(self):
                return False

        monkeypatch.setattr(cv2, "VideoWriter", Closed)
        sink = OpenCvSink(tmp_path / "x.avi")
        with pytest.raises(OutputError, match="cannot be written by OpenCV"):
            sink.write(item(0))


class TestFolder:
    def test_files_are_named_by_the_frames_number(self, tmp_path, item):
        write_all(FolderSink(tmp_path / "a" / "b"), [item(3), item(11)])
        assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["00000003.png", "00000011.png"]

    def test_sixteen_bits_are_kept(self, tmp_path, item):
        picture = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 7
        write_all(FolderSink(tmp_path), [item(1, picture=picture)])
        assert np.array_equal(read_image(tmp_path / "00000001.png"), picture)

    def test_another_format(self, tmp_path, item):
        write_all(sink_from_text(str(tmp_path / "*.jpg")), [item(1)])
        assert read_number(read_image(tmp_path / "00000001.jpg"), NEAR) == 1

    def test_an_existing_file_is_not_replaced_unless_told(self, tmp_path, item):
        write_all(FolderSink(tmp_path), [item(1)])
        with pytest.raises(OutputError, match="force=True"):
            write_all(FolderSink(tmp_path), [item(1)])
        write_all(sink_from_text(str(tmp_path), SinkOptions(force=True)), [item(1)])

    def test_a_folder_that_cannot_be_made_is_refused(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="cannot be made"):
            FolderSink(tmp_path / "file" / "out").open()


def test_standard_output_carries_a_stream_and_its_reader_may_go(tmp_path):
    script = (
        "import sys, numpy as np\n"
        "from ufafuse.runtime.errors import OutputError\n"
        "from ufafuse.runtime.stream.messages import Frame, FusedPair, Pair\n"
        "from ufafuse.runtime.stream.sinks import sink_from_text\n"
        "sink = sink_from_text('-')\n"
        "sink.open()\n"
        "picture = np.random.default_rng(0).integers(0, 256, (96, 192, 3), np.uint8)\n"
        "try:\n"
        "    for number in range(int(sys.argv[1])):\n"
        "        frame = Frame(picture, number, number / 10, 0.0)\n"
        "        sink.write(FusedPair(Pair(frame, frame), picture, None, number, 0.0))\n"
        "    sink.close()\n"
        "except OutputError as error:\n"
        "    print(error, file=sys.stderr)\n"
    )
    whole = subprocess.run([sys.executable, "-c", script, "30"], capture_output=True, timeout=60, check=True)
    path = Path(tmp_path / "x.mkv")
    path.write_bytes(whole.stdout)
    assert times_of(path) == [number * 100 for number in range(30)]

    with subprocess.Popen([sys.executable, "-c", script, "5000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(1000)
        process.stdout.close()
        text = process.stderr.read().decode()
        process.wait(30)
    assert "reader of standard output has gone" in text


class TestEightBit:
    def test_twelve_bits_are_shown_in_full(self):
        ramp = np.linspace(0, 4095, 256).astype(np.uint16).reshape(16, 16)
        shown = EightBit()(ramp)
        assert (shown.min(), shown.max()) == (0, 255)

    def test_a_darker_moment_is_shown_darker(self):
        to_eight = EightBit()
        to_eight(np.full((4, 4), 4000, np.uint16))
        assert to_eight(np.full((4, 4), 1000, np.uint16)).max() == round(1000 * 255 / 4095)

    def test_a_white_that_is_given(self):
        assert EightBit(1023)(np.full((4, 4), 1023, np.uint16)).min() == 255


@pytest.mark.parametrize("options", [{"segment": float("nan")}, {"segment": 0.0}, {"rate": float("inf")}, {"rate": -1.0}])
def test_options_that_are_no_numbers_are_refused(options):
    with pytest.raises(InputError, match=r"is no (duration|rate)"):
        SinkOptions(**options)


def test_images_take_the_quality_that_video_takes(tmp_path, item, rng):
    picture = rng.integers(0, 256, (40, 60, 3), np.uint8)
    sizes = []
    for quality in (None, 90, 20):
        place = tmp_path / str(quality)
        write_all(sink_from_text(str(place / "*.jpg"), SinkOptions(quality=quality)), [item(1, picture=picture)])
        sizes.append(next(place.iterdir()).stat().st_size)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] < sizes[1] < sizes[0]
