"""EXIF, read and written: the few entries that a fused picture changes, all others as they were.

EXIF is a TIFF without pixels: directories of entries, some of which point to further directories. What cannot be understood is
left out; a camera's broken notes must not cost anybody the picture. Maker notes are copied as they are, see `exiflayout`.

Sources: CIPA DC-008 (Exif 3.0), CIPA DC-009 (DCF 2.0), TIFF 6.0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import IO, Any, Protocol

from ufafuse.runtime.pictures.exiflayout import (
    EXIF_IFD,
    GPS_IFD,
    INTEROP_IFD,
    LONG8,
    MAKER_NOTE,
    SIZES,
    WORDS,
    Directory,
    Entry,
    in_order,
    laid_out,
)
from ufafuse.runtime.texts import as_utf8

DESCRIPTION, ORIENTATION, SOFTWARE, DATETIME = 0x010E, 0x0112, 0x0131, 0x0132
DATETIME_ORIGINAL, SUBSEC_ORIGINAL = 0x9003, 0x9291
IMAGE_HISTORY, PIXELS_X, PIXELS_Y = 0x9213, 0xA002, 0xA003
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
FIRST_TURNED = 5  # of the orientations: those by a quarter
STRIPS = 0x0111  # where they lie
MAKERS = "the notes of the camera's maker"  # in words

_POINTERS = frozenset((EXIF_IFD, GPS_IFD, INTEROP_IFD))
_INTEROP_INDEX = 0x0001
_ASCII, _SHORT, _LONG = 2, 3, 4
_INCH = 2  # as `RESOLUTION_UNIT` has it
_WIDE_POINTERS = frozenset((13, 16, 18))  # kinds of BigTIFF's
_ORDERS = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
_RAW_ORDERS = {b"IIRO": "<", b"IIRS": "<", b"MMOR": ">", b"IIU\0": "<"}  # Olympus's and Panasonic's heads for the same
_MOST = 2**32 - 1
_FIRST, _RAW = 0x00FE, 0xC500  # below and from there on: raw files' own, which would make one of a result
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


# What is true of one frame alone: its number among all pictures that there are, by which programs that keep pictures know
# it; where its subject was, counted as it was stored; how much its file was compressed.
_OF_FRAME = (0xA420, 0x9214, 0xA214, 0x9102)
_VERSION = (0x9000, Entry(7, 4, b"0232"))


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


@dataclass
class Exif:
    """Directories of entries by tag: the main one, and what it points to; and the order of bytes of their file."""

    main: Directory = field(default_factory=dict)
    parts: dict[int, Directory] = field(default_factory=dict)
    order: str = "<"

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
        if entry is None or entry.kind not in WORDS or len(entry.data) < SIZES[entry.kind]:
            return None
        if entry.kind in (5, 10):
            above, below = struct.unpack_from(f"<2{WORDS[entry.kind]}", entry.data)
            return float(above) / below if below else None
        return float(struct.unpack_from(f"<{WORDS[entry.kind]}", entry.data)[0])

    @property
    def orientation(self) -> int:
        """1 (upright) to 8; 1 where the file does not say."""
        value = self.number(ORIENTATION)
        return int(value) if value is not None and 1 <= value <= 8 else 1

    @property
    def in_adobe_rgb(self) -> bool:
        """Whether a camera says that its colours are Adobe RGB, as DCF has it: beside a JPEG without a profile."""
        index = self.parts.get(INTEROP_IFD, {}).get(_INTEROP_INDEX)
        return index is not None and index.data.startswith(b"R03")

    @property
    def cannot_stay(self) -> str:
        """What `to_bytes` leaves out because it lies too far behind the beginning, in words; empty: nothing."""
        note = self.parts.get(EXIF_IFD, {}).get(MAKER_NOTE)
        return MAKERS if note is not None and note.at and not note.stays else ""

    def put_text(self, tag: int, value: str, part: int | None = None) -> None:
        """Set a text entry, in the main directory or a part."""
        data = as_utf8(value) + b"\0"
        self._directory(part)[tag] = Entry(_ASCII, len(data), data)

    def put_short(self, tag: int, value: int, part: int | None = None) -> None:
        """Set a number of 16 bits, in the main directory or a part."""
        self._directory(part)[tag] = Entry(_SHORT, 1, struct.pack("<H", value))

    def put_long(self, tag: int, value: int, part: int | None = None) -> None:
        """Set a number of 32 bits, in the main directory or a part."""
        self._directory(part)[tag] = Entry(_LONG, 1, struct.pack("<I", value))

    def drop(self, tag: int, part: int) -> None:
        """Take an entry out of a part, where it is in it."""
        self.parts.get(part, {}).pop(tag, None)

    def of_no_frame(self) -> None:
        """Take out what is true of one frame alone, and say by which version of EXIF the rest is meant."""
        for tag in _OF_FRAME:
            self.drop(tag, EXIF_IFD)
        self._directory(EXIF_IFD).setdefault(*_VERSION)

    def _directory(self, part: int | None) -> Directory:
        return self.main if part is None else self.parts.setdefault(part, {})

    def without_pixels(self) -> Exif:
        """A copy without the entries that describe how the pixels of the file lay, by tags or in microscopy's descriptions."""
        main = {tag: entry for tag, entry in self.main.items() if tag not in _OF_PIXELS | _OF_PROGRAMS and _FIRST <= tag < _RAW}
        said = main[DESCRIPTION].data.lstrip() if DESCRIPTION in main else b""
        if said.startswith(_OF_STACKS) or (said.startswith(b"{") and b'"shape":' in said):
            del main[DESCRIPTION]
        return Exif(main, {tag: dict(part) for tag, part in self.parts.items()}, self.order)

    def to_bytes(self) -> bytes:
        """As a TIFF of its own: what follows ``Exif\\0\\0`` in a JPEG."""
        return laid_out(self.main, self.parts, self.order)


def resolution(dpi: tuple[float, float]) -> Directory:
    """The entries that say how many pixels an inch has, across and down."""
    said = {tag: Entry(5, 1, rational(dots)) for tag, dots in zip((X_RESOLUTION, Y_RESOLUTION), dpi, strict=True)}
    return said | {RESOLUTION_UNIT: Entry(_SHORT, 1, struct.pack("<H", _INCH))}


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
    head = bytes(data[:4])
    order, big = _ORDERS.get(head, (_RAW_ORDERS.get(head, ""), False))
    if not order or len(data) < (16 if big else 8):
        return Exif()
    found = Exif(order=order)
    main = read_directory(data, order, _unpacked(f"{order}Q" if big else f"{order}I", data, 8 if big else 4)[0], big=big)
    found.main = {tag: entry for tag, entry in main.items() if entry.kind not in LONG8}  # which EXIF does not have
    pending = [(tag, found.main, 1) for tag in _POINTERS]
    while pending:
        tag, parent, depth = pending.pop()
        pointer = parent.pop(tag, None)
        if pointer is None or len(pointer.data) < 4 or depth > _DEEPEST:
            continue
        wide = len(pointer.data) >= 8
        part = read_directory(data, order, _unpacked("<Q" if wide else "<I", pointer.data, 0)[0], big=big)
        part = {key: entry for key, entry in part.items() if entry.kind not in LONG8}
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


def read_directory(data: ByteSource, order: str, start: int, *, big: bool = False) -> Directory:
    """The entries of the directory at ``start``; ``order`` is ``"<"`` or ``">"``, ``big`` those of a BigTIFF."""
    directory: Directory = {}
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
        pointer = big and kind in _WIDE_POINTERS and tag in _POINTERS
        length = 8 if pointer else 0 if kind in LONG8 and not big else SIZES.get(kind, 0) * values
        if not 0 < length <= _LARGEST:
            continue
        beside = position + (12 if big else 8)
        at = beside if length <= size // 2 - 2 else _unpacked(word, data, beside)[0]
        if pointer:
            directory[tag] = Entry(_LONG, 1, struct.pack("<Q", _unpacked(word, data, at)[0]))
            continue
        if at + length <= len(data):
            place = at if tag == MAKER_NOTE else 0
            directory[tag] = Entry(kind, values, in_order(bytes(data[at : at + length]), kind, order), place)
    return directory


def _unpacked(form: str, data: ByteSource, at: int) -> tuple[Any, ...]:
    return struct.unpack(form, data[at : at + struct.calcsize(form)])
