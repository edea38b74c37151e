"""BMP's run-length codes, which OpenCV 5 unpacks into wrong pixels, and what a BMP says beside its pixels.

Sources: Microsoft's BITMAPINFOHEADER and BITMAPV5HEADER, "Bitmap Compression".
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from ufafuse.runtime.arrays import Array

_FILE_HEADER, _INFO_HEADER, _V5_HEADER = 14, 40, 124  # bytes
_RLE8, _RLE4 = 1, 2  # ways of compression
_END, _STEP = 1, 2  # what follows a count of 0; 0: the end of a line, above: so many pixels as they are
_METRES = 0.0254  # in an inch


class _Header(NamedTuple):
    size: int
    width: int
    height: int
    bits: int
    packing: int
    colours: int


def is_run_length_coded(data: bytes) -> bool:
    """Whether a BMP's pixels are run-length codes."""
    header = _header(data)
    return header is not None and (header.packing, header.bits) in ((_RLE8, 8), (_RLE4, 4))


def unpacked(data: bytes) -> Array | None:
    """A run-length coded BMP's pixels, H x W (a grey palette) or H x W x 3 (BGR), uint8; None: some are missing.

    Args:
        data: A file for which `is_run_length_coded`, whose size was found good.
    """
    header = _header(data)
    assert header is not None
    start = int.from_bytes(data[10:14], "little")
    count = min(header.colours or 1 << header.bits, 1 << header.bits)
    palette = data[_FILE_HEADER + header.size :][: 4 * count]
    index = _indices(data[start:], header) if len(palette) == 4 * count and header.height > 0 and header.width > 0 else None
    if index is None:
        return None
    table = np.frombuffer(palette, np.uint8).reshape(count, 4)[:, :3]
    colour = table[np.minimum(index, count - 1)][::-1]
    grey = bool((table == table[:, :1]).all())
    return np.ascontiguousarray(colour[..., 0] if grey else colour)


def _header(data: bytes) -> _Header | None:
    if len(data) < _FILE_HEADER + _INFO_HEADER:
        return None
    size, width, height, _, bits, packing = struct.unpack_from("<IiiHHI", data, _FILE_HEADER)
    (colours,) = struct.unpack_from("<I", data, _FILE_HEADER + 32)
    return _Header(size, width, height, bits, packing, colours) if size >= _INFO_HEADER else None


def _indices(codes: bytes, header: _Header) -> Array | None:
    """The palette's numbers, from the lowest row up; pixels that the codes step over are of the first colour."""
    flat, width, end = bytearray(header.height * header.width), header.width, header.height * header.width
    at, x, row = 0, 0, 0  # in the codes, in a row, where the row begins
    while at + 2 <= len(codes) and row < end:
        count, value = codes[at], codes[at + 1]
        at += 2
        if count:
            run = bytes((value,)) * count if header.bits == 8 else bytes((value >> 4, value & 15)) * count
        elif value > _STEP:
            stored = codes[at : at + (value if header.bits == 8 else (value + 1) // 2)]
            count, at = value, at + len(stored) + len(stored) % 2
            run = stored if header.bits == 8 else bytes(half for byte in stored for half in (byte >> 4, byte & 15))
            if len(run) < count:
                return None
        elif value == _END:
            break
        elif value == _STEP and at + 2 <= len(codes):
            x, row, at = x + codes[at], row + codes[at + 1] * width, at + 2
            continue
        else:  # the end of a line
            x, row = 0, row + width
            continue
        count = max(0, min(count, width - x))
        flat[row + x : row + x + count] = run[:count]
        x += count
    else:
        if row < end:
            return None
    return np.frombuffer(flat, np.uint8).reshape(header.height, width)


def notes_of(data: bytes) -> tuple[bytes | None, tuple[float, float] | None]:
    """The colour profile that is in the file, and the pixels an inch, across and down; None where it does not say."""
    header = _header(data)
    if header is None:
        return None, None
    across, down = struct.unpack_from("<ii", data, _FILE_HEADER + 24)
    dpi = (across * _METRES, down * _METRES) if across > 0 and down > 0 else None
    if header.size < _V5_HEADER or data[_FILE_HEADER + 56 :][:4] != b"DEBM":
        return None, dpi
    start, length = struct.unpack_from("<II", data, _FILE_HEADER + 112)
    icc = data[_FILE_HEADER + start :][:length]
    return (icc if len(icc) == length and length >= 128 else None), dpi
