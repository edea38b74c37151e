"""Files that grow for hours."""

import errno
import json
import os
import socket
from pathlib import Path

import pytest

from ufafuse.runtime.errors import OutputError
from ufafuse.runtime.stream import growing
from ufafuse.runtime.stream.growing import Lines, opened_alone
from ufafuse.runtime.stream.sinks import SinkOptions, sink_from_text
from ufafuse.runtime.writing import atomic_write


class Full:
    """A stream whose disk is full after so many bytes."""

    def __init__(self, stream, room):
        self._stream, self._room = stream, room

    def write(self, data):
        if not self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = self._stream.write(data[: self._room])
        self._room -= taken
        return taken

    def truncate(self, size):
        self._stream.truncate(size)


def test_a_full_disk_leaves_whole_lines(tmp_path):
    path = tmp_path / "x.jsonl"
    lines = Lines(path, force=False)
    lines._stream = Full(lines._stream, 30)
    with pytest.raises(OSError, match="No space left"):
        for number in range(9):
            lines.add(json.dumps({"number": number}))
    assert path.read_text() == '{"number": 0}\n{"number": 1}\n'


def test_one_writer_at_a_time(tmp_path):
    path = tmp_path / "x.mkv"
    with opened_alone(path, force=False) as first:
        first.write(b"first")
        with pytest.raises(OutputError, match="is being written by another process"):
            opened_alone(path, force=True)
        with pytest.raises(FileExistsError):
            opened_alone(path, force=False)
    assert path.read_bytes() == b"first"
    with opened_alone(path, force=True) as second:
        second.write(b"2")
    assert path.read_bytes() == b"2"


def test_what_is_no_file_is_written_as_it_is():
    for _ in range(2):
        lines = Lines(Path("/dev/null"), force=True)
        lines.add("x")
        lines.close()


def test_a_log_that_was_removed_is_begun_anew_and_told(tmp_path):
    path, told = tmp_path / "x.jsonl", []
    lines = Lines(path, force=False, tell=told.append)
    lines.add("1")
    path.unlink()
    lines.add("2")
    lines.add("3")
    lines.close()
    assert path.read_text() == "2\n3\n"
    assert told == [f"{path} was removed while it was written: it is begun anew"]


def test_a_log_that_was_cut_or_renamed_has_whole_lines(tmp_path):
    path, moved, told = tmp_path / "x.jsonl", tmp_path / "x.jsonl.1", []
    lines = Lines(path, force=False, tell=told.append)
    lines.add("1")
    os.truncate(path, 0)
    lines.add("2")
    path.rename(moved)
    lines.add("3")
    lines.close()
    assert moved.read_text() == "2\n3\n"
    assert told == []
    assert not path.exists()


@pytest.mark.parametrize("force", [False, True])
def test_a_log_is_written_on_through_any_night_of_logrotate(tmp_path, force):
    """Renamed and made anew (`create`), the oldest removed; or moved away by hand, while another process takes the name."""
    path, moved, told = tmp_path / "x.jsonl", tmp_path / "x.jsonl.1", []
    lines = Lines(path, force=force, tell=told.append)
    for night in range(3):
        lines.add(f"{night}")
        path.replace(moved)  # which removes the one of the night before
        path.touch()
    lines.add("3")
    assert (moved.read_text(), path.read_text()) == ("2\n", "3\n")
    path.unlink()
    path.write_text("another's\n")
    lines.add("4")
    assert path.read_text() == "another's\n4\n"
    path.rename(moved)
    other = Lines(path, force=False)
    lines.add("5")
    assert moved.read_text() == "another's\n4\n5\n"
    other.close()
    lines.add("6")
    lines.close()
    assert path.read_text() == "6\n"
    assert told == []


def _lines(path):
    Lines(path, force=True)


def _video(path):
    sink = sink_from_text(str(path), SinkOptions(force=True))
    assert sink is not None
    sink.open()


def _picture(path):
    with atomic_write(path, force=True):
        pytest.fail("it began to write")


@pytest.mark.parametrize(
    ("kind", "written", "told"),
    [
        ("pipe", (_lines,), "x is a pipe or a terminal that nobody has opened: start its reader first"),
        ("pipe", (_picture,), "x is a named pipe, and a file is written"),
        ("socket", (_lines, _picture), "x is a socket, and a file is written"),
    ],
)
def test_what_is_no_file_is_neither_waited_for_nor_replaced(tmp_path, kind, written, told):
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        socket.socket(socket.AF_UNIX).bind(str(path))
    before = path.lstat()
    for write in written:
        with pytest.raises(OutputError, match=told):
            write(path)
    assert os.path.samestat(path.lstat(), before)


@pytest.mark.parametrize(
    ("make", "name", "told"),
    [
        (os.mkfifo, "x.avi", "is a named pipe, and a file is written"),
        (os.mkdir, "x.mkv", r"is a folder: name a file in it, such as .*x\.mkv/live\.mkv"),
        (os.mkfifo, "x", "is there, and is no folder: choose another name"),
    ],
)
def test_no_video_and_no_folder_is_begun_in_the_place_of_another_thing(tmp_path, make, name, told):
    make(tmp_path / name)
    with pytest.raises(OutputError, match=told):
        _video(tmp_path / name)


def test_a_pipe_that_takes_nothing_any_more_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(growing, "_PATIENCE", 0.05)
    path = tmp_path / "x.jsonl"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    lines = Lines(path, force=True)
    lines.add("first")
    assert os.read(reader, 99) == b"first\n"
    with pytest.raises(OutputError, match=r"has taken nothing for 0\.05 s"):
        for _ in range(99):
            lines.add("x" * 4000)
    os.close(reader)
