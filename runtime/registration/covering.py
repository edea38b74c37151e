"""What two frames of a scene both show, and how far a picture's corners move."""

from typing import NamedTuple

import numpy as np

from ufafuse.runtime.arrays import Matrix


class Crop(NamedTuple):
    """A rectangle of the frame: rows ``top..bottom``, columns ``left..right``, ends not included."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """To index a frame with."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def within(self, other: "Crop") -> "Crop":
        """The part that both have; at least one pixel."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        return Crop(top, max(top + 1, min(self.bottom, other.bottom)), left, max(left + 1, min(self.right, other.right)))


def _corners(size: tuple[int, ...]) -> Matrix:
    bottom, right = size[0] - 1, size[1] - 1
    return np.array([[0, 0, 1], [right, 0, 1], [right, bottom, 1], [0, bottom, 1]], np.float64).T


def farthest_move(matrix: Matrix, size: tuple[int, ...], other: Matrix | None = None) -> float:
    """Pixels that the farthest corner of a picture of this (height, width) moves, or lies from where ``other`` takes it."""
    after, before = (each @ _corners(size) for each in (matrix, np.eye(3) if other is None else other))
    return float(np.hypot(*(after[:2] / after[2] - before[:2] / before[2])).max())


def shifted_by(x: float, y: float) -> Matrix:
    """The motion that is this shift, in pixels."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def stretch(matrix: Matrix) -> float:
    """By how much more a motion stretches a picture in one direction than across it: 0 where it keeps shapes."""
    least, most = np.linalg.svd(matrix[:2, :2])[1][::-1]
    return float(most / least - 1) if least > 0 else np.inf


def valid_crop(matrix: Matrix, size: tuple[int, ...]) -> Crop | None:
    """The rectangle of the near frame that the other frame covers too; None where they have nothing in common.

    Found from the frame's outline: each side moves inwards until the other frame's four edges, straight in every motion
    model, leave it no corner outside.
    """
    height, width = size[0], size[1]
    with np.errstate(all="ignore"):
        corners = np.linalg.inv(matrix) @ _corners(size)
        x, y = corners[:2] / corners[2]
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    slack = 1e-6  # of a pixel: rounding must not cost a row
    top, left = (max(0, int(np.ceil(max(values) - slack))) for values in ((y[0], y[1]), (x[0], x[3])))
    bottom = min(height, int(np.floor(min(y[2], y[3]) + slack)) + 1)
    right = min(width, int(np.floor(min(x[1], x[2]) + slack)) + 1)
    return Crop(top, bottom, left, right) if top < bottom and left < right else None
