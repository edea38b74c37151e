"""What a decoder would paper over: missing ends, wrong checksums, bytes that were lost inside."""

from __future__ import annotations

import zlib

from ufafuse.runtime.pictures.metadata import JPEG, PNG, segments


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
        return "" if len(data) >= size else f"truncated, {len(data)} of {size} bytes"
    return ""


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
