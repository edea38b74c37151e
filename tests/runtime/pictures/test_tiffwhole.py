"""TIFFs whose tags cannot be true together, or whose parts are not there: refused or told, never another picture."""

import io
import struct

import numpy as np
import pytest
import tifffile

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.decode import decode_picture

HEIGHT, WIDTH = 48, 64
RGB = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
GREY = RGB[..., 0]
PLANES = np.moveaxis(RGB, 2, 0)
TILES = {"tile": (32, 32)}
COLOUR, LEVELS = {"photometric": "rgb"}, {"photometric": "minisblack"}

LAYOUTS = {
    "plain": (RGB, COLOUR),
    "plain 12 bit": (GREY.astype(np.uint16) * 16, LEVELS | {"bitspersample": 12}),
    "plain planes": (PLANES, COLOUR | {"planarconfig": "separate"}),
    "plain tiles": (RGB, COLOUR | TILES),
    "deflate": (RGB, COLOUR | {"compression": "zlib", "rowsperstrip": 16}),
    "deflate planes": (PLANES, COLOUR | {"compression": "zlib", "planarconfig": "separate"}),
    "deflate tiles": (RGB, COLOUR | TILES | {"compression": "zlib"}),
    "lzw": (GREY, LEVELS | {"compression": "lzw"}),
    "jpeg": (GREY, LEVELS | {"compression": "jpeg", "rowsperstrip": 16}),
    "jpeg whole": (GREY, LEVELS | {"compression": "jpeg"}),
    "jpeg 2000": (RGB, COLOUR | {"compression": "jpeg2000"}),
}
# Of tags that say where the pixels lie and of what size and kind they are.
TAGS = (256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 322, 323, 324, 325)


def written(name):
    array, options = LAYOUTS[name]
    tifffile.imwrite(stream := io.BytesIO(), array, metadata=None, **options)
    return stream.getvalue()


def damaged(data, tag):
    """The file with one of the tag's entries changed: its number, type, count or value."""
    ways = [
        (0, "H", (tag.code ^ 1, 65_000)),
        (2, "H", (0, 2, 5, 11, 99)),
        (4, "I", (0, 1, tag.count + 1, 1 << 20)),
        (8, "I" if int(tag.dtype) == 4 or tag.count > 1 else "H", (0, 1, 2, 3, 5, 7, 16, 100, 65_535)),
    ]
    for at, form, values in ways:
        for value in values:
            changed = bytearray(data)
            struct.pack_into("<" + form, changed, tag.offset + at, value)
            if bytes(changed) != data and not unknowable(tag.code, at, value):
                yield (tag.code, at, value), bytes(changed)


def unknowable(code, at, value):
    """Whether the file with this entry might have been meant so."""
    return (
        (code == 262 and at == 8 and value < 2)  # which of the two is white
        or (code == 284 and at == 8 and value == 2)  # of a single part: its samples in another order
        or (code in (273, 324) and at == 8 and value > 8)  # somewhere else in the file
    )


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_changed_tag_makes_no_other_picture_in_silence(name):
    whole = written(name)
    read = decode_picture(whole, "x.tif")
    assert not read.damage
    wrong, seen = [], 0
    for tag in tifffile.TiffFile(io.BytesIO(whole)).pages[0].tags:
        if tag.code not in TAGS:
            continue
        for what, data in damaged(whole, tag):
            seen += 1
            try:
                found = decode_picture(data, "x.tif", inside="thoroughly")
            except InputError:
                continue
            same = found.array.shape == read.array.shape and np.array_equal(found.array, read.array)
            wrong += [] if same or found.damage or found.warnings else [what]
    assert seen > 100
    assert wrong == []


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_file_that_was_cut_off_is_refused_wherever_it_ends(name):
    whole = written(name)
    with tifffile.TiffFile(io.BytesIO(whole)) as file:
        page = file.pages[0]
        end = max(start + length for start, length in zip(page.dataoffsets, page.databytecounts, strict=True))
    for cut in (end - 1, end - 2, end - 9, end * 7 // 8, end // 2):
        with pytest.raises(InputError, match=r"^x\.tif is a damaged TIFF"):
            decode_picture(whole[:cut], "x.tif")


def test_a_jpeg_2000_in_a_tiff_whose_end_is_zeros_is_refused():
    whole = written("jpeg 2000")
    with pytest.raises(InputError, match=r"its last \d+ bytes are 0: a copy that was broken off"):
        decode_picture(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2), "x.tif")


@pytest.mark.parametrize("compression", [22_610, 34_934])
def test_jpeg_xr_is_refused_before_its_decoder_sees_it(compression):
    data = bytearray(written("plain"))
    tag = tifffile.TiffFile(io.BytesIO(bytes(data))).pages[0].tags[259]
    struct.pack_into("<H", data, tag.valueoffset, compression)
    with pytest.raises(
        InputError, match=r"^x\.tif is a TIFF of JPEG XR, which is not read: save it with another compression\.$"
    ):
        decode_picture(bytes(data), "x.tif")


@pytest.mark.parametrize(("compression", "least"), [("zlib", 40), ("lzw", 15), ("packbits", 1)])
def test_damage_that_only_libtiff_sees_and_does_not_say(compression, least):
    """Luma and colour differences that are no JPEG are read by OpenCV's libtiff, whose errors nobody hears."""
    options = {"photometric": "ycbcr", "subsampling": (1, 1), "compression": compression, "rowsperstrip": 16}
    rows = np.indices((HEIGHT, WIDTH)).sum(0)[..., None] * np.array([2, 1, 1]) + np.array([0, 60, 80])
    tifffile.imwrite(stream := io.BytesIO(), rows.astype(np.uint8), metadata=None, **options)
    whole, rng, noticed = stream.getvalue(), np.random.default_rng(0), 0
    assert not decode_picture(whole, "x.tif").damage
    page = tifffile.TiffFile(io.BytesIO(whole)).pages[0]
    for _ in range(40):
        data, at = bytearray(whole), page.dataoffsets[0] + int(rng.integers(page.databytecounts[0]))
        data[at] ^= 1 << int(rng.integers(8))
        try:
            noticed += bool(decode_picture(bytes(data), "x.tif").damage)
        except InputError:
            noticed += 1
    assert noticed >= least


def test_rows_that_fill_up_the_last_part_are_no_contradiction():
    """48 rows in strips of 20: some programs write all 20 of the last one."""
    rows = np.concatenate([RGB, np.zeros((12, WIDTH, 3), np.uint8)])
    tifffile.imwrite(stream := io.BytesIO(), rows, metadata=None, rowsperstrip=20, photometric="rgb")
    data = bytearray(stream.getvalue())
    tag = tifffile.TiffFile(io.BytesIO(bytes(data))).pages[0].tags[257]
    struct.pack_into("<I", data, tag.valueoffset, HEIGHT)
    found = decode_picture(bytes(data), "x.tif", inside="thoroughly")
    assert found.damage == ""
    assert np.array_equal(found.array, RGB[..., ::-1])


def test_a_jpeg_whose_rows_are_filled_up_is_no_contradiction():
    """41 rows in a JPEG of 48."""
    data = bytearray(written("jpeg whole"))
    for code in (257, 278):
        tag = tifffile.TiffFile(io.BytesIO(bytes(data))).pages[0].tags[code]
        struct.pack_into("<I" if int(tag.dtype) == 4 else "<H", data, tag.valueoffset, HEIGHT - 7)
    found = decode_picture(bytes(data), "x.tif", inside="thoroughly")
    assert found.damage == ""
    assert found.array.shape == (HEIGHT - 7, WIDTH)
