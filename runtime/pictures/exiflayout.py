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
HEADER, BIG_HEADER = 8, 16  # bytes
_INSIDE = {EXIF_IFD: None, GPS_IFD: None, INTEROP_IFD: EXIF_IFD}  # which directory points to which; None: the main one
_LONG = 4
_FARTHEST = 1 << 20  # bytes from the head, up to which a maker's note keeps its place: what is before it may have to be filled
LONG8 = frozenset((16, 17, 18))  # kinds of numbers that only a BigTIFF has
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8, 129: 1}
# What changes with the order of bytes.
WORDS = {3: "H", 8: "h", 4: "I", 9: "i", 5: "I", 10: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}


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


class _Form(NamedTuple):
    """How a TIFF, or a BigTIFF, writes its head, how many entries and values there are, and where they lie."""

    header: int
    entries: str  # the word for how many there are
    word: str
    beside: int  # bytes of a value that stand in its entry
    magic: tuple[int, ...]  # the shorts between the order of bytes and where the first directory lies


_FORMS = {False: _Form(HEADER, "H", "I", 4, (42,)), True: _Form(BIG_HEADER, "Q", "Q", 8, (43, 8, 0))}


def laid_out(main: Directory, parts: dict[int, Directory], order: str, *, big: bool = False) -> bytes:
    """A file's head and its directories behind it; a maker's note that cannot stay where it lay is left out.

    Args:
        main: The main directory.
        parts: What it points to, by the tag.
        order: ``"<"`` or ``">"``.
        big: As a BigTIFF.
    """
    parts = {tag: part for tag, part in parts.items() if part and (tag != INTEROP_IFD or parts.get(EXIF_IFD))}
    note = parts.get(EXIF_IFD, {}).get(MAKER_NOTE)
    if note is not None and note.at and not (note.stays and note.at >= _FORMS[big].header):
        parts[EXIF_IFD] = {tag: entry for tag, entry in parts[EXIF_IFD].items() if tag != MAKER_NOTE}
        note = None
    block = _Block(order, note if note is not None and note.stays else None, _FORMS[big])
    start = block.put(None, main, parts)
    return block.whole(start)


class _Block:
    """Bytes from the head on, in which everything has its place behind what was put in before, but for what stays."""

    def __init__(self, order: str, note: Entry | None, form: _Form) -> None:
        self._order, self._note, self._form = order, note, form
        self._stays = range(note.at, note.at + len(note.data)) if note else range(0)
        self._next = form.header
        self._data = bytearray(form.header)

    def put(self, tag: int | None, directory: Directory, parts: dict[int, Directory]) -> int:
        """A directory, its values and the parts that it points to; returns where it begins."""
        inner = [part for part in parts if _INSIDE[part] == tag]
        directory = directory | {part: Entry(_LONG, 1, bytes(4)) for part in inner}
        form, word = self._form, self._order + self._form.word
        count, entry_head = self._order + form.entries, self._order + "HH" + form.word
        size = struct.calcsize(count) + (4 + 2 * form.beside) * len(directory) + form.beside
        start = self._place(size)
        rows = [struct.pack(count, len(directory))]
        for key, entry in sorted(directory.items()):
            value = in_order(entry.data, entry.kind, self._order)
            if key in inner:
                value = struct.pack(self._order + "I", self.put(key, parts[key], parts))
            elif len(value) > form.beside:
                at = entry.at if entry is self._note else self._place(len(value))
                self._write(at, value)
                value = struct.pack(word, at)
            rows.append(struct.pack(entry_head, key, entry.kind, entry.values) + value.ljust(form.beside, b"\0"))
        self._write(start, b"".join((*rows, bytes(form.beside))))
        return start

    def whole(self, start: int) -> bytes:
        """All of it, of an even length, with the main directory at ``start``."""
        mark, form = b"II" if self._order == "<" else b"MM", self._form
        self._write(0, mark + struct.pack(f"{self._order}{len(form.magic)}H{form.word}", *form.magic, start))
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
