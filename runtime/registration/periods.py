"""Patterns that repeat: a net, a comb, a sieve, contacts in rows.

Moved by a period they look alike, and a registration may be off by it.
"""

from collections.abc import Iterator

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array, Matrix
from ufafuse.runtime.registration.covering import shifted_by

_SIDE = 256  # pixels of the middle of a picture that are looked at
_LONGEST = 64  # pixels: of longer periods the coarse levels tell
_SHORTEST = 4
_COARSE = 8.0  # pixels: sigma of what is no pattern
# Of a pattern's own energy, that it shares with itself moved by a period; real boards and slides had 0.1 to 0.45.
_REPEATS = 0.5
_AS_STRONG = 0.8
_ASIDE = 0.5  # sine of the angle from which on a second period is another one


def periods(picture: Array) -> list[tuple[float, float]]:
    """The one or two shortest moves, (x, y) in pixels, by which a picture's pattern repeats; none where it has none.

    Args:
        picture: H x W float32, grey.
    """
    top, left = (max(0, (side - _SIDE) // 2) for side in picture.shape)
    middle = picture[top : top + _SIDE, left : left + _SIDE]
    if min(middle.shape) < 2 * _SHORTEST:
        return []
    fine = middle - cv2.GaussianBlur(middle, (0, 0), _COARSE)
    window = cv2.createHanningWindow(fine.shape[::-1], cv2.CV_32F)
    spectrum = cv2.dft(fine * window, flags=cv2.DFT_COMPLEX_OUTPUT)
    power = np.asarray(cv2.magnitude(*cv2.split(spectrum)), np.float32) ** 2
    own = cv2.dft(power, flags=cv2.DFT_COMPLEX_OUTPUT)[..., 0]  # of what is symmetric, back is the same as forth
    if own[0, 0] <= 0:
        return []
    around = np.asarray(np.fft.fftshift(own / own[0, 0]), np.float32)
    y, x = np.mgrid[: around.shape[0], : around.shape[1]] - np.array(around.shape)[:, None, None] // 2
    away = np.hypot(y, x)
    peak = (around >= cv2.dilate(around, np.ones((5, 5), np.uint8))) & (around > _REPEATS)
    peak &= (away >= _SHORTEST) & (away <= _LONGEST) & ((y > 0) | ((y == 0) & (x > 0)))
    if not peak.any():
        return []
    peak &= around > _AS_STRONG * around[peak].max()  # of blurred patterns half a period is a faint peak as well
    found: list[tuple[float, float]] = []
    for place in sorted(zip(away[peak], x[peak], y[peak], strict=True)):
        across, down = float(place[1]), float(place[2])
        if not found or abs(across * found[0][1] - down * found[0][0]) > _ASIDE * place[0] * np.hypot(*found[0]):
            found.append((across, down))
        if len(found) == 2:
            break
    return found


def beside(matrix: Matrix, moves: list[tuple[float, float]]) -> Iterator[Matrix]:
    """A motion with up to two periods more or less of each kind."""
    (a, b), (c, d) = moves if len(moves) == 2 else (*moves, (0.0, 0.0))
    for one in range(-2, 3):
        for other in range(-2, 3) if len(moves) == 2 else (0,):
            if one or other:
                yield shifted_by(one * a + other * c, one * b + other * d) @ matrix
