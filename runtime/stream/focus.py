"""Where frames are sharp, and how many of one camera's are missing: what its focus settings are told apart by."""

from __future__ import annotations

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.stream.messages import FAR, NEAR, Frame

_GRID = 8
_SMALL = 64
_PATCH, _LEAST_PATCH = 64, 5  # rows and columns of a cell that are looked at; fewer than this and all are
_SAME_FOCUS = 0.15  # change of log sharpness below which the first two frames have one focus
_CLEAR = 0.5  # cosine from which the direction of a change is trusted
_ADAPT = 0.5
_SKIPPED_FROM = 1.75  # frame intervals without a frame from which frames count as lost
_MOST_SKIPPED = 50
_FOLLOW = 0.1


class Steps:
    """Counts a camera's frames, those included that are missing.

    Args:
        by_index: By `Frame.index`, which the source counts where frames get lost as well; otherwise by the timestamps: good for
            cameras with a steady rate and timestamps of their own.
    """

    def __init__(self, *, by_index: bool = False) -> None:
        self._by_index = by_index
        self._index: int | None = None
        self._last: float | None = None
        self._interval = 0.0

    def to(self, frame: Frame) -> int:
        """Frames from the last one to this, itself counted: 1 where none is missing, and for the first."""
        if self._by_index:
            steps = 1 if self._index is None else max(1, frame.index - self._index)
            self._index = frame.index
            return steps
        steps = 1
        if self._last is not None:
            gap = frame.timestamp - self._last
            if self._interval and gap > _SKIPPED_FROM * self._interval:
                steps = min(round(gap / self._interval), _MOST_SKIPPED)
            elif gap > 0:
                shorter = gap < self._interval / _SKIPPED_FROM  # the gaps until now had frames missing in them
                self._interval += (gap - self._interval) * (1 if shorter or not self._interval else _FOLLOW)
        self._last = frame.timestamp
        return steps


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
    edges = np.abs(cv2.Laplacian(_grey(picture), cv2.CV_32F))
    cells = cv2.resize(edges, (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    return np.log(cells + 1e-3)


def sharpness_of(picture: Array) -> Array:
    """How sharp the picture is in each cell of a grid of 8 x 8: the logarithm of the mean absolute Laplacian, float32.

    Of large pictures a patch in each cell is looked at, so that the cost has a bound. Cells without detail are held up to a
    tenth of the mean: their noise says nothing.
    """
    height, width = picture.shape[:2]
    tall, wide = (min(_PATCH, side // _GRID) for side in (height, width))
    if min(tall, wide) < _LEAST_PATCH:
        cells = np.exp(_sharpness(picture))
    else:
        rows, columns = (_inside(side, patch) for side, patch in ((height, tall), (width, wide)))
        grey = _grey(picture[np.ix_(rows, columns)])
        edges = np.abs(cv2.Laplacian(grey, cv2.CV_32F)).reshape(_GRID, tall, _GRID, wide)
        cells = edges[:, 1:-1, :, 1:-1].mean(axis=(1, 3))
    return np.asarray(np.log(cells + 0.1 * cells.mean() + 1e-6), np.float32)


def small_of(picture: Array) -> Array:
    """What the picture shows, in 64 x 64 and as if out of focus, float32: for seeing whether the scene has moved."""
    stride = max(1, min(picture.shape[:2]) // (4 * _SMALL))
    grey = _grey(np.ascontiguousarray(picture[::stride, ::stride]))
    small = cv2.resize(grey, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), 2.0))


def _inside(side: int, patch: int) -> Array:
    """The rows (or columns) of a patch in the middle of each cell."""
    middles = (np.arange(_GRID) * 2 + 1) * side // (2 * _GRID)
    return np.asarray((middles[:, np.newaxis] - patch // 2 + np.arange(patch)).reshape(-1))


def _grey(picture: Array) -> Array:
    if picture.ndim == 2:
        return picture
    if picture.shape[2] == 1:
        return picture[..., 0]
    code = cv2.COLOR_BGRA2GRAY if picture.shape[2] == 4 else cv2.COLOR_BGR2GRAY
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture), code))
