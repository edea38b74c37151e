"""Whether what a TIFF's page says of its pixels can be true: tifffile makes a picture of much that cannot.

It passes over a tag that it cannot read, goes on with what is usual for one that is missing, gives black for parts that are not
listed, hands on as much of a part as the file has, and cuts or fills up pictures that are of another size than the page.

Sources: TIFF 6.0, TIFF technical note 2.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from typing import Any

from ufafuse.runtime.pictures.blocks import frame_headers
from ufafuse.runtime.pictures.damage import JPEG_PARTS, zeros_at_the_end
from ufafuse.runtime.pictures.jpeg2000 import said_in
from ufafuse.runtime.pictures.kinds import SNIFFED, kind_of
from ufafuse.runtime.pictures.sizes import size_of

FAX = frozenset((2, 3, 4))  # compressions of two levels
_PLAIN, _OLD_JPEG = 1, 6
_JPEG_2000 = frozenset((33_003, 33_004, 33_005, 34_712))
_PICTURES = _JPEG_2000 | {
    JPEG_PARTS,
    34_933,
    50_001,
}  # of compressions, those by which a part is a picture of a size: PNG, WebP
# TIFF 6's tags of size, bits, compression, colours, where the parts lie, and how their samples are to be read.
_OF_PIXELS = frozenset((256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339, 347, 530))
_COLOURS, _BITS, _PLANES, _TABLES = 262, 258, 284, 347
_STARTS, _LENGTHS = (273, 324), (279, 325)
_WHOLE = frozenset((1, 3, 4, 6, 8, 9, 13, 16, 17, 18))  # types of entries that hold whole numbers
_YCBCR = 6
_HEAD = 8  # bytes of a TIFF before anything else
_FILLED, _UNIT = 4, 16  # bytes by which programs fill up a part, and what they bring the sides of a JPEG to


def check_page(page: Any) -> None:  # noqa: ANN401 - tifffile's page
    """See that a page has what its pixels are told by.

    Raises:
        ValueError: Something is missing, or is no such thing.
    """
    kind, stream = page.parent.tiff, page.parent.filehandle
    stream.seek(page.offset)
    (count,) = struct.unpack(kind.tagnoformat, stream.read(kind.tagnosize))
    entries = stream.read(count * kind.tagsize)
    listed = {struct.unpack_from(kind.byteorder + "H", entries, at)[0] for at in range(0, len(entries), kind.tagsize)}
    found = {tag.code: tag for tag in page.tags if tag.code in _OF_PIXELS}
    if unread := sorted(listed & _OF_PIXELS - found.keys()):
        raise ValueError(f"its tag {unread[0]} cannot be read")
    none = [code for code, tag in found.items() if code != _TABLES and (int(tag.dtype) not in _WHOLE or not tag.count)]
    if none:
        raise ValueError(f"its tag {none[0]} holds no whole number")
    if page.samplesperpixel > 1 and page.tags.valueof(_PLANES, 1) not in (1, 2):
        raise ValueError(f"its tag {_PLANES} is {page.tags.valueof(_PLANES)}")
    # Without these white is 0 and a sample has one bit: right for a fax, an inverted or torn picture otherwise.
    needed = () if int(page.compression) in FAX else (_COLOURS, _BITS) if page.samplesperpixel > 1 else (_COLOURS,)
    if missing := [code for code in needed if code not in found]:
        raise ValueError(f"its tag {missing[0]} is missing")
    _check_parts(page, len(entries) + kind.tagnosize)


def _check_parts(page: Any, tags: int) -> None:  # noqa: ANN401 - as above
    """See that each part of a page, whose tags take so many bytes, is listed and lies in the file (`ValueError`)."""
    parts, size = math.prod(page.chunked), page.parent.filehandle.size
    counts = [page.tags[code].count for code in (*_STARTS, *_LENGTHS) if code in page.tags]
    if len(counts) == 2 and counts[0] < counts[1]:
        raise ValueError(f"it says where {counts[0]} parts lie, and how long {counts[1]} are")
    for each in (page.dataoffsets, page.databytecounts) if not page.is_contiguous else ():
        if len(each) < parts:
            raise ValueError(f"it lists {len(each)} of its {parts} parts")
    if int(page.compression) == _OLD_JPEG:  # which lie wherever further tags say
        return
    for start, length in zip(page.dataoffsets, page.databytecounts, strict=False):
        where = f"a part of it lies at bytes {start} to {start + length}"
        if length and (start < _HEAD or (start < page.offset + tags and start + length > page.offset)):
            raise ValueError(f"{where}, where its tags are")
        if start + length > size and int(page.compression) != _PLAIN:  # the others are read by their size
            raise ValueError(f"{where} of {size}")


def contradiction(read: Callable[[int, int], bytes], page: Any) -> str:  # noqa: ANN401 - as above
    """Which size the parts of a page have that is not the page's; empty: none that is known.

    Args:
        read: Gives the file's bytes from an offset on, so many.
        page: Of tifffile, as `check_page` found it good.

    Raises:
        ValueError: A part is a picture that is smaller, or of which the end did not arrive.
    """
    parts = math.prod(page.chunked)
    listed = max((page.tags[code].count for code in _STARTS if code in page.tags), default=0)
    if listed > parts:
        return f"it lists {listed} parts, and its size makes {parts}"
    if int(page.compression) == _PLAIN:
        return _other_length(page)
    found = ""
    for index, (height, width) in enumerate(_shown(page)) if int(page.compression) in _PICTURES else ():
        part = read(page.dataoffsets[index], page.databytecounts[index])
        if int(page.compression) in _JPEG_2000 and (lost := zeros_at_the_end(part)):
            raise ValueError(lost)
        kind = kind_of(part[:SNIFFED])
        _check_bits(part, kind, page)
        size = size_of(part, kind) if part else None
        said = f"part {index + 1} is a picture of {size}, and its place one of {(height, width)}"
        if size is not None and (size[0] < height or size[1] < width):
            raise ValueError(said)
        high, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        beyond = size is not None and (size[0] >= high + _UNIT or size[1] >= wide + _UNIT)
        found = found or (said if beyond else "")
    return found


def _check_bits(part: bytes, kind: str, page: Any) -> None:  # noqa: ANN401 - as above
    """See that a part which is a picture has no more bits than its page, of a JPEG as many (`ValueError`)."""
    declared, bits = page.bitspersample, 0
    if kind == "JPEG":
        bits = next((part[start] for _, start, end in frame_headers(part) if end > start), 0)
    elif kind == "JPEG 2000":
        bits = said_in(part).bits
    if bits and isinstance(declared, int) and (bits > declared or (kind == "JPEG" and bits != declared)):
        raise ValueError(f"it has {bits} bits a sample, and says {declared}")


def _shown(page: Any) -> Iterator[tuple[int, int]]:  # noqa: ANN401 - as above
    """Of each part (height, width) of what the page shows of it."""
    height, width = int(page.imagelength), int(page.imagewidth)
    high, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, width)
    planes = 1 if int(page.planarconfig) == 1 else int(page.samplesperpixel)
    for _ in range(planes):
        for top in range(0, height, high):
            for left in range(0, width, wide):
                yield min(high, height - top), min(wide, width - left)


def _other_length(page: Any) -> str:  # noqa: ANN401 - as above
    """That samples which are not packed take another number of bytes than the page's size; empty: they do not."""
    counts = next((page.tags.valueof(code) for code in _LENGTHS if code in page.tags), None)
    if counts is None or not isinstance(page.bitspersample, int) or int(page.photometric) == _YCBCR:
        return ""
    counts = (counts,) if isinstance(counts, int) else counts
    samples, planes = (page.samplesperpixel, 1) if int(page.planarconfig) == 1 else (1, page.samplesperpixel)
    width = page.tilewidth if page.is_tiled else page.imagewidth
    row, found = -(-width * samples * page.bitspersample // 8), sum(counts)
    rows = math.prod(page.chunked) * page.tilelength if page.is_tiled else page.imagelength * planes
    high = page.tilelength if page.is_tiled else page.rowsperstrip
    least, most = row * rows, row * high * math.prod(page.chunked)  # of strips the last may have rows that nobody sees
    spare = _FILLED * len(counts)
    # Parts that were never written are told elsewhere.
    if not all(counts) or least - spare <= found <= most + spare:
        return ""
    return f"its parts have {found} bytes, and its size makes {least}"
