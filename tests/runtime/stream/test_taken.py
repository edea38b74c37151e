"""A watched folder over days: files that others replace, and folders that hold a great many."""

import os
import shutil

import cv2
import pytest

from ufafuse.runtime.stream.drawn_numbers import read_number
from ufafuse.runtime.stream.messages import NEAR
from ufafuse.runtime.stream.sources import numbers, taken
from ufafuse.runtime.stream.sources.base import BrokenFrame
from ufafuse.runtime.stream.sources.folder import FolderSource


@pytest.fixture
def write(tmp_path, numbered_picture, monkeypatch):
    """Writes a picture that shows ``shown`` as a file of the watched folder ``in``; looks follow each other at once."""
    monkeypatch.setattr(taken, "_LOOK_EVERY", 0.0)
    monkeypatch.setattr(taken, "_PAUSE", 0)
    (tmp_path / "in").mkdir()

    def written(name, shown, *, folder="in", inplace=False):
        data = cv2.imencode(".png", numbered_picture(shown, NEAR))[1].tobytes()
        path = tmp_path / folder / name
        if inplace:
            path.write_bytes(data)
        else:
            path.with_suffix(".part").write_bytes(data)
            path.with_suffix(".part").replace(path)

    return written


def shown_by(source):
    """What the next frames show, until none comes for three looks."""
    found, empty = [], 0
    while empty < 3:
        frame = source.read(0)
        empty = 0 if frame is not None else empty + 1
        if frame is not None:
            found.append(read_number(frame.array, NEAR))
    return found


@pytest.mark.parametrize("how", ["renamed", "written", "recreated", "linked", "emptied"])
def test_a_file_that_another_one_replaced_is_another_frame(tmp_path, write, how):
    for name in ("f1.png", "f2.png"):
        write(name, int(name[1]))
    folder = tmp_path / "in"
    if how == "linked":
        folder = tmp_path / "current"
        folder.symlink_to("in")
    source = FolderSource(folder)
    source.open()
    assert shown_by(source) == [1, 2]
    if how in ("renamed", "written"):
        write("f1.png", 11, inplace=how == "written")
        write("f2.png", 12, inplace=how == "written")
    else:
        (tmp_path / "next").mkdir()
        for name in ("f1.png", "f2.png"):
            write(name, 10 + int(name[1]), folder="next")
    if how == "recreated":
        shutil.rmtree(folder)
        (tmp_path / "next").rename(folder)
    elif how == "linked":
        (tmp_path / "link").symlink_to("next")
        (tmp_path / "link").replace(folder)
    elif how == "emptied":
        for name in ("f1.png", "f2.png"):
            (folder / name).unlink()
        assert shown_by(source) == []
        for name in ("f1.png", "f2.png"):
            (tmp_path / "next" / name).rename(folder / name)
    assert sorted(shown_by(source)) == [11, 12]
    assert shown_by(source) == []


def test_a_file_that_was_only_touched_or_copied_again_is_no_frame(tmp_path, write):
    write("f1.png", 1)
    source = FolderSource(tmp_path / "in")
    assert shown_by(source) == [1]
    os.utime(tmp_path / "in" / "f1.png", (5, 5))
    assert shown_by(source) == []
    write("f1.png", 1, inplace=True)
    assert shown_by(source) == []
    write("f1.png", 2, inplace=True)
    assert shown_by(source) == [2]


def test_a_file_that_was_passed_over_is_read_when_it_is_whole(tmp_path, write, monkeypatch):
    monkeypatch.setattr("ufafuse.runtime.stream.sources.folder._WRITING", 0.0)
    path = tmp_path / "in" / "f1.png"
    write("f1.png", 1)
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    source = FolderSource(tmp_path / "in")
    with pytest.raises(BrokenFrame):
        source.read(0)
    assert shown_by(source) == []
    path.write_bytes(whole)
    assert shown_by(source) == [1]


def test_a_file_that_is_being_written_anew_is_waited_for(tmp_path, write):
    write("f1.png", 1)
    source = FolderSource(tmp_path / "in")
    assert shown_by(source) == [1]
    for number in range(2, 6):
        write("f1.png", number, inplace=True)
        assert source.read(0) is None
    assert shown_by(source) == [5]


def test_what_is_known_of_a_long_folder_is_not_looked_at_again(tmp_path, write, monkeypatch):
    looked = []
    fields_of = numbers.fields_of
    monkeypatch.setattr(numbers, "fields_of", lambda stem: looked.append(stem) or fields_of(stem))
    for number in range(200):
        (tmp_path / "in" / f"frame_{number:03d}_A.png").write_bytes(b"x")
    source = FolderSource(tmp_path / "in")
    source.open()
    source._coming.clear()
    looked.clear()
    write("frame_200_A.png", 7)
    assert shown_by(source) == [7]
    assert set(looked) == {"frame_200_A"}


def test_of_many_shapes_those_in_use_are_remembered(monkeypatch):
    monkeypatch.setattr(numbers, "_MOST_SHAPES", 5)
    known = numbers.Numbers()
    known.learn(["a_1_640", "a_2_640"])
    for letter in "bcdefghi":
        assert known.of("a_3_640").number == 3
        known.learn([f"{letter}_1_640", f"{letter}_2_640"])
    assert known.of("a_4_640").number == 4
    assert len(known._decided) == 5
