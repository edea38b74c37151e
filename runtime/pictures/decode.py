"""Files of every kind to pictures: what a file is stands in its bytes, not in its name."""

from __future__ import annotations

import io
import itertools
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Literal, TypeAlias

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import NOT_ENOUGH, InputError, is_shortage
from ufafuse.runtime.filebytes import bytes_of
from ufafuse.runtime.filebytes import kind_of as path_kind
from ufafuse.runtime.pictures import exif as ex
from ufafuse.runtime.pictures import quick
from ufafuse.runtime.pictures.blocks import PNG, chunks, frame_headers
from ufafuse.runtime.pictures.bmp import read_bmp
from ufafuse.runtime.pictures.boxes import Boxes, read_boxes, without_notes
from ufafuse.runtime.pictures.damage import damage_in
from ufafuse.runtime.pictures.jpeg2000 import said_in
from ufafuse.runtime.pictures.kinds import OPENCV, RAW_SUFFIXES, SNIFFED, kind_of
from ufafuse.runtime.pictures.metadata import metadata_of
from ufafuse.runtime.pictures.mpf import more_pictures
from ufafuse.runtime.pictures.picture import Picture, upright, whole_alpha
from ufafuse.runtime.pictures.sizes import size_of
from ufafuse.runtime.pictures.xmp import gain_map_note
from ufafuse.runtime.pixels import check_pixels, most_bytes, most_pixels

READ = "PNG, JPEG, TIFF, BMP, WebP, AVIF, or with an extra a raw file (raw), HEIC (heif) or OpenEXR (exr)"
_AS_STORED = cv2.IMREAD_UNCHANGED  # EXIF's orientation is applied here, alpha or not
_TURNED_BY_EXIF = frozenset(("JPEG", "PNG", "WebP"))  # of an AVIF its own turns count
_UNUSUAL = {0xC3: "a lossless", 0xC9: "an arithmetically coded", 0xCA: "an arithmetically coded", 0xCB: "a lossless"}
_JPEG_LS, _HEAD = b"\xff\xf7", 1 << 12  # the marker of its frame, and bytes in which it is looked for
_ALPHA = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"
_OF_ANIMATION = frozenset((b"acTL", b"fcTL", b"fdAT"))
_DEPTHS = frozenset((np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32)))

Inside: TypeAlias = Literal["quickly", "thoroughly"] | None
_Extra = Callable[[bytes, str, "int | None"], Picture]


def read_picture(path: Path, *, most: int | None = None, inside: Inside = None) -> Picture:
    """Decode a picture file, upright.

    Args:
        path: The file.
        most: Pixels that it may declare; None: as `pixels.most_pixels` says for this machine.
        inside: Look for damage inside a JPEG, TIFF or DNG, too, which decoders pass over; that is a warning. ``"quickly"``:
            what libjpeg notices, where simplejpeg is installed; ``"thoroughly"``, and of a JPEG where it is not: also what
            codes tell, which takes longer than decoding. Of 576 JPEGs of which bytes were lost or changed libjpeg noticed 259,
            their codes tell 282.

    Raises:
        InputError: The file is missing, no picture, a stack or a video, damaged, too large, or needs an extra; the text says
            what it is and what is missing.
    """
    path = Path(path)
    most = most_pixels() if most is None else most
    with opened(path) as stream:
        kind = kind_of(stream.read(SNIFFED))
        if kind == "TIFF":
            stream.seek(0)
            return _read_tiff(stream, path, most, inside=inside == "thoroughly")
    try:
        data = bytes_of(path, most_bytes(most))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if path.suffix.lower() in RAW_SUFFIXES and kind not in OPENCV:
        kind = "raw"
    return decode_picture(data, str(path), most=most, inside=inside, kind=kind)


def opened(path: Path) -> IO[bytes]:
    """A regular file, opened for reading; anything else is an `InputError` that says what it is."""
    if path.is_dir() or not path.exists():
        missing = f"is a link to {path.readlink()}, which does not exist" if path.is_symlink() else "does not exist"
        raise InputError(f"{path} {'is a folder' if path.is_dir() else missing}: give an image file.")
    try:
        stream = open(  # noqa: SIM115 - handed on
            path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_CLOEXEC)
        )
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    status = os.fstat(stream.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_size:
        return stream
    stream.close()
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} is {path_kind(status.st_mode)}: give an image file.")
    raise InputError(f"{path} is empty (0 bytes): record or copy it again.")


def _read_tiff(stream: IO[bytes], path: Path, most: int, *, inside: bool) -> Picture:
    from ufafuse.runtime.pictures.tiff import TiffFile

    if path.suffix.lower() in RAW_SUFFIXES:
        return _raw(stream.read(most_bytes(most)), str(path), most, inside=inside)
    tiff = TiffFile(stream, str(path))
    if tiff.raw:
        stream.seek(0)
        return _raw(stream.read(most_bytes(most)), str(path), most, inside=inside)
    if len(tiff) > 1:
        raise InputError(f"{path} holds {len(tiff)} pictures, a stack: give it alone to fuse it, or one picture a file.")
    return tiff.read(0, most, inside=inside)


def _raw(data: bytes, name: str, most: int | None, *, inside: bool) -> Picture:
    from ufafuse.runtime.pictures.extras import read_raw

    return read_raw(data, name, most, inside=inside)


def decode_picture(
    data: bytes, name: str, *, most: int | None = None, inside: Inside = None, kind: str | None = None
) -> Picture:
    """Decode a picture file's bytes; ``name`` stands in the errors. As `read_picture`."""
    kind = kind_of(data[:SNIFFED]) if kind is None else kind
    if kind == "TIFF":
        from ufafuse.runtime.pictures.tiff import TiffFile

        tiff = TiffFile(io.BytesIO(data), name)
        if tiff.raw:
            return _raw(data, name, most, inside=inside == "thoroughly")
        if len(tiff) > 1:
            raise InputError(f"{name} holds {len(tiff)} pictures, a stack: give one picture a file.")
        return tiff.read(0, most, inside=inside == "thoroughly")
    if kind in ("raw", "HEIF", "OpenEXR"):
        from ufafuse.runtime.pictures import extras

        readers: dict[str, _Extra] = {"raw": extras.read_raw, "HEIF": extras.read_heif, "OpenEXR": extras.read_exr}
        return readers[kind](data, name, most)
    if kind in ("PNM", "PFM", "Radiance HDR"):
        from ufafuse.runtime.pictures.pfm import read_pfm
        from ufafuse.runtime.pictures.pnm import read_pnm
        from ufafuse.runtime.pictures.radiance import read_radiance

        return {"PNM": read_pnm, "PFM": read_pfm, "Radiance HDR": read_radiance}[kind](data, name, most)
    if kind in OPENCV:
        return _by_opencv(data, name, kind, most, inside=inside)
    if kind == "video":
        raise InputError(f"{name} is a video: give it alone to fuse its frames as a stack.")
    if kind:
        raise InputError(f"{name} is {kind}: give {READ}.")
    raise InputError(f"{name} is no image that can be read: give {READ}.")


def _by_opencv(data: bytes, name: str, kind: str, most: int | None, *, inside: Inside) -> Picture:
    components = _components(data) if kind == "JPEG" else 0
    by_libjpeg = inside is not None and components in (1, 3) and quick.reads_jpeg()
    stored, damage = _stored(data, name, kind, most, components=components if by_libjpeg else 0)
    metadata, warnings = metadata_of(data), list[str]()
    array = _without_false_alpha(stored, data, kind)
    array, white = _by_declared_bits(array, data, kind)
    if components == 4:
        metadata = replace(metadata, icc=None, colour=())
        warnings.append("its CMYK inks were brought to RGB without their profile")
    if kind == "JPEG" and not damage and (inside == "thoroughly" or (inside and not by_libjpeg)):
        from ufafuse.runtime.pictures.jpegscan import fault_in_scan

        damage = fault_in_scan(data)
    warnings += _notes_of_others(data, kind)
    if kind == "AVIF":
        boxes = read_boxes(data)
        array = upright(array[boxes.shown(*array.shape[:2])], boxes.orientation)
        warnings += [boxes.note] if boxes.note else []
    elif kind in _TURNED_BY_EXIF and metadata.exif is not None:
        array = upright(array, ex.parse_exif(metadata.exif).orientation)
    return Picture(array, metadata, tuple(warnings), damage, white, kind)


def _by_declared_bits(array: Array, data: bytes, kind: str) -> tuple[Array, float | None]:
    """A picture of 10 to 14 bits in uint16 as its file means it, and the level of white where that is not the dtype's own.

    AVIF is brought to all 16 bits, as HEIC is by its reader: other programs would show a result as near black. JPEG 2000 of a
    sensor or a scanner keeps its levels, as TIFF does.
    """
    if kind == "AVIF" and array.ndim == 2:
        array = _spread(array, read_boxes(data))
    if array.dtype != np.uint16:
        return array, None
    bits = read_boxes(data).bits if kind == "AVIF" else said_in(data).bits if kind == "JPEG 2000" else 0
    if not 8 < bits < 16:
        return array, None
    white = float((1 << bits) - 1)
    if kind == "AVIF":
        return np.rint(np.minimum(array, white) * np.float32(65_535 / white)).astype(np.uint16), None
    if array.ndim == 3 and array.shape[2] == 4:
        array[..., 3] = whole_alpha(array[..., 3], white)
    return array, white


def _spread(luma: Array, said: Boxes) -> Array:
    """A grey AVIF's levels from black to white: OpenCV gives them as they are stored, which it does not do with colours."""
    if not said.narrow:
        return luma
    bits = said.bits if luma.dtype == np.uint16 else 8
    black, white, top = 16 << (bits - 8), 235 << (bits - 8), (1 << bits) - 1
    levels = (luma.astype(np.float32) - black) * np.float32(top / (white - black))
    return np.rint(np.clip(levels, 0, top)).astype(luma.dtype)


def _stored(data: bytes, name: str, kind: str, most: int | None, *, components: int) -> tuple[Array, str]:
    """The samples as they lie in the file, once its size and its ends were found good; and what libjpeg noticed inside.

    That is looked for in a JPEG of so many `components`; 0: it is not.
    """
    size = size_of(data, kind)
    if size is not None:
        check_pixels(size, name, most)
    _check_coding(data, name, kind)
    damage = damage_in(data) or ("it declares no size" if size is None else "")
    if damage:
        raise InputError(f"{name} is damaged ({damage}): record or copy it again.")
    try:
        pixels, inside = _by_another(data, name, kind, components)
        if pixels is not None:
            return pixels, ""
        whole = {"PNG": _still, "AVIF": without_notes}.get(kind, bytes)(data)
        stored = cv2.imdecode(np.frombuffer(whole, np.uint8), _AS_STORED)
    except (cv2.error, MemoryError) as error:
        if is_shortage(error):
            raise InputError(f"{name} cannot be decoded: {NOT_ENOUGH} for it.") from error
        raise InputError(f"{name} cannot be decoded: {getattr(error, 'err', '') or error}.") from error
    if stored is None or stored.size == 0:
        raise InputError(f"{name} is {_undecoded(data, kind)}")
    if stored.dtype not in _DEPTHS:
        raise InputError(f"{name} has {stored.dtype} samples: give an image of 8 or 16 bit integers, or of float32.")
    return np.asarray(stored), inside


def _check_coding(data: bytes, name: str, kind: str) -> None:
    """Refuse what OpenCV would misread, or call damaged, and nobody else reads here (`InputError`)."""
    if kind == "JPEG" and size_of(data, kind) is None and _JPEG_LS in data[:_HEAD]:
        raise InputError(f"{name} is a JPEG-LS picture, which is not read: save it as PNG or TIFF.")
    if kind == "JPEG 2000" and (unread := said_in(data).unread):
        raise InputError(f"{name} is a JPEG 2000 picture {unread}, which is not read: save it as PNG or TIFF.")
    if kind == "AVIF" and _ALPHA in data and read_boxes(data).grey:
        raise InputError(f"{name} is an AVIF of grey levels with alpha, which is not read: save it as PNG or TIFF.")


def _by_another(data: bytes, name: str, kind: str, components: int) -> tuple[Array | None, str]:
    """The samples where OpenCV misreads them or is slower, and what libjpeg noticed; None: they are for OpenCV."""
    if kind == "BMP":
        return read_bmp(data, name), ""
    return quick.jpeg_pixels(data, grey=components == 1) if components else (None, "")


def _undecoded(data: bytes, kind: str) -> str:
    """What a file is that OpenCV does not decode, and what to do."""
    newer = cv2.haveImageWriter(".gif")  # from 4.11 on it reads GIF, and animated WebP too
    if not newer and (kind == "GIF" or (kind == "WebP" and _moves(data, kind))):
        what = "a GIF" if kind == "GIF" else "an animated WebP"
        return f"{what} file, which OpenCV {cv2.__version__} does not read: pip install 'opencv-python-headless>=4.11'."
    if kind == "JPEG" and (unusual := _unusual_jpeg(data)):
        return f"{unusual} JPEG, which is not read: save it as PNG or TIFF."
    article = "an" if kind[:1] in "AE" else "a"
    return f"{article} {kind} file that cannot be decoded, damaged or of a rare kind: copy it again, or save it as PNG or TIFF."


def _without_false_alpha(stored: Array, data: bytes, kind: str) -> Array:
    """A fourth channel is alpha only where the file says so; a grey PNG that names one level as clear has alpha, too."""
    if stored.ndim == 3 and stored.shape[2] == 4 and kind == "GIF" and (stored[..., 3] == 255).all():
        return np.ascontiguousarray(stored[..., :3])  # of an animation OpenCV gives alpha, whether there is any or not
    if stored.ndim == 3 and stored.shape[2] == 2:  # grey and alpha
        return np.ascontiguousarray(stored[..., [0, 0, 0, 1]])
    if stored.ndim == 3 and stored.shape[2] == 1:
        stored = np.ascontiguousarray(stored[..., 0])
    if stored.ndim == 2 and kind == "PNG" and (clear := _clear_grey(data)) is not None:
        opaque = np.iinfo(stored.dtype).max
        alpha = np.where(stored == clear, 0, opaque).astype(stored.dtype)
        return np.dstack([stored, stored, stored, alpha])
    return stored


def _clear_grey(data: bytes) -> int | None:
    """The level of a grey PNG that is clear, as it is read; None where none is."""
    depth, colour = data[24], data[25]
    for name, start, end in chunks(data) if colour == 0 else ():
        if name == b"tRNS" and end - start >= 2:
            level = int.from_bytes(data[start : start + 2], "big") & (2**depth - 1)
            return level * 255 // (2**depth - 1) if depth < 8 else level
        if name == b"IDAT":
            break
    return None


def _notes_of_others(data: bytes, kind: str) -> list[str]:
    """What to tell of the other pictures in a file."""
    notes = []
    if kind == "GIF" or _moves(data, kind):
        part = kind != "PNG" or b"fcTL" in _before_pixels(data)
        what = "a GIF" if kind == "GIF" else "an animation"
        notes.append(f"of {what} the first picture is read" + ("" if part else ", which it does not show when it moves"))
    if note := gain_map_note(data):
        notes.append(note)
    elif kind == "JPEG" and (more := more_pictures(data)):
        notes.append(f"of the {more + 1} pictures in it the first is read")
    return notes


def _still(data: bytes) -> bytes:
    """A PNG as decoders that know no animations see it, and with its samples laid out for OpenCV.

    OpenCV before 4.11 knows none either; later ones would begin with the second picture where the first does not move.
    """
    if _moves(data, "PNG"):
        kept = (data[start - 8 : end + 4] for name, start, end in chunks(data) if name not in _OF_ANIMATION)
        data = PNG + b"".join(kept)
    return quick.without_deflate(data)


def _before_pixels(data: bytes) -> Iterator[bytes]:
    """The names of a PNG's chunks before its samples."""
    return itertools.takewhile(lambda name: name != b"IDAT", (name for name, _, _ in chunks(data)))


def _moves(data: bytes, kind: str) -> bool:
    """Whether it is an animation."""
    if kind == "PNG":
        return b"acTL" in _before_pixels(data)
    if kind == "WebP":
        return data[12:16] == b"VP8X" and bool(data[20] & 2)
    return kind == "AVIF" and data[8:12] == b"avis"


def _unusual_jpeg(data: bytes) -> str:
    """The kind of a JPEG that decoders mostly do not know, with its article; empty for usual ones."""
    for marker, start, end in frame_headers(data):
        if end > start:
            return _UNUSUAL.get(marker, "" if data[start] == 8 else f"a {data[start]}-bit")
    return ""


def _components(data: bytes) -> int:
    """How many a JPEG has: 4 where any of its frames has them; 0 where it does not say."""
    found = [data[start + 5] for _, start, end in frame_headers(data) if end - start > 5]
    return 4 if 4 in found else found[0] if found else 0
