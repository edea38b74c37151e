"""The size that a header declares, also for the rarer formats that OpenCV decodes."""

from __future__ import annotations

import re
import struct

from ufafuse.runtime.parameters import Size
from ufafuse.runtime.pixels import declared_size

_HEAD = 1 << 16
_PNM = re.compile(rb"P[1-6]\s(?:\s*#[^\n]*\n)*\s*(\d{1,9})\s(?:\s*#[^\n]*\n)*\s*(\d{1,9})\s")
_PAM = re.compile(rb"\b(WIDTH|HEIGHT)\s+(\d{1,9})")
# The line behind a Radiance picture's header: sign, axis and length of what comes one after another, and of what lies along it.
HDR_SIZE = re.compile(rb"\r?\n[ \t]*\r?\n([-+])([XY]) +(\d{1,9}) +([-+])([XY]) +(\d{1,9})[ \t]*\r?\n")
_GAP = rb"(?:\s|#[^\n]*\n)+"
PFM_HEADER = re.compile(rb"P([Ff])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})" + _GAP + rb"([-+0-9.eE]{1,40})(?=\s)")


def size_of(data: bytes, kind: str) -> Size | None:
    """(height, width) that a file of ``kind`` (see `kinds`) declares; None where it cannot be found.

    Of several sizes in one file, the largest of each.
    """
    try:
        return _READERS[kind](data) if kind in _READERS else declared_size(data)
    except (struct.error, IndexError, ValueError):
        return None


def _avif(data: bytes) -> Size | None:
    """The largest ``ispe`` property: of a grid of tiles, the whole has one too."""
    heights, widths, at = [0], [0], data.find(b"ispe", 0, _HEAD)
    while at >= 0:
        width, height = struct.unpack_from(">II", data, at + 8)
        heights.append(height)
        widths.append(width)
        at = data.find(b"ispe", at + 4, _HEAD)
    return (max(heights), max(widths)) if len(heights) > 1 else None


def _jpeg_2000(data: bytes) -> Size | None:
    at = data.find(b"\xff\x4f\xff\x51", 0, _HEAD)
    if at < 0:
        return None
    right, bottom, left, top = struct.unpack_from(">4I", data, at + 8)
    return bottom - top, right - left


def _pnm(data: bytes) -> Size | None:
    if data[1:2] == b"7":
        found = {name: int(value) for name, value in _PAM.findall(data[:_HEAD])}
        return (found[b"HEIGHT"], found[b"WIDTH"]) if len(found) == 2 else None
    match = _PNM.match(data[:_HEAD])
    return (int(match[2]), int(match[1])) if match else None


def _pfm(data: bytes) -> Size | None:
    match = PFM_HEADER.match(data[:_HEAD])
    return (int(match[3]), int(match[2])) if match else None


def _hdr(data: bytes) -> Size | None:
    match = HDR_SIZE.search(data[:_HEAD])
    if match is None:
        return None
    first, second = int(match[3]), int(match[6])
    return (first, second) if match[2] == b"Y" else (second, first)


_READERS = {
    "AVIF": _avif,
    "JPEG 2000": _jpeg_2000,
    "PNM": _pnm,
    "PFM": _pfm,
    "Radiance HDR": _hdr,
}
