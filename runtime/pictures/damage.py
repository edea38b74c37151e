"""What a decoder would paper over: missing ends, wrong checksums, bytes that were lost inside."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from ufafuse.runtime.pictures.blocks import JPEG, JPEG_2000, PNG, segments

_JPEG_2000 = (JPEG_2000, b"\xff\x4f\xff\x51")  # a file, and a bare codestream
_FEW, _MANY = 64, 1024  # zeros at a file's end; notes that are filled up may stand at that of a HEIF or AVIF
JPEG_PARTS, _LZW, _PACKBITS, _DEFLATE = 7, 5, 32773, frozenset((8, 32946))  # a TIFF's compressions
_YCBCR, _SUBSAMPLING = 6, 530  # its colours that may be stored reduced, and the tag that says how


def damage_in(data: bytes) -> str:
    """Why a file cannot be whole; empty where nothing was found. OpenCV fills a missing part with grey and says nothing."""
    if data.startswith(JPEG):
        return _jpeg_damage(data)
    if data.startswith(PNG):
        return _png_damage(data)
    if data.startswith(b"BM") and len(data) >= 18:
        size = int.from_bytes(data[2:6], "little")
        return "" if len(data) >= size else f"truncated, {len(data)} of {size} bytes"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        size = int.from_bytes(data[4:8], "little") + 8
        return zeros_at_the_end(data, _FEW) if len(data) >= size else f"truncated, {len(data)} of {size} bytes"
    if data.startswith(_JPEG_2000) or data[4:8] == b"ftyp":
        return zeros_at_the_end(data, _FEW if data.startswith(_JPEG_2000) else _MANY)
    return ""


def zeros_at_the_end(data: bytes, most: int = _FEW) -> str:
    """Of a copy that was broken off a disk often keeps the size: what did not come is zeros, which packed samples are not."""
    zeros = len(data) - len(data.rstrip(b"\0"))
    return f"its last {zeros} bytes are 0: a copy that was broken off" if zeros > most else ""


def fault_in_parts(read: Callable[[int, int], bytes], page: Any, *, inside: bool) -> str:  # noqa: ANN401 - tifffile's page
    """What was lost in one of the parts that a TIFF's page is made of; empty where nothing was found.

    Args:
        read: Gives the file's bytes from an offset on, so many.
        page: Of tifffile.
        inside: Look beyond the ends of JPEGs, too, and into parts packed by LZW and PackBits.

    Raises:
        ValueError: A part ends early.
    """
    packing, damage = int(page.compression), ""
    # Of Deflate tifffile checks the sum; only OpenCV's libtiff reads these colours, and passes over what is wrong.
    looked_at = packing in (_LZW, _PACKBITS) or (packing in _DEFLATE and int(page.photometric) == _YCBCR)
    if not (packing == JPEG_PARTS or (inside and looked_at)):
        return ""
    for index, (start, length) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=False)):
        part, what = read(start, length), f"part {index + 1} of {len(page.dataoffsets)}"
        try:
            if packing == JPEG_PARTS:
                fault = _fault_in_jpeg(part, page.jpegtables, inside=inside and not damage)
            else:
                fault = _wrong_length(part, page, index) if part else ""
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from error
        damage = damage or (fault and f"{what}: {fault}")
    return damage


def _fault_in_jpeg(part: bytes, tables: bytes | None, *, inside: bool) -> str:
    from ufafuse.runtime.pictures.jpegscan import fault_in_scan

    if not part.startswith(JPEG):  # never written, or what its decoder will not take
        return ""
    part = tables[:-2] + part[2:] if tables else part
    if early := _jpeg_damage(part):
        raise ValueError(early)
    return fault_in_scan(part) if inside else ""


def _wrong_length(part: bytes, page: Any, index: int) -> str:  # noqa: ANN401 - as above
    """What is wrong with how many bytes a part unpacks to; empty where nothing can be said. Raises: ValueError: too few."""
    if not isinstance(page.bitspersample, int) or getattr(page, "imagedepth", 1) != 1:
        return ""
    width, rows = (page.tilewidth, page.tilelength) if page.is_tiled else (page.imagewidth, page.rowsperstrip)
    whole = rows if page.is_tiled else min(rows, page.imagelength)
    strips = -(-page.imagelength // whole)
    last = not page.is_tiled and index % strips == strips - 1
    wanted = _unpacked_bytes(page, width, page.imagelength - whole * (strips - 1) if last else whole)
    found = _unpacked(part, int(page.compression))
    # Some programs fill up the last rows.
    if found in (None, wanted, _unpacked_bytes(page, width, whole) if last else wanted):
        return ""
    said = f"it unpacks to {found} bytes instead of {wanted}"
    if found < wanted:
        raise ValueError(said)
    return said


def _unpacked(part: bytes, packing: int) -> int | None:
    """How many bytes a part unpacks to; None: that cannot be said. Raises: ValueError: it is no such part."""
    from ufafuse.runtime.pictures.tiffscan import bytes_in_lzw, bytes_in_packbits

    if packing not in _DEFLATE:
        return (bytes_in_lzw if packing == _LZW else bytes_in_packbits)(part)
    try:
        return len(zlib.decompress(part))
    except zlib.error as error:
        raise ValueError(str(error)) from error


def _unpacked_bytes(page: Any, width: int, rows: int) -> int:  # noqa: ANN401 - as above
    """How many bytes the samples of so many rows and columns take."""
    bits, samples = int(page.bitspersample), page.samplesperpixel if int(page.planarconfig) == 1 else 1
    if int(page.photometric) != _YCBCR:
        return int(-(-width * samples * bits // 8) * rows)
    across, down = (int(side) for side in page.tags.valueof(_SUBSAMPLING, (2, 2)))  # of one blue and one red difference
    return -(-width // across) * -(-rows // down) * (across * down + 2) * bits // 8


def _jpeg_damage(data: bytes) -> str:
    for marker, start, _ in segments(data):
        if marker == 0xDA:
            # In entropy-coded data 0xFF is always followed by a stuffed 0 or a restart marker, so this is the real end.
            return "" if data.find(b"\xff\xd9", start) >= 0 else "truncated, no end marker"
    return "truncated inside its header"


def _png_damage(data: bytes) -> str:
    position = 8
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")
        if end + 4 > len(data):
            break
        if zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return f"a wrong checksum at byte {end}"
        if data[position + 4 : position + 8] == b"IEND":
            return ""
        position = end + 4
    return "truncated, no end chunk"
