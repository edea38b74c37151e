"""Quicker libraries for PNG and JPEG: the same pixels, the same refusals, and OpenCV's own way without them."""

import struct
import sys
import zlib

import cv2
import numpy as np
import pytest

from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.pictures import quick
from ufafuse.runtime.pictures.decode import decode_picture
from ufafuse.runtime.pictures.metadata import Metadata
from ufafuse.runtime.pictures.write import WriteOptions, check_output, encoded, write_image

SHAPES = [(7, 5), (40, 61, 3), (33, 20, 4), (1, 1, 3), (130, 200, 3)]


@pytest.fixture
def without(monkeypatch):
    """As if neither library was installed."""
    monkeypatch.setattr(quick, "_isal", lambda: None)
    monkeypatch.setattr(quick, "_simplejpeg", lambda: None)


def picture(shape, dtype=np.uint8):
    rng = np.random.default_rng(4)
    smooth = cv2.GaussianBlur(rng.random(shape[:2] + shape[2:]).astype(np.float32), (0, 0), 2)
    smooth = (smooth - smooth.min()) / max(float(np.ptp(smooth)), 1e-6)
    return (smooth.reshape(shape) * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_png_holds_the_pixels_for_every_decoder(shape, dtype):
    image = picture(shape, dtype)
    data = quick.png_bytes(image)
    assert (cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) == image).all()
    assert (decode_picture(data, "x").array == image).all()


def test_parts_of_other_pictures_are_written_too():
    image = picture((60, 80, 3))
    for view in (image[::2, ::3], image[:, ::-1], image[..., 0], np.asfortranarray(image)):
        data = quick.png_bytes(view)
        assert (cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) == view).all()


def test_a_photograph_takes_no_more_bytes_than_by_opencv(sample_pair):
    data = quick.png_bytes(sample_pair[0])
    assert len(data) < 1.05 * len(cv2.imencode(".png", sample_pair[0])[1])


@pytest.mark.parametrize("compression", [None, "fast", "small", "none"])
@pytest.mark.usefixtures("without")
def test_without_them_opencv_does_it(tmp_path, compression):
    image = picture((40, 61, 3))
    write_image(tmp_path / "x.png", image, metadata=Metadata(dpi=(300, 300)), options=WriteOptions(compression=compression))
    found = decode_picture((tmp_path / "x.png").read_bytes(), "x", inside="quickly")
    assert (found.array == image).all()
    assert found.metadata.dpi == pytest.approx((300, 300), abs=0.1)


def test_what_belongs_beside_the_pixels_is_there(tmp_path):
    image = picture((40, 61, 3))
    write_image(tmp_path / "x.png", image, metadata=Metadata(dpi=(300, 300), xmp=b"<x/>"))
    found = decode_picture((tmp_path / "x.png").read_bytes(), "x").metadata
    assert found.xmp == b"<x/>"
    assert found.dpi == pytest.approx((300, 300), abs=0.1)


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(samples, *, header=(8, 4, 8, 2, 0, 0, 0), parts=1):
    packed = zlib.compress(samples)
    step = -(-len(packed) // parts)
    body = b"".join(chunk(b"IDAT", packed[at : at + step]) for at in range(0, len(packed), step))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", *header)) + body + chunk(b"IEND", b"")


SAMPLES = bytes(range(100))  # 4 rows of a filter's number and 8 x 3 samples
ROWS = b"".join(b"\1" + SAMPLES[at : at + 24] for at in range(0, 96, 24))


@pytest.mark.parametrize("parts", [1, 3])
def test_stored_samples_decode_to_the_same(parts):
    data = png(ROWS, parts=parts)
    stored = quick.without_deflate(data)
    assert stored != data
    assert (decode_picture(data, "x").array == cv2.imdecode(np.frombuffer(data, np.uint8), -1)).all()
    assert (cv2.imdecode(np.frombuffer(stored, np.uint8), -1) == cv2.imdecode(np.frombuffer(data, np.uint8), -1)).all()


def test_many_stored_blocks():
    image = picture((300, 310, 3))
    data = cv2.imencode(".png", image)[1].tobytes()
    assert len(quick.without_deflate(data)) > image.nbytes
    assert (decode_picture(data, "x").array == image).all()


@pytest.mark.parametrize(
    "data",
    [
        png(ROWS[:-1]),  # a sample too few
        png(ROWS + b"\0" * 25),  # a row too many
        png(ROWS, header=(8, 4, 8, 2, 0, 0, 1)),  # interlaced
        png(ROWS, header=(8, 4, 8, 5, 0, 0, 0)),  # no such colour type
        png(ROWS).replace(b"IEND", b"IENX"),
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 4, 8, 2, 0, 0, 0)) + chunk(b"IDAT", b"no zlib"),
    ],
)
def test_what_is_not_as_declared_is_left_to_the_decoder(data):
    if data[29:33] != b"IENX":
        assert quick.without_deflate(data) == data or b"IENX" in data


def test_a_bomb_is_not_inflated():
    data = png(bytes(50_000_000))
    assert quick.without_deflate(data) == data


JPEGS = {
    "plain": [],
    "4:4:4": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
    "4:2:2": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422],
    "4:4:0": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 3],
}


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_has_opencvs_pixels(name, grey):
    image = picture((45, 70, 3))
    data = cv2.imencode(".jpg", image[..., 0] if grey else image, JPEGS[name])[1].tobytes()
    found = decode_picture(data, "x", inside="quickly")
    assert (found.array == cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)).all()
    assert not found.damage
    assert found.array.flags.writeable


def test_what_libjpeg_notices_is_told_and_what_only_the_codes_tell_where_that_is_asked_for():
    data = cv2.imencode(".jpg", picture((160, 200, 3)))[1].tobytes()
    start, rng = data.find(b"\xff\xda") + 20, np.random.default_rng(2)
    noticed = {"quickly": 0, "thoroughly": 0}
    for _ in range(25):
        at = int(rng.integers(start, len(data) - 60))
        broken = data[:at] + data[at + 40 :]
        for how in noticed:
            found = decode_picture(broken, "x", inside=how)
            noticed[how] += bool(found.damage)
            assert (found.array == cv2.imdecode(np.frombuffer(broken, np.uint8), cv2.IMREAD_UNCHANGED)).all()
        assert decode_picture(broken, "x").damage == ""
    assert noticed["thoroughly"] >= noticed["quickly"] >= 4


def test_what_cannot_be_decoded_is_refused_as_before():
    data = cv2.imencode(".jpg", picture((40, 61, 3)))[1].tobytes()
    with pytest.raises(InputError, match="damaged"):
        decode_picture(data[: len(data) // 2], "x", inside="quickly")


def test_encoded_bytes_are_those_of_the_file(tmp_path):
    image = picture((40, 61, 3))
    write_image(tmp_path / "x.png", image)
    assert (tmp_path / "x.png").read_bytes() == encoded(tmp_path / "x.png", image, None, WriteOptions())


def test_looking_thoroughly_finds_what_libjpeg_notices_too():
    """Of a progressive JPEG that lost its last scans nothing but libjpeg tells."""
    if not quick.reads_jpeg():
        pytest.skip("simplejpeg is not installed")
    done = cv2.imencode(".jpg", picture((64, 96, 3)), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_QUALITY, 95])[
        1
    ].tobytes()
    data = done[: int(0.9 * len(done))] + b"\xff\xd9"
    for inside in ("quickly", "thoroughly"):
        assert "Corrupt JPEG data" in decode_picture(data, "x", inside=inside).damage


@pytest.mark.parametrize("compression", ["lzw", "zstd"])
def test_a_compression_whose_extra_is_missing_is_refused_before_the_work(tmp_path, monkeypatch, compression):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(OutputError, match=rf"with {compression}: pip install 'ufafuse\[tiff\]', or omit the compression"):
        check_output(tmp_path / "x.tif", force=False, options=WriteOptions(compression=compression))


def test_a_whole_jpeg_that_simplejpeg_does_not_know_is_no_damaged_one(monkeypatch):
    """Colours of a third of the width: it says so where it would otherwise say what is damaged."""

    class Unsure:
        @staticmethod
        def decode_jpeg(*_):
            raise ValueError("tjDecompressHeader3(): Could not determine subsampling level of JPEG image")

    monkeypatch.setattr(quick, "_simplejpeg", lambda: Unsure)
    data = cv2.imencode(".jpg", picture((40, 61, 3)))[1].tobytes()
    for inside in ("quickly", "thoroughly"):
        found = decode_picture(data, "x", inside=inside)
        assert found.damage == ""
        assert (found.array == cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)).all()
