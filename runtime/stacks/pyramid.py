"""The classical way: of every octave the frame whose detail is strongest there (Burt and Adelson's pyramid, 1983).

For comparison, and for people who want it. No network; frames come one after the other, and of each octave only the strongest
coefficients so far are kept.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Floats
from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.stacks.octaves import keep_greatest_alpha

_COARSEST_SIDE = 16  # pixels: the base is the average of the frames
_AROUND = 2.0  # pixels: detail is compared by its energy around each coefficient
_LEAST_SHARE = 1e-3


class PyramidMaximum:
    """Keeps the strongest coefficients of a stack's frames.

    Args:
        size: (height, width) of the frames.
        kind: What they are; alpha takes no part in the choice.
    """

    def __init__(self, size: tuple[int, int], kind: FrameKind) -> None:
        self._size, self._kind = size, kind
        self._levels = max(1, int(np.log2(max(2.0, min(size) / _COARSEST_SIDE))))
        self._detail: list[Floats] = []
        self._energy: list[Floats] = []
        self._base: Floats | None = None
        self._shares: Floats | None = None  # of the base's pixels: how much of them was shown, all frames together
        self._alpha: Any = np.zeros(size, kind.dtype) if kind.channels == 4 else None

    def add(self, frame: Array, covered: NDArray[np.uint8] | None) -> None:
        """Add a frame; where it shows nothing (``covered`` is 0) it does not win."""
        picture = frame.reshape(*self._size, -1)
        current = np.asarray(picture[..., : 1 if self._kind.grey else 3], np.float32)
        shown: Any = None
        if covered is not None:
            shown = covered.astype(np.float32)
            current = _continued(current, shown)
        if self._alpha is not None:
            keep_greatest_alpha(self._alpha, frame, covered)
        for level in range(self._levels):
            smaller = np.asarray(cv2.pyrDown(current), np.float32)
            band = np.subtract(current, _like(cv2.pyrUp(smaller, dstsize=current.shape[1::-1]), current))
            energy = np.asarray(cv2.GaussianBlur((band * band).sum(2), (0, 0), _AROUND), np.float32)
            if shown is not None:
                energy[shown < 1] = -1
                shown = cv2.resize(shown, smaller.shape[1::-1], interpolation=cv2.INTER_AREA)
            self._keep(level, band, energy)
            current = _like(smaller, current)
        # Where no frame shows anything, that of the filled frames is as good as any.
        share: Any = np.ones(current.shape[:2], np.float32) if shown is None else np.maximum(shown, _LEAST_SHARE)
        weighed = current * share[..., None]
        self._base = weighed if self._base is None else np.asarray(self._base + weighed, np.float32)
        self._shares = share if self._shares is None else np.asarray(self._shares + share, np.float32)

    def _keep(self, level: int, band: Floats, energy: Floats) -> None:
        if level == len(self._detail):
            self._detail.append(band)
            self._energy.append(energy)
            return
        stronger = energy > self._energy[level]
        np.copyto(self._energy[level], energy, where=stronger)
        np.copyto(self._detail[level], band, where=stronger[..., None])

    def fused(self, reference: Array, white: float) -> Array:
        """Put the octaves together, up to ``white``: like ``reference``, with the greatest alpha that a frame shows."""
        assert self._base is not None and self._shares is not None, "at least one frame was added"
        current = np.asarray(self._base / self._shares[..., None], np.float32)
        for band in self._detail[::-1]:
            current = np.add(_like(cv2.pyrUp(current, dstsize=band.shape[1::-1]), band), band)
        result = np.ascontiguousarray(reference).copy()
        picture = result.reshape(*self._size, -1)
        if self._kind.dtype != np.float32:
            np.rint(current, out=current)
        picture[..., : current.shape[2]] = np.clip(current, 0, white).astype(self._kind.dtype)
        if self._alpha is not None:
            picture[..., 3] = self._alpha
        return result


def _continued(picture: Floats, shown: Floats) -> Floats:
    """The picture, whose hidden pixels (``shown`` is 0) continue what lies around them: a step there would be detail."""
    if shown.all() or min(shown.shape) < 2:
        return picture
    weighed = _like(cv2.pyrDown(picture * shown[..., None]), picture)
    share = np.asarray(cv2.pyrDown(shown), np.float32)
    means = np.asarray(weighed / np.maximum(share, _LEAST_SHARE)[..., None], np.float32)
    smaller = _continued(means, (share > _LEAST_SHARE).astype(np.float32))
    larger = _like(cv2.pyrUp(smaller, dstsize=picture.shape[1::-1]), picture)
    return np.where(shown[..., None] > 0, picture, larger)


def _like(picture: NDArray[Any], other: Floats) -> Floats:
    """With its channels as an axis of their own, which OpenCV drops where there is one."""
    return np.asarray(picture, np.float32).reshape(*picture.shape[:2], other.shape[2])
