"""The exposure of a live pair: under one light cameras differ by a factor that stays. It is held, and follows slowly."""

from __future__ import annotations

from collections import deque
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.registration.gain import fill_clipped, gains_to, multiplied

_REMEMBERED = 25  # pairs whose median is believed
_STEADY = 0.015  # relative: so far the median may be from what is held
_FOLLOW = 0.1  # of the way, each pair, beyond
_JUMP, _IN_A_ROW = 0.06, 3  # relative; pairs: the light or a camera's setting has changed
_NOTHING = 0.003  # relative: less than a level of 8 bits


class LiveGain:
    """Multiplies the frames of one camera to be as bright as those of another, without flicker.

    Attributes:
        gains: What is multiplied by, channel by channel; None before the first pair.
    """

    def __init__(self) -> None:
        self.gains: NDArray[np.float64] | None = None
        self._recent: deque[NDArray[np.float64]] = deque(maxlen=_REMEMBERED)
        self._jumped = 0

    def matched(self, near: NDArray[Any], other: NDArray[Any], kind: FrameKind) -> NDArray[Any]:
        """``other``, or a new frame that is as bright as ``near``."""
        self._learn(np.array(gains_to(near, other, kind)))
        assert self.gains is not None
        if np.abs(self.gains - 1).max() < _NOTHING:
            return other
        gains = tuple(self.gains.tolist())
        if kind.dtype == np.uint8 and kind.channels in (0, 1, 3):  # five times as fast as by channels
            levels = np.clip(np.rint(np.arange(256)[:, np.newaxis] * self.gains), 0, 255).astype(np.uint8)
            made = np.asarray(cv2.LUT(np.ascontiguousarray(other), levels.reshape(256, 1, -1))).reshape(other.shape)
            fill_clipped(made, other, near, gains, kind)
            return made
        return multiplied(other, gains, kind, beside=near)

    def _learn(self, found: NDArray[np.float64]) -> None:
        if self.gains is None or self.gains.shape != found.shape:
            self.gains = found
            self._recent.clear()
        jumped = bool(np.abs(found / self.gains - 1).max() > _JUMP)
        self._jumped = self._jumped + 1 if jumped else 0
        self._recent.append(found)
        if self._jumped >= _IN_A_ROW:
            new = list(self._recent)[-_IN_A_ROW:]
            self._recent.clear()
            self._recent.extend(new)
            self.gains, self._jumped = np.median(new, axis=0), 0
            return
        usual = np.median(np.stack(self._recent), axis=0)
        if np.abs(usual / self.gains - 1).max() > _STEADY:
            self.gains = self.gains + _FOLLOW * (usual - self.gains)
