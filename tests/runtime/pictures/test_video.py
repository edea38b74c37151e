"""What is lost of a video, told; what OpenCV would make up, refused."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.conform import ConformedFrame, common_kind
from ufafuse.runtime.pictures.source import stack_of
from ufafuse.runtime.pictures.video import check_convertible, looked_through
from ufafuse.runtime.stream.sources.opencv import VideoFileSource

HEIGHT, WIDTH = 48, 64


@pytest.fixture(autouse=True)
def buffered(monkeypatch):
    """As users have it: what Python prints may come before FFmpeg's words, and images of containers set that it does not."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


def y4m(path, order="p", frames=3):
    """A video without compression, whose fields are in this order (p: it is not interlaced)."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(16, 235, (frames, HEIGHT * WIDTH * 3 // 2), dtype=np.uint8)
    head = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F25:1 I{order} A1:1 C420jpeg\n".encode()
    path.write_bytes(head + b"".join(b"FRAME\n" + picture.tobytes() for picture in pictures))
    return path


def written(path, code, frames=6):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 5, (WIDTH, HEIGHT))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV writes no {code}")
    rng = np.random.default_rng(1)
    for _ in range(frames):
        writer.write(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    writer.release()
    return path


def told_of(path):
    with stack_of([path]) as frames:
        told = {}
        common = common_kind(frames)
        for frame in frames:
            ConformedFrame(frame, common, strict=False, told=told).read()
        return len(frames), " ".join(told)


def test_a_progressive_video_is_read(tmp_path):
    assert told_of(y4m(tmp_path / "p.y4m")) == (3, "")
    check_convertible(tmp_path / "p.y4m")


@pytest.mark.parametrize("order", ["t", "b"])
def test_an_interlaced_video_is_read_as_it_is_or_refused(tmp_path, order):
    """From FFmpeg 8 on OpenCV gives what was in the memory before, black or another picture, and says nothing."""
    path = y4m(tmp_path / "i.y4m", order)
    with stack_of([y4m(tmp_path / "p.y4m")]) as frames:
        meant = [frame.read() for frame in frames]
    try:
        check_convertible(path)
        with stack_of([path]) as frames:
            found = [frame.read() for frame in frames]
    except InputError as error:
        assert "i.y4m is an interlaced video" in str(error)
        with pytest.raises(InputError, match="is an interlaced video"):
            VideoFileSource(path).open()
        with pytest.raises(InputError, match="is an interlaced video"), stack_of([path]):
            pass
    else:
        assert np.abs(np.array(found).astype(int) - meant).max() < 40


def test_a_still_scene_is_no_interlaced_one(tmp_path):
    path = y4m(tmp_path / "p.y4m", frames=1)
    data = path.read_bytes()
    path.write_bytes(data + data[data.index(b"FRAME") :] * 2)
    check_convertible(path)
    assert looked_through(path).count == 3


def test_a_video_without_a_frame(tmp_path):
    (tmp_path / "x.y4m").write_bytes(y4m(tmp_path / "p.y4m").read_bytes()[:200])
    with pytest.raises(InputError, match=r"x\.y4m is a video of which no frame can be decoded"), stack_of([tmp_path / "x.y4m"]):
        pass


def test_a_video_that_lost_its_end(tmp_path):
    path = written(tmp_path / "x.avi", "MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    count, told = told_of(path)
    assert 1 < count < 6
    assert "of the 6 pictures that it declares" in told or "it was cut off" in told


def test_damage_is_told(tmp_path):
    path = written(tmp_path / "x.avi", "MJPG")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = b"\xff" * 400
    path.write_bytes(data)
    assert "is damaged inside (somewhere in the video: " in told_of(path)[1]


def test_more_bits_than_eight_are_told(tmp_path):
    rng = np.random.default_rng(0)
    head = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F25:1 Ip A1:1 Cmono16 XYSCSS=MONO16\n".encode()
    pictures = rng.integers(0, 65536, (2, HEIGHT, WIDTH), dtype=np.uint16)
    (tmp_path / "x.y4m").write_bytes(head + b"".join(b"FRAME\n" + picture.tobytes() for picture in pictures))
    assert "samples of 16 bits are read as 8" in told_of(tmp_path / "x.y4m")[1]
