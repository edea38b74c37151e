"""How the parts of two pictures agree, each by itself: what a few of them show does not outweigh all the rest."""

import numpy as np

from ufafuse.runtime.arrays import Matrix
from ufafuse.runtime.registration.covering import Crop, valid_crop
from ufafuse.runtime.registration.refine import Alike, Compared

_PARTS = 6  # along each side
_TELLING = 0.3  # of the parts' mean contrast, below which one says nothing
_NO_DISAGREEMENT = 1e-6


def left_in_parts(compared: Compared, matrix: Matrix, other: Matrix | None = None) -> float:
    """What a move leaves of the disagreement of two pictures in the middle one of their parts; 0 where no part tells.

    Args:
        compared: The two pictures.
        matrix: 3 x 3; takes a pixel of the near picture to the other one. Both show something in common there.
        other: Another one, of whose disagreement it is told; None: of that of the pictures as they came.
    """
    crop = valid_crop(matrix, compared.shape)
    beside = None if other is None else valid_crop(other, compared.shape)
    assert crop is not None, "a move that was estimated leaves something in common"
    crop = crop if beside is None else crop.within(beside)
    places = (np.eye(3) if other is None else other, matrix)
    (before, contrast), (after, _) = (_in_parts(compared.at(place), crop) for place in places)
    telling = contrast > _TELLING * contrast.mean()
    if not telling.any():
        return 0.0
    return float(np.median(np.maximum(1 - after[telling], 0) / np.maximum(1 - before[telling], _NO_DISAGREEMENT)))


def _in_parts(alike: Alike, crop: Crop) -> tuple[Matrix, Matrix]:
    """The correlation of two pictures in each part of what both show, and the contrast of the two there."""
    told = []
    for rows in np.array_split(np.arange(crop.top, crop.bottom), _PARTS):
        for columns in np.array_split(np.arange(crop.left, crop.right), _PARTS):
            if rows.size and columns.size:
                x, y = (np.array(each[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], np.float64) for each in alike[:2])
                x, y = x - x.mean(), y - y.mean()
                told.append((float((x * y).mean()), float(np.sqrt((x * x).mean() * (y * y).mean()))))
    both, contrast = np.array(told, np.float64).T
    return both / np.maximum(contrast, np.finfo(np.float32).tiny), contrast
