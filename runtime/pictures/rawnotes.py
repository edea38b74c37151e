"""What a raw file says beside its samples: camera, lens, date and exposure.

What it says of colours is not true of the developed picture, and its settings are for other developers: neither is taken.

Sources: TIFF/EP, DNG 1.7; for Olympus, Panasonic, Fujifilm and Canon's CR3 the tables of ExifTool and LibRaw.
"""

from __future__ import annotations

from ufafuse.runtime.pictures import exif as ex
from ufafuse.runtime.pictures import exiflayout as lay
from ufafuse.runtime.pictures.metadata import Metadata, metadata_of

_FUJIFILM, _PICTURE_AT = b"FUJIFILMCCD-RAW", 84  # where it says at which byte its JPEG begins
_JPEG_HEAD = 1 << 18  # bytes in which that JPEG has its EXIF
_CANON, _CANON_HEAD = b"ftypcrx ", 1 << 16
_CANON_PARTS = ((b"CMT2", lay.EXIF_IFD), (b"CMT4", lay.GPS_IFD))
_PANASONICS_ISO, _ISO = 0x17, 0x8827
_COLOUR_SPACE, _SRGB = 0xA001, 1


def notes_of_raw(data: ex.ByteSource) -> Metadata:
    """What belongs beside a picture that was developed to sRGB; of files that have no EXIF in any known place nothing."""
    found = _exif_in(data)
    if not found.main:
        return Metadata()
    iso = found.main.get(_PANASONICS_ISO)
    part = found.parts.setdefault(lay.EXIF_IFD, {})
    if iso is not None:
        part.setdefault(_ISO, iso)
    found = found.without_pixels()
    found.put_short(_COLOUR_SPACE, _SRGB, lay.EXIF_IFD)  # a camera that was set to another one says so here
    found.parts.pop(lay.INTEROP_IFD, None)  # and here
    return Metadata(exif=found.to_bytes(), left_out=found.cannot_stay)


def _exif_in(data: ex.ByteSource) -> ex.Exif:
    head = bytes(data[:16])
    if head.startswith(_FUJIFILM):
        start = int.from_bytes(data[_PICTURE_AT : _PICTURE_AT + 4], "big")
        return ex.parse_exif(metadata_of(bytes(data[start : start + _JPEG_HEAD])).exif or b"")
    if head[4:12] != _CANON:
        return ex.parse_exif(data)
    boxes = bytes(data[:_CANON_HEAD])
    found = _block(boxes, b"CMT1")
    for name, part in _CANON_PARTS:
        found.parts[part] = _block(boxes, name).main
    return found


def _block(boxes: bytes, name: bytes) -> ex.Exif:
    """What stands in Canon's box of this name, which is a TIFF of its own."""
    at = boxes.find(name)
    return ex.parse_exif(boxes[at + 4 : at - 4 + int.from_bytes(boxes[at - 4 : at], "big")]) if at >= 4 else ex.Exif()
