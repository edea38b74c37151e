"""What a picture's file says beside its pixels: profile, EXIF, XMP, IPTC, texts, resolution; out of files and into others.

JPEG, PNG and WebP are lists of blocks, so nothing is decoded for it and no pixel changes. TIFF: see `tiff`.

Sources: JFIF 1.02, ICC.1 annex B (profiles in JPEG), PNG 3rd edition, WebP container specification, XMP part 3.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass, replace

from ufafuse.runtime.pictures import exif as ex
from ufafuse.runtime.pictures import exiflayout as lay
from ufafuse.runtime.pictures.blocks import JPEG, JPEG_2000, PNG, chunk, chunks, riff_chunk, riff_chunks, segment, segments
from ufafuse.runtime.pictures.bmp import notes_of
from ufafuse.runtime.pictures.boxes import read_boxes
from ufafuse.runtime.pictures.captions import (
    COMMENT,
    PHOTOSHOP,
    RAW_EXIF,
    RAW_IPTC,
    Texts,
    as_raw_profile,
    iptc_in,
    iptc_of_result,
    lost_texts,
    raw_profile,
    resources_with,
    say_in_exif,
    text_in,
    texts_of_result,
)
from ufafuse.runtime.pictures.colours import ADOBE_RGB, coded_space, profile_name, said_space
from ufafuse.runtime.pictures.jpeg2000 import said_in
from ufafuse.runtime.pictures.xmp import xmp_of_result
from ufafuse.runtime.texts import as_utf8

_EXIF, _XMP, _ICC = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
_PNG_XMP = b"XML:com.adobe.xmp"
_NOTED = frozenset((b"iCCP", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"pHYs", b"sRGB"))
OURS = "ufafuse"  # what the software tag of results begins with
_LARGEST = 16 << 20  # bytes of a profile or of notes; a larger one is left out
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
        iptc: IPTC's notes (captions, keywords, rights), as their own datasets.
        texts: A JPEG's comments and a PNG's texts of people's, each with PNG's keyword.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    colour: tuple[tuple[bytes, bytes], ...] = ()
    left_out: str = ""
    iptc: bytes | None = None
    texts: Texts = ()

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
                *(name for name, note in (("EXIF", self.exif), ("XMP", self.xmp), ("IPTC", self.iptc)) if note),
                *lost_texts(self.texts, None, frozenset()),
            ]
        if suffix != ".png":
            lost += lost_texts(self.texts, self.exif, frozenset((COMMENT,)) if jpeg else frozenset())
        if suffix == ".webp" and self.iptc:
            lost.append("IPTC")
        if jpeg:
            exif = _in_segment(self.exif)
            lost += (
                [f"EXIF of {len(self.exif)} bytes" if exif is None else ex.MAKERS] if self.exif and exif != self.exif else []
            )
            lost += [f"XMP of {len(self.xmp)} bytes"] if self.xmp and len(_XMP) + len(self.xmp) > _SEGMENT else []
            lost += [f"IPTC of {len(self.iptc)} bytes"] if self.iptc and not _iptc_segment(self.iptc) else []
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
        iptc, texts = iptc_of_result(self.iptc), texts_of_result(self.texts)
        say_in_exif(found, iptc, texts)
        made = replace(self, exif=found.to_bytes(), xmp=xmp_of_result(self.xmp, size), iptc=iptc, texts=texts)
        if made.dpi is None or not (turned or resolution_in(found) is None):  # ImageJ counts in a unit that EXIF does not have
            return made
        return made.with_dpi((made.dpi[1], made.dpi[0]) if turned else made.dpi)

    def with_dpi(self, dpi: tuple[float, float]) -> Metadata:
        """The same with another resolution, which EXIF says too."""
        found = ex.parse_exif(self.exif or b"")
        found.main |= ex.resolution(dpi)
        return replace(self, exif=found.to_bytes(), dpi=dpi)


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


def _of_jpeg(data: bytes) -> Metadata:
    found, profile, parts, resources = Metadata(), dict[int, bytes](), 0, b""
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
        elif marker == 0xED and content.startswith(PHOTOSHOP):  # one may go on in the next
            resources += content[len(PHOTOSHOP) :]
        elif marker == 0xFE:
            found = replace(found, texts=found.texts + text_in(COMMENT, content))
    found = replace(found, iptc=iptc_in(resources))
    if not parts and ex.parse_exif(found.exif or b"").in_adobe_rgb:
        found = replace(found, colour=ADOBE_RGB)
    if parts and sorted(profile) == list(range(1, parts + 1)):
        found = replace(found, icc=b"".join(profile[part] for part in range(1, parts + 1)))
    return found


def _inflated(data: bytes) -> bytes | None:
    stream = zlib.decompressobj()
    found = stream.decompress(data, _LARGEST)
    return found if stream.eof else None


def _of_png(data: bytes) -> Metadata:
    found, srgb = Metadata(), False
    for name, start, end in chunks(data):
        if name not in _NOTED and name not in _COLOUR_CHUNKS:
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
        elif name in (b"tEXt", b"zTXt", b"iTXt"):
            found = _with_text(found, name, content)
        srgb = srgb or name == b"sRGB"
    if srgb:  # which is said once more, for older readers, by these
        found = replace(found, colour=tuple(said for said in found.colour if said[0] not in (b"gAMA", b"cHRM")))
    return found


def _with_text(found: Metadata, name: bytes, content: bytes) -> Metadata:
    """What a PNG says, with one of its texts: XMP, notes in ImageMagick's form, or what a person wrote."""
    word, _, text = content.partition(b"\0")
    packed = name == b"zTXt"
    if name == b"iTXt":
        packed, text = text[:1] == b"\1", text[2:].split(b"\0", 2)[-1]
    elif packed:
        text = text[1:]
    keyword, said = word.decode("latin-1"), (_inflated(text) if packed else text)
    if word == _PNG_XMP and name == b"iTXt":
        return replace(found, xmp=said)
    if keyword == RAW_IPTC:
        return replace(found, iptc=iptc_in(raw_profile(said or b"") or b""))
    if keyword in RAW_EXIF and found.exif is None and (exif := raw_profile(said or b"") or b"").startswith(_EXIF):
        return replace(found, exif=exif.removeprefix(_EXIF))
    return replace(found, texts=found.texts + text_in(keyword, said or b""))


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
            blocks.append(segment(0xE1, prefix + content))
    blocks += [segment(0xED, part)] if (part := _iptc_segment(metadata.iptc)) else []
    icc = metadata.icc or b""
    parts = [icc[at : at + _PART] for at in range(0, len(icc), _PART)]
    if len(parts) <= 255:
        blocks += [segment(0xE2, _ICC + bytes((number, len(parts))) + part) for number, part in enumerate(parts, 1)]
    blocks += [segment(0xFE, as_utf8(text)[:_SEGMENT]) for key, text in metadata.texts if key == COMMENT]
    return b"".join((head, *blocks, rest))


def _iptc_segment(iptc: bytes | None) -> bytes:
    """IPTC's notes as a JPEG's segment has them; empty where it has no room for them."""
    content = PHOTOSHOP + resources_with(iptc) if iptc else b""
    return content if len(content) <= _SEGMENT else b""


def _into_png(data: bytes, metadata: Metadata) -> bytes:
    first = 8 + 25  # the signature and IHDR
    blocks = [chunk(name, content) for name, content in metadata.colour]
    if metadata.icc is not None:
        blocks.append(chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.dpi is not None:
        values = [min(2**31 - 1, round(value / _METRES)) for value in metadata.dpi]
        blocks.append(chunk(b"pHYs", struct.pack(">IIB", *values, 1)))
    if metadata.exif is not None:
        blocks.append(chunk(b"eXIf", metadata.exif))
    if metadata.xmp is not None:
        blocks.append(chunk(b"iTXt", _PNG_XMP + b"\0\0\0\0\0" + metadata.xmp))
    if metadata.iptc is not None:
        raw = as_raw_profile(resources_with(metadata.iptc))
        blocks.append(chunk(b"zTXt", RAW_IPTC.encode() + b"\0\0" + zlib.compress(raw)))
    for key, text in metadata.texts:
        blocks.append(chunk(b"iTXt", key.encode() + b"\0\0\0\0\0" + as_utf8(text)))
    return b"".join((data[:first], *blocks, data[first:]))


def _into_webp(data: bytes, metadata: Metadata, size: tuple[int, int], *, alpha: bool) -> bytes:
    pixels = [(name, data[start:end]) for name, start, end in riff_chunks(data) if name in (b"VP8 ", b"VP8L", b"ALPH")]
    flags = (
        (0x10 if alpha else 0) | (0x20 if metadata.icc else 0) | (0x08 if metadata.exif else 0) | (0x04 if metadata.xmp else 0)
    )
    height, width = size
    header = bytes((flags, 0, 0, 0)) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    blocks = [riff_chunk(b"VP8X", header)]
    if metadata.icc:
        blocks.append(riff_chunk(b"ICCP", metadata.icc))
    blocks += [riff_chunk(name, content) for name, content in pixels]
    if metadata.exif:
        blocks.append(riff_chunk(b"EXIF", metadata.exif))
    if metadata.xmp:
        blocks.append(riff_chunk(b"XMP ", metadata.xmp))
    body = b"WEBP" + b"".join(blocks)
    return b"RIFF" + struct.pack("<I", len(body)) + body
