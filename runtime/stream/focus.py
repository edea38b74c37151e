"""Which of two focus settings the frames of one alternating camera were taken with."""

from __future__ import annotations

import cv2
import numpy as np

from ufafuse.runtime.stream.frames import FAR, NEAR, Array, Frame

_GRID = 8
_SAME_FOCUS = 0.15  # change of log sharpness below which the first two frames have one focus
_CLEAR = 0.5  # cosine from which the direction of a change is trusted
_ADAPT = 0.5
_SKIPPED_FROM = 1.75  # frame intervals without a frame from which frames count as lost
_MOST_SKIPPED = 50
_FOLLOW = 0.1


class OrderSorter:
    """Every second frame is near, from the first on; frames that the timestamps show to be missing are counted in.

    Good for cameras with a steady rate and timestamps of their own.
    """

    def __init__(self) -> None:
        self._side = FAR
        self._last: float | None = None
        self._interval = 0.0

    def side_of(self, frame: Frame) -> int:
        """`NEAR` or `FAR` for the camera's next frame."""
        steps = 1
        if self._last is not None:
            gap = frame.timestamp - self._last
            if self._interval and gap > _SKIPPED_FROM * self._interval:
                steps = min(round(gap / self._interval), _MOST_SKIPPED)
            elif gap > 0:
                shorter = gap < self._interval / _SKIPPED_FROM  # the gaps until now had frames missing in them
                self._interval += (gap - self._interval) * (1 if shorter or not self._interval else _FOLLOW)
        self._last = frame.timestamp
        self._side = (self._side + steps) % 2
        return self._side


class SharpnessSorter:
    """Tells the two settings apart by where the frame is sharp, also when frames get lost at any rate.

    Sharpness is measured on a grid. A change of focus is a large change of it; its direction, learnt from the first one and
    followed, says which way the focus went, so that one wrong judgement does not stay. What both settings share (the scene,
    its light) drops out of the difference. It fails where the depth in view moves on by a good part of its own structure
    from one frame to the next. The first frame is called near.
    """

    def __init__(self) -> None:
        self._last: Array | None = None
        self._side = NEAR
        self._near_minus_far: Array | None = None
        self._usual = 0.0

    def side_of(self, frame: Frame) -> int:
        """`NEAR` or `FAR` for the camera's next frame."""
        sharpness = _sharpness(frame.array)
        if self._last is not None:
            self._side = self._judged(sharpness - self._last)
        self._last = sharpness
        return self._side

    def _judged(self, change: Array) -> int:
        size = float(np.linalg.norm(change))
        if self._near_minus_far is None:
            if size / _GRID < _SAME_FOCUS:
                return self._side
            self._near_minus_far, self._usual = -change, size
            return FAR
        if size < self._usual / 2:
            return self._side
        direction = self._near_minus_far
        cosine = float(np.vdot(change, direction)) / (size * float(np.linalg.norm(direction)))
        side = (NEAR if cosine > 0 else FAR) if abs(cosine) > _CLEAR else 1 - self._side
        if side != self._side:
            towards_near = change if side == NEAR else -change
            self._near_minus_far = (1 - _ADAPT) * direction + _ADAPT * towards_near
            self._usual += _FOLLOW * (size - self._usual)
        return side


def _sharpness(picture: Array) -> Array:
    """Logarithm of the mean absolute Laplacian in each cell of the grid, float32."""
    if picture.ndim == 3:
        code = cv2.COLOR_BGRA2GRAY if picture.shape[2] == 4 else cv2.COLOR_BGR2GRAY
        grey = picture[..., 0] if picture.shape[2] == 1 else cv2.cvtColor(picture, code)
    else:
        grey = picture
    edges = np.abs(cv2.Laplacian(grey, cv2.CV_32F))
    cells = cv2.resize(edges, (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    return np.log(cells + 1e-3)
