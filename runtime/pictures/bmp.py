"""BMP's pixels, and what a BMP says beside them.

Of OpenCV 5's own reader only the plainest kinds come out right: it takes the colours of an OS/2 picture for greys, passes over
masks behind a header of the first version and refuses some in later ones, makes 248 of the white of 5 bits, and unpacks
run-length codes into wrong pixels.

Sources: Microsoft's BITMAPCOREHEADER, BITMAPINFOHEADER and BITMAPV5HEADER, "Bitmap Compression".
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError

_FILE_HEADER, _CORE_HEADER, _INFO_HEADER, _V3_HEADER, _OS2_HEADER, _V5_HEADER = 14, 12, 40, 56, 64, 124  # bytes
_PLAIN, _RLE8, _RLE4, _MASKS, _MASKS_AND_ALPHA = 0, 1, 2, 3, 6  # ways of compression
_FIVE_BITS = (0x7C00, 0x3E0, 0x1F, 0)  # red, green, blue and alpha in 16 bits without masks
_END, _STEP = 1, 2  # what follows a count of 0; 0: the end of a line, above: so many pixels as they are
_METRES = 0.0254  # in an inch


class _Header(NamedTuple):
    size: int
    width: int
    height: int  # below 0: the highest row is stored first
    bits: int
    packing: int
    across: int
    down: int
    colours: int


def read_bmp(data: bytes, name: str) -> Array:
    """A BMP's pixels, upright.

    Args:
        data: The file, of which all that it declares is there.
        name: What messages call it.

    Returns:
        H x W (a palette of greys), H x W x 3 (BGR) or, where its masks have alpha, H x W x 4 (BGRA); uint8, or uint16 where a
        mask is wider than 8 bits.

    Raises:
        InputError: Pixels are missing, or are stored in a way that is not read.
    """
    header = _header(data)
    if header is None or header.width <= 0 or not header.height:
        raise InputError(f"{name} is damaged (its header says no size): record or copy it again.")
    start = int.from_bytes(data[10:14], "little")
    kind = header.packing, header.bits
    masked = header.packing in (_MASKS, _MASKS_AND_ALPHA) and header.size != _OS2_HEADER  # which means another packing
    if kind in ((_RLE8, 8), (_RLE4, 4)):
        pixels = _coloured(_unpacked(data[start:], header), data, header)
    elif kind in ((_PLAIN, 1), (_PLAIN, 4), (_PLAIN, 8)):
        pixels = _coloured(_numbers(data, start, header), data, header)
    elif kind in ((_PLAIN, 24), (_PLAIN, 32)):
        rows = _rows(data, start, header)
        pixels = None if rows is None else rows.reshape(len(rows), header.width, -1)[..., :3]
    elif kind == (_PLAIN, 16) or (masked and header.bits in (16, 32)):
        pixels = _by_masks(data, start, header)
    else:
        raise InputError(f"{name} is a BMP of {header.bits} bits, packed in the way {header.packing}: save it as PNG or TIFF.")
    if pixels is None:
        raise InputError(f"{name} is damaged (pixels are missing): record or copy it again.")
    return np.ascontiguousarray(pixels if header.height < 0 else pixels[::-1])


def _header(data: bytes) -> _Header | None:
    size = int.from_bytes(data[_FILE_HEADER:][:4], "little")
    if size < _CORE_HEADER or len(data) < _FILE_HEADER + size:
        return None
    if size == _CORE_HEADER:
        width, height, _, bits = struct.unpack_from("<4H", data, _FILE_HEADER + 4)
        return _Header(size, width, height, bits, _PLAIN, 0, 0, 0)
    said = data[_FILE_HEADER + 4 : _FILE_HEADER + min(size, _INFO_HEADER)].ljust(_INFO_HEADER - 4, b"\0")  # OS/2 may end early
    width, height, _, bits, packing, _, across, down, colours, _ = struct.unpack("<iiHHIIiiII", said)
    return _Header(size, width, height, bits, packing, across, down, colours)


def _rows(data: bytes, start: int, header: _Header) -> Array | None:
    """The bytes of each row, as they are stored and without those that fill it up; None: some are missing."""
    height, length = abs(header.height), -(-header.width * header.bits // 8)
    whole = -(-length // 4) * 4
    missing = start + whole * height - len(data)
    if missing > whole - length:  # the last row may end without what fills it up
        return None
    stored = np.frombuffer(data if missing <= 0 else data + bytes(missing), np.uint8, whole * height, start)
    return stored.reshape(height, whole)[:, :length]


def _numbers(data: bytes, start: int, header: _Header) -> Array | None:
    """The palette's numbers of 1, 4 or 8 bits each; None: some are missing."""
    rows = _rows(data, start, header)
    if rows is None or header.bits == 8:
        return rows
    numbers = np.dstack([rows >> 4, rows & 15]).reshape(len(rows), -1) if header.bits == 4 else np.unpackbits(rows, axis=1)
    return numbers[:, : header.width]


def _coloured(numbers: Array | None, data: bytes, header: _Header) -> Array | None:
    """The palette's colours, H x W where all of them are greys; None: there is no palette, or there are no numbers."""
    entry = 3 if header.size == _CORE_HEADER else 4
    begin, stored = _FILE_HEADER + header.size, int.from_bytes(data[10:14], "little")
    count = min(header.colours or 1 << header.bits, 1 << header.bits, max(0, stored - begin) // entry)
    if numbers is None or not count:
        return None
    table = np.frombuffer(data, np.uint8, entry * count, begin).reshape(count, entry)[:, :3]
    grey = bool((table == table[:, :1]).all())
    return (table[:, 0] if grey else table)[np.minimum(numbers, count - 1)]


def _by_masks(data: bytes, start: int, header: _Header) -> Array | None:
    """Colours whose bits lie where masks say, BGR or BGRA; None: pixels are missing, or a mask is none."""
    masks = _FIVE_BITS
    if header.packing != _PLAIN:  # within the longer headers, behind the short one
        masks = struct.unpack("<4I", data[_FILE_HEADER + _INFO_HEADER :][:16].ljust(16, b"\0"))
        if header.size < _V3_HEADER and header.packing != _MASKS_AND_ALPHA:
            masks = *masks[:3], 0
    rows = _rows(data, start, header)
    tops = [mask // (mask & -mask) if mask else 0 for mask in masks]
    if rows is None or not any(tops[:3]) or any(top & (top + 1) for top in tops):
        return None
    whole = np.ascontiguousarray(rows).view("<u2" if header.bits == 16 else "<u4").astype(np.uint32)
    most, dtype = (255, np.uint8) if max(tops) < 256 else (65_535, np.uint16)
    planes = []
    for mask, top in zip((masks[2], masks[1], masks[0], masks[3]), (tops[2], tops[1], tops[0], tops[3]), strict=True):
        levels = (whole & np.uint32(mask)) // np.uint32(mask & -mask or 1)
        planes.append(np.rint(levels * (most / (top or 1))).astype(dtype))
    return np.dstack(planes if masks[3] else planes[:3])


def _unpacked(codes: bytes, header: _Header) -> Array | None:
    """The palette's numbers behind run-length codes; those that are stepped over are the first. None: some are missing."""
    width, end = header.width, abs(header.height) * header.width
    flat = bytearray(end)
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
    return np.frombuffer(flat, np.uint8).reshape(-1, width)


def notes_of(data: bytes) -> tuple[bytes | None, tuple[float, float] | None]:
    """The colour profile that is in the file, and the pixels an inch, across and down; None where it does not say."""
    header = _header(data)
    if header is None:
        return None, None
    known = header.across > 0 and header.down > 0
    dpi = (header.across * _METRES, header.down * _METRES) if known else None
    if header.size < _V5_HEADER or data[_FILE_HEADER + 56 :][:4] != b"DEBM":
        return None, dpi
    start, length = struct.unpack_from("<II", data, _FILE_HEADER + 112)
    icc = data[_FILE_HEADER + start :][:length]
    return (icc if len(icc) == length and length >= 128 else None), dpi
