"""Guesses at how one picture lies to another, the first ones by enhanced correlation coefficients, from coarse to fine.

The first guess begins with a phase correlation of the coarsest level, which finds the largest motions and costs least. Of a
fine even texture, such as a wall of bricks, nothing is left there but what the sampling made of it, and the estimate leads
astray or nowhere. So the next guess begins where the texture still is: at the finest level that is looked at. And of a
close net the blur in which correlations are compared leaves nothing at any level: there a shift by the phases of all pixels is
the guess, or that nothing moved.
"""

from collections.abc import Iterator

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array, Matrix

MOTIONS = {
    "translation": cv2.MOTION_TRANSLATION,
    "euclidean": cv2.MOTION_EUCLIDEAN,
    "affine": cv2.MOTION_AFFINE,
    "homography": cv2.MOTION_HOMOGRAPHY,
}

_ECC_PIXELS = 131_072  # on finer levels of the pyramid the refinement takes over: same result, a sixth of the time
_COARSEST_SIDE = 48
_ITERATIONS, _EPSILON = 60, 1e-6
_ECC_BLUR = 15  # pixels at each level: takes noise, and most of the difference in focus, out of the comparison

Levels = list[tuple[Array, Array]]


def first_guess(a: Array, b: Array, motion: str) -> Matrix | None:
    """The guess that is right most often.

    Args:
        a, b: H x W float32, grey.
        motion: A key of `MOTIONS`.

    Returns:
        3 x 3; takes a pixel of ``a`` to its place in ``b``. None where the estimate does not converge.
    """
    levels = _levels(a, b)
    return _followed_down(levels, phase_shift(*levels[-1]), motion)


def other_guesses(a: Array, b: Array, motion: str) -> Iterator[Matrix]:
    """As `first_guess`: what else may be tried where that one led astray; each is made when it is asked for."""
    levels = _levels(a, b)
    finest = next((index for index, (level, _) in enumerate(levels) if level.size <= _ECC_PIXELS), len(levels) - 1)
    found = _followed_down(levels[: finest + 1], phase_shift(*levels[finest]), motion)
    for guess in (found, phase_shift(a, b), np.eye(3)):
        if guess is not None and np.isfinite(guess).all():
            yield guess


def _levels(a: Array, b: Array) -> Levels:
    levels = [(a, b)]
    while min(levels[-1][0].shape) >= 2 * _COARSEST_SIDE:
        levels.append((cv2.pyrDown(levels[-1][0]), cv2.pyrDown(levels[-1][1])))
    return levels


def _followed_down(levels: Levels, start: Matrix, motion: str) -> Matrix | None:
    """The motion at the finest level, from one at the coarsest of them; None where the two do not converge."""
    matrix = start
    for index in range(len(levels) - 1, -1, -1):
        if index == len(levels) - 1 or levels[index][0].size <= _ECC_PIXELS:
            matrix_here = _ecc(*levels[index], matrix, motion)
            if matrix_here is None:
                return None
            matrix = matrix_here
        if index > 0:
            scale = scaling(levels[index - 1][0].shape, levels[index][0].shape)
            # cv2.pyrDown keeps pixel 0 at pixel 0, so between its levels pixels are points.
            scale[:2, 2] = 0
            matrix = scale @ matrix @ np.linalg.inv(scale)
    return matrix


def scaling(size: tuple[int, ...], reduced: tuple[int, ...]) -> Matrix:
    """Takes a pixel of the reduced picture to the full one; pixels are squares, not points."""
    x, y = size[1] / reduced[1], size[0] / reduced[0]
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1.0]])


def phase_shift(a: Array, b: Array) -> Matrix:
    """The shift between two pictures by their phases: takes a pixel of ``a`` to its place in ``b``."""
    window = cv2.createHanningWindow(a.shape[::-1], cv2.CV_32F)
    # Copies: of sides that suit the Fourier transform, OpenCV lays the window over what it is given.
    (x, y), _ = cv2.phaseCorrelate(a.copy(), b.copy(), window)
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def _ecc(a: Array, b: Array, start: Matrix, motion: str) -> Matrix | None:
    rows = 3 if motion == "homography" else 2
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _ITERATIONS, _EPSILON)
    everywhere = np.full(a.shape, 255, np.uint8)
    try:
        _, warp = cv2.findTransformECC(a, b, start[:rows].astype(np.float32), MOTIONS[motion], criteria, everywhere, _ECC_BLUR)
    except cv2.error:  # it raises where the pictures are flat or the steps lead apart: that is an answer here
        return None
    matrix = np.eye(3)
    matrix[:rows] = warp
    return matrix if np.isfinite(matrix).all() else None
