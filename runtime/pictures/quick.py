"""PNG and JPEG by quicker libraries than OpenCV's own, where the extra ``files`` is installed; the same pixels.

A folder of small pairs spends more time in Deflate than one thinks. One thread of a Zen 5 core, a photograph of 520 x 520:

    PNG written    OpenCV 6.6 ms    here 2.1 ms, 7 % smaller
    PNG read       OpenCV 3.6 ms    here 2.1 ms
    JPEG read      OpenCV 0.6 ms    here 0.5 ms, with what libjpeg noticed on the way

Sources: PNG 3rd edition (W3C), RFC 1950 and 1951 (zlib, Deflate).
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.pictures.blocks import PNG, chunks

_UP = 2  # the filter: each byte less the one above it
_LEVEL = 1  # of ISA-L's 0 to 3: the higher ones win 1 % of the size
_COLOURS = {1: 0, 3: 2, 4: 6}  # PNG's colour type by channels
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # in a pixel, by colour type
_RARE = "subsampling"  # in what is said of a whole JPEG whose colours are stored in a size that simplejpeg does not know
_STORED_MOST = 65_535  # bytes in a stored block of Deflate
_TURNED = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}


@functools.cache
def _isal() -> Any:  # noqa: ANN401 - a module, or None
    try:
        from isal import isal_zlib
    except ImportError:
        return None
    return isal_zlib


@functools.cache
def _simplejpeg() -> Any:  # noqa: ANN401 - as above
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg


def writes_png() -> bool:
    """Whether `png_bytes` can be used: isal is installed."""
    return _isal() is not None


def reads_jpeg() -> bool:
    """Whether `jpeg_pixels` can be used: simplejpeg is installed."""
    return _simplejpeg() is not None


def png_bytes(image: Array) -> bytes:
    """A picture as a PNG without anything beside its pixels.

    Args:
        image: H x W, H x W x 3 (BGR) or H x W x 4 (BGRA); uint8 or uint16.
    """
    height, width = image.shape[:2]
    channels = 1 if image.ndim == 2 else image.shape[2]
    pixels = cv2.cvtColor(image, _TURNED[channels]) if channels in _TURNED else np.ascontiguousarray(image)
    rows = pixels.astype(pixels.dtype.newbyteorder(">"), copy=False).reshape(height, -1).view(np.uint8)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8 * image.itemsize, _COLOURS[channels], 0, 0, 0)
    packed = _isal().compress(filtered, _LEVEL)
    return b"".join((PNG, *_chunk(b"IHDR", header), *_chunk(b"IDAT", packed), *_chunk(b"IEND", b"")))


def _chunk(name: bytes, content: bytes) -> tuple[bytes, ...]:
    crc32 = _isal().crc32
    return struct.pack(">I", len(content)), name, content, struct.pack(">I", crc32(content, crc32(name)))


def without_deflate(data: bytes) -> bytes:
    """A whole PNG whose samples are stored instead of compressed, for a decoder whose own Deflate is slower.

    Args:
        data: A PNG whose chunks were found good (`damage_in`).

    Returns:
        ``data`` itself without isal, and where the samples are not what the header declares: that is for the decoder to judge.
    """
    isal = _isal()
    if isal is None:
        return data
    before, packed, behind = list[bytes](), list[bytes](), list[bytes]()
    for name, start, end in chunks(data):
        if name == b"IDAT":
            packed.append(data[start:end])
        else:
            (behind if packed else before).append(data[start - 8 : end + 4])
    expected = _declared_bytes(data)
    if not expected:
        return data
    inflating = isal.decompressobj()
    try:
        samples = inflating.decompress(packed[0] if len(packed) == 1 else b"".join(packed), expected + 1)
    except isal.error:
        return data
    if len(samples) != expected or not inflating.eof:
        return data
    stored = b"".join(_stored(samples, isal.adler32(samples)))
    return b"".join((PNG, *before, *_chunk(b"IDAT", stored), *behind))


def _declared_bytes(data: bytes) -> int:
    """How many bytes the filtered samples take, by the header; 0 where rows do not simply follow each other."""
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, len(PNG) + 8)
    if interlaced or colour not in _SAMPLES:
        return 0
    return int(height * (1 + -(-width * depth * _SAMPLES[colour] // 8)))


def _stored(samples: bytes, checksum: int) -> Iterator[bytes | memoryview]:
    """A zlib stream that holds ``samples`` as they are."""
    yield b"\x78\x01"
    view = memoryview(samples)
    for at in range(0, len(samples), _STORED_MOST):
        part = view[at : at + _STORED_MOST]
        yield struct.pack("<BHH", at + len(part) == len(samples), len(part), len(part) ^ 0xFFFF)
        yield part
    yield struct.pack(">I", checksum)


def jpeg_pixels(data: bytes, *, grey: bool) -> tuple[Array | None, str]:
    """A JPEG's pixels, H x W x 3 (BGR) or H x W, uint8, as stored; None, and what libjpeg noticed, where it did.

    Args:
        data: A JPEG of one or three components.
        grey: It has one.
    """
    try:
        pixels = _simplejpeg().decode_jpeg(data, "GRAY" if grey else "BGR")
    except ValueError as error:
        said = str(error).rstrip(".")
        return None, "" if _RARE in said else said
    return (pixels[..., 0] if grey else pixels), ""
