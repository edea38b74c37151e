"""The lists of blocks that JPEG, PNG and WebP are: walked through, and made, without decoding anything.

Sources: ITU-T T.81 (JPEG), PNG 3rd edition, WebP container specification.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

JPEG, PNG, JPEG_2000 = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"\0\0\0\x0cjP  "
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # of JPEG


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, first byte of its content, end) of a JPEG's segments up to its scan; what is cut off ends with the data."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            position += 2
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        yield marker, position + 4, min(end, len(data))
        if marker == 0xDA:
            return
        position = end


def frame_headers(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Those of a JPEG's `segments` that say what a frame is: its bits, height, width and components."""
    return (segment for segment in segments(data) if segment[0] in FRAME_MARKERS)


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end of content) of a PNG's chunks."""
    position = 8
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")
        if end + 4 > len(data):
            return
        yield data[position + 4 : position + 8], position + 8, end
        position = end + 4


def riff_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end of content) of a WebP's chunks."""
    position = 12
    while position + 8 <= len(data):
        end = position + 8 + int.from_bytes(data[position + 4 : position + 8], "little")
        yield data[position : position + 4], position + 8, min(end, len(data))
        position = end + (end - position) % 2


def segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG, with its checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def riff_chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a WebP, of even length."""
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
