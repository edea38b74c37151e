"""Pixel formats against references that go bit by bit, as the naming convention's tables draw them."""

import random

import numpy as np
import pytest

from ufafuse.runtime.bayer import demosaiced
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pfnc import BrokenBuffer, format_of, format_of_fourcc, picture_from, raw_from

PATTERNS = {"RG": "rggb", "GR": "grbg", "GB": "gbrg", "BG": "bggr"}
GREYS = ["Mono1p", "Mono2p", "Mono4p", "Mono8", "Mono10", "Mono12", "Mono14", "Mono16", "Mono10p", "Mono12p", "Mono14p"]
GREYS += ["Mono10Packed", "Mono12Packed"]
MOSAICS = [f"Bayer{cell}{rest}" for cell in PATTERNS for rest in ("8", "10", "12", "16", "10p", "12p", "10Packed", "12Packed")]
COLOURS = ["RGB8", "BGR8", "RGBa8", "BGRa8", "RGB10", "BGR12", "RGB16", "RGB10p", "BGR12p", "RGB8Packed", "RGB8_Planar"]
COLOURS += ["RGB12_Planar"]


def reference(levels, name):
    """The bytes of ``levels``, one line of samples, written sample by sample and bit by bit."""
    bits = format_of(name).bits
    if name.endswith("Packed") and not name.startswith(("RGB", "BGR")):
        out, low = [], bits - 8
        for at in range(0, len(levels), 2):
            two = [int(level) for level in levels[at : at + 2]]
            middle = two[0] & ((1 << low) - 1)
            if len(two) == 2:
                middle |= (two[1] & ((1 << low) - 1)) << 4
            out += [two[0] >> low, middle, *([two[1] >> low] if len(two) == 2 else [])]
        return bytes(out)
    if name.endswith("p"):
        stream = 0
        for place, level in enumerate(levels):
            stream |= int(level) << (place * bits)
        return stream.to_bytes(-(-len(levels) * bits // 8), "little")
    return b"".join(int(level).to_bytes(1 if bits <= 8 else 2, "little") for level in levels)


def test_the_numbers_of_words_count_in_whatever_order_they_lie():
    levels = np.arange(12, dtype=np.uint16).reshape(3, 4) * 300
    for order in "<>":
        np.testing.assert_array_equal(picture_from(levels.astype(f"{order}u2"), "Mono16", 3, 4), levels)


def lines_of(picture, name):
    """The picture as its lines of samples stand in memory."""
    if picture.ndim == 2:
        return list(picture)
    if name.endswith("Planar"):
        return [line for channel in range(3) for line in picture[..., channel]]
    return list(picture.reshape(picture.shape[0], -1))


def random_picture(rng, name, height, width):
    layout = format_of(name)
    channels = {"mono": (), "bayer": (), "rgb": (3,), "bgr": (3,), "rgba": (4,), "bgra": (4,)}[layout.colours]
    dtype = np.uint8 if layout.bits <= 8 else np.uint16
    return rng.integers(0, layout.white + 1, (height, width, *channels)).astype(dtype)


def as_bgr(picture, name):
    if picture.ndim == 2:
        return picture
    return picture[..., :3] if name.startswith("BGR") else picture[..., 2::-1]


@pytest.mark.parametrize("name", GREYS + MOSAICS + COLOURS)
def test_every_format_is_exact_at_any_size_with_lines_that_go_on_or_are_padded(name):
    rng, draw = np.random.default_rng(len(name)), random.Random(name)
    for _ in range(20):  # of each of more than fifty formats: over a thousand sizes
        height, width = draw.randint(1, 9), draw.randint(1, 33)
        picture = random_picture(rng, name, height, width)
        right, lines = as_bgr(picture, name), lines_of(picture, name)
        going_on = reference(np.concatenate(lines), name)
        raw = raw_from(going_on, name, height, width)
        np.testing.assert_array_equal(raw.samples, right)
        assert (raw.samples.dtype, raw.white) == (right.dtype, format_of(name).white)
        assert raw.bayer == (PATTERNS[name[5:7]] if name.startswith("Bayer") else None)
        each = [reference(line, name) for line in lines]
        stride = len(each[0]) + draw.randint(0, 20)
        padded = b"".join(line + draw.randbytes(stride - len(line)) for line in each)
        np.testing.assert_array_equal(raw_from(padded, name, height, width, stride=stride).samples, right)
        without_last = padded[: len(padded) - (stride - len(each[0]))]
        np.testing.assert_array_equal(raw_from(bytearray(without_last), name, height, width, stride=stride).samples, right)
        with pytest.raises(BrokenBuffer, match="are expected"):
            raw_from(padded + b"\0", name, height, width, stride=stride)
        if len(going_on) > 1:
            with pytest.raises(BrokenBuffer, match=f"{len(going_on) - 1} bytes"):
                raw_from(going_on[:-1], name, height, width)


@pytest.mark.parametrize(
    ("name", "order", "studio", "red", "blue"),
    [
        ("YUV422_8", "YUYV", False, 0.299, 0.114),
        ("YUV422", "YUYV", False, 0.299, 0.114),
        ("YUV422_8_UYVY", "UYVY", False, 0.299, 0.114),
        ("YUV422Packed", "UYVY", False, 0.299, 0.114),
        ("YCbCr422_8", "YUYV", False, 0.299, 0.114),
        ("YCbCr601_422_8_CbYCrY", "UYVY", True, 0.299, 0.114),
        ("YCbCr709_422_8", "YUYV", True, 0.2126, 0.0722),
        ("YUV8_UYV", "UYV", False, 0.299, 0.114),
        ("YCbCr8", "YUV", False, 0.299, 0.114),
    ],
)
def test_luma_and_chroma_become_the_colours_of_their_standard(name, order, studio, red, blue):
    rng = np.random.default_rng(7)
    for _ in range(60):
        height, width = int(rng.integers(1, 9)), 2 * int(rng.integers(1, 17))
        data = rng.integers(0, 256, (height, width * (2 if len(order) == 4 else 3)), np.uint8)
        cells = data.reshape(height, -1, len(order)).astype(np.float64)
        at = {letter: [place for place, it in enumerate(order) if it == letter] for letter in "YUV"}
        luma = cells[..., at["Y"]].reshape(height, width)
        u, v = (np.repeat(cells[..., at[letter][0]], len(at["Y"]), axis=1) - 128 for letter in "UV")
        if studio:
            luma, u, v = (luma - 16) * 255 / 219, u * 255 / 224, v * 255 / 224
        r, b = luma + 2 * (1 - red) * v, luma + 2 * (1 - blue) * u
        g = (luma - red * r - blue * b) / (1 - red - blue)
        exact = np.stack([b, g, r], axis=-1).clip(0, 255)
        found = picture_from(data.tobytes(), name, height, width)
        assert np.abs(found - exact).max() <= 0.5 + 1e-4


@pytest.mark.parametrize(("code", "bits"), [("Y10P", 10), ("pRAA", 10), ("pgCC", 12), ("Y10B", 10)])
def test_video4linux_layouts_that_genicam_does_not_have(code, bits):
    layout = format_of_fourcc(code)
    rng, low = np.random.default_rng(3), bits - 8
    levels = rng.integers(0, 1 << bits, (5, 24)).astype(np.uint16)
    lines = []
    for line in levels:
        if code == "Y10B":
            stream = "".join(f"{level:010b}" for level in line)
            lines.append(int(stream, 2).to_bytes(len(stream) // 8, "big"))
            continue
        per = 8 // low
        for at in range(0, 24, per):
            few = [int(level) for level in line[at : at + per]]
            last = sum((level & ((1 << low) - 1)) << (low * place) for place, level in enumerate(few))
            lines.append(bytes([*(level >> low for level in few), last]))
    np.testing.assert_array_equal(raw_from(b"".join(lines), layout, 5, 24).samples, levels)


def test_what_video4linux_calls_by_letters():
    assert format_of_fourcc("Y10").name == "Mono10"
    assert format_of_fourcc("GREY").white == 255
    assert [format_of_fourcc(code).pattern for code in ("BA81", "BA10", "pGAA", "RG12")] == ["bggr", "grbg", "gbrg", "rggb"]
    assert format_of_fourcc("MJPG") is None
    assert format_of_fourcc("YUYV") is None


def test_a_mosaic_becomes_a_colour_picture_of_its_own_memory():
    data = np.random.default_rng(1).integers(0, 4096, 8 * 10).astype(np.uint16)  # words, as SDKs give them
    picture = picture_from(data, "BayerGB12", 8, 10)
    np.testing.assert_array_equal(picture, demosaiced(data.reshape(8, 10), "gbrg", white=4095))
    for name in ("Mono8", "Mono16", "BGR8"):
        size = {"Mono8": 80, "Mono16": 160, "BGR8": 240}[name]
        buffer = np.zeros(size, np.uint8)
        samples = raw_from(buffer, name, 8, 10).samples
        assert not np.shares_memory(samples, buffer)
        samples[0] = 1


@pytest.mark.parametrize("name", ["", "Mono9", "Mono12q", "Coord3D_ABC32f", "Bayer12", "RGB4", "Mono8Packed", "YUV411_8"])
def test_an_unknown_format_is_one_sentence(name):
    with pytest.raises(InputError, match="is not known: set the camera to one such as Mono8"):
        format_of(name)


def test_sizes_that_cannot_be():
    with pytest.raises(InputError, match="has no pixels"):
        raw_from(b"", "Mono8", 0, 4)
    with pytest.raises(InputError, match="set an even width"):
        raw_from(bytes(6), "YUV422_8", 1, 3)
    with pytest.raises(InputError, match="a stride of 3 bytes is too short for 4 pixels of Mono8: 4 are needed"):
        raw_from(bytes(8), "Mono8", 2, 4, stride=3)
