"""Radiance's pictures and PFM, as other programs write them: other rows, older runs, remarks, levels multiplied."""

import struct

import numpy as np
import pytest

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.decode import decode_picture

pytestmark = pytest.mark.every_case

HEIGHT, WIDTH = 12, 20
FORMAT = "FORMAT=32-bit_rle_rgbe\n"


def pixels():
    """Mantissas and exponents of a picture with even stretches, and the levels in BGR that they mean."""
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 256, (HEIGHT, WIDTH, 4)).astype(np.uint8)
    stored[..., 0] |= 128  # as every writer leaves the brightest
    stored[..., 3] = rng.integers(120, 136, (HEIGHT, WIDTH))
    stored[:, 3:17] = stored[:, 3:4]
    levels = stored[..., 2::-1] * np.exp2(stored[..., 3:].astype(np.float32) - 136)
    return stored, levels.astype(np.float32)


STORED, LEVELS = pixels()


def radiance(body, header=FORMAT, size=f"-Y {HEIGHT} +X {WIDTH}", magic="#?RADIANCE\n"):
    return f"{magic}{header}\n{size}\n".encode() + body


def new_runs(stored):
    """Rows of four planes, each as runs or as it is."""
    codes = b""
    for row in stored:
        codes += struct.pack(">BBH", 2, 2, len(row))
        for plane in row.T:
            if (plane[3:17] == plane[3]).all():
                codes += bytes((3, *plane[:3], 128 + 14, plane[3], len(row) - 17, *plane[17:]))
            else:
                codes += bytes((len(row), *plane))
    return codes


def old_runs(stored, parts=(13,)):
    """Rows in which a stretch is a pixel, and how often it comes again."""
    run = b"".join(bytes((1, 1, 1, part)) for part in parts)
    return b"".join(row[:4].tobytes() + run + row[17:].tobytes() for row in stored)


TRANSPOSED = np.ascontiguousarray(STORED.transpose(1, 0, 2))
RADIANCE = {
    "flat": radiance(STORED.tobytes()),
    "runs": radiance(new_runs(STORED)),
    "older runs": radiance(old_runs(STORED)),
    "from below": radiance(new_runs(STORED[::-1]), size=f"+Y {HEIGHT} +X {WIDTH}"),
    "from the right": radiance(new_runs(STORED[:, ::-1]), size=f"-Y {HEIGHT} -X {WIDTH}"),
    "upside down": radiance(STORED[::-1, ::-1].tobytes(), size=f"+Y {HEIGHT} -X {WIDTH}"),
    "by columns": radiance(TRANSPOSED.tobytes(), size=f"+X {WIDTH} -Y {HEIGHT}"),
    "by columns from below": radiance(TRANSPOSED[:, ::-1].tobytes(), size=f"+X {WIDTH} +Y {HEIGHT}"),
    "by columns from the right": radiance(TRANSPOSED[::-1].tobytes(), size=f"-X {WIDTH} -Y {HEIGHT}"),
    "remarks": radiance(new_runs(STORED), "# by hand\nVIEW= -vtv -vh 45\nGAMMA=1\n" + FORMAT, magic="#?RGBE\n"),
    "no format": radiance(new_runs(STORED), "SOFTWARE=x\n"),
    "carriage returns": radiance(STORED.tobytes(), FORMAT.replace("\n", "\r\n") + "\r", magic="#?RADIANCE\r\n"),
    "exposures": radiance(new_runs(STORED), FORMAT + "EXPOSURE=2\n EXPOSURE= 0.25 \n"),
    "colour correction": radiance(old_runs(STORED), FORMAT + "COLORCORR=1 2 4\n"),
    "its usual primaries": radiance(STORED.tobytes(), FORMAT + "PRIMARIES=0.640 0.330 0.290 0.600 0.150 0.060 0.333 0.333\n"),
}
UNDONE = {"exposures": 0.5, "colour correction": np.array([4, 2, 1], np.float32)}


@pytest.mark.parametrize("name", RADIANCE)
def test_a_radiance_picture_is_upright_and_in_the_levels_of_its_scene(name):
    found = decode_picture(RADIANCE[name], "x.hdr")
    assert found.array.dtype == np.float32
    np.testing.assert_allclose(found.array, LEVELS / UNDONE.get(name, 1), rtol=1e-6)
    assert found.warnings == ()


def test_runs_of_more_than_a_byte_counts():
    """The second of two runs, one behind the other, counts 256 times."""
    row = np.repeat(STORED[:1, :1], 700, axis=1)
    data = radiance(row[:, :1].tobytes() + bytes((1, 1, 1, 699 % 256, 1, 1, 1, 699 // 256)), size="-Y 1 +X 700")
    np.testing.assert_array_equal(decode_picture(data, "x").array, np.repeat(LEVELS[:1, :1], 700, axis=1))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("PRIMARIES=0.7 0.3 0.17 0.8 0.13 0.05 0.33 0.33\n", "primaries are other than those of sRGB"),
        ("GAMMA=2.2\n", "its gamma, 2.2, is passed over"),
        ("PIXASPECT=1.5\n", "its pixels' height by their width, 1.5, is passed over"),
    ],
)
def test_what_of_a_radiance_header_is_not_heeded_is_said(line, said):
    found = decode_picture(radiance(new_runs(STORED), FORMAT + line), "x")
    assert said in " ".join(found.warnings)
    np.testing.assert_allclose(found.array, LEVELS, rtol=1e-6)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (radiance(new_runs(STORED), "FORMAT=32-bit_rle_xyze\n"), r"of XYZ colours, which is not read: convert it to RGB"),
        (radiance(new_runs(STORED), FORMAT + "EXPOSURE=0\n"), r"says EXPOSURE='0', which is none"),
        (radiance(new_runs(STORED), FORMAT + "EXPOSURE=1e15\n" * 30), r"multiplied by .*: correct its EXPOSURE"),
        (radiance(new_runs(STORED), FORMAT + "COLORCORR=1 nan 1\n"), r"which is none"),
        (radiance(new_runs(STORED)[:-9]), r"is damaged"),
        (radiance(STORED.tobytes()[:-9]), r"truncated, 237 of 240 pixels"),
        (radiance(old_runs(STORED)[:-9]), r"truncated, 237 of 240 pixels"),
        (radiance(bytes((1, 1, 1, 255)) * 100), r"truncated, 0 of 240 pixels"),
        (radiance(STORED.tobytes(), size="-Y 12 +Y 20"), r"declares no size"),
        (radiance(STORED.tobytes(), size="-Y 0 +X 20"), r"declares no size"),
    ],
)
def test_a_radiance_picture_that_cannot_be_read_is_one_sentence(data, said):
    with pytest.raises(InputError, match=said):
        decode_picture(data, "x.hdr")


@pytest.mark.parametrize(
    "header", ["{0}\n{1} {2}\n{3}\n", "{0} {1} {2} {3}\n", "{0}\r\n{1} {2}\r\n{3}\r\n", "{0}\n# a 1\n{1}\n{2}\n#\n{3} "]
)
@pytest.mark.parametrize(("scale", "order"), [("-1.0", "<f4"), ("1", ">f4"), ("-2.5e0", "<f4")])
@pytest.mark.parametrize("kind", ["PF", "Pf"])
def test_a_pfm_of_any_header_gives_the_levels_that_are_stored(header, scale, order, kind):
    levels = (LEVELS if kind == "PF" else LEVELS[..., 0]).copy()
    rows = levels[::-1, :, ::-1] if kind == "PF" else levels[::-1]
    stored = bytearray(rows.astype(order).tobytes())
    stored[:4] = b"\n\n\r\n"  # which might be taken for the header's end
    data = header.format(kind, WIDTH, HEIGHT, scale).encode() + stored
    found = decode_picture(data, "x.pfm")
    levels.reshape(HEIGHT, WIDTH, -1)[-1, 0, -1] = np.frombuffer(stored, order, 1)[0]
    np.testing.assert_array_equal(found.array, levels)
    assert ("its scale, 2.5, is passed over" in " ".join(found.warnings)) is ("2.5" in scale)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PF\n4 4\n0\n" + bytes(192), "says no size or scale"),
        (b"PF\n4 4\n1e999\n" + bytes(192), "says no size or scale"),
        (b"PF\n4 0\n1\n" + bytes(192), "says no size or scale"),
        (b"PF\n4 4\n-1\n" + bytes(191), "truncated, 47 of 48 samples"),
        (b"PF 90000 90000 -1\n" + bytes(191), "declares 90000 x 90000 pixels"),
    ],
)
def test_a_pfm_that_cannot_be_read_is_one_sentence(data, said):
    with pytest.raises(InputError, match=said):
        decode_picture(data, "x.pfm")
