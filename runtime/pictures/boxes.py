"""What an AVIF or HEIF file says of its picture in boxes: turns, colours, notes.

Sources: ISO/IEC 14496-12 (boxes, items), 23008-12 (properties of pictures, EXIF), 23091-2 (codes of colours).
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from ufafuse.runtime.pictures import exif as ex
from ufafuse.runtime.pictures.av1 import is_narrow

_LARGEST = 16 << 20  # bytes of a note; a larger one is left out
_IN_FILE, _IN_BOX = 0, 1  # where an item's bytes lie


@dataclass
class Boxes:
    """What was found; what is broken is left out.

    Attributes:
        icc, exif, xmp: As `ufafuse.runtime.pictures.metadata.Metadata`.
        nclx: The codes of primaries and transfer; None: not said.
        narrow: Black is stored as 16 and white as 235, or as that in more bits.
        turns: Quarter turns anti-clockwise, before `mirror`; None: not said.
        mirror: 0: top and bottom change places, 1: left and right; None: not mirrored.
        bits: Of each sample; 0: not said.
        grey: An AVIF without colours.
        aperture: Width, height, and how far their middle lies right of and below the picture's; None: all of it is shown.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    nclx: tuple[int, int] | None = None
    narrow: bool = False
    turns: int | None = None
    mirror: int | None = None
    bits: int = 0
    grey: bool = False
    aperture: tuple[Fraction, ...] | None = None

    def shown(self, height: int, width: int) -> tuple[slice, slice]:
        """The rows and columns that are shown of a picture as it is stored; all where the aperture is no whole part of it."""
        if self.aperture is None:
            return slice(height), slice(width)
        across, down, right, below = self.aperture
        left, top = (width - across) / 2 + right, (height - down) / 2 + below
        ends = top, top + down, left, left + across
        inside = 0 <= top < top + down <= height and 0 <= left < left + across <= width
        if not inside or any(end.denominator != 1 for end in ends):
            return slice(height), slice(width)
        return slice(int(ends[0]), int(ends[1])), slice(int(ends[2]), int(ends[3]))

    @property
    def orientation(self) -> int:
        """EXIF's number for turns and mirror together, 1 to 8."""
        if self.mirror is None:
            return (1, 8, 3, 6)[self.turns or 0]
        return ((4, 5, 2, 7), (2, 7, 4, 5))[self.mirror][self.turns or 0]

    @property
    def note(self) -> str:
        """What to tell of a picture that only its EXIF calls turned; empty for others."""
        turned = self.turns is not None or self.mirror is not None
        number = 1 if turned or self.exif is None else ex.parse_exif(self.exif).orientation
        return f"its EXIF calls it turned ({number}), its container does not, which counts: it stays as it is" * (number > 1)


class _Box(NamedTuple):
    kind: bytes
    start: int
    end: int


@dataclass
class _Items:
    """The tables of the ``meta`` box."""

    primary: int = 0
    kinds: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)  # and for "mime" the type of content
    places: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)  # (where, offset, length) of each part
    properties: list[_Box] = field(default_factory=list)
    of_primary: list[int] = field(default_factory=list)  # numbers of properties, from 1
    box: _Box | None = None  # what holds items that lie in no file


def read_boxes(data: bytes) -> Boxes:
    """Read what stands beside the primary picture."""
    found = Boxes()
    try:
        meta = next((box for box in boxes(data, 0, len(data)) if box.kind == b"meta"), None)
        if meta is not None:
            items = _items(data, meta)
            _take_properties(data, items, found)
            _take_notes(data, items, found)
            if found.nclx is None:
                found.narrow = _is_narrow(data, items)
    except (struct.error, IndexError, ValueError):
        pass
    return found


def without_notes(data: bytes) -> bytes:
    """The file with its EXIF and XMP called something else, so that a decoder passes over them.

    OpenCV takes a file for an AVIF by its first 500 bytes, and not for one whose notes begin behind them, as libheif puts them.
    """
    meta = None
    with contextlib.suppress(struct.error):
        meta = next((box for box in boxes(data, 0, len(data)) if box.kind == b"meta"), None)
    if meta is None:
        return data
    said = data[meta.start : meta.end]
    for name, other in ((b"Exif", b"Exi_"), (b"application/rdf+xml", b"application/rdf_xml")):
        said = said.replace(name, other)
    return data[: meta.start] + said + data[meta.end :]


def boxes(data: bytes, at: int, end: int) -> Iterator[_Box]:
    """The boxes from ``at`` to ``end``, one after another: kind, first byte and end of the content."""
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", data, at + 8), 16
        stop = end if size == 0 else at + size
        if size and size < head:
            return
        yield _Box(kind, at + head, min(stop, end))
        at = stop


def _number(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise ValueError("cut off")
    return int.from_bytes(data[at : at + size], "big")


def _items(data: bytes, meta: _Box) -> _Items:
    items = _Items()
    readers = {
        b"pitm": _set_primary,
        b"iinf": _add_kinds,
        b"iloc": _add_places,
        b"iprp": _add_properties,
        b"idat": _set_box,
    }
    for box in boxes(data, meta.start + 4, meta.end):
        if box.kind in readers:
            readers[box.kind](data, box, items)
    return items


def _set_primary(data: bytes, box: _Box, items: _Items) -> None:
    items.primary = _number(data, box.start + 4, 2 if data[box.start] == 0 else 4)


def _set_box(_: bytes, box: _Box, items: _Items) -> None:
    items.box = box


def _add_kinds(data: bytes, box: _Box, items: _Items) -> None:
    for entry in boxes(data, box.start + 4 + (2 if data[box.start] == 0 else 4), box.end):
        _add_kind(data, entry, items)


def _add_properties(data: bytes, box: _Box, items: _Items) -> None:
    for part in boxes(data, box.start, box.end):
        if part.kind == b"ipco":
            items.properties = list(boxes(data, part.start, part.end))
        elif part.kind == b"ipma":
            _add_numbers(data, part, items)


def _add_kind(data: bytes, entry: _Box, items: _Items) -> None:
    version = data[entry.start]
    if entry.kind != b"infe" or version < 2:
        return
    wide = 2 if version == 2 else 4
    at = entry.start + 4 + wide + 2
    _, content, *_ = (data[at + 4 : entry.end] + b"\0\0").split(b"\0")
    items.kinds[_number(data, entry.start + 4, wide)] = data[at : at + 4], content


def _add_places(data: bytes, box: _Box, items: _Items) -> None:
    version, sizes = data[box.start], _number(data, box.start + 4, 2)
    offset, length, base, index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide, at = (2 if version < 2 else 4), box.start + 6
    count, at = _number(data, at, wide), at + wide
    for _ in range(count):
        item, at = _number(data, at, wide), at + wide
        where = _IN_FILE
        if version > 0:
            where, at = _number(data, at, 2) & 15, at + 2
        start, at = _number(data, at + 2, base), at + 2 + base
        parts, at = _number(data, at, 2), at + 2
        items.places[item] = []
        for _ in range(parts):
            at += index if version > 0 else 0
            items.places[item].append((where, start + _number(data, at, offset), _number(data, at + offset, length)))
            at += offset + length


def _add_numbers(data: bytes, box: _Box, items: _Items) -> None:
    version, wide = data[box.start], 2 if data[box.start + 3] & 1 else 1
    count, at = _number(data, box.start + 4, 4), box.start + 8
    for _ in range(count):
        size = 2 if version == 0 else 4
        item, many = _number(data, at, size), data[at + size]
        at += size + 1
        numbers = [_number(data, at + wide * each, wide) & (0x7FFF if wide == 2 else 0x7F) for each in range(many)]
        at += wide * many
        if item == items.primary:
            items.of_primary += numbers


def _take_properties(data: bytes, items: _Items, found: Boxes) -> None:
    for number in items.of_primary:
        if not 1 <= number <= len(items.properties):
            continue
        kind, start, end = items.properties[number - 1]
        if kind == b"irot":
            found.turns = data[start] & 3
        elif kind == b"imir":
            found.mirror = data[start] & 1
        elif kind == b"clap":
            found.aperture = _aperture(data, start)
        elif kind == b"colr":
            _take_colours(data, start, end, found)
        elif kind == b"pixi":
            found.bits = data[start + 5]
        elif kind == b"av1C":
            said = data[start + 2]
            found.bits, found.grey = found.bits or (12 if said & 0x20 else 10 if said & 0x40 else 8), bool(said & 0x10)


def _aperture(data: bytes, start: int) -> tuple[Fraction, ...] | None:
    numbers = struct.unpack_from(">IIIIiIiI", data, start)
    fits = all(numbers[1::2])
    return tuple(Fraction(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)) if fits else None


def _take_colours(data: bytes, start: int, end: int, found: Boxes) -> None:
    kind = data[start : start + 4]
    if kind in (b"prof", b"rICC"):
        found.icc = data[start + 4 : end] or None
    elif kind == b"nclx":
        found.nclx = _number(data, start + 4, 2), _number(data, start + 6, 2)
        found.narrow = not _number(data, start + 10, 1) & 0x80


def _is_narrow(data: bytes, items: _Items) -> bool:
    """What the first picture of AV1 says of its levels, which a grid's is one of."""
    coded = [item for item, (kind, _) in items.kinds.items() if kind == b"av01"]
    return bool(coded) and is_narrow(_bytes_of(data, items, min(coded)))


def _take_notes(data: bytes, items: _Items, found: Boxes) -> None:
    for item, (kind, content) in items.kinds.items():
        if kind == b"Exif" and found.exif is None:
            note = _bytes_of(data, items, item)
            start = 4 + int.from_bytes(note[:4], "big")  # where its TIFF begins
            found.exif = note[start:].removeprefix(b"Exif\0\0") or None
        elif kind == b"mime" and content == b"application/rdf+xml" and found.xmp is None:
            found.xmp = _bytes_of(data, items, item) or None


def _bytes_of(data: bytes, items: _Items, item: int) -> bytes:
    parts = items.places.get(item, [])
    if sum(length for _, _, length in parts) > _LARGEST:
        return b""
    base = {_IN_FILE: 0, _IN_BOX: items.box.start if items.box else len(data)}
    return b"".join(data[base.get(where, len(data)) + at :][:length] for where, at, length in parts)
