"""A picture as a TIFF, through tifffile."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.metadata import Metadata, into_tiff


def tiff_bytes(image: Array, metadata: Metadata | None, *, compression: str, level: int | None = None) -> bytes:
    """A TIFF of ``image`` (as `Picture.array`), with ``metadata`` in it.

    Args:
        image: uint8, uint16 or float32; grey, BGR or BGRA.
        metadata: What to put in; None: nothing.
        compression: ``"none"``, ``"deflate"``, or what imagecodecs knows (``"lzw"``, ``"zstd"``).
        level: Of the compression.

    Raises:
        InputError: The compression needs the extra ``tiff``.
    """
    import tifffile

    stream = io.BytesIO()
    colour = image.ndim == 3 and image.shape[2] >= 3
    stored = image if not colour else np.ascontiguousarray(image[..., [2, 1, 0, 3][: image.shape[2]]])
    packing: dict[str, Any] = {}
    if compression != "none":
        packing = {"compression": {"deflate": "zlib"}.get(compression, compression), "predictor": image.dtype != np.float32}
        packing |= {} if level is None else {"compressionargs": {"level": level}}
    try:
        tifffile.imwrite(
            stream, stored.squeeze(2) if stored.ndim == 3 and stored.shape[2] == 1 else stored, metadata=None, byteorder="<",
            bigtiff=image.nbytes > 1 << 31, photometric="rgb" if colour else "minisblack", software=False,
            extrasamples=("unassalpha",) if image.ndim == 3 and image.shape[2] == 4 else None, rowsperstrip=None, **packing,
        )  # fmt: skip
    except (ValueError, ImportError, KeyError) as error:
        why = " ".join(str(error).split())[:120]
        raise InputError(
            f"TIFF with {compression} compression cannot be written ({why}): pip install 'ufafuse[tiff]', or omit it."
        ) from error
    data = stream.getvalue()
    return data if metadata is None or data[2:3] != b"*" else into_tiff(data, metadata)
