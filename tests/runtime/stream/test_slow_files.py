"""Files that arrive slowly in a watched folder: each is a frame once, when all of it is there, whatever its size says."""

import os
import threading
import time
from itertools import islice

import cv2
import pytest

from tests.pictures import photograph
from ufafuse.runtime.pictures import arrived
from ufafuse.runtime.pictures.arriving import arriving
from ufafuse.runtime.stream.sources import FolderSource
from ufafuse.runtime.stream.sources import folder as folders

KINDS = {"jpg": [], "png": [], "bmp": [], "ppm": [], "tif": [cv2.IMWRITE_TIFF_COMPRESSION, 1]}
FRAME = cv2.max(photograph(240, 320, 0), 1)  # 230 kB without packing: many blocks of a disk


def encoded(kind, frame=FRAME):
    done, data = cv2.imencode(f".{kind}", frame, KINDS[kind])
    assert done
    return data.tobytes()


def write_slowly(path, data, *, size_first, pause=0.15, parts=5):
    """As a copy over a network does, the last part of a few bytes; ``size_first`` as Windows does."""
    with path.open("wb", buffering=0) as stream:
        if size_first:
            stream.truncate(len(data))
        step = (len(data) - 3) // parts
        for start in range(0, len(data), step):
            time.sleep(pause)
            stream.write(data[start : start + step])


def frames_of(source, writer, seconds):
    """What a source gives until so long after the writer is done."""
    found, until = [], None
    while until is None or time.monotonic() < until:
        frame = source.read(0.2)
        if frame is not None:
            found.append(frame)
        if until is None and not writer.is_alive():
            until = time.monotonic() + seconds
    return found


@pytest.mark.parametrize("size_first", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_arrives_slowly_is_one_frame_and_whole(tmp_path, kind, size_first):
    data = encoded(kind)

    def write():
        for number in range(2):
            write_slowly(tmp_path / f"f{number}.{kind}", data, size_first=size_first)

    source, writer = FolderSource(tmp_path), threading.Thread(target=write)
    source.open()
    writer.start()
    frames = frames_of(source, writer, 3.0)  # a file that changed is told after two looks, a second apart
    writer.join()
    assert [frame.index for frame in frames] == [0, 1]
    assert all((frame.array > 0).mean() > 0.9 for frame in frames)


@pytest.mark.parametrize("kind", ["bmp", "ppm"])
def test_rows_of_0_tell_it_where_the_file_system_does_not(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(folders, "has_gap", lambda _: False)
    test_a_file_that_arrives_slowly_is_one_frame_and_whole(tmp_path, kind, size_first=True)


@pytest.mark.parametrize("gap", [False, True])
def test_frames_that_always_look_so_are_not_waited_for(tmp_path, monkeypatch, gap):
    monkeypatch.setattr(folders, "_WRITING", 0.4)
    waits = []
    frame = FRAME.copy()
    frame[200:] = 0  # a mask
    source = FolderSource(tmp_path)
    source.open()
    if gap:
        monkeypatch.setattr(folders, "has_gap", lambda _: True)
    for number in range(6):
        (tmp_path / f"f{number}.png").write_bytes(encoded("png", frame))
        begun = time.monotonic()
        while source.read(0.05) is None:
            assert time.monotonic() - begun < 5
        waits.append(time.monotonic() - begun > 0.35)
    assert waits == [True, True, True, False, False, False] if gap else [True, False, False, False, False, False]
    assert source.remark == ""


def test_what_never_comes_is_a_frame_after_a_while_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "_WRITING", 0.4)
    source = FolderSource(tmp_path)
    source.open()
    data = encoded("ppm")
    (tmp_path / "f0.ppm").write_bytes(data)
    (tmp_path / "f1.ppm").write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    frames = []
    while len(frames) < 2:
        frame = source.read(0.1)
        frames += [] if frame is None else [frame]
        assert source.remark == "" or len(frames) == 2
    assert "f1.ppm: its last 120 of 240 rows are 0, as where a copy or a transfer broke off" in source.remark


@pytest.mark.parametrize("size_first", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_is_complete_when_its_last_frame_is_there_as_a_whole(tmp_path, kind, size_first):
    data, folder = encoded(kind), tmp_path / "s"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.{kind}").write_bytes(data)

    def write():
        write_slowly(folder / f"2.{kind}", data, size_first=size_first, pause=0.9, parts=2)

    writer = threading.Thread(target=write)
    writer.start()
    (stack,) = islice(arriving(tmp_path, quiet=600, every=3), 1)
    assert (folder / f"2.{kind}").read_bytes() == data
    assert (len(stack.files), stack.refused) == (3, "")
    writer.join()


def test_a_stack_with_a_broken_frame_is_given_when_it_is_quiet(tmp_path):
    (tmp_path / "s").mkdir()
    data = encoded("png")
    for number in range(3):
        (tmp_path / "s" / f"{number}.png").write_bytes(data[: -100 * (number == 1) or None])
    begun = time.monotonic()
    (stack,) = islice(arriving(tmp_path, quiet=1.0, every=3), 1)
    assert len(stack.files) == 3
    assert time.monotonic() - begun > 0.9


def test_each_frame_of_a_stack_is_looked_at_once_as_long_as_it_stays(tmp_path, monkeypatch):
    looks = []
    real = arrived.read_picture
    monkeypatch.setattr(arrived, "read_picture", lambda path: (looks.append(path.name), real(path))[1])
    (tmp_path / "s").mkdir()
    for number in range(3):
        (tmp_path / "s" / f"{number}.png").write_bytes(encoded("png")[: -100 * (number == 2) or None])
    list(islice(arriving(tmp_path, quiet=1.5, every=3), 1))
    assert sorted(looks) == ["0.png", "1.png", "2.png"]


def test_a_gap_is_seen_where_the_file_system_tells(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"")
    assert not arrived.has_gap(path)
    path.write_bytes(bytes(100_000))
    assert not arrived.has_gap(path)
    os.truncate(path, 200_000)
    assert arrived.has_gap(path)
    assert not arrived.has_gap(tmp_path / "missing")
    os.mkfifo(tmp_path / "pipe")
    assert not arrived.has_gap(tmp_path / "pipe")
