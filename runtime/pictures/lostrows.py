"""Rows at the end of a frame that never arrived: no format without packing notices it, and a camera's transfer neither."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ufafuse.runtime.arrays import Array

_LEAST = 0.05  # of the rows: a frame that was moved upon another may have fewer
_BEGUN = 0.5  # of the samples in the row beside them: where a dark ground begins it is a few


class Rows(NamedTuple):
    """How many of a frame's rows are 0 throughout at one of its ends, and how many it has."""

    first: int
    last: int
    height: int


def zero_rows(array: Array) -> Rows:
    """Rows of 0 at the ends of a frame, H x W, H x W x 3 or x 4; with an alpha channel those count that it does not hide."""
    height = array.shape[0]
    pixels = array if array.ndim == 2 or array.shape[2] < 4 else array[..., :3] + (array[..., 3:] == 0)
    if pixels[0].any() and pixels[-1].any():  # as nearly always
        return Rows(0, 0, height)
    rows = pixels.reshape(height, -1)
    full = np.flatnonzero(rows.any(axis=1))
    if not len(full):
        return Rows(0, 0, height)
    first, last = (int(row) if np.count_nonzero(rows[row]) > _BEGUN * rows.shape[1] else 0 for row in full[[0, -1]])
    return Rows(first, height - 1 - last if last else 0, height)


def lost_rows(names: Sequence[str], rows: Sequence[Rows]) -> list[str]:
    """What to tell of frames that end in rows of 0, where others do not: a margin is at both ends, or in all frames.

    Args:
        names: What the frames are called.
        rows: What `zero_rows` found of each.
    """
    told = []
    for name, found in zip(names, rows, strict=True):
        for end, count, other in (("last", found.last, found.first), ("first", found.first, found.last)):
            usual = min(getattr(each, end) for each in rows)
            if count - max(usual, other) > _LEAST * found.height:
                told.append(
                    f"{name}: its {end} {count} of {found.height} rows are 0, as where a copy or a transfer broke off: "
                    "record or copy it again."
                )
    return told
