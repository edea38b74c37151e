"""Every kind of BMP: headers, bits a pixel, masks, rows from above and from below."""

import struct

import numpy as np
import pytest

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.decode import decode_picture

pytestmark = pytest.mark.every_case

HEIGHT, WIDTH = 7, 13
HEADERS = {"core": 12, "os2 cut short": 16, "v1": 40, "v2": 52, "v3": 56, "os2": 64, "v4": 108, "v5": 124}  # bytes
# Red, green, blue, alpha.
MASKS = {
    "555": (16, (0x7C00, 0x3E0, 0x1F, 0)),
    "565": (16, (0xF800, 0x7E0, 0x1F, 0)),
    "4444": (16, (0xF00, 0xF0, 0xF, 0xF000)),
    "bgra": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "rgbx": (32, (0xFF, 0xFF00, 0xFF0000, 0)),
    "abgr": (32, (0xFF000000, 0xFF0000, 0xFF00, 0xFF)),
    "1010102": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0)),
}


def bmp(size, bits, rows, *, packing=0, behind=b"", above=False):
    """A file of these rows, the highest first; ``behind`` is what follows the fields that all longer headers share."""
    stored = [row + bytes(-len(row) % 4) for row in rows]
    pixels = b"".join(stored if above else stored[::-1])
    height = -HEIGHT if above else HEIGHT
    fields = struct.pack("<IiiHHIIiiII", size, WIDTH, height, 1, bits, packing, 0, 2835, 2835, 0, 0)[:size]
    if size == HEADERS["core"]:
        fields = struct.pack("<IHHHH", size, WIDTH, HEIGHT, 1, bits)
    head = (fields + behind[: size - len(fields)]).ljust(size, b"\0") + behind[max(0, size - len(fields)) :]
    start = 14 + len(head)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + head + pixels


@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize("bits", [1, 4, 8, 16, 24, 32])
@pytest.mark.parametrize("kind", HEADERS)
def test_every_header(kind, bits, above):
    size, rng = HEADERS[kind], np.random.default_rng(bits)
    if above and size == HEADERS["core"]:
        pytest.skip("its height has no sign")
    behind = b""
    if bits <= 8:
        palette = rng.integers(0, 256, (1 << bits, 3), dtype=np.uint8)
        index = rng.integers(0, 1 << bits, (HEIGHT, WIDTH), dtype=np.uint8)
        expected = palette[index]
        split = np.unpackbits(index[..., None], axis=2)[..., 8 - bits :].reshape(HEIGHT, -1)
        rows = [np.packbits(row).tobytes() for row in split]
        filler = b"" if size == HEADERS["core"] else b"\0"
        behind = bytes(max(0, size - 40)) + b"".join(colour.tobytes() + filler for colour in palette)
    elif bits == 16:
        stored = rng.integers(0, 1 << 15, (HEIGHT, WIDTH)).astype("<u2")
        expected = np.rint(np.dstack([stored & 31, stored >> 5 & 31, stored >> 10]) * (255 / 31)).astype(np.uint8)
        rows = [row.tobytes() for row in stored]
    else:
        samples = rng.integers(0, 256, (HEIGHT, WIDTH, bits // 8), dtype=np.uint8)
        expected, rows = samples[..., :3], [row.tobytes() for row in samples]
    found = decode_picture(bmp(size, bits, rows, behind=behind, above=above), "x.bmp")
    np.testing.assert_array_equal(found.array, expected)


@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize("size", [40, 56, 108, 124])
@pytest.mark.parametrize("kind", MASKS)
def test_any_masks_behind_any_header(kind, size, above):
    bits, masks = MASKS[kind]
    stored = np.random.default_rng(0).integers(0, 1 << bits, (HEIGHT, WIDTH), np.uint64).astype(np.uint32)
    stored[0] = (1 << bits) - 1  # white stays white
    if size == 40:  # which has no place for alpha
        masks = (*masks[:3], 0)
    tops = [mask // (mask & -mask) if mask else 1 for mask in masks]
    most = 255 if max(tops) < 256 else 65_535
    planes = [(stored & mask) // (mask & -mask or 1) * (most / top) for mask, top in zip(masks, tops, strict=True)]
    expected = np.rint(np.dstack([planes[2], planes[1], planes[0], planes[3]][: 4 if masks[3] else 3]))
    rows = [row.astype(f"<u{bits // 8}").tobytes() for row in stored]
    behind = struct.pack("<4I", *masks)[: 12 if size == 40 else 16]
    found = decode_picture(bmp(size, bits, rows, packing=3, behind=behind, above=above), "x.bmp").array
    assert found.dtype == (np.uint8 if most == 255 else np.uint16)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [14, 25, 60])
def test_what_ends_early_is_damaged(size):
    data = bmp(40, 24, [bytes(3 * WIDTH)] * HEIGHT)[:size]
    with pytest.raises(InputError, match=r"x.bmp is damaged \("):
        decode_picture(data[:2] + struct.pack("<I", size) + data[6:], "x.bmp")
