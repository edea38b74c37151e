"""What rivals do with a decision map once the network has given it. Maps are H x W; in NumPy and OpenCV."""

import cv2
import numpy as np

from ufafuse.runtime.arrays import Floats, Mask, Matrix

SMALL = 0.01  # of the picture: smaller regions of a map are mistakes (Liu 2017; SESF takes it over)


def without_small_regions(mask: Mask, share: float = SMALL) -> Mask:
    """Turn connected regions of less than this share of the picture into their surroundings, true ones first."""
    for value in (True, False):
        _, labels, stats, _ = cv2.connectedComponentsWithStats((mask == value).astype(np.uint8), connectivity=8)
        small = stats[:, cv2.CC_STAT_AREA] < share * mask.size
        small[0] = False  # the rest of the picture
        mask = np.where(small[labels], not value, mask)
    return mask


def opened_and_closed(mask: Mask, radius: int) -> Mask:
    """Remove what a disc of this radius does not fit into, then fill what it does not fit into."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc)
    return np.asarray(cv2.morphologyEx(opened, cv2.MORPH_CLOSE, disc) > 0)


def majority(mask: Mask, side: int) -> Mask:
    """The majority in a window of side x side around each place."""
    return np.asarray(cv2.blur(mask.astype(np.float32), (side, side), borderType=cv2.BORDER_REFLECT_101) > 0.5)


def guided(guide: Floats, plane: Floats, radius: int, epsilon: float) -> Floats:
    """`guided_filter` of maps: what comes out is kept in [0, 1]."""
    # In float64: variances are differences of large numbers.
    return np.clip(guided_filter(guide.astype(np.float64), plane.astype(np.float64), radius, epsilon), 0, 1).astype(np.float32)


def guided_filter(guide: Matrix, plane: Matrix, radius: int, epsilon: float) -> Matrix:
    """``plane`` smoothed along the edges of ``guide`` (He, Sun and Tang 2010); both H x W, guide in [0, 1]."""
    mean_guide, mean_plane = _box(guide, radius), _box(plane, radius)
    slope = (_box(guide * plane, radius) - mean_guide * mean_plane) / (_box(guide * guide, radius) - mean_guide**2 + epsilon)
    return _box(slope, radius) * guide + _box(mean_plane - slope * mean_guide, radius)


def _box(plane: Matrix, radius: int) -> Matrix:
    return np.asarray(cv2.blur(plane, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT), np.float64)


def taken_from(near: Floats, far: Floats, weight: Floats | Mask) -> Floats:
    """Return weight * near + (1 - weight) * far, H x W x 3."""
    return np.asarray(far + weight[..., None] * (near - far), np.float32)


def guided_mix(near: Floats, far: Floats, mask: Mask, *, radius: int, epsilon: float) -> Floats:
    """Fuse by a decision, smooth the decision along that picture's edges, and fuse again (Liu 2017)."""
    initial = taken_from(near, far, mask)
    guide = np.asarray(initial @ np.array([0.299, 0.587, 0.114], np.float32), np.float32)
    return taken_from(near, far, guided(guide, mask.astype(np.float32), radius, epsilon))
