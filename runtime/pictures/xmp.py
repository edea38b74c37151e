"""XMP as it has to be in a result: upright, of the result's size, and without what is true of the frame alone.

Sources: XMP parts 1 to 3, "Ultra HDR image format", "Motion Photo format", ISO 21496-1, Apple's HDR gain maps.
"""

from __future__ import annotations

import re

from ufafuse.runtime.pictures.kinds import SNIFFED, kind_of

_TURN = re.compile(rb"(tiff:Orientation(?:=[\"']|>)\s*)\d")
_WIDTH = re.compile(rb"((?:exif:PixelXDimension|tiff:ImageWidth)(?:=[\"']|>)\s*)\d+")
_HEIGHT = re.compile(rb"((?:exif:PixelYDimension|tiff:ImageLength)(?:=[\"']|>)\s*)\d+")
# By which number programs know the frame (where it came from stays); a small picture of it; the format of its file; and which
# further pictures, moving pictures and notes stand in that: in a result there are none.
_OF_FRAME = (
    rb"(?:xmpMM|xapMM):(?:DocumentID|InstanceID)|(?:xmp|xap):Thumbnails|dc:format|xmpNote:HasExtendedXMP"
    rb"|(?:xmlns:)?(?:hdrgm|HDRGainMap|GCamera|GContainer|Container|Item|GDepth|GImage)(?::[\w-]+)?"
)
_ATTRIBUTE = re.compile(rb"(?<!\s)\s+(?:" + _OF_FRAME + rb")\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_ELEMENT = re.compile(rb"<(" + _OF_FRAME + rb")(?:\s[^<>]*?)?(/?)>")
_GAIN_MAPS = (b"ns.adobe.com/hdr-gain-map/", b"ns.apple.com/HDRGainMap/", b"urn:iso:std:iso:ts:21496")
_IN_BOXES = (b"aux:hdrgainmap", b"tmap")
_HEAD = 1 << 17  # bytes in which a file says that it has one


def xmp_of_result(xmp: bytes | None, size: tuple[int, int]) -> bytes | None:
    """A frame's packet for a picture made of it, which stands upright and is of ``size`` (height, width)."""
    if xmp is None:
        return None
    xmp = _ATTRIBUTE.sub(b"", _without_elements(xmp))
    if any(known in xmp for known in _GAIN_MAPS):  # said in another way
        return None
    height, width = (b"\\g<1>%d" % side for side in size)
    return _HEIGHT.sub(height, _WIDTH.sub(width, _TURN.sub(rb"\g<1>1", xmp)))


def _without_elements(xmp: bytes) -> bytes:
    """A packet without the elements that are true of the frame alone, and what stands in them."""
    kept, at, endless = list[bytes](), 0, set[bytes]()
    while (found := _ELEMENT.search(xmp, at)) is not None:
        closing = b"</%s>" % found[1]
        ends = found.start() if found[2] else -1 if closing in endless else xmp.find(closing, found.end())
        if ends < 0:
            endless.add(closing)
            kept.append(xmp[at : found.end()])
            at = found.end()
        else:
            kept.append(xmp[at : found.start()])
            at = found.end() if found[2] else ends + len(closing)
    return b"".join((*kept, xmp[at:]))


def gain_map_note(data: bytes) -> str:
    """What to tell of a JPEG, HEIC or AVIF with a gain map, which nobody reads here; empty for others."""
    head = data[:_HEAD]
    kind = kind_of(head[:SNIFFED])
    known = _GAIN_MAPS if kind == "JPEG" else _IN_BOXES if kind in ("HEIF", "AVIF") else ()
    if not any(name in head for name in known):
        return ""
    return "its gain map, with which it is brighter on an HDR screen, is left out"
