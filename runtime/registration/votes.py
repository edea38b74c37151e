"""The shift of most of a picture, by a vote of its parts.

A subject in the wind, or one much nearer than all else, is a small part of a picture; but where it is sharp in the one frame
and all else is in the other, its outline is most of what both show, and whatever sums over pixels follows it.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Matrix
from ufafuse.runtime.registration.covering import shifted_by
from ufafuse.runtime.registration.guesses import scaling

# Longer sides of small pictures, how many parts each has along it, and how far those are looked for: all over, then beside it.
_COARSE_SIDE, _COARSE_PARTS, _FARTHEST_VOTED = 128, 5, 0.15  # the latter of the diagonal
_FINE_SIDE, _FINE_PARTS, _FINE_REACH = 384, 8, 8
_LEAST_PART = 8
_FINE, _COARSE = 1.0, 6.0
_AGREED = 0.1  # mean square of the parts' correlation at one shift
_FLAT = 1e-6


def guess_of_most(a: Array, b: Array) -> Matrix | None:
    """The shift that most parts of a picture have, however much contrast each of them shows.

    Args:
        a, b: H x W float32, grey.

    Returns:
        3 x 3; takes a pixel of ``a`` to its place in ``b``, a pixel or two wrong. None where too few parts tell one.
    """
    about = np.zeros(2)  # across, down
    for side, parts, reach in ((_COARSE_SIDE, _COARSE_PARTS, None), (_FINE_SIDE, _FINE_PARTS, _FINE_REACH)):
        scale = max(1.0, max(a.shape) / side)
        size = max(1, round(a.shape[1] / scale)), max(1, round(a.shape[0] / scale))
        one, other = (_structure(cv2.resize(picture, size, interpolation=cv2.INTER_AREA)) for picture in (a, b))
        full = np.diag(scaling(a.shape, one.shape))[:2]
        far = round(_FARTHEST_VOTED * float(np.hypot(*one.shape))) if reach is None else reach
        found = _voted(one, other, parts, np.rint(about / full).astype(int), far)
        if found is None:
            return None
        about = found * full
    return shifted_by(*about)


def _voted(a: Array, b: Array, parts: int, about: NDArray[np.int_], reach: int) -> NDArray[np.float64] | None:
    """The shift (across, down) on which most parts of a picture agree, at most ``reach`` from ``about``; None: on none."""
    side = max(a.shape) // parts
    if side < _LEAST_PART or min(a.shape) < side:
        return None
    rows, columns = (np.linspace(0, length - side, max(1, round(length / side))).astype(int) for length in a.shape)
    places = [(int(top), int(left)) for top in rows for left in columns]
    shown = np.array([a[top : top + side, left : left + side].std() for top, left in places])
    shares = np.minimum(1.0, shown / max(float(np.partition(shown, len(shown) // 2)[len(shown) // 2]), _FLAT))
    votes, voters = np.zeros((2, 2 * reach + 1, 2 * reach + 1), np.float32)
    for (top, left), share in zip(places, shares, strict=True):
        y, x = top + int(about[1]) - reach, left + int(about[0]) - reach  # where the part would lie at the first of the shifts
        there = b[max(0, y) : max(0, y + 2 * reach + side), max(0, x) : max(0, x + 2 * reach + side)]
        if min(there.shape) < side:
            continue
        found = cv2.matchTemplate(there, a[top : top + side, left : left + side], cv2.TM_CCOEFF_NORMED)
        above, before = max(0, -y), max(0, -x)
        at = slice(above, above + found.shape[0]), slice(before, before + found.shape[1])
        votes[at] += np.float32(share) * np.square(np.clip(np.nan_to_num(found), 0, 1))
        voters[at] += np.float32(share)
    votes = np.where(voters > voters.max() / 2, votes / np.maximum(voters, _FLAT), 0)
    row, column = (int(each) for each in np.unravel_index(int(votes.argmax()), votes.shape))
    if votes[row, column] < _AGREED:
        return None
    return np.array([_top(votes[row], column), _top(votes[:, column], row)], np.float64) + about.astype(np.float64) - reach


def _structure(picture: Array) -> Array:
    """What is neither so fine that the focus takes it away, nor light and shade."""
    return cv2.GaussianBlur(picture, (0, 0), _FINE) - cv2.GaussianBlur(picture, (0, 0), _COARSE)


def _top(line: Array, at: int) -> float:
    """Where a peak lies, to a fraction."""
    if not 0 < at < len(line) - 1:
        return float(at)
    before, here, after = (float(each) for each in line[at - 1 : at + 2])
    bend = before - 2 * here + after
    return at + (0.5 * (before - after) / bend if bend < 0 else 0.0)
