"""Image files in and out, with the levels they have and never half of them."""

import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.artefact import atomic_write
from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.filebytes import bytes_of
from ufafuse.runtime.pairs import IMAGE_SUFFIXES
from ufafuse.runtime.pixels import check_pixels, declared_size, most_bytes, most_pixels

Image = NDArray[Any]

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_DEPTHS = (np.dtype(np.uint8), np.dtype(np.uint16))
_SIXTEEN_BIT = frozenset({".png", ".tif", ".tiff"})
_WITH_ALPHA = frozenset({".png", ".tif", ".tiff", ".webp"})
_OPTIONS = {
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 97],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 97],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 101],  # above 100 means lossless
}


def read_image(path: Path, *, most: int | None = None) -> Image:
    """Decode a PNG, JPEG, TIFF, BMP or WebP file, upright as its EXIF orientation says.

    Args:
        path: The file.
        most: Pixels that it may declare; None: as `pixels.most_pixels` says for this machine.

    Returns:
        H x W (grey), H x W x 3 (BGR) or H x W x 4 (BGRA), uint8 or uint16 as in the file.

    Raises:
        InputError: The file is missing, empty, truncated, no image, too large, or has other samples than 8 or 16 bit
            integers.
    """
    path = Path(path)
    if path.is_dir() or not path.exists():
        raise InputError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}: give an image file.")
    most = most_pixels() if most is None else most
    try:
        data = bytes_of(path, most_bytes(most))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    return decode_image(data, str(path), most=most)


def decode_image(data: bytes, name: str, *, most: int | None = None) -> Image:
    """Decode an image file's bytes, of ``most`` pixels at most; ``name`` stands in the errors. As `read_image`."""
    size = declared_size(data)
    if size is not None:
        check_pixels(size, name, most)
    damage = _damage(data)
    if damage:
        raise InputError(f"{name} is damaged ({damage}): record or copy it again.")
    if size is None:
        raise InputError(f"{name} is no image that can be read: give PNG, JPEG, TIFF, BMP or WebP.")
    buffer = np.frombuffer(data, np.uint8)
    try:
        upright = cv2.imdecode(buffer, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
        stored = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED) if _may_have_alpha(data) else None
    except cv2.error as error:
        raise InputError(f"{name} cannot be decoded: {error.err or error}.") from error
    if upright is None or upright.size == 0:
        raise InputError(f"{name} is no image that can be read: give PNG, JPEG, TIFF, BMP or WebP.")
    image = upright
    if stored is not None and stored.ndim == 3 and stored.shape[2] == 4:
        image = _turned_as(stored, upright)
    if image.dtype not in _DEPTHS:
        raise InputError(f"{name} has {image.dtype} samples: give an image of 8 or 16 bit integers.")
    return image


def _may_have_alpha(data: bytes) -> bool:
    """Whether a second decoding, which keeps the alpha, can be worth its time and memory."""
    if data.startswith(_JPEG):
        return False
    if data.startswith(_PNG):
        return data[25:26] in (b"\x04", b"\x06") or b"tRNS" in data[: data.find(b"IDAT")]
    return True


def _turned_as(stored: Image, upright: Image) -> Image:
    """Turn BGRA samples as OpenCV turned the opaque ones: it applies the EXIF orientation only where it drops the alpha."""
    for flip in (False, True):
        for quarters in range(4):
            turned = np.rot90(stored[:, ::-1] if flip else stored, quarters)
            if turned.shape[:2] == upright.shape[:2] and np.array_equal(turned[..., :3], upright):
                return np.ascontiguousarray(turned)
    return stored


def _damage(data: bytes) -> str:
    """What a decoder would paper over: OpenCV fills the missing part of a truncated file with grey and says nothing."""
    if data.startswith(_JPEG):
        return _jpeg_damage(data)
    if data.startswith(_PNG):
        return _png_damage(data)
    if data.startswith(b"BM") and len(data) >= 18:
        size = int.from_bytes(data[2:6], "little")
        return "" if len(data) >= size else f"truncated, {len(data)} of {size} bytes"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        size = int.from_bytes(data[4:8], "little") + 8
        return "" if len(data) >= size else f"truncated, {len(data)} of {size} bytes"
    return ""


def _jpeg_damage(data: bytes) -> str:
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == 0xDA:
            # In entropy-coded data 0xFF is always followed by a stuffed 0 or a restart marker, so this is the real end.
            return "" if data.find(b"\xff\xd9", position) >= 0 else "truncated, no end marker"
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
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


def check_output(path: Path, *, force: bool, image: Image | None = None) -> None:
    """Refuse an output that could not be written, before any work is spent on it.

    Raises:
        OutputError: Unknown suffix, existing file without ``force``, missing folder, or a format that cannot hold
            ``image``'s depth or alpha.
    """
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise OutputError(f"{path} has the suffix {path.suffix or 'none'!r}: end it in .png, .jpg, .tif, .bmp or .webp.")
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent} is not a folder: make it first (mkdir -p {path.parent}).")
    if path.is_dir():
        raise OutputError(f"{path} is a folder: name an image file.")
    if path.exists() and not force:
        raise OutputError(f"{path} exists already: choose another name, or add --force to replace it.")
    if image is None:
        return
    if image.dtype != np.uint8 and suffix not in _SIXTEEN_BIT:
        raise OutputError(f"{path} cannot hold the 16-bit levels of the frames: end it in .png or .tif.")
    if image.ndim == 3 and image.shape[2] == 4 and suffix not in _WITH_ALPHA:
        raise OutputError(f"{path} cannot hold the frames' alpha: end it in .png, .tif or .webp.")


def write_image(path: Path, image: Image, *, force: bool = False) -> None:
    """Encode ``image`` (as `read_image` returns it) by the suffix of ``path``; whole or not at all.

    JPEG is written at quality 97, WebP without loss.

    Raises:
        OutputError: As `check_output`, and when the folder is not writable or the disk is full.
    """
    path = Path(path)
    check_output(path, force=force, image=image)
    suffix = path.suffix.lower()
    try:
        done, data = cv2.imencode(suffix, image, _OPTIONS.get(suffix, []))
    except cv2.error as error:
        raise OutputError(f"{path} cannot be encoded as {suffix}: {error.err or error}.") from error
    if not done:
        raise OutputError(f"{path} cannot be encoded as {suffix}: choose .png.")
    with atomic_write(path, force=force) as temporary:
        temporary.write_bytes(data.data)
