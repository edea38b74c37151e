"""Netpbm's formats: PBM, PGM, PPM in text and bytes, and PAM.

OpenCV reads PAM's colours in the wrong order, refuses headers with remarks, and does not say what is white.

Source: the format descriptions of Netpbm 11.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.picture import Picture, whole_alpha
from ufafuse.runtime.pixels import check_pixels

_HEAD = 1 << 16  # bytes in which a header ends
_MOST_LEVEL = 65_535
_WORD = re.compile(rb"(?:\s|#[^\n]*\n)+(\d{1,9})")
_NEXT = re.compile(rb"\s*P[1-7]\s")
_NUMBERS = re.compile(rb"[\s0-9]*")
_PAM = re.compile(rb"^(WIDTH|HEIGHT|DEPTH|MAXVAL)\s+(\d{1,9})\s*$", re.MULTILINE)
_BITMAPS, _IN_TEXT, _COLOUR = b"14", b"123", b"36"


class _Header(NamedTuple):
    height: int
    width: int
    samples: int
    most: int
    text: bool
    bits: bool
    start: int


def read_pnm(data: bytes, name: str, most: int | None = None) -> Picture:
    """Decode a picture: grey, BGR or BGRA, uint8 (levels below 255 as white are stretched) or uint16 as it is.

    Args:
        data: The file.
        name: What messages call it.
        most: Pixels that it may declare.

    Raises:
        InputError: It is too large, cut off, or says what cannot be.
    """
    header = _header(data[:_HEAD], name)
    check_pixels((header.height, header.width), name, most)
    values = _values(data[header.start :], header, name)
    more = _more(data, header)
    if header.bits:
        return Picture((values == 0).astype(np.uint8).squeeze(2) * np.uint8(255), warnings=more, kind="PNM")
    if beyond := int(np.count_nonzero(values > header.most)):
        said = f"{beyond} of its {values.size} samples are beyond {header.most}, which it calls white: they are read as white"
        more = (*more, said)
        values = np.minimum(values, header.most)
    if header.most < 255:
        values = np.rint(values * np.float32(255 / header.most))
    array = values.astype(np.uint8 if header.most < 256 else np.uint16)
    picked: Array = array[..., [[0], [0, 0, 0, 1], [2, 1, 0], [2, 1, 0, 3]][header.samples - 1]]
    white = float(header.most) if 255 < header.most < _MOST_LEVEL else None
    if header.samples in (2, 4):
        picked[..., 3] = whole_alpha(picked[..., 3], white)
    picture = np.ascontiguousarray(picked[..., 0] if header.samples == 1 else picked)
    return Picture(picture, warnings=more, white=white, kind="PNM")


def _header(head: bytes, name: str) -> _Header:
    kind = head[1:2]
    if kind == b"7":
        found = {key.decode(): int(value) for key, value in _PAM.findall(head)}
        end = head.find(b"ENDHDR\n")
        values = [found.get(key, 0) for key in ("HEIGHT", "WIDTH", "DEPTH", "MAXVAL")]
        height, width, samples, most = values if end >= 0 else [0] * 4
        made = _Header(height, width, samples, most, text=False, bits=False, start=end + 7)
    else:
        numbers, at = [], 2
        for _ in range(2 if kind in _BITMAPS else 3):
            match = _WORD.match(head, at)
            numbers.append(int(match[1]) if match else 0)
            at = match.end() if match else at
        most = 1 if kind in _BITMAPS else numbers[2]
        samples = 3 if kind in _COLOUR else 1
        made = _Header(numbers[1], numbers[0], samples, most, kind in _IN_TEXT, kind in _BITMAPS, at + 1)
    if not (made.height and made.width and 1 <= made.samples <= 4 and 1 <= made.most <= _MOST_LEVEL):
        raise InputError(f"{name} is a damaged PNM file (its header says no size or levels): record or copy it again.")
    return made


def _more(data: bytes, header: _Header) -> tuple[str, ...]:
    """What to tell of a file in which further pictures follow the first, as Netpbm's programs write a series."""
    row = -(-header.width // 8) if header.bits else header.width * header.samples * (1 if header.most < 256 else 2)
    if header.text or not _NEXT.match(data, header.start + header.height * row):
        return ()
    return ("of the pictures in it the first is read: split it into one picture a file (pamsplit)",)


def _values(data: bytes, header: _Header, name: str) -> NDArray[Any]:
    """The stored samples, H x W x samples."""
    count = header.height * header.width * header.samples
    shape = header.height, header.width, header.samples
    if header.text:
        return _counted(_from_text(data, count, bits=header.bits), count, name).reshape(shape)
    if header.bits:
        row = -(-header.width // 8)
        stored = _counted(np.frombuffer(data, np.uint8, min(len(data), row * header.height)), row * header.height, name)
        bits = np.unpackbits(stored.reshape(header.height, row), axis=1)
        return bits[:, : header.width, np.newaxis]
    kind = np.dtype(np.uint8 if header.most < 256 else ">u2")
    stored = np.frombuffer(data, kind, min(len(data) // kind.itemsize, count))
    return _counted(stored, count, name).reshape(shape)


def _from_text(data: bytes, count: int, *, bits: bool) -> NDArray[Any]:
    if bits:  # which may stand without spaces
        stored = np.frombuffer(data, np.uint8)
        return stored[(stored == ord("0")) | (stored == ord("1"))][:count] - ord("0")
    numbers = _NUMBERS.match(data)  # what is no number ends it: then too few are there
    # All of them: told how many, NumPy gives what memory held for those that are missing.
    found = np.fromstring(numbers[0].decode() if numbers else "", np.float64, sep=" ")[:count]
    return np.minimum(found, _MOST_LEVEL + 1).astype(np.int64)


def _counted(values: NDArray[Any], count: int, name: str) -> NDArray[Any]:
    if values.size < count:
        raise InputError(f"{name} is damaged (truncated, {values.size} of {count} samples): record or copy it again.")
    return values[:count]
