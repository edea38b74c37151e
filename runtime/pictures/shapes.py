"""The shape and dtype that decoding a picture will give, from its header."""

from __future__ import annotations

from typing import Any

import numpy as np

from ufafuse.runtime.pictures import exif as ex
from ufafuse.runtime.pictures.blocks import chunks, frame_headers
from ufafuse.runtime.pictures.metadata import Metadata
from ufafuse.runtime.pictures.sizes import size_of

Kind = tuple[tuple[int, ...], np.dtype[Any]]
_SIXTEEN, _EIGHT = np.dtype(np.uint16), np.dtype(np.uint8)


def shape_of(head: bytes, kind: str, metadata: Metadata) -> Kind | None:
    """(shape, dtype) of the upright picture; None where the header alone does not tell (palettes, rare formats).

    Args:
        head: The file's beginning.
        kind: As `kinds.kind_of` says.
        metadata: As `metadata.metadata_of` says; its orientation is applied.
    """
    size = size_of(head, kind)
    found = {"JPEG": _jpeg, "PNG": _png}.get(kind, lambda _: None)(head)
    if size is None or found is None:
        return None
    channels, dtype = found
    turned = metadata.exif is not None and ex.parse_exif(metadata.exif).orientation >= 5
    height, width = size[::-1] if turned else size
    return ((height, width, channels) if channels else (height, width)), dtype


def _jpeg(head: bytes) -> tuple[int, np.dtype[Any]] | None:
    parts = next((head[start + 5] for _, start, end in frame_headers(head) if end - start > 5), None)
    return None if parts is None else (0 if parts == 1 else 3, _EIGHT)


def _png(head: bytes) -> tuple[int, np.dtype[Any]] | None:
    depth, colour = head[24], head[25]
    transparent = False
    for name, _, _ in chunks(head):
        transparent = transparent or name == b"tRNS"
        if name == b"IDAT":
            break
    channels = {0: 4 if transparent else 0, 2: 4 if transparent else 3, 4: 4, 6: 4}.get(colour)
    return None if channels is None else (channels, _SIXTEEN if depth == 16 else _EIGHT)
