"""How EXIF's directories lie in a file: one after another, around the camera maker's note, which stays where it was.

Most makers' notes count their offsets from the head of the file that they were in, in its order of bytes, and nobody but their
makers knows which of their numbers are such offsets: a note that is moved, or stands in a file of the other order, gives wrong
values (a focal length of 1 mm), not none.

Source: CIPA DC-008 (Exif 3.0), TIFF 6.0.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x8769, 0x8825, 0xA005
MAKER_NOTE = 0x927C
HEADER = 8  # bytes
_INSIDE = {EXIF_IFD: None, GPS_IFD: None, INTEROP_IFD: EXIF_IFD}  # which directory points to which; None: the main one
_LONG = 4
_FARTHEST = 1 << 20  # bytes from the head, up to which a maker's note keeps its place: what is before it may have to be filled
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
WORDS = {3: "H", 8: "h", 4: "I", 9: "i", 5: "I", 10: "i", 11: "f", 12: "d", 13: "I"}  # what changes with the order of bytes


class Entry(NamedTuple):
    """One entry: TIFF's type, how many values, and their bytes, the least significant first.

    ``at`` is where a maker's note lay, counted from the head; 0: anywhere.
    """

    kind: int
    values: int
    data: bytes
    at: int = 0

    @property
    def stays(self) -> bool:
        """Whether it can be written where it lay."""
        return len(self.data) > 4 and self.at >= HEADER and self.at + len(self.data) <= _FARTHEST


Directory = dict[int, Entry]


def in_order(data: bytes, kind: int, order: str) -> bytes:
    """The bytes of values turned from the least significant first to ``order`` (``"<"`` or ``">"``), or back."""
    if order == "<" or kind not in WORDS:
        return data
    size = 4 if kind in (5, 10) else SIZES[kind]
    return b"".join(data[at : at + size][::-1] for at in range(0, len(data), size))


def laid_out(main: Directory, parts: dict[int, Directory], order: str) -> bytes:
    """A file's head and its directories behind it; a maker's note that cannot stay where it lay is left out.

    Args:
        main: The main directory.
        parts: What it points to, by the tag.
        order: ``"<"`` or ``">"``.
    """
    parts = {tag: part for tag, part in parts.items() if part and (tag != INTEROP_IFD or parts.get(EXIF_IFD))}
    note = parts.get(EXIF_IFD, {}).get(MAKER_NOTE)
    if note is not None and note.at and not note.stays:
        parts[EXIF_IFD] = {tag: entry for tag, entry in parts[EXIF_IFD].items() if tag != MAKER_NOTE}
        note = None
    block = _Block(order, note if note is not None and note.stays else None)
    start = block.put(None, main, parts)
    return block.whole(start)


class _Block:
    """Bytes from the head on, in which everything has its place behind what was put in before, but for what stays."""

    def __init__(self, order: str, note: Entry | None) -> None:
        self._order, self._note = order, note
        self._stays = range(note.at, note.at + len(note.data)) if note else range(0)
        self._next = HEADER
        self._data = bytearray(HEADER)

    def put(self, tag: int | None, directory: Directory, parts: dict[int, Directory]) -> int:
        """A directory, its values and the parts that it points to; returns where it begins."""
        inner = [part for part in parts if _INSIDE[part] == tag]
        directory = directory | {part: Entry(_LONG, 1, bytes(4)) for part in inner}
        start = self._place(6 + 12 * len(directory))
        rows = [struct.pack(self._order + "H", len(directory))]
        for key, entry in sorted(directory.items()):
            value = in_order(entry.data, entry.kind, self._order)
            if key in inner:
                value = struct.pack(self._order + "I", self.put(key, parts[key], parts))
            elif len(value) > 4:
                at = entry.at if entry is self._note else self._place(len(value))
                self._write(at, value)
                value = struct.pack(self._order + "I", at)
            rows.append(struct.pack(self._order + "HHI", key, entry.kind, entry.values) + value.ljust(4, b"\0"))
        self._write(start, b"".join((*rows, bytes(4))))
        return start

    def whole(self, start: int) -> bytes:
        """All of it, of an even length, with the main directory at ``start``."""
        self._write(0, struct.pack(self._order + "2sHI", b"II" if self._order == "<" else b"MM", 42, start))
        return bytes(self._data) + bytes(len(self._data) % 2)

    def _place(self, length: int) -> int:
        at = self._next
        if at < self._stays.stop and at + length > self._stays.start:
            at = self._stays.stop + self._stays.stop % 2
        self._next = at + length + length % 2
        return at

    def _write(self, at: int, value: bytes) -> None:
        self._data += bytes(max(0, at + len(value) - len(self._data)))
        self._data[at : at + len(value)] = value
