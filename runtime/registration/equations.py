"""What determines the parameters of a motion, how sure they are, and the matrix that they are the parameters of."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Matrix

_ROUNDING = 0.01  # pixels: what is known of a parameter is no better
# Of the statistic by which parts of the picture tell more than a shift: steps of a lens that breathes reached 790 to 1,600 on a
# real board, silhouettes that only went out of focus 1 to 17.
_SURELY = 20.0
_SURELY_BREATHING = 40.0  # of scale alone: there silhouettes reached 37, steps of that lens 116 and more
SHIFT_PENALTY = 0.01  # of the shift's own weight: without both kinds of region it cannot be told from the motion
# Pixels of the compared pictures. Made pairs with box blur, whose frames it moves apart by one in both directions, had 0.7;
# real and drawn stacks 0 to 0.6; of what moved by itself between frames, or stands nearer, it would be 0.7 to 3.9.
_MOST_SHIFTED = 1.0
_NO_SHIFT = 100.0


class Equations(NamedTuple):
    """Normal equations of the parameters' least-squares change, by parts of the picture.

    Attributes:
        normal, right: parts x P x P, and parts x P; P is the motion's parameters and four others that are left out of it.
        motion: How many of them are the motion's.
        penalty: Of the shift that defocusing makes, in its own weight.
    """

    normal: NDArray[np.float64]
    right: NDArray[np.float64]
    motion: int
    penalty: float = SHIFT_PENALTY

    def settled(self) -> "Equations":
        """The same, without the shift that defocusing makes where it would be farther than any: there something moved.

        A subject in the wind before hills, or nearer than they are, is sharp in the one frame and they are in the other. Such a
        shift would take the half of what the one moved against the other, and leave both of them beside their places.
        """
        found = self._all_solved(self.normal.sum(0)[np.newaxis], self.right.sum(0)[np.newaxis])
        if found is None or np.hypot(*found[0, self.motion : self.motion + 2]) <= _MOST_SHIFTED:
            return self
        return self._replace(penalty=_NO_SHIFT)

    def solved(self) -> NDArray[np.float64] | None:
        """The change, of all parts; None where nothing determines it."""
        found = self._solutions(self.normal.sum(0)[np.newaxis], self.right.sum(0)[np.newaxis])
        return None if found is None else found[0]

    def solved_without_each(self) -> NDArray[np.float64] | None:
        """The change, of all parts but one, for each: parts x P; None where nothing determines one of them."""
        return self._solutions(self.normal.sum(0) - self.normal, self.right.sum(0) - self.right)

    def _solutions(self, normal: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64] | None:
        found = self._all_solved(normal, right)
        return None if found is None else found[:, : self.motion]

    def _all_solved(self, normal: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64] | None:
        for axis in (0, 1):
            normal[:, self.motion + axis, self.motion + axis] += self.penalty * normal[:, axis, axis]
        # Of a faint picture all slopes are small beside the offset, which makes none of them less determined.
        size = np.sqrt(np.maximum(np.diagonal(normal, axis1=1, axis2=2), np.finfo(np.float32).tiny))
        normal = normal / (size[:, :, np.newaxis] * size[:, np.newaxis])
        if (np.linalg.cond(normal) > 1 / np.finfo(np.float32).eps).any():
            return None
        return np.asarray(np.linalg.solve(normal, (right / size)[..., np.newaxis])[..., 0] / size, np.float64)


def spread_of(equations: Equations) -> NDArray[np.float64] | None:
    """How far the solutions without each part lie from their mean, parts x P; None where nothing determines one of them."""
    estimates = equations.solved_without_each()
    return None if estimates is None else np.asarray(estimates - estimates.mean(0), np.float64)


def variance_of(spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """The covariance of parameters, P x P, by jackknife from their `Refined.spread`."""
    return np.asarray((len(spread) - 1) / len(spread) * spread.T @ spread, np.float64)


def told(parameters: NDArray[np.float64], covariance: NDArray[np.float64], motion: str) -> bool:
    """Whether more than a shift happened for sure (a Wald test).

    Args:
        parameters: P, as `as_parameters` gives them.
        covariance: P x P, theirs, as `variance_of` gives it of one pair of pictures.
        motion: As `refined`.
    """
    more = parameters[2:]
    covariance = covariance[2:, 2:] + np.eye(len(more)) * _ROUNDING**2
    if more @ np.linalg.solve(covariance, more) / len(more) >= _SURELY:
        return True
    if motion not in ("affine", "homography"):
        return False
    scale = np.array([0.5, 0, 0, 0.5, 0, 0][: len(more)])  # a lens that breathes does so in both directions alike
    return bool((scale @ more) ** 2 / (scale @ covariance @ scale) >= _SURELY_BREATHING)


def _centring(shape: tuple[int, ...]) -> tuple[float, Matrix]:
    """What a pixel is in units of the longer side's half, and the matrix from pixels to such units about the centre."""
    scale = 2 / max(shape)
    return scale, np.array([[scale, 0, -scale * (shape[1] - 1) / 2], [0, scale, -scale * (shape[0] - 1) / 2], [0, 0, 1]])


def as_matrix(step: NDArray[np.float64], shape: tuple[int, ...], motion: str) -> Matrix:
    """The 3 x 3 matrix of a small change, in pixels."""
    scale, centre = _centring(shape)
    change = np.eye(3)
    change[:2, 2] = step[:2] * scale
    if motion == "euclidean":
        cosine, sine = np.cos(step[2] * scale), np.sin(step[2] * scale)
        change[:2, :2] = [[cosine, -sine], [sine, cosine]]
    if motion in ("affine", "homography"):
        change[:2, :2] += step[2:6].reshape(2, 2) * scale
    if motion == "homography":
        change[2, :2] -= step[6:8] * scale
    return np.asarray(np.linalg.inv(centre) @ change @ centre)


def as_parameters(matrix: Matrix, shape: tuple[int, ...], motion: str) -> NDArray[np.float64]:
    """The parameters of a small change, in pixels at the ends of the longer sides: the reverse of `as_matrix`."""
    scale, centre = _centring(shape)
    change = centre @ matrix @ np.linalg.inv(centre)
    change = change / change[2, 2]
    shift, linear, bent = change[:2, 2], (change[:2, :2] - np.eye(2)).ravel(), -change[2, :2]
    if motion == "euclidean":
        linear = np.array([np.arctan2(change[1, 0], change[0, 0])])
    more = {"translation": [], "euclidean": [linear], "affine": [linear], "homography": [linear, bent]}[motion]
    return np.asarray(np.concatenate([shift, *more]) / scale, np.float64)
