"""What people wrote about a picture beside EXIF and XMP: IPTC's captions, keywords and rights, and plain texts.

Agencies and archives read IPTC, which stands among Photoshop's resources in a JPEG's APP13 and in a TIFF's tag, and in a text
chunk of a PNG. What it has in common with EXIF is said there as well, where EXIF says nothing: WebP has no place for the rest.

Sources: IPTC-IIM 4.2, "Adobe Photoshop File Formats Specification", PNG 3rd edition, Exif 3.0, "Guidelines for Handling Image
Metadata" (Metadata Working Group), ExifTool's tables for PNG's raw profiles.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

from ufafuse.runtime.pictures import exif as ex
from ufafuse.runtime.pictures import exiflayout as lay

Texts = tuple[tuple[str, str], ...]

PHOTOSHOP = b"Photoshop 3.0\0"  # how a JPEG's segment of resources begins
IPTC_TAG, RESOURCES_TAG = 33_723, 34_377  # of TIFF
RAW_IPTC, RAW_EXIF = "Raw profile type iptc", ("Raw profile type exif", "Raw profile type APP1")  # PNG's texts, by ImageMagick
COMMENT = "Comment"
# PNG's own words for what people write; others are programs'.
KEYWORDS = frozenset(
    ("Title", "Author", "Description", "Copyright", "Creation Time", "Disclaimer", "Warning", "Source", COMMENT)
)
_IPTC, _DIGEST = 0x0404, 0x0425  # of the resources: the notes, and a sum by which programs see that they changed
_RESOURCE = b"8BIM"
_DATASET = b"\x1c"
_UTF8 = b"\x1b%G"  # as the notes say it
_CHARSET = (1, 90)
# What is true of one frame alone: its number among all pictures that there are; a small picture of it.
_OF_FRAME = frozenset(((1, 100), (2, 200), (2, 201), (2, 202)))
_LAST_RECORD = 6  # behind it a picture itself may follow
_LARGEST_TEXT = 1 << 16
_CODES = {"<": "utf-16-le", ">": "utf-16-be"}  # of EXIF's comment that is not in ASCII
_ARTIST, _COPYRIGHT, _USER_COMMENT = 0x013B, 0x8298, 0x9286
# What EXIF calls what texts and notes say.
_AS_EXIF = {"Description": ex.DESCRIPTION, "Author": _ARTIST, "Copyright": _COPYRIGHT}
_NOTES_AS_EXIF = {(2, 120): ex.DESCRIPTION, (2, 80): _ARTIST, (2, 116): _COPYRIGHT}
# Comments in which encoders name themselves: not true of a result, which another one made.
_ENCODERS = ("CREATOR: gd-jpeg", "LEAD Technologies", "AppleMark", "Intel(R) JPEG Library", "Lavc", "File written by Adobe")


def iptc_in(resources: bytes) -> bytes | None:
    """The notes among Photoshop's resources, or these bytes themselves if they are such notes; None: there are none."""
    if resources.startswith(_DATASET):
        return resources
    at = 0
    while resources[at : at + 4] == _RESOURCE and at + 12 <= len(resources):
        (number,) = struct.unpack_from(">H", resources, at + 4)
        at += 6 + (resources[at + 6] + 2) // 2 * 2  # a name of even length, with its count
        size = int.from_bytes(resources[at : at + 4], "big")
        if number == _IPTC and at + 4 + size <= len(resources):
            return resources[at + 4 : at + 4 + size] or None
        at += 4 + size + size % 2
    return None


def resources_with(iptc: bytes) -> bytes:
    """Notes as Photoshop's resources: with the sum of them, by which programs see that XMP says the same."""
    blocks = ((_IPTC, iptc), (_DIGEST, hashlib.md5(iptc, usedforsecurity=False).digest()))
    return b"".join(
        _RESOURCE + struct.pack(">HHI", number, 0, len(content)) + content + bytes(len(content) % 2)
        for number, content in blocks
    )


def iptc_in_tiff(main: lay.Directory) -> bytes | None:
    """The notes that a TIFF's main directory has: in their own tag, whose type is often a wrong one, or among resources."""
    own = main.get(IPTC_TAG)
    if own is not None:
        turned = b"".join(own.data[at : at + 4][::-1] for at in range(0, len(own.data), 4))
        found = next((data for data in (own.data, turned) if data.startswith(_DATASET)), None)
        if found is not None:
            return found
    resources = main.get(RESOURCES_TAG)
    return iptc_in(resources.data) if resources is not None else None


def _datasets(iptc: bytes) -> Iterator[tuple[tuple[int, int], bytes, bytes]]:
    """(record and number, value, all of it) of each note; what is cut off is left out."""
    at = 0
    while iptc[at : at + 1] == _DATASET and at + 5 <= len(iptc):
        record, number, length = struct.unpack_from(">BBH", iptc, at + 1)
        begin = at + 5
        if length & 0x8000:  # how many bytes say the length
            wide = length & 0x7FFF
            begin, length = begin + wide, int.from_bytes(iptc[begin : begin + wide], "big")
        if begin + length > len(iptc):
            return
        yield (record, number), iptc[begin : begin + length], iptc[at : begin + length]
        at = begin + length


def iptc_of_result(iptc: bytes | None) -> bytes | None:
    """A frame's notes without what is true of it alone; None where nothing is left."""
    kept = [whole for key, _, whole in _datasets(iptc or b"") if key not in _OF_FRAME and key[0] <= _LAST_RECORD]
    return b"".join(kept) or None


def texts_of_result(texts: Texts) -> Texts:
    """A frame's texts without those in which an encoder names itself."""
    return tuple((key, text) for key, text in texts if not text.startswith(_ENCODERS))


def say_in_exif(found: ex.Exif, iptc: bytes | None, texts: Texts) -> None:
    """Put what IPTC and texts say into EXIF, where that has a word for it and says nothing of its own."""
    notes = list(_datasets(iptc or b""))
    utf8 = any(key == _CHARSET and value == _UTF8 for key, value, _ in notes)
    said: dict[int, list[str]] = {}
    for key, value, _ in notes:
        if key in _NOTES_AS_EXIF:
            said.setdefault(_NOTES_AS_EXIF[key], []).append(value.decode("utf-8", "replace") if utf8 else as_text(value))
    for keyword, text in texts:
        if keyword in _AS_EXIF:
            said.setdefault(_AS_EXIF[keyword], [text])
    for tag, values in said.items():
        if not found.text(tag):
            found.put_text(tag, "; ".join(values))
    comment = "\n".join(text for key, text in texts if key == COMMENT)
    if comment and not _user_comment(found):
        found.parts.setdefault(lay.EXIF_IFD, {})[_USER_COMMENT] = _as_user_comment(comment, found.order)


def lost_texts(texts: Texts, exif: bytes | None, kept: frozenset[str]) -> list[str]:
    """What is lost of texts, in words: the keywords of those that are neither kept as texts nor said by EXIF."""
    found = ex.parse_exif(exif or b"")
    comment = _user_comment(found)
    lost = dict[str, None]()
    for key, text in texts:
        said = comment if key == COMMENT else found.text(_AS_EXIF[key]) if key in _AS_EXIF else ""
        if key not in kept and text.strip() not in said:
            lost[repr(key)] = None
    return [f"the text{'s' * (len(lost) > 1)} {', '.join(lost)}"] if lost else []


def as_text(data: bytes) -> str:
    """Bytes that people or programs wrote, without saying in which code."""
    try:
        return data.decode("utf-8").rstrip("\0")
    except UnicodeDecodeError:
        return data.decode("latin-1").rstrip("\0")


def text_in(key: str, data: bytes) -> Texts:
    """A text of a file as `Metadata.texts` has it; nothing where it is empty, too long or no one's writing."""
    text = as_text(data)
    return ((key, text),) if key in KEYWORDS and text.strip() and len(data) <= _LARGEST_TEXT else ()


def raw_profile(data: bytes) -> bytes | None:
    """What ImageMagick writes into a PNG's text: a line with its kind, one with its length, and hexadecimal digits."""
    try:
        _, length, digits = data.lstrip(b"\n").split(b"\n", 2)
        found = bytes.fromhex(digits.decode("ascii"))
        return found if len(found) == int(length) else None
    except ValueError:
        return None


def as_raw_profile(content: bytes) -> bytes:
    """The same the other way round, for IPTC."""
    digits = content.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return f"\niptc\n{len(content):8d}\n{lines}\n".encode("ascii")


def _user_comment(found: ex.Exif) -> str:
    """EXIF's own comment; empty where there is none, or only what fills it up."""
    entry = found.parts.get(lay.EXIF_IFD, {}).get(_USER_COMMENT)
    if entry is None:
        return ""
    code, said = entry.data[:8], entry.data[8:]
    if code == b"UNICODE\0":
        return said.decode(_CODES[found.order], "replace").strip("\0 ")
    return as_text(said).strip("\0 ")


def _as_user_comment(text: str, order: str) -> lay.Entry:
    """A comment as EXIF has it, in a file of this order of bytes."""
    data = b"ASCII\0\0\0" + text.encode() if text.isascii() else b"UNICODE\0" + text.encode(_CODES[order])
    return lay.Entry(7, len(data), data)
