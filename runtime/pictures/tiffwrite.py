"""A picture as a TIFF, through tifffile."""

from __future__ import annotations

import io
import struct
from typing import Any, Literal

import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures import exif as ex
from ufafuse.runtime.pictures import exiflayout as lay
from ufafuse.runtime.pictures.captions import IPTC_TAG, RESOURCES_TAG, resources_with
from ufafuse.runtime.pictures.metadata import ICC_TAG, XMP_TAG, Metadata

_MOST = 1 << 31  # bytes of samples in a TIFF, whose offsets end at twice that


def tiff_bytes(
    image: Array, metadata: Metadata | None, *, compression: str, level: int | None = None, most: int = _MOST
) -> bytes:
    """A TIFF of ``image`` (as `Picture.array`), with ``metadata`` in it.

    Args:
        image: uint8, uint16 or float32; grey, BGR or BGRA.
        metadata: What to put in; None: nothing.
        compression: ``"none"``, ``"deflate"``, or what imagecodecs knows (``"lzw"``, ``"zstd"``).
        level: Of the compression.
        most: Bytes of samples; for more it is a BigTIFF.

    Raises:
        InputError: The compression needs the extra ``tiff``.
    """
    import tifffile

    stream = io.BytesIO()
    notes = ex.Exif() if metadata is None else ex.parse_exif(metadata.exif or b"")
    order: Literal["<", ">"] = ">" if notes.order == ">" else "<"  # the notes of a camera's maker are in it
    colour = image.ndim == 3 and image.shape[2] >= 3
    stored = image if not colour else np.ascontiguousarray(image[..., [2, 1, 0, 3][: image.shape[2]]])
    packing: dict[str, Any] = {}
    if compression != "none":
        packing = {"compression": {"deflate": "zlib"}.get(compression, compression), "predictor": image.dtype != np.float32}
        packing |= {} if level is None else {"compressionargs": {"level": level}}
    try:
        tifffile.imwrite(
            stream, stored.squeeze(2) if stored.ndim == 3 and stored.shape[2] == 1 else stored, metadata=None, byteorder=order,
            bigtiff=image.nbytes > most, photometric="rgb" if colour else "minisblack", software=False,
            extrasamples=("unassalpha",) if image.ndim == 3 and image.shape[2] == 4 else None, rowsperstrip=None, **packing,
        )  # fmt: skip
    except (ValueError, ImportError, KeyError) as error:
        why = " ".join(str(error).split())[:120]
        raise InputError(
            f"TIFF with {compression} compression cannot be written ({why}): pip install 'ufafuse[tiff]', or omit it."
        ) from error
    data = stream.getvalue()
    return data if metadata is None else _with_metadata(data, metadata, order, big=image.nbytes > most)


def _with_metadata(data: bytes, metadata: Metadata, order: str, *, big: bool) -> bytes:
    """A TIFF whose directory is written anew at its beginning, with further entries; its pixels move back for it.

    Args:
        data: As an encoder made it, in strips and with a single directory.
        metadata: What to put in.
        order: Of its bytes, as ``metadata.exif`` has it.
        big: It is a BigTIFF.
    """
    header, word = (lay.BIG_HEADER, "Q") if big else (lay.HEADER, "I")
    size = struct.calcsize(word)
    directory = ex.read_directory(data, order, struct.unpack_from(order + word, data, header - size)[0], big=big)
    found = ex.parse_exif(metadata.exif or b"").without_pixels()
    directory |= {tag: entry for tag, entry in found.main.items() if tag not in directory or tag == ex.SOFTWARE}
    resources = resources_with(metadata.iptc) if metadata.iptc else None
    values = ((ICC_TAG, metadata.icc), (XMP_TAG, metadata.xmp), (IPTC_TAG, metadata.iptc), (RESOURCES_TAG, resources))
    for tag, value in values:
        if value:
            directory[tag] = lay.Entry(7 if tag in (ICC_TAG, IPTC_TAG) else 1, len(value), value)
    if metadata.dpi is not None:
        directory |= ex.resolution(metadata.dpi)
    strips = directory[ex.STRIPS]
    form = f"<{strips.values}{lay.WORDS[strips.kind]}"
    by = len(lay.laid_out(directory, found.parts, order, big=big)) - header
    directory[ex.STRIPS] = strips._replace(data=struct.pack(form, *(at + by for at in struct.unpack(form, strips.data))))
    return lay.laid_out(directory, found.parts, order, big=big) + data[header:]
