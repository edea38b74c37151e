"""How good each result is, from what its frames show: seen in patches, so that it costs next to nothing whatever their size.

Patches of a grid are looked at in full resolution. Detail of one pixel against detail of two says how sharp a patch is,
whatever it shows; where there is little of either, nothing can be said. What frames show beyond their focus is compared
blurred, where both are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array

_GRID, _PATCH = 6, 32
_MARGIN = 10  # the part of a side that is left out at each end: registration and vignetting show there first
_LEAST_PATCH = 12
_SHARP = 0.45  # detail of one pixel in parts of that of two: what is blurred by a pixel or more mostly stays below
_DETAIL = 0.01  # of white: mean detail of two pixels below which a patch shows nothing to judge by
_APART = 0.05  # of white: blurred frames that differ by more, in the mean of a patch, do not show the same
_DARK, _LIGHT = 0.02, 0.98  # of white: patches beyond say nothing of the exposure
_MIXED = 4  # halved pixels at a patch's edge that are blurred with another patch, and that it may lie away
_LEAST_GRADIENT = 1e-6
_LARGEST_SHIFT = 8.0  # pixels; beyond, the estimate says only that it is much


@dataclass(frozen=True)
class Quality:
    """How good one result is.

    Args:
        sharp: Share of the picture, in [0, 1], where some frame is sharp: of the parts that show any detail.
        wins: Each frame's share of the patches in which it is the sharpest; they add up to 1.
        sharpness: Of each frame: detail of one pixel in parts of that of two, the mean of its sharpest third.
        exposure: By how much the frames' brightness differs, in parts: 0.1 is a tenth.
        shift: Pixels by which the frames lie apart, up to about 8.
        disagreement: Share of the picture, in [0, 1], where the frames show different things: something moved.
        frozen: For how many results one frame has been the very same, while another has changed.
        brightness: Each frame's mean level, in parts of white.
    """

    sharp: float
    wins: tuple[float, ...]
    sharpness: tuple[float, ...]
    exposure: float
    shift: float
    disagreement: float
    frozen: int
    brightness: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready, in four digits."""
        return {name: _short(value) for name, value in vars(self).items()}

    def figure(self, name: str) -> float:
        """One figure as a number: of those that each frame has, the least."""
        value = getattr(self, name)
        return float(min(value)) if isinstance(value, tuple) else float(value)


FIGURES = tuple(Quality.__dataclass_fields__)


def _short(value: Any) -> Any:  # noqa: ANN401 - a number, or several
    if isinstance(value, tuple):
        return [_short(one) for one in value]
    return value if isinstance(value, int) else round(float(value), 4)


@dataclass(frozen=True)
class _View:
    """What is looked at of one frame: detail of one and of two pixels by patch, patches halved and blurred, their levels."""

    fine: Array
    coarse: Array
    blurred: Array
    levels: Array
    sample: Array


class QualityMeter:
    """Judges result after result; used by one thread.

    Args:
        white: The level of white of 16-bit frames; None: the greatest that any frame has needed so far, in whole bits.
    """

    def __init__(self, white: float | None = None) -> None:
        self._given, self._found = white, 0.0
        self._samples: list[Array] = []
        self._same: list[int] = []

    def judge(self, frames: Sequence[Array]) -> Quality:
        """The quality of what is made of ``frames`` (alike in shape and kind), from near to far."""
        views = [_view(frame, self._white(frame)) for frame in frames]
        fine, coarse = (np.stack([getattr(view, name) for view in views]) for name in ("fine", "coarse"))
        detailed = coarse.max(axis=0) > _DETAIL
        # What is out of focus loses both: it is judged against the detail that the sharpest frame shows there.
        ratio = fine / np.maximum(coarse.max(axis=0), _DETAIL)
        seen = ratio[:, detailed]
        some = seen.shape[1] > 0
        first = fine[:, detailed].argmax(axis=0) if some else np.zeros(0, int)
        wins = np.bincount(first, minlength=len(frames)) / max(1, seen.shape[1])
        gains = [_gain(views[0], view) for view in views[1:]]
        differences = [_difference(views[0], view, gain) for view, gain in zip(views[1:], gains, strict=True)]
        return Quality(
            sharp=float((seen.max(axis=0) > _SHARP).mean()) if some else 1.0,
            wins=tuple(wins.tolist()) if some else (1 / len(frames),) * len(frames),
            sharpness=tuple(_best_third(row) for row in seen) if some else (0.0,) * len(frames),
            exposure=max(max(gain, 1 / gain) - 1 for gain in gains),
            shift=max(_shift(views[0], view, gain) for view, gain in zip(views[1:], gains, strict=True)),
            disagreement=max(differences),
            frozen=self._frozen([view.sample for view in views]),
            brightness=tuple(float(view.levels.mean()) for view in views),
        )

    def _white(self, frame: Array) -> float:
        if frame.dtype == np.uint8:
            return 255.0
        if self._given is None:
            top = float(frame[::8, ::8].max())
            self._found = max(self._found, float((1 << max(8, int(top).bit_length())) - 1))
        return self._given or self._found

    def _frozen(self, samples: list[Array]) -> int:
        if [sample.shape for sample in samples] != [sample.shape for sample in self._samples]:
            self._same = [0] * len(samples)
        else:
            pairs = zip(samples, self._samples, self._same, strict=True)
            self._same = [same + 1 if np.array_equal(now, before) else 0 for now, before, same in pairs]
        self._samples = samples
        return max(self._same) if min(self._same) == 0 else 0


def _view(frame: Array, white: float) -> _View:
    sample, grid = _patches(frame)
    grey = sample if sample.ndim == 2 else cv2.cvtColor(sample, cv2.COLOR_BGR2GRAY)
    half = cv2.pyrDown(grey)
    scale = np.float32(1 / white)
    depth = cv2.CV_16S if grey.dtype == np.uint8 else cv2.CV_32F
    fine, coarse = (_by_patch(np.abs(cv2.Laplacian(it, depth)), grid, 1) * scale for it in (grey, half))
    blurred = cv2.GaussianBlur(half.astype(np.float32) * scale, (0, 0), 2.0)
    return _View(fine, coarse, _cells(blurred, grid, 0), _by_patch(half, grid, 0) * scale, sample)


def _patches(frame: Array) -> tuple[Array, int]:
    """A patch from the middle of each cell of the grid, side by side in memory of their own, and how many stand in a row."""
    if frame.ndim == 3:
        frame = frame[..., 0] if frame.shape[2] == 1 else frame[..., :3]
    top, left = (side // _MARGIN for side in frame.shape[:2])
    frame = frame[top : frame.shape[0] - top, left : frame.shape[1] - left]
    sides = [side // _GRID for side in frame.shape[:2]]
    if min(sides) < _LEAST_PATCH:
        grid = 1 if min(frame.shape[:2]) < 2 * _LEAST_PATCH else 2
        sides = [side // grid for side in frame.shape[:2]]
    else:
        grid = _GRID
    patch = [min(_PATCH, side) // 2 * 2 or side for side in sides]
    cells = frame[: sides[0] * grid, : sides[1] * grid].reshape(grid, sides[0], grid, sides[1], *frame.shape[2:])
    top, left = ((side - size) // 2 for side, size in zip(sides, patch, strict=True))
    taken = cells[:, top : top + patch[0], :, left : left + patch[1]]
    return np.ascontiguousarray(taken).reshape(grid * patch[0], grid * patch[1], *frame.shape[2:]), grid


def _cells(values: Array, grid: int, margin: int) -> Array:
    """Patch by patch, without what their neighbours in memory have run into: patches x rows x columns."""
    tall, wide = (side // grid for side in values.shape)
    margin = min(margin, (min(tall, wide) - 1) // 2)
    cells = values.reshape(grid, tall, grid, wide)[:, margin : tall - margin, :, margin : wide - margin]
    return cells.transpose(0, 2, 1, 3).reshape(grid * grid, tall - 2 * margin, wide - 2 * margin)


def _by_patch(values: Array, grid: int, margin: int) -> Array:
    return np.asarray(_cells(values, grid, margin).mean(axis=(1, 2), dtype=np.float32))


def _best_third(values: Array) -> float:
    count = max(1, values.size // 3)
    return float(np.partition(values, -count)[-count:].mean())


def _gain(first: _View, other: _View) -> float:
    """What the first frame's levels are to be multiplied by to be the other's."""
    a, b = first.levels, other.levels
    usable = (a > _DARK) & (a < _LIGHT) & (b > _DARK) & (b < _LIGHT)
    if not usable.any():
        a, b = np.maximum(a.mean(), _DARK), np.maximum(b.mean(), _DARK)
        return float(b / a)
    return float(np.median(b[usable] / a[usable]))


def _difference(first: _View, other: _View, gain: float) -> float:
    apart = np.abs(_moved(other.blurred, 0, 0) - _moved(first.blurred, 0, 0) * np.float32(gain)).mean(axis=(1, 2))
    return float((apart > _APART * max(1.0, gain)).mean())


def _shift(first: _View, other: _View, gain: float) -> float:
    """How far ``other`` lies from ``first``: what the gradients say, looked for along their direction, and refined there."""
    a = first.blurred * np.float32(gain)
    x, y = _least_squares_shift(_moved(a, 0, 0), _moved(other.blurred, 0, 0))
    length = max(float(np.hypot(x, y)), 1e-9)
    steps = {(round(k * x / length), round(k * y / length)) for k in range(_MIXED)}
    here = _moved(a, 0, 0)
    best = min(steps, key=lambda step: float(np.square(_moved(other.blurred, *step) - here).mean()))
    x, y = _least_squares_shift(here, _moved(other.blurred, *best))
    return min(_LARGEST_SHIFT, 2 * float(np.hypot(x + best[0], y + best[1])))


def _moved(cells: Array, right: int, down: int) -> Array:
    """The middle of each patch, or what lies so many pixels from it."""
    tall, wide = cells.shape[1:]
    margin = min(_MIXED, (min(tall, wide) - 1) // 2)
    right, down = (max(-margin, min(margin, step)) for step in (right, down))
    return cells[:, margin + down : tall - margin + down, margin + right : wide - margin + right]


def _least_squares_shift(a: Array, b: Array) -> tuple[float, float]:
    """Lucas and Kanade, "An iterative image registration technique", 1981: one step over the gradients of all patches."""
    middle = (a + b) / 2
    if min(middle.shape[1:]) < 3:
        return 0.0, 0.0
    across = (middle[:, 1:-1, 2:] - middle[:, 1:-1, :-2]) / 2
    down = (middle[:, 2:, 1:-1] - middle[:, :-2, 1:-1]) / 2
    change = (a - b)[:, 1:-1, 1:-1]
    change = change - change.mean(axis=(1, 2), keepdims=True)
    xx, xy, yy = (float(np.vdot(p, q)) for p, q in ((across, across), (across, down), (down, down)))
    xt, yt = float(np.vdot(across, change)), float(np.vdot(down, change))
    least = _LEAST_GRADIENT * middle.size
    determinant = (xx + least) * (yy + least) - xy * xy
    return ((yy + least) * xt - xy * yt) / determinant, ((xx + least) * yt - xy * xt) / determinant
