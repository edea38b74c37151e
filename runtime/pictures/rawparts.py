"""Whether the parts that a raw file lists are there: LibRaw fills those that are not with what memory held, and says nothing.

Sources: TIFF 6.0, DNG 1.7.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ufafuse.runtime.pictures import exif as ex
from ufafuse.runtime.pictures import exiflayout as lay

_FIRST, _SUB_PICTURES, _COMPRESSION, _DNG_VERSION = 4, 330, 259, 50_706
_PARTS = ((273, 279), (324, 325))  # tags of where strips and tiles begin, and of how long they are
_LOSSLESS_JPEG, _JPEG = 7, b"\xff\xd8"
_ELSEWHERE = 2**32 - 1  # Panasonic's: its own tags say where


def fault_in_parts(data: bytes) -> str:
    """Why a raw file built like a TIFF cannot be whole; empty where nothing was found."""
    order = ex.order_of(data)
    for directory in _directories(data, order) if order else ():
        packing = _numbers(directory.get(_COMPRESSION))
        for starts, sizes in _PARTS:
            for start, size in zip(_numbers(directory.get(starts)), _numbers(directory.get(sizes)), strict=False):
                if start != _ELSEWHERE and start + size > len(data):
                    return f"truncated, a part of it ends at byte {start + size} of {len(data)}"
                if packing == (_LOSSLESS_JPEG,) and is_dng(data) and data[start : start + 2] != _JPEG:
                    return f"what lies at byte {start} is no part of it"
    return ""


def is_dng(data: bytes) -> bool:
    """Whether a raw file is Adobe's kind, in which all that its tags say is to be true."""
    return _DNG_VERSION in ex.parse_exif(data).main


def _directories(data: bytes, order: str) -> Iterator[dict[int, lay.Entry]]:
    """Those of all pictures in the file."""
    pending, seen = [int(struct.unpack_from(f"{order}I", data, _FIRST)[0])], set[int]()
    while pending:
        start = pending.pop()
        if start in seen or not 0 < start <= len(data) - 2:
            continue
        seen.add(start)
        directory = ex.read_directory(data, order, start)
        yield directory
        pending += _numbers(directory.get(_SUB_PICTURES))
        behind = start + 2 + 12 * struct.unpack_from(f"{order}H", data, start)[0]
        pending += struct.unpack_from(f"{order}I", data, behind) if behind <= len(data) - 4 else ()


def _numbers(entry: lay.Entry | None) -> tuple[int, ...]:
    """The values of an entry of two or four bytes each."""
    word = {3: "H", 4: "I", 13: "I"}.get(entry.kind) if entry is not None else None
    return struct.unpack(f"<{entry.values}{word}", entry.data) if entry is not None and word else ()
