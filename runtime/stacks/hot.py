"""Hot and dead pixels of a sensor: in a stack they stand still while the scene moves and blurs.

Registration would draw each of them out into a trail, sharper than anything else in its frame. They are found in a few frames
from all over the stack, before any is moved: a pixel that sticks out of its surroundings in each of them is the sensor's, as
the scene's own details go out of focus from one end of the stack to the other.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.frames import FrameKind, luma

FEWEST_FRAMES = 3
_STICKS_OUT = 0.08  # of white, above (or below) each of its eight neighbours
_MOST = 0.002  # of all pixels: more are no sensor's faults but the scene
_RING = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8)


def looked_at(count: int) -> list[int]:
    """The numbers of the frames in which to look: from all over a stack of `count`."""
    return sorted({0, count // 4, count // 2, 3 * count // 4, count - 1}) if count >= FEWEST_FRAMES else []


def find_hot_pixels(frames: Sequence[Array], kind: FrameKind) -> NDArray[np.intp]:
    """The pixels that stick out of their surroundings in each frame.

    Args:
        frames: Three or more, as the sensor gave them, not moved.
        kind: What they are.

    Returns:
        N x 2: row and column of each.
    """
    hot: NDArray[np.bool_] | None = None
    for frame in frames:
        grey = luma(frame, kind)
        step = _STICKS_OUT * kind.full
        # Of whole numbers OpenCV's differences end at 0, which sticks out of nothing.
        above = cv2.subtract(grey, cv2.dilate(grey, _RING, borderType=cv2.BORDER_REFLECT_101))
        below = cv2.subtract(cv2.erode(grey, _RING, borderType=cv2.BORDER_REFLECT_101), grey)
        found = np.asarray(cv2.max(above, below) > step)
        hot = found if hot is None else hot & found
        if not hot.any():
            break
    assert hot is not None
    if hot.sum() > _MOST * hot.size:
        return np.empty((0, 2), np.intp)
    return np.argwhere(hot)


def without_hot_pixels(frame: Array, pixels: NDArray[np.intp]) -> Array:
    """A copy of ``frame`` (H x W [x C]) whose pixels N x 2 are the medians of their eight neighbours; itself where N is 0."""
    if not len(pixels):
        return frame
    height, width = frame.shape[:2]
    around = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]
    rows, columns = (np.stack([pixels[:, axis] + step[axis] for step in around]) for axis in (0, 1))
    # Reflected at the border, as a neighbour beyond it would be.
    rows, columns = np.abs(rows), np.abs(columns)
    rows = np.where(rows >= height, 2 * height - 2 - rows, rows).clip(0, height - 1)
    columns = np.where(columns >= width, 2 * width - 2 - columns, columns).clip(0, width - 1)
    mended = frame.copy()
    mended[pixels[:, 0], pixels[:, 1]] = np.median(frame[rows, columns], axis=0).astype(frame.dtype)
    return mended
