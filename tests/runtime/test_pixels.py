"""What a header declares is believed only up to a limit, before anything is decoded."""

import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.images import decode_image, read_image
from ufafuse.runtime.pixels import MOST_PIXELS, check_pixels, declared_size, most_pixels


def with_jpeg_size(data, height, width):
    at = next(i for i in range(len(data) - 9) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC2) and data[i + 7 : i + 9])
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def with_png_size(data, height, width):
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def with_bmp_size(data, height, width):
    return data[:18] + struct.pack("<ii", width, -height) + data[26:]


def gif(height, width):
    return (
        b"GIF89a"
        + struct.pack("<HH", width, height)
        + b"\x80\0\0"
        + b"\0" * 6
        + b",\0\0\0\0"
        + struct.pack("<HH", width, height)
    )


def webp(kind, body):
    return b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBP" + kind + struct.pack("<I", len(body)) + body


def tiff(height, width, *, order="<", big=False, kind=4, tags=(256, 257)):
    entry, first = ("HHQQ", 16) if big else ("HHII", 8)
    head = (b"II" if order == "<" else b"MM") + struct.pack(
        f"{order}HHHQ" if big else f"{order}HI", *((43, 8, 0, first) if big else (42, first))
    )
    code = {3: "H", 4: "I", 16: "Q"}[kind]
    entries = b""
    for tag, value in zip(tags, (width, height), strict=True):
        field = struct.pack(f"{order}{code}", value).ljust(8 if big else 4, b"\0")
        entries += struct.pack(f"{order}{entry[:3]}", tag, kind, 1) + field
    return head + struct.pack(f"{order}{'Q' if big else 'H'}", len(tags)) + entries + b"\0" * 8


def encoded(suffix, options=(), shape=(24, 32, 3)):
    return cv2.imencode(suffix, np.random.default_rng(0).integers(0, 256, shape, np.uint8), list(options))[1].tobytes()


HUGE = (32000, 31999)
BOMBS = {
    "jpeg": lambda: with_jpeg_size(encoded(".jpg"), *HUGE),
    "progressive jpeg": lambda: with_jpeg_size(encoded(".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)), *HUGE),
    "png": lambda: with_png_size(encoded(".png"), *HUGE),
    "bmp": lambda: with_bmp_size(encoded(".bmp"), *HUGE),
    "gif": lambda: gif(*HUGE),
    "tiff": lambda: tiff(*HUGE, kind=3),
    "tiff, big-endian": lambda: tiff(*HUGE, order=">", kind=3),
    "bigtiff": lambda: tiff(*HUGE, big=True, kind=16),
    "tiff with a tile of that size": lambda: tiff(*HUGE, tags=(322, 323)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_its_header(name):
    data = BOMBS[name]()
    assert declared_size(data) == HUGE
    with pytest.raises(InputError, match=r"x declares 32000 x 31999 pixels, 1024 million.*`max_memory`"):
        decode_image(data, "x")


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (webp(b"VP8X", b"\0\0\0\0" + (16383).to_bytes(3, "little") + (9999).to_bytes(3, "little")), (10000, 16384)),
        (webp(b"VP8L", b"\x2f" + struct.pack("<I", 16383 | 9999 << 14)), (10000, 16384)),
        (webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 0x4000 | 16383, 9999)), (9999, 16383)),
    ],
)
def test_the_kinds_of_webp(data, size):
    assert declared_size(data) == size


@pytest.mark.parametrize("shape", [(24, 32, 3), (1, 1, 3), (33, 7, 3)])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif", ".gif"])
def test_what_encoders_write_is_understood(suffix, shape):
    if not cv2.haveImageWriter(f"x{suffix}"):
        pytest.skip(f"this OpenCV writes no {suffix}")
    assert declared_size(encoded(suffix, shape=shape)) == shape[:2]


def test_the_memory_of_a_bomb_is_not_taken(tmp_path):
    """In a process of its own, whose peak nothing else raises."""
    path = tmp_path / "bomb.jpg"
    path.write_bytes(BOMBS["jpeg"]())
    program = (
        "import resource, sys; from pathlib import Path; from ufafuse.runtime.images import read_image\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_image(Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    name, kib = done.stdout.split()
    assert name == "InputError"
    assert int(kib) < 50_000


class TestLimit:
    def test_a_budget_decides_where_one_is_given(self):
        assert most_pixels(90) == 10_000_000
        assert most_pixels(90, pictures=10) == 3_000_000
        assert most_pixels(1e6) > MOST_PIXELS

    def test_without_one_the_machine_does(self, monkeypatch):
        monkeypatch.setattr("ufafuse.runtime.pixels._machine_bytes", lambda: 10**12)
        assert most_pixels() == MOST_PIXELS
        monkeypatch.setattr("ufafuse.runtime.pixels._machine_bytes", lambda: 18 * 10**8)
        assert most_pixels() == 10**8

    def test_a_picture_of_nothing_is_none(self):
        with pytest.raises(InputError, match="declares 0 x 5"):
            check_pixels((0, 5), "x")

    def test_the_largest_allowed_is_decoded(self):
        data = encoded(".png")
        assert decode_image(data, "x", most=24 * 32).shape == (24, 32, 3)
        with pytest.raises(InputError, match="declares"):
            decode_image(data, "x", most=24 * 32 - 1)

    def test_a_file_of_more_bytes_than_its_pixels_can_have_is_not_read(self, tmp_path):
        with (tmp_path / "x.png").open("wb") as stream:
            stream.write(encoded(".png"))
            stream.truncate(1 << 40)
        with pytest.raises(InputError, match="MB are read"):
            read_image(tmp_path / "x.png")


STARTS = [
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"BM",
    b"GIF89a",
    b"RIFF\0\0\0\0WEBPVP8 ",
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"MM\0+",
]


@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=300))
@settings(max_examples=500, deadline=None)
def test_any_bytes_have_a_size_or_none(start, rest):
    size = declared_size(start + rest)
    assert size is None or (len(size) == 2 and min(size) >= 0)


@given(
    suffix=st.sampled_from([".jpg", ".png", ".bmp", ".webp", ".tif"]),
    junk=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=4),
)
@settings(max_examples=300, deadline=None)
def test_what_the_decoder_makes_is_never_larger_than_declared(suffix, junk):
    """The header is read as the decoder reads it: a picture cannot say one size here and have another there."""
    data = bytearray(encoded(suffix))
    for place, value in junk:
        if place < len(data):
            data[place] = value
    size = declared_size(bytes(data))
    if size is None or size[0] * size[1] > 10**6:
        return
    try:
        decoded = cv2.imdecode(np.frombuffer(bytes(data), np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        return
    assert decoded is None or decoded.shape[0] * decoded.shape[1] <= size[0] * size[1]


def test_the_commands_budget_bounds_what_is_decoded(tmp_path):
    """And allows what the default would not."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(encoded(".png", shape=(300, 400, 3)))
    arguments = ["fuse", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "-o", str(tmp_path / "o.png"), "--max-memory", "1"]
    done = CliRunner().invoke(build_app(), arguments)
    assert done.exit_code == 2
    assert "declares 300 x 400 pixels" in done.stderr
    assert not (tmp_path / "o.png").exists()
