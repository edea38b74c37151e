"""The folder of results is removed while a line runs: by who makes room, or with the disk that it was on."""

import shutil

import numpy as np
import pytest

from ufafuse.runtime.errors import OutputError
from ufafuse.runtime.stream import growing
from ufafuse.runtime.stream.growing import Lines
from ufafuse.runtime.stream.messages import Frame, FusedPair, Pair
from ufafuse.runtime.stream.sinks import SinkOptions, sink_from_text
from ufafuse.runtime.stream.sinks import folder as folder_sink

PICTURE = np.zeros((96, 192, 3), np.uint8)


class SinkWriter:
    """Writes pictures into a sink."""

    def __init__(self, text, told, **options):
        self._sink = sink_from_text(str(text), SinkOptions(**options))
        self._sink.tell = told.append
        self._sink.open()

    def add(self, number):
        frame = Frame(PICTURE, number, float(number), 0.0)
        self._sink.write(FusedPair(Pair(frame, frame), PICTURE, None, number, 0.0))

    def close(self):
        self._sink.close()


class LogWriter:
    """Writes lines into a log."""

    def __init__(self, path, told):
        self._lines = Lines(path, force=False, tell=told.append)

    def add(self, number):
        self._lines.add(str(number))

    def close(self):
        self._lines.close()


WRITERS = {
    "folder": SinkWriter,
    "pattern": lambda home, told: SinkWriter(home / "*.jpg", told),
    "mkv": lambda home, told: SinkWriter(home / "x.mkv", told),
    "avi": lambda home, told: SinkWriter(home / "x.avi", told),
    "segments": lambda home, told: SinkWriter(home / "x.mkv", told, segment=2.0),
    "log": lambda home, told: LogWriter(home / "x.jsonl", told),
}


@pytest.fixture
def home(tmp_path):
    """A folder in a folder, as most are."""
    made = tmp_path / "line" / "results"
    made.mkdir(parents=True)
    return made


@pytest.fixture(params=WRITERS)
def begun(home, request):
    """What writes into `home`, with a part of it written, and what it told."""
    told = []
    writer = WRITERS[request.param](home, told)
    for number in range(3):
        writer.add(number)
    yield writer, told
    writer.close()


@pytest.mark.parametrize("above", [False, True])
def test_it_is_made_anew_and_told(home, begun, above):
    writer, told = begun
    shutil.rmtree(home.parent if above else home)
    for number in range(3, 6):
        writer.add(number)
    writer.close()
    assert list(home.iterdir())
    assert [text for text in told if "it is made" in text] == [f"{home} was not there: it is made"]


def test_what_is_left_of_a_mounted_disk_is_not_filled(home, begun, monkeypatch):
    writer, _ = begun
    shutil.rmtree(home)
    monkeypatch.setattr(growing, "_disk_of", lambda _: -1)
    with pytest.raises(OutputError, match="is gone with the disk that it was on: mount it again"):
        writer.add(3)
    assert not home.exists()


def test_a_folder_that_goes_while_a_picture_is_written_costs_none(home, monkeypatch):
    told, write = [], folder_sink.write_image
    writer = SinkWriter(home, told)

    def interrupted(path, picture, **options):
        monkeypatch.setattr(folder_sink, "write_image", write)
        shutil.rmtree(home)
        write(path, picture, **options)

    monkeypatch.setattr(folder_sink, "write_image", interrupted)
    writer.add(0)
    assert [path.name for path in home.iterdir()] == ["00000000.png"]
    assert told == [f"{home} was not there: it is made"]


def test_the_time_in_a_folders_name_is_that_of_each_part(tmp_path, monkeypatch):
    from ufafuse.runtime.stream.sinks import video

    days = [tmp_path / "monday" / "x.mkv"]
    days[0].parent.mkdir()
    monkeypatch.setattr(video, "with_time", lambda _: days[-1])
    told = []
    writer = SinkWriter(tmp_path / "day" / "x.mkv", told, segment=2.0)
    writer.add(0)
    days.append(tmp_path / "tuesday" / "x.mkv")
    writer.add(3)
    writer.close()
    assert [path.is_file() for path in days] == [True, True]
