"""Frames of a stack that are read when they are needed."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.source import FileFrame, of_arrays, stack_of


def noise(shape, dtype=np.uint8, seed=0):
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    return (np.random.default_rng(seed).random(shape) * top).astype(dtype)


def test_pages_are_frames_that_can_be_read_twice(tmp_path):
    frames = np.stack([noise((24, 32, 3), np.uint16, seed) for seed in range(3)])
    tifffile.imwrite(tmp_path / "stack.tif", frames, photometric="rgb")
    with stack_of([tmp_path / "stack.tif"]) as stack:
        assert [frame.name.rpartition(", ")[2] for frame in stack] == ["page 1", "page 2", "page 3"]
        for _ in range(2):
            for frame, expected in zip(stack, frames, strict=True):
                assert (frame.shape, frame.dtype) == ((24, 32, 3), np.uint16)
                np.testing.assert_array_equal(frame.read(), expected[..., ::-1])


def test_thumbnails_are_no_frames(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(noise((40, 40), seed=1), subfiletype=0)
        file.write(noise((10, 10), seed=2), subfiletype=1)
    with stack_of([tmp_path / "x.tif"]) as stack:
        assert [frame.shape for frame in stack] == [(40, 40)]


def test_a_video_is_a_stack(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "x.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for level in (20, 90, 160, 230):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    with stack_of([tmp_path / "x.avi"]) as stack:
        assert [frame.shape for frame in stack] == [(48, 64, 3)] * 4
        for order in (range(4), range(4), (3, 0, 2)):
            for index in order:
                assert abs(float(stack[index].read().mean()) - (20, 90, 160, 230)[index]) < 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", [(8, 16), (8, 16, 3)])
def test_the_header_knows_the_shape(tmp_path, orientation, shape):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    for suffix in (".jpg", ".png", ".tif", ".webp"):
        Image.fromarray(noise(shape)).save(tmp_path / f"x{suffix}", exif=exif)
        frame = FileFrame(tmp_path / f"x{suffix}")
        array = frame.read()
        assert (frame.shape, frame.dtype) == (array.shape, array.dtype)
        assert frame.shape[:2] == ((16, 8) if orientation >= 5 else (8, 16)), suffix
        assert frame.nbytes == array.nbytes


def test_arrays_and_files_side_by_side(tmp_path):
    picture = noise((5, 6, 4))
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    (array,) = of_arrays([picture], ["first"])
    assert (array.name, array.shape, array.path) == ("first", (5, 6, 4), None)
    with stack_of([tmp_path / "a.png"]) as (file,):
        np.testing.assert_array_equal(file.read(), array.read())


def test_what_is_missing_is_said_at_once(tmp_path):
    with pytest.raises(InputError, match=r"no\.png does not exist"), stack_of([tmp_path / "no.png"]):
        pass


def test_a_file_that_is_refused_is_closed(tmp_path):
    (tmp_path / "s.tif").write_bytes(b"II*\0" + bytes([255]) * 200)
    with pytest.raises(InputError, match="damaged TIFF") as told, stack_of([tmp_path / "s.tif"]):
        pass
    held = [link.resolve() for link in Path("/proc/self/fd").iterdir()]
    assert told.value  # whose traceback still has the stream
    assert (tmp_path / "s.tif").resolve() not in held


def test_a_damaged_page_is_named(tmp_path):
    tifffile.imwrite(
        tmp_path / "s.tif", np.stack([noise((64, 64), seed=n) for n in range(3)]), compression="zlib", photometric="minisblack"
    )
    data = bytearray((tmp_path / "s.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "s.tif") as file:
        start = file.pages[1].dataoffsets[0]
    data[start : start + 20] = bytes(20)
    (tmp_path / "s.tif").write_bytes(data)
    with stack_of([tmp_path / "s.tif"]) as stack:
        stack[0].read()
        with pytest.raises(InputError, match=r"s\.tif, page 2 is a damaged TIFF"):
            stack[1].read()
