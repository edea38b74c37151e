"""Files that grow for hours."""

import errno
import json
import os
from pathlib import Path

import pytest

from ufafuse.runtime.errors import OutputError
from ufafuse.runtime.stream.growing import Lines, opened_alone


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
