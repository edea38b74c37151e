"""What a picture's file says beside its pixels: profile, EXIF, XMP, resolution; taken out of files and put into others.

JPEG, PNG and WebP are lists of blocks, so nothing is decoded for it and no pixel changes. TIFF: see `tiff`.

Sources: JFIF 1.02, ICC.1 annex B (profiles in JPEG), PNG 3rd edition, WebP container specification, XMP part 3.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ufafuse.runtime.pictures import exif as ex
from ufafuse.runtime.pictures import exiflayout as lay
from ufafuse.runtime.pictures.bmp import notes_of
from ufafuse.runtime.pictures.boxes import read_boxes
from ufafuse.runtime.pictures.colours import ADOBE_RGB, coded_space, said_space
from ufafuse.runtime.pictures.jpeg2000 import said_in
from ufafuse.runtime.pictures.xmp import xmp_of_result

JPEG, PNG, JPEG_2000 = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"\0\0\0\x0cjP  "
_EXIF, _XMP, _ICC = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
_PNG_XMP = b"XML:com.adobe.xmp"
OURS = "ufafuse"  # what the software tag of results begins with
_LARGEST = 16 << 20  # bytes of a profile or of notes; a larger one is left out
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # of JPEG
_SEGMENT = 65_533  # bytes in one JPEG segment
ICC_TAG, XMP_TAG = 34_675, 700  # of TIFF
_COLOUR_CHUNKS = frozenset((b"cICP", b"gAMA", b"cHRM", b"mDCV", b"cLLI"))
_PART = 65_519  # bytes of a profile in one JPEG segment
_LARGEST_JFIF = 65_535  # pixels an inch
_METRES = 0.0254  # in an inch


@dataclass(frozen=True)
class Metadata:
    """What stands beside the pixels.

    Args:
        icc: The colour profile.
        exif: As a TIFF of its own (without ``Exif\\0\\0``).
        xmp: The packet.
        dpi: Pixels an inch, across and down.
        colour: What a PNG says of its colours beside a profile, as the names and contents of its chunks (``cICP``, ``gAMA``,
            ``cHRM``, ``mDCV``, ``cLLI``); AVIF's and HEIC's codes, and what a camera says by DCF, in the same form.
        left_out: What the file says beside that and no result can, in words.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    colour: tuple[tuple[bytes, bytes], ...] = ()
    left_out: str = ""

    @property
    def colour_space(self) -> str:
        """The colours that are said without a profile, in words; empty for sRGB, or where a profile says them."""
        return said_space(dict(self.colour), profile=self.icc is not None)

    def lost_in(self, suffix: str) -> list[str]:
        """What a file of this suffix cannot hold of it, in words."""
        jpeg = suffix in (".jpg", ".jpeg")
        kept = suffix == ".png" or (jpeg and self.colour == ADOBE_RGB and ex.parse_exif(self.exif or b"").in_adobe_rgb)
        lost = [f"the colour space {self.colour_space}"] if self.colour_space and not kept else []
        if suffix in (".bmp", ".dib"):
            return [
                *lost,
                *([f"the profile {self.profile_name!r}"] if self.icc else []),
                *(name for name, note in (("EXIF", self.exif), ("XMP", self.xmp)) if note),
            ]
        if jpeg:
            exif = _in_segment(self.exif)
            lost += (
                [f"EXIF of {len(self.exif)} bytes" if exif is None else ex.MAKERS] if self.exif and exif != self.exif else []
            )
            lost += [f"XMP of {len(self.xmp)} bytes"] if self.xmp and len(_XMP) + len(self.xmp) > _SEGMENT else []
        return lost

    @property
    def profile_name(self) -> str:
        """The profile's own description; ``"none"`` without a profile."""
        return profile_name(self.icc)

    def profile_fits(self, *, colour: bool) -> bool:
        """Whether the profile is one for pictures with red, green and blue, or without."""
        return self.icc is None or self.icc[16:20] == (b"RGB " if colour else b"GRAY")

    def of_result(self, size: tuple[int, int], software: str, history: str) -> Metadata:
        """What belongs into a picture made from this one: upright, of ``size`` (height, width), with where it comes from.

        Args:
            size: Of the result.
            software: For the software tag.
            history: For EXIF's image history; empty: none.
        """
        found = ex.parse_exif(self.exif or b"").without_pixels()
        turned = found.orientation >= ex.FIRST_TURNED
        found.of_no_frame()
        found.put_short(ex.ORIENTATION, 1)
        found.put_text(ex.SOFTWARE, software)
        if history:
            found.put_text(ex.IMAGE_HISTORY, history, lay.EXIF_IFD)
        found.put_long(ex.PIXELS_X, size[1], lay.EXIF_IFD)
        found.put_long(ex.PIXELS_Y, size[0], lay.EXIF_IFD)
        made = replace(self, exif=found.to_bytes(), xmp=xmp_of_result(self.xmp, size))
        if made.dpi is None or not (turned or resolution_in(found) is None):  # ImageJ counts in a unit that EXIF does not have
            return made
        return made.with_dpi((made.dpi[1], made.dpi[0]) if turned else made.dpi)

    def with_dpi(self, dpi: tuple[float, float]) -> Metadata:
        """The same with another resolution, which EXIF says too."""
        found = ex.parse_exif(self.exif or b"")
        found.main |= ex.resolution(dpi)
        return replace(self, exif=found.to_bytes(), dpi=dpi)


def profile_name(icc: bytes | None) -> str:
    """The description in a colour profile; ``"none"`` without one, its size where it cannot be read."""
    if icc is None:
        return "none"
    try:
        count = struct.unpack_from(">I", icc, 128)[0]
        for index in range(min(count, 100)):
            tag, start, length = struct.unpack_from(">4sII", icc, 132 + 12 * index)
            if tag == b"desc":
                return _description(icc[start : start + length]) or f"unnamed, {len(icc)} bytes"
    except (struct.error, UnicodeDecodeError):
        pass
    return f"unnamed, {len(icc)} bytes"


def _description(data: bytes) -> str:
    if data.startswith(b"desc"):
        length = struct.unpack_from(">I", data, 8)[0]
        return data[12 : 12 + length].split(b"\0")[0].decode("latin-1").strip()
    if data.startswith(b"mluc"):
        length, start = struct.unpack_from(">II", data, 20)
        return data[start : start + length].decode("utf-16-be").strip("\0 ")
    return ""


def metadata_of(data: bytes) -> Metadata:
    """What a JPEG, PNG, WebP, AVIF, HEIF, BMP or JPEG 2000 says beside its pixels; what cannot be understood is left out."""
    try:
        if data.startswith(JPEG):
            found = _of_jpeg(data)
        elif data.startswith(PNG):
            found = _of_png(data)
        elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            found = _of_webp(data)
        elif data[4:8] == b"ftyp":
            found = _of_boxes(data)
        elif data.startswith(b"BM"):
            icc, dpi = notes_of(data)
            found = Metadata(icc, dpi=dpi)
        elif data.startswith(JPEG_2000):
            said = said_in(data)
            found = Metadata(said.icc, dpi=said.dpi)
        else:
            return Metadata()
    except (struct.error, IndexError, zlib.error):
        return Metadata()
    return found if found.dpi or not found.exif else replace(found, dpi=resolution_in(ex.parse_exif(found.exif)))


def resolution_in(found: ex.Exif) -> tuple[float, float] | None:
    """Pixels an inch, across and down, by EXIF's or TIFF's tags."""
    across, down = found.number(ex.X_RESOLUTION), found.number(ex.Y_RESOLUTION)
    units: dict[float, float] = {2: 1.0, 3: 2.54}
    unit = units.get(found.number(ex.RESOLUTION_UNIT) or 2)
    known = unit and across and down and all(0 < value < math.inf for value in (across, down))
    return (across * unit, down * unit) if known and across and down and unit else None


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


def _of_jpeg(data: bytes) -> Metadata:
    found, profile, parts = Metadata(), dict[int, bytes](), 0
    for marker, start, end in segments(data):
        content = data[start:end]
        if marker == 0xE0 and content.startswith(b"JFIF\0") and len(content) >= 12:
            unit, across, down = struct.unpack_from(">BHH", content, 7)
            scale = {1: 1.0, 2: 2.54}.get(unit)
            found = replace(found, dpi=(across * scale, down * scale)) if scale and across and down else found
        elif marker == 0xE1 and content.startswith(_EXIF) and found.exif is None:
            found = replace(found, exif=content[6:])
        elif marker == 0xE1 and content.startswith(_XMP) and found.xmp is None:
            found = replace(found, xmp=content[len(_XMP) :])
        elif marker == 0xE2 and content.startswith(_ICC) and len(content) > 14:
            profile[content[12]], parts = content[14:], content[13]
    if not parts and ex.parse_exif(found.exif or b"").in_adobe_rgb:
        found = replace(found, colour=ADOBE_RGB)
    if parts and sorted(profile) == list(range(1, parts + 1)):
        found = replace(found, icc=b"".join(profile[part] for part in range(1, parts + 1)))
    return found


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end of content) of a PNG's chunks."""
    position = 8
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")
        if end + 4 > len(data):
            return
        yield data[position + 4 : position + 8], position + 8, end
        position = end + 4


def _inflated(data: bytes) -> bytes | None:
    stream = zlib.decompressobj()
    found = stream.decompress(data, _LARGEST)
    return found if stream.eof else None


def _of_png(data: bytes) -> Metadata:
    found, srgb = Metadata(), False
    for name, start, end in chunks(data):
        if name not in (b"iCCP", b"eXIf", b"iTXt", b"pHYs", b"sRGB") and name not in _COLOUR_CHUNKS:
            continue
        content = data[start:end]
        if name in _COLOUR_CHUNKS and len(content) <= 64:
            found = replace(found, colour=(*found.colour, (name, content)))
        if name == b"iCCP":
            found = replace(found, icc=_inflated(content[content.index(0) + 2 :]) if 0 in content else None)
        elif name == b"eXIf":
            found = replace(found, exif=content.removeprefix(_EXIF))
        elif name == b"pHYs" and len(content) == 9:
            across, down, unit = struct.unpack(">IIB", content)
            found = replace(found, dpi=(across * _METRES, down * _METRES)) if unit == 1 and across and down else found
        elif name == b"iTXt" and content.startswith(_PNG_XMP + b"\0"):
            packed, _, *_ = content[len(_PNG_XMP) + 1 :][:2]
            text = content[len(_PNG_XMP) + 3 :].split(b"\0", 2)[-1]
            found = replace(found, xmp=_inflated(text) if packed else text)
        srgb = srgb or name == b"sRGB"
    if srgb:  # which is said once more, for older readers, by these
        found = replace(found, colour=tuple(said for said in found.colour if said[0] not in (b"gAMA", b"cHRM")))
    return found


def riff_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end of content) of a WebP's chunks."""
    position = 12
    while position + 8 <= len(data):
        end = position + 8 + int.from_bytes(data[position + 4 : position + 8], "little")
        yield data[position : position + 4], position + 8, min(end, len(data))
        position = end + (end - position) % 2


def _of_webp(data: bytes) -> Metadata:
    found = {name: data[start:end] for name, start, end in riff_chunks(data) if name in (b"ICCP", b"EXIF", b"XMP ")}
    exif = found.get(b"EXIF")
    return Metadata(found.get(b"ICCP"), exif.removeprefix(_EXIF) if exif else None, found.get(b"XMP "))


def _of_boxes(data: bytes) -> Metadata:
    found = read_boxes(data)
    said = found.nclx is not None and max(found.nclx) < 256 and coded_space(*found.nclx)
    colour = ((b"cICP", bytes((*found.nclx, 0, 1))),) if found.nclx is not None and said else ()
    return Metadata(found.icc, found.exif, found.xmp, colour=colour)


def with_metadata(data: bytes, metadata: Metadata, *, size: tuple[int, int], alpha: bool) -> bytes:
    """An encoded JPEG, PNG or WebP with ``metadata`` in it, a BMP with the resolution; other formats as they are.

    Args:
        data: As an encoder made it, without metadata of its own.
        metadata: What to put in. Notes that are too large for a JPEG's segment are left out.
        size: (height, width).
        alpha: Whether the picture has alpha (WebP says so in its header).
    """
    if data.startswith(JPEG):
        short = metadata.dpi is None or max(metadata.dpi) < _LARGEST_JFIF  # as JFIF has it
        return _into_jpeg(data, metadata if short else _in_exif(metadata))
    if data.startswith(PNG):
        return _into_png(data, metadata)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _into_webp(data, _in_exif(metadata), size, alpha=alpha)
    if data.startswith(b"BM") and metadata.dpi is not None:
        return data[:38] + struct.pack("<2i", *(min(2**31 - 1, round(value / _METRES)) for value in metadata.dpi)) + data[46:]
    return data


def _in_exif(metadata: Metadata) -> Metadata:
    """WebP has no field for the resolution, JPEG a short one: EXIF says it."""
    return metadata if metadata.dpi is None else metadata.with_dpi(metadata.dpi)


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _in_segment(exif: bytes | None) -> bytes | None:
    """EXIF as it fits into one segment of a JPEG: without the notes of the camera's maker, if need be; None: not at all."""
    if exif is None or len(_EXIF) + len(exif) <= _SEGMENT:
        return exif
    found = ex.parse_exif(exif)
    found.drop(lay.MAKER_NOTE, lay.EXIF_IFD)
    exif = found.to_bytes()
    return exif if len(_EXIF) + len(exif) <= _SEGMENT else None


def _into_jpeg(data: bytes, metadata: Metadata) -> bytes:
    head, rest = data[:2], data[2:]
    if rest[:2] == b"\xff\xe0":
        length = 2 + int.from_bytes(rest[2:4], "big")
        first, rest = bytearray(rest[:length]), rest[length:]
        if metadata.dpi is not None and first[4:9] == b"JFIF\0" and max(metadata.dpi) < _LARGEST_JFIF:
            values = [max(1, round(value)) for value in metadata.dpi]
            first[11:16] = struct.pack(">BHH", 1, *values)
        head += bytes(first)
    blocks = []
    for prefix, content in ((_EXIF, _in_segment(metadata.exif)), (_XMP, metadata.xmp)):
        if content is not None and len(prefix) + len(content) <= _SEGMENT:
            blocks.append(_segment(0xE1, prefix + content))
    icc = metadata.icc or b""
    parts = [icc[at : at + _PART] for at in range(0, len(icc), _PART)]
    if len(parts) <= 255:
        blocks += [_segment(0xE2, _ICC + bytes((number, len(parts))) + part) for number, part in enumerate(parts, 1)]
    return b"".join((head, *blocks, rest))


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _into_png(data: bytes, metadata: Metadata) -> bytes:
    first = 8 + 25  # the signature and IHDR
    blocks = [_chunk(name, content) for name, content in metadata.colour]
    if metadata.icc is not None:
        blocks.append(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.dpi is not None:
        values = [min(2**31 - 1, round(value / _METRES)) for value in metadata.dpi]
        blocks.append(_chunk(b"pHYs", struct.pack(">IIB", *values, 1)))
    if metadata.exif is not None:
        blocks.append(_chunk(b"eXIf", metadata.exif))
    if metadata.xmp is not None:
        blocks.append(_chunk(b"iTXt", _PNG_XMP + b"\0\0\0\0\0" + metadata.xmp))
    return b"".join((data[:first], *blocks, data[first:]))


def _riff(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _into_webp(data: bytes, metadata: Metadata, size: tuple[int, int], *, alpha: bool) -> bytes:
    pixels = [(name, data[start:end]) for name, start, end in riff_chunks(data) if name in (b"VP8 ", b"VP8L", b"ALPH")]
    flags = (
        (0x10 if alpha else 0) | (0x20 if metadata.icc else 0) | (0x08 if metadata.exif else 0) | (0x04 if metadata.xmp else 0)
    )
    height, width = size
    header = bytes((flags, 0, 0, 0)) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    blocks = [_riff(b"VP8X", header)]
    if metadata.icc:
        blocks.append(_riff(b"ICCP", metadata.icc))
    blocks += [_riff(name, content) for name, content in pixels]
    if metadata.exif:
        blocks.append(_riff(b"EXIF", metadata.exif))
    if metadata.xmp:
        blocks.append(_riff(b"XMP ", metadata.xmp))
    body = b"WEBP" + b"".join(blocks)
    return b"RIFF" + struct.pack("<I", len(body)) + body
