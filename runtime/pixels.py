"""How many pixels a picture says it has, read from its header, and how many are decoded at most.

A kilobyte can declare a picture of gigabytes: what is not believed is refused before a decoder reserves memory for it.
"""

from __future__ import annotations

import functools
import struct

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.memory.usage import total_bytes
from ufafuse.runtime.parameters import Size
from ufafuse.runtime.pictures.blocks import frame_headers

MOST_PIXELS = 1 << 28  # 268 megapixels, where neither a budget nor the machine's memory says less or more
_BYTES_A_PIXEL = 3
_AT_ONCE = 3  # pictures: two frames and their fusion
_BESIDE = 64 << 20  # bytes: thumbnails, profiles, notes
_SHARE = 0.5  # of the machine's memory, where no budget is given

_TIFF_WIDTHS, _TIFF_HEIGHTS = (256, 322), (257, 323)  # of the image, of a tile
_TIFF_FORMATS = {1: "B", 3: "H", 4: "I", 16: "Q"}


def most_pixels(max_memory: float | None = None, *, pictures: int = _AT_ONCE) -> int:
    """How many pixels one picture may have.

    Args:
        max_memory: The budget in MB (10^6 bytes); None: half of the machine's memory, and `MOST_PIXELS` at most.
        pictures: 8-bit colour pictures of that size that are held at once.
    """
    a_pixel = _BYTES_A_PIXEL * pictures
    if max_memory is not None:
        return max(1, int(max_memory * 1e6 / a_pixel))
    return min(MOST_PIXELS, int(_machine_bytes() * _SHARE / a_pixel))


def most_bytes(most: int) -> int:
    """How large a file with ``most`` pixels may be: 16-bit colour with alpha, uncompressed, and what stands beside it."""
    return 8 * most + _BESIDE


def check_pixels(size: Size, name: str, most: int | None = None) -> None:
    """Refuse a picture of this (height, width), before it is decoded, if it has more than ``most`` pixels.

    Args:
        size: As the header declares it.
        name: The file, for the error.
        most: From `most_pixels`, which is asked where nothing is given.

    Raises:
        InputError: It has too many, or none.
    """
    height, width = size
    if height < 1 or width < 1:
        raise InputError(f"{name} declares {height} x {width} pixels: record or copy it again.")
    allowed = most_pixels() if most is None else most
    if height * width > allowed:
        raise InputError(
            f"{name} declares {height} x {width} pixels, {height * width / 1e6:.0f} million; {allowed / 1e6:.0f} million are "
            "decoded at most. If the picture is meant to be that large, allow it with a memory budget (`max_memory`)."
        )


def declared_size(data: bytes) -> Size | None:
    """Height and width that the header of a JPEG, PNG, TIFF, BMP, WebP or GIF declares; None for what is none of these.

    Of what can be understood in two ways the larger is given. A TIFF's is that of its first page.
    """
    for magic, reader in _READERS:
        if data.startswith(magic):
            try:
                return reader(data)
            except (struct.error, IndexError, KeyError, OverflowError):
                return None
    return None


@functools.cache
def _machine_bytes() -> int:
    return total_bytes()


def _jpeg(data: bytes) -> Size | None:
    for _, start, _ in frame_headers(data):
        height, width = struct.unpack_from(">HH", data, start + 1)
        return height, width
    return None


def _png(data: bytes) -> Size | None:
    if data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return height, width


def _bmp(data: bytes) -> Size | None:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    return abs(height), abs(width)


def _gif(data: bytes) -> Size | None:
    width, height = struct.unpack_from("<HH", data, 6)
    return height, width


def _riff(data: bytes) -> Size | None:
    if data[8:12] != b"WEBP":
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[27:30], "little") + 1, int.from_bytes(data[24:27], "little") + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    return None


def _tiff(data: bytes) -> Size | None:
    order = "<" if data.startswith(b"II") else ">"
    (version,) = struct.unpack_from(f"{order}H", data, 2)
    big = version == 43
    (first,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, 8 if big else 4)
    (count,) = struct.unpack_from(f"{order}Q" if big else f"{order}H", data, first)
    position, length = (first + 8, 20) if big else (first + 2, 12)
    widths, heights = [0], [0]
    for entry in range(position, min(position + count * length, len(data)), length):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        for tags, values in ((_TIFF_WIDTHS, widths), (_TIFF_HEIGHTS, heights)):
            if tag in tags:
                values.append(struct.unpack_from(f"{order}{_TIFF_FORMATS[kind]}", data, entry + (12 if big else 8))[0])
    return max(heights), max(widths)


_READERS = (
    (b"\xff\xd8\xff", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"BM", _bmp),
    (b"GIF8", _gif),
    (b"RIFF", _riff),
    (b"II*\0", _tiff),
    (b"MM\0*", _tiff),
    (b"II+\0", _tiff),
    (b"MM\0+", _tiff),
)
