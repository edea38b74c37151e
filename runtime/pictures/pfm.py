"""PFM, floats as they lie in memory, row by row from below.

OpenCV refuses headers with spaces, carriage returns or remarks, and divides levels by the header's scale.

Source: Debevec's description of the format, and Netpbm's.
"""

from __future__ import annotations

import math

import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.picture import Picture
from ufafuse.runtime.pictures.sizes import PFM_HEADER
from ufafuse.runtime.pixels import check_pixels

_HEAD = 1 << 16  # bytes in which a header ends


def read_pfm(data: bytes, name: str, most: int | None = None) -> Picture:
    """Decode a picture: grey or BGR, float32, in the levels that are stored.

    Args:
        data: The file.
        name: What messages call it.
        most: Pixels that it may declare.

    Raises:
        InputError: It is too large, cut off, or says what cannot be.
    """
    match = PFM_HEADER.match(data[:_HEAD])
    width, height, scale = (int(match[2]), int(match[3]), _scale(match[4])) if match else (0, 0, 0.0)
    if match is None or not (width and height and scale):
        raise InputError(f"{name} is a damaged PFM file (its header says no size or scale): record or copy it again.")
    check_pixels((height, width), name, most)
    channels = 3 if match[1] == b"F" else 1
    count = height * width * channels
    start = match.end() + 1
    if data[match.end() : start + 1] == b"\r\n" and len(data) > start + 4 * count:
        start += 1
    found = max(len(data) - start, 0) // 4
    if found < count:
        raise InputError(f"{name} is damaged (truncated, {found} of {count} samples): record or copy it again.")
    stored = np.frombuffer(data, "<f4" if scale < 0 else ">f4", count, start).reshape(height, width, channels)
    array: Array = np.ascontiguousarray(stored[::-1, :, ::-1], np.float32)
    notes = [f"its scale, {abs(scale):g}, is passed over: levels are read as they are stored"] if abs(scale) != 1 else []
    return Picture(array if channels == 3 else array[..., 0], warnings=tuple(notes), kind="PFM")


def _scale(text: bytes) -> float:
    """The number, whose sign says the order of bytes; 0 where it is none."""
    try:
        scale = float(text)
    except ValueError:
        return 0.0
    return scale if math.isfinite(scale) else 0.0
