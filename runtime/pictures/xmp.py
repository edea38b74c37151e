"""XMP as it has to be in a result: upright, of the result's size, and without a gain map that the result does not have.

Sources: XMP part 2 (TIFF and EXIF in XMP), "Ultra HDR image format", ISO 21496-1, Apple's HDR gain maps.
"""

from __future__ import annotations

import re

from ufafuse.runtime.pictures.kinds import SNIFFED, kind_of

_TURN = re.compile(rb"(tiff:Orientation(?:=[\"']|>)\s*)\d")
_WIDTH = re.compile(rb"((?:exif:PixelXDimension|tiff:ImageWidth)(?:=[\"']|>)\s*)\d+")
_HEIGHT = re.compile(rb"((?:exif:PixelYDimension|tiff:ImageLength)(?:=[\"']|>)\s*)\d+")
_GAIN_MAPS = (b"ns.adobe.com/hdr-gain-map/", b"ns.apple.com/HDRGainMap/", b"urn:iso:std:iso:ts:21496")
_IN_BOXES = (b"aux:hdrgainmap", b"tmap")
_HEAD = 1 << 17  # bytes in which a file says that it has one


def xmp_of_result(xmp: bytes | None, size: tuple[int, int]) -> bytes | None:
    """A frame's packet for a picture made of it, which stands upright and is of ``size`` (height, width)."""
    if xmp is None or any(known in xmp for known in _GAIN_MAPS):
        return None
    height, width = (b"\\g<1>%d" % side for side in size)
    return _HEIGHT.sub(height, _WIDTH.sub(width, _TURN.sub(rb"\g<1>1", xmp)))


def gain_map_note(data: bytes) -> str:
    """What to tell of a JPEG, HEIC or AVIF with a gain map, which nobody reads here; empty for others."""
    head = data[:_HEAD]
    kind = kind_of(head[:SNIFFED])
    known = _GAIN_MAPS if kind == "JPEG" else _IN_BOXES if kind in ("HEIF", "AVIF") else ()
    if not any(name in head for name in known):
        return ""
    return "its gain map, with which it is brighter on an HDR screen, is left out"
