"""EXIF, read and written: the few entries that a fused picture changes, all others as they were.

EXIF is a TIFF without pixels: directories of entries, some of which point to further directories. What cannot be understood is
left out; a camera's broken notes must not cost anybody the picture. Maker notes are copied as they are.

Source: CIPA DC-008 (Exif 3.0), TIFF 6.0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple, Protocol

from ufafuse.runtime.texts import as_utf8

DESCRIPTION, ORIENTATION, SOFTWARE, DATETIME = 0x010E, 0x0112, 0x0131, 0x0132
DATETIME_ORIGINAL, SUBSEC_ORIGINAL = 0x9003, 0x9291
UNIQUE_ID = 0xA420  # of one picture among all that there are
IMAGE_HISTORY, PIXELS_X, PIXELS_Y = 0x9213, 0xA002, 0xA003
EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x8769, 0x8825, 0xA005
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128

_POINTERS = frozenset((EXIF_IFD, GPS_IFD, INTEROP_IFD))
_ASCII, _SHORT, _LONG = 2, 3, 4
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
_WORDS = {3: "H", 8: "h", 4: "I", 9: "i", 5: "I", 10: "i", 11: "f", 12: "d", 13: "I"}  # what changes with the order of bytes
_LONG8 = frozenset((13, 16, 18))  # kinds of BigTIFF's pointers
_ORDERS = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
_MOST = 2**32 - 1
_RAW = 0xC500  # from here on: DNG's and makers' own, which would make a raw file of a result
_MOST_ENTRIES, _DEEPEST, _LARGEST = 512, 3, 1 << 20
# Where pixels lie, how they are packed and what their levels and inks mean: true of the file that was read, not of the one that
# is written.
_OF_PIXELS = frozenset((0x00FE, *range(0x0100, 0x0104), *range(0x0106, 0x010B), 0x0111, *range(0x0115, 0x011A), 0x011C,
                        *range(0x0120, 0x0126), 0x0129, 0x013D, *range(0x0140, 0x014F), *range(0x0150, 0x0160),
                        *range(0x0200, 0x022F), 0x02BC, *range(0x80E3, 0x80E7), 0x828D, 0x828E, 0x83BB, 0x8649, 0x8773,
                        *range(0x885C, 0x885F)))  # fmt: skip
# What programs keep beside the pixels in words of their own, and believe before them: layers of Photoshop; stacks of MetaMorph,
# FluoView and Zeiss; levels of Molecular Dynamics.
_OF_PROGRAMS = frozenset((0x935C, *range(0x835C, 0x8360), 0x8639, 0x863A, 0x866C, *range(0x82A5, 0x82AD)))


# Descriptions by which programs know a stack: ImageJ's, OME's, tifffile's, ScanImage's, Aperio's, MetaMorph's.
_OF_STACKS = (b"ImageJ=", b"<?xml", b"<OME", b"shape=", b"SI.", b"state.", b"Aperio", b"<MetaData")


class ByteSource(Protocol):
    """Bytes, or a file that is read like bytes."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, part: slice, /) -> bytes:
        """Some of them."""
        ...


class FileBytes:
    """A file as the bytes that `parse_exif` slices, without reading all of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._length = stream.seek(0, 2)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._length)
        self._stream.seek(start)
        return self._stream.read(max(0, stop - start))


class Entry(NamedTuple):
    """One entry: TIFF's type, how many values, and their bytes, the least significant first."""

    kind: int
    values: int
    data: bytes


@dataclass
class Exif:
    """Directories of entries by tag: the main one, and what it points to."""

    main: dict[int, Entry] = field(default_factory=dict)
    parts: dict[int, dict[int, Entry]] = field(default_factory=dict)

    def text(self, tag: int) -> str:
        """A text entry, wherever it stands; empty where there is none."""
        for directory in (self.main, *self.parts.values()):
            entry = directory.get(tag)
            if entry is not None and entry.kind in (_ASCII, 7, 129):
                return entry.data.split(b"\0")[0].decode("utf-8", "replace").strip()
        return ""

    def number(self, tag: int) -> float | None:
        """The first value of a numeric entry of the main directory; None where there is none."""
        entry = self.main.get(tag)
        if entry is None or entry.kind not in _WORDS or len(entry.data) < _SIZES[entry.kind]:
            return None
        if entry.kind in (5, 10):
            above, below = struct.unpack_from(f"<2{_WORDS[entry.kind]}", entry.data)
            return float(above) / below if below else None
        return float(struct.unpack_from(f"<{_WORDS[entry.kind]}", entry.data)[0])

    @property
    def orientation(self) -> int:
        """1 (upright) to 8; 1 where the file does not say."""
        value = self.number(ORIENTATION)
        return int(value) if value is not None and 1 <= value <= 8 else 1

    def put_text(self, tag: int, value: str, part: int | None = None) -> None:
        """Set a text entry, in the main directory or a part."""
        data = as_utf8(value) + b"\0"
        self._directory(part)[tag] = Entry(_ASCII, len(data), data)

    def put_short(self, tag: int, value: int) -> None:
        """Set a number of 16 bits of the main directory."""
        self.main[tag] = Entry(_SHORT, 1, struct.pack("<H", value))

    def put_long(self, tag: int, value: int, part: int | None = None) -> None:
        """Set a number of 32 bits, in the main directory or a part."""
        self._directory(part)[tag] = Entry(_LONG, 1, struct.pack("<I", value))

    def drop(self, tag: int, part: int) -> None:
        """Take an entry out of a part, where it is in it."""
        self.parts.get(part, {}).pop(tag, None)

    def _directory(self, part: int | None) -> dict[int, Entry]:
        return self.main if part is None else self.parts.setdefault(part, {})

    def without_pixels(self) -> Exif:
        """A copy without the entries that describe how the pixels of the file lay, by tags or in microscopy's descriptions."""
        main = {tag: entry for tag, entry in self.main.items() if tag not in _OF_PIXELS | _OF_PROGRAMS and tag < _RAW}
        said = main[DESCRIPTION].data.lstrip() if DESCRIPTION in main else b""
        if said.startswith(_OF_STACKS) or (said.startswith(b"{") and b'"shape":' in said):
            del main[DESCRIPTION]
        return Exif(main, {tag: dict(part) for tag, part in self.parts.items()})

    def to_bytes(self) -> bytes:
        """As a TIFF of its own, little-endian: what follows ``Exif\\0\\0`` in a JPEG."""
        body, _ = serialised(self.main, self.parts, 8)
        return b"II*\0" + struct.pack("<I", 8) + body


def serialised(main: dict[int, Entry], parts: dict[int, dict[int, Entry]], start: int) -> tuple[bytes, int]:
    """Directories as they lie in a little-endian file from offset ``start``; and where the next byte would lie."""
    main, nested = dict(main), {tag: part for tag, part in parts.items() if part}
    interop = nested.pop(INTEROP_IFD, None)
    if interop is not None and EXIF_IFD not in nested:
        interop = None
    for tag in nested:
        main[tag] = Entry(_LONG, 1, bytes(4))
    length = _length(main)
    blocks, position = [b""], start + length
    for tag, part in nested.items():
        inner = {INTEROP_IFD: interop} if tag == EXIF_IFD and interop else {}
        main[tag] = Entry(_LONG, 1, struct.pack("<I", position))
        block, position = serialised(part, inner, position)
        blocks.append(block)
    blocks[0] = _directory_bytes(main, start)
    return b"".join(blocks), position


def _length(directory: dict[int, Entry]) -> int:
    return 6 + 12 * len(directory) + sum(_even(len(entry.data)) for entry in directory.values() if len(entry.data) > 4)


def _even(length: int) -> int:
    return length + length % 2


def _directory_bytes(directory: dict[int, Entry], start: int) -> bytes:
    rows, beside, position = [struct.pack("<H", len(directory))], [], start + 6 + 12 * len(directory)
    for tag, entry in sorted(directory.items()):
        value = entry.data
        if len(value) > 4:
            beside.append(value + bytes(len(value) % 2))
            value, position = struct.pack("<I", position), position + _even(len(entry.data))
        rows.append(struct.pack("<HHI", tag, entry.kind, entry.values) + value.ljust(4, b"\0"))
    return b"".join((*rows, bytes(4), *beside))


def rational(value: float) -> bytes:
    """A number from 0 up as TIFF's fraction, to a thousandth where that has room."""
    below = 1000 if value * 1000 < _MOST else 1
    return struct.pack("<II", min(_MOST, round(value * below)), below)


def order_of(data: ByteSource) -> str:
    """The order of bytes of a TIFF, ``"<"`` or ``">"``; empty for what is none, and for a BigTIFF."""
    order, big = _ORDERS.get(bytes(data[:4]), ("", False))
    return "" if big or len(data) < 8 else order


def parse_exif(data: ByteSource) -> Exif:
    """The entries of a TIFF-like block; what is broken is left out, a block that is none gives an empty `Exif`."""
    if data[:6] == b"Exif\0\0":
        data = data[6:]
    order, big = _ORDERS.get(bytes(data[:4]), ("", False))
    if not order or len(data) < (16 if big else 8):
        return Exif()
    found = Exif()
    found.main = read_directory(data, order, _unpacked(f"{order}Q" if big else f"{order}I", data, 8 if big else 4)[0], big=big)
    pending = [(tag, found.main, 1) for tag in _POINTERS]
    while pending:
        tag, parent, depth = pending.pop()
        pointer = parent.pop(tag, None)
        if pointer is None or len(pointer.data) < 4 or depth > _DEEPEST:
            continue
        wide = len(pointer.data) >= 8
        part = read_directory(data, order, _unpacked("<Q" if wide else "<I", pointer.data, 0)[0], big=big)
        pending += [(inner, part, depth + 1) for inner in _POINTERS & part.keys()]
        if part:
            found.parts.setdefault(tag, part)
    return found


def whole_chain(data: ByteSource) -> bool:
    """Whether the directories of a TIFF's pages, each of which names the next, all begin within the file."""
    order, big = _ORDERS.get(bytes(data[:4]), ("", False))
    count, word, first, size = ("Q", "Q", 8, 20) if big else ("H", "I", 2, 12)
    at, seen = 8 if big else 4, set[int]()
    while order and at + struct.calcsize(word) <= len(data):
        start = _unpacked(f"{order}{word}", data, at)[0]
        if start == 0 or start in seen:
            return True
        if start + first > len(data):
            return False
        seen.add(start)
        at = start + first + size * _unpacked(f"{order}{count}", data, start)[0]
    return not order


def read_directory(data: ByteSource, order: str, start: int, *, big: bool = False) -> dict[int, Entry]:
    """The entries of the directory at ``start``; ``order`` is ``"<"`` or ``">"``, ``big`` those of a BigTIFF."""
    directory: dict[int, Entry] = {}
    if not 8 <= start <= len(data) - 2:
        return directory
    size, word, first = (20, f"{order}Q", 8) if big else (12, f"{order}I", 2)
    if start + first > len(data):
        return directory
    (count,) = _unpacked(word if big else f"{order}H", data, start)
    for index in range(min(count, _MOST_ENTRIES)):
        position = start + first + size * index
        if position + size > len(data):
            break
        tag, kind, values = _unpacked(f"{order}HH{word[1]}", data, position)
        pointer = big and kind in _LONG8 and tag in _POINTERS
        length = 8 if pointer else _SIZES.get(kind, 0) * values
        if not 0 < length <= _LARGEST:
            continue
        beside = position + (12 if big else 8)
        at = beside if length <= size // 2 - 2 else _unpacked(word, data, beside)[0]
        if pointer:
            directory[tag] = Entry(_LONG, 1, struct.pack("<Q", _unpacked(word, data, at)[0]))
            continue
        if at + length <= len(data):
            directory[tag] = Entry(kind, values, _little(bytes(data[at : at + length]), kind, order))
    return directory


def _unpacked(form: str, data: ByteSource, at: int) -> tuple[Any, ...]:
    return struct.unpack(form, data[at : at + struct.calcsize(form)])


def _little(data: bytes, kind: int, order: str) -> bytes:
    if order == "<" or kind not in _WORDS:
        return data
    size = 4 if kind in (5, 10) else _SIZES[kind]
    return b"".join(data[at : at + size][::-1] for at in range(0, len(data), size))
