"""How many bytes the parts of a TIFF unpack to, without unpacking them; and that damage shows in it."""

import io

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.decode import decode_picture
from ufafuse.runtime.pictures.source import FileFrame, stack_of
from ufafuse.runtime.pictures.tiffscan import bytes_in_lzw, bytes_in_packbits

SHAPE = (90, 70)
PIL_MODES = {"1": "L", "L": "L", "P": "P", "RGB": "RGB", "RGBA": "RGBA", "I;16": "I;16"}


def texture(channels=3, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (*SHAPE, channels)).astype(np.uint8)
    return cv2.GaussianBlur(values, (0, 0), 1).reshape(*SHAPE, channels)


def by_opencv(packing):
    return cv2.imencode(".tif", texture(), [cv2.IMWRITE_TIFF_COMPRESSION, {"lzw": 5, "packbits": 32773}[packing]])[1].tobytes()


def without_imagecodecs(monkeypatch):
    def refused(page):
        raise ValueError(f"{page.compression!r} requires the 'imagecodecs' package")

    monkeypatch.setattr("tifffile.TiffPage.decode", property(refused))


@given(st.binary(max_size=3000) | st.lists(st.tuples(st.integers(0, 3), st.integers(1, 400)), max_size=60), st.integers(1, 40))
@settings(max_examples=150, deadline=None)
def test_whatever_is_packed_is_counted(runs, times):
    imagecodecs = pytest.importorskip("imagecodecs")
    data = (runs if isinstance(runs, bytes) else b"".join(bytes([value]) * count for value, count in runs)) * times
    assert bytes_in_lzw(imagecodecs.lzw_encode(data)) == len(data)
    assert bytes_in_packbits(imagecodecs.packbits_encode(data)) == len(data)


def test_more_codes_than_a_table_holds_are_counted():
    imagecodecs = pytest.importorskip("imagecodecs")
    data = np.random.default_rng(0).integers(0, 256, 100_000).astype(np.uint8).tobytes()
    packed = imagecodecs.lzw_encode(data)
    assert bytes_in_lzw(packed) == len(data)
    assert bytes_in_lzw(packed[: len(packed) // 2]) == pytest.approx(len(data) / 2, rel=0.01)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x80", b"\x01\x02\x03", bytes(50), b"\xff" * 50])
def test_what_is_no_lzw_is_told_nothing_of(data):
    assert bytes_in_lzw(data) is None or data[:1] == b"\x80"
    assert bytes_in_packbits(data) >= 0


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits"])
@pytest.mark.parametrize("mode", PIL_MODES)
def test_whole_files_are_whole(mode, compression):
    pixels = texture(4 if mode == "RGBA" else 3 if mode == "RGB" else 1).squeeze()
    picture = Image.fromarray(pixels.astype(np.uint16) * 200) if mode == "I;16" else Image.fromarray(pixels).convert(mode)
    stream = io.BytesIO()
    picture.save(stream, "TIFF", compression=compression)
    assert decode_picture(stream.getvalue(), "x", inside="thoroughly").damage == ""


@pytest.mark.parametrize("compression", ["lzw", "packbits"])
@pytest.mark.parametrize("layout", [{"rowsperstrip": 16}, {"tile": (32, 32)}, {"planarconfig": "separate", "rowsperstrip": 16}])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_whole_parts_of_every_layout_are_whole(compression, layout, dtype):
    pytest.importorskip("imagecodecs")
    pixels = texture().astype(dtype)
    pixels = np.moveaxis(pixels, 2, 0) if "planarconfig" in layout else pixels
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, photometric="rgb", compression=compression, **layout)
    assert decode_picture(stream.getvalue(), "x", inside="thoroughly").damage == ""


@pytest.mark.parametrize("extra", [True, False], ids=["imagecodecs", "libtiff"])
@pytest.mark.parametrize("packing", ["lzw", "packbits"])
def test_a_part_that_did_not_arrive_is_refused(monkeypatch, packing, extra):
    if extra:
        pytest.importorskip("imagecodecs")
    else:
        without_imagecodecs(monkeypatch)
    data = by_opencv(packing)
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages[0]
        start, length = page.dataoffsets[0], page.databytecounts[0]
        assert len(page.dataoffsets) > 1
    assert decode_picture(data, "x").damage == ""
    broken = data[: start + length // 2] + bytes(length - length // 2) + data[start + length :]
    if packing == "packbits":  # zeros are bytes as they are
        broken = data[: start + length // 2] + b"\x80" * (length - length // 2) + data[start + length :]
    with pytest.raises(InputError, match="is a damaged TIFF"):
        decode_picture(broken, "x")


def test_a_changed_bit_that_changes_the_length_is_told(monkeypatch, tmp_path):
    pytest.importorskip("imagecodecs")
    data = by_opencv("lzw")
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages[0]
        start, length, wanted = page.dataoffsets[0], page.databytecounts[0], page.rowsperstrip * SHAPE[1] * 3
    for at in range(start + length // 2, start + length):
        broken = bytearray(data)
        broken[at] ^= 4
        if (bytes_in_lzw(bytes(broken[start : start + length])) or 0) > wanted:
            break
    path = tmp_path / "x.tif"
    path.write_bytes(broken)
    said = FileFrame(path, inside="thoroughly").picture().damage
    assert said.startswith("part 1 of ")
    assert said.endswith(f" bytes instead of {wanted}")
    assert FileFrame(path, inside="quickly").picture().damage == ""
    without_imagecodecs(monkeypatch)
    assert FileFrame(path, inside="quickly").picture().damage == said  # for libtiff says nothing of all that it gave up


def test_pages_are_looked_into(tmp_path):
    pytest.importorskip("imagecodecs")
    path = tmp_path / "x.tif"
    tifffile.imwrite(
        path, np.stack([texture(1, seed)[..., 0] for seed in range(3)]), photometric="minisblack", compression="lzw"
    )
    with stack_of([path], inside="thoroughly") as frames:
        assert [frame.picture().damage for frame in frames] == ["", "", ""]
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[1]
        start, length = page.dataoffsets[0], page.databytecounts[0]
    whole = path.read_bytes()
    for at in range(start + 40, start + length):
        broken = bytearray(whole)
        broken[at] ^= 4
        if (bytes_in_lzw(bytes(broken[start : start + length])) or 0) > SHAPE[0] * SHAPE[1]:
            break
    path.write_bytes(broken)
    with stack_of([path], inside="thoroughly") as frames:
        said = [frame.picture().damage for frame in frames]
    assert said[::2] == ["", ""]
    assert "bytes instead of" in said[1]
