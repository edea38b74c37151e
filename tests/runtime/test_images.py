"""Image files: every level kept, never half a file read or written."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.images import check_output, decode_image, read_image, write_image


def picture(shape, dtype=np.uint8):
    height, width = shape[:2]
    ramp = np.linspace(0, np.iinfo(dtype).max, height * width).reshape(height, width).astype(dtype)
    return ramp if len(shape) == 2 else np.stack([np.roll(ramp, 7 * channel) for channel in range(shape[2])], axis=2)


def encoded(suffix, shape=(24, 32, 3), dtype=np.uint8):
    return cv2.imencode(suffix, picture(shape, dtype))[1].tobytes()


KEPT = [
    (".png", (7, 9), np.uint8),
    (".png", (7, 9, 3), np.uint8),
    (".png", (7, 9, 4), np.uint8),
    (".png", (7, 9), np.uint16),
    (".png", (7, 9, 3), np.uint16),
    (".png", (7, 9, 4), np.uint16),
    (".tif", (7, 9), np.uint8),
    (".tif", (7, 9, 3), np.uint16),
    (".tiff", (7, 9, 4), np.uint8),
    (".bmp", (7, 9, 3), np.uint8),
    (".webp", (7, 9, 3), np.uint8),
    (".webp", (7, 9, 4), np.uint8),
    (".PNG", (1, 1, 3), np.uint8),
]


@pytest.mark.parametrize(("suffix", "shape", "dtype"), KEPT)
def test_written_and_read_again(tmp_path, suffix, shape, dtype):
    path, image = tmp_path / f"x{suffix}", picture(shape, dtype)
    if shape[2:] == (4,):
        image[..., 3] = np.maximum(image[..., 3], 1)  # WebP drops the colour of wholly transparent pixels
    write_image(path, image)
    np.testing.assert_array_equal(read_image(path), image)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_jpeg_is_close(tmp_path):
    smooth = cv2.GaussianBlur(picture((40, 40, 3)), (0, 0), 5)
    write_image(tmp_path / "x.jpg", smooth)
    assert np.abs(read_image(tmp_path / "x.jpg").astype(int) - smooth).mean() < 3


class TestExif:
    """Orientation 6: the camera was turned, the first row is the picture's right side."""

    @staticmethod
    def exif(orientation):
        tag = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
        return b"II*\0\x08\0\0\0\x01\0" + tag + b"\0\0\0\0"

    def jpeg(self):
        body = b"Exif\0\0" + self.exif(6)
        data = encoded(".jpg", (8, 16, 3))
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]

    def png(self, shape):
        data, body = encoded(".png", shape), self.exif(6)
        chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
        return data[:33] + chunk + data[33:]  # after the header's 8 + 25 bytes

    def test_jpeg_upright(self):
        assert decode_image(self.jpeg(), "x.jpg").shape == (16, 8, 3)

    def test_png_upright_with_its_alpha(self):
        plain, turned = (decode_image(data, "x.png") for data in (encoded(".png", (8, 16, 4)), self.png((8, 16, 4))))
        expected = cv2.rotate(plain, cv2.ROTATE_90_CLOCKWISE) if turned.shape[0] == 16 else plain
        np.testing.assert_array_equal(turned, expected)
        assert decode_image(self.png((8, 16, 3)), "x.png").shape[:2] == turned.shape[:2]


class TestUnreadable:
    def test_missing_folder_empty(self, tmp_path):
        with pytest.raises(InputError, match=r"no\.png does not exist: give an image file"):
            read_image(tmp_path / "no.png")
        with pytest.raises(InputError, match="is a folder"):
            read_image(tmp_path)
        (tmp_path / "empty.png").touch()
        with pytest.raises(InputError, match=r"empty\.png is empty \(0 bytes\)"):
            read_image(tmp_path / "empty.png")

    def test_no_image(self, tmp_path):
        (tmp_path / "text.png").write_text("not a picture\n" * 20)
        with pytest.raises(InputError, match=r"text\.png is no image that can be read"):
            read_image(tmp_path / "text.png")

    def test_refused_by_the_system(self, tmp_path, monkeypatch):
        (tmp_path / "x.png").write_bytes(encoded(".png"))

        def refuse(*_arguments):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("os.open", refuse)
        with pytest.raises(InputError, match=r"x\.png cannot be read: Permission denied"):
            read_image(tmp_path / "x.png")

    @pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.97])
    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif"])
    def test_truncated(self, suffix, share):
        data = encoded(suffix, (64, 64, 3))
        with pytest.raises(InputError, match=r"damaged|no image that can be read|cannot be decoded"):
            decode_image(data[: int(len(data) * share)], f"x{suffix}")

    def test_a_flipped_bit_in_a_png(self):
        data = bytearray(encoded(".png"))
        data[len(data) // 2] ^= 16
        with pytest.raises(InputError, match="wrong checksum"):
            decode_image(bytes(data), "x.png")

    def test_other_samples(self):
        stream = io.BytesIO()
        tifffile.imwrite(stream, np.ones((4, 4), np.complex64))
        with pytest.raises(InputError, match="has samples of complex64"):
            decode_image(stream.getvalue(), "x.tif")


@given(
    data=st.binary(max_size=200), suffix=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF", b"II*\0"])
)
@example(data=b"\0\0\0\0IEND\xaeB`\x82", suffix=b"\x89PNG\r\n\x1a\n")
@example(data=b"\xc0\x00\x08", suffix=b"\xff\xd8\xff")  # a JPEG's header, cut off
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_refused_with_a_sentence(data, suffix):
    try:
        image = decode_image(suffix + data, "x")
    except InputError as error:
        assert str(error).startswith("x ")
    else:
        assert image.size > 0


@given(
    suffix=st.sampled_from([".png", ".jpg", ".bmp", ".webp", ".tif"]),
    place=st.floats(0, 1, exclude_max=True),
    junk=st.binary(min_size=1, max_size=8),
    channels=st.sampled_from([(), (3,), (4,)]),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_files_are_refused_or_decoded(suffix, place, junk, channels):
    data = bytearray(encoded(suffix, (12, 16, *(channels if suffix != ".jpg" else channels[:0] or (3,)))))
    start = int(place * len(data))
    data[start : start + len(junk)] = junk
    try:
        image = decode_image(bytes(data), "x")
    except InputError:
        return
    assert image.ndim in (2, 3)
    assert image.dtype in (np.uint8, np.uint16)


class TestOutputs:
    @pytest.mark.parametrize(
        ("name", "image", "told"),
        [
            ("x.gif", None, "suffix '.gif'"),
            ("x", None, "x has no suffix: end it in .png"),
            ("no/x.png", None, "no is not a folder: make it first"),
            ("folder.png", None, r"folder\.png is a folder: name an image file in it, such as .*folder\.png/fused\.png"),
            ("folder", None, r"folder is a folder: name an image file in it, such as .*folder/fused\.png"),
            ("there.png", None, "exists already: choose another name, or replace it with `force=True`"),
            ("x.jpg", picture((4, 4), np.uint16), "cannot hold the 16-bit levels"),
            ("x.bmp", picture((4, 4, 4)), "cannot hold the frames' alpha"),
        ],
    )
    def test_refused_before_any_work(self, tmp_path, name, image, told):
        (tmp_path / "folder.png").mkdir()
        (tmp_path / "folder").mkdir()
        (tmp_path / "there.png").touch()
        with pytest.raises(OutputError, match=told):
            check_output(tmp_path / name, force=False, image=image)

    def test_force_replaces(self, tmp_path):
        (tmp_path / "x.png").write_text("old")
        write_image(tmp_path / "x.png", picture((4, 4)), force=True)
        assert read_image(tmp_path / "x.png").shape == (4, 4)

    def test_below_a_file_and_where_nothing_can_be_made(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="file is not a folder"):
            write_image(tmp_path / "file" / "x.png", picture((4, 4)))

    def test_what_an_encoder_refuses(self, tmp_path):
        with pytest.raises(OutputError, match=r"cannot hold 1 x 20000 pixels, \.webp ends at 16383 a side"):
            write_image(tmp_path / "x.webp", np.zeros((1, 20_000, 3), np.uint8))
        assert list(tmp_path.iterdir()) == []
