"""Whether the frames of a stack differ at a place by more than their noise, which looks the sharper the more frames there are.

A surface with detail has much of it in the frame in focus and little in the others. Of a surface without any, each frame shows
its own noise: about as much of it in all, and most in any one. So the largest energy of detail is held against the mean one, by
how far two energies of noise lie apart. The noise is told from the least energy at a place, which some detail out of focus may
be part of, or, where that is less, from those of all places as bright.

Detail that is hardly more than the noise is told by the heights themselves: those of neighbours agree, those of noise do not.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Floats

# Two energies of noise differ by about this share of their mean, at the scales of `ufafuse.runtime.stacks.between`: of the
# coarser one fewer independent pixels lie in the window. Measured on made noise, white and as demosaicing leaves it.
_SPREAD = (0.13, 0.35)
_OF_NOISE = (0.112, 1.8e-4)  # energy, at these scales, of white noise of sigma 1
_LEAST_NOISE = 0.35 / 255  # what rounding to 8 bits leaves of a flat surface, and a little
_SURELY = 2.2  # of the spread, times what the largest of the frames is expected to lie above the mean
_LEVELS = 16  # of brightness, that have a noise each: that of light grows with it
_QUIET = 0.3  # of the places as bright: at so many some frame shows hardly anything but noise
_FEWEST_PLACES = 50
_AROUND = 8.0  # pixels of half the size: sigma of the window in which heights agree or do not
# Of made flat surfaces 1 % have heights that agree better than this, as a share of the standard deviation of heights at random.
_AGREE = 0.3
_HARDLY = 0.4  # of what noise alone hardly reaches: the evidence that heights that agree have to have all the same


class FocusEvidence:
    """Keeps the largest, least and mean energy of detail at each place, from frames that come one after the other."""

    BYTES_PER_PIXEL = 7.5

    def __init__(self) -> None:
        self._highest: list[Floats] = []
        self._lowest: list[Floats] = []
        self._sum: list[Floats] = []
        self._brightness: Floats | None = None
        self._count = 0
        self._shown: NDArray[np.uint16] | None = None  # how many frames show each place; None: all of them

    def add(self, energies: Sequence[Floats], grey: Floats, shown: NDArray[np.bool_] | None = None) -> None:
        """Add a frame.

        Args:
            energies: h x w at each scale, of white squared.
            grey: H x W: the frame, white = 1.
            shown: h x w: where it shows something; None: everywhere. What it has elsewhere tells nothing.
        """
        size = energies[0].shape[::-1]
        small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.float32)
        if self._brightness is None:
            self._highest, self._sum = ([np.zeros_like(energy) for energy in energies] for _ in range(2))
            self._lowest = [np.full_like(energy, np.inf) for energy in energies]
            self._brightness = np.zeros_like(small)
        if shown is not None and self._shown is None:
            self._shown = np.full(small.shape, self._count, np.uint16)
        if self._shown is not None:
            self._shown += np.uint16(1) if shown is None else shown
        self._count += 1
        where = True if shown is None else shown
        np.add(self._brightness, small, out=self._brightness, where=where)
        for highest, lowest, total, energy in zip(self._highest, self._lowest, self._sum, energies, strict=True):
            np.maximum(highest, energy, out=highest, where=where)
            np.minimum(lowest, energy, out=lowest, where=where)
            np.add(total, energy, out=total, where=where)

    def share(self, position: Floats) -> Floats:
        """How far each height can be believed, h x w in [0, 1].

        Args:
            position: H x W, in frames.
        """
        assert self._brightness is not None
        level = np.clip(self._brightness * np.float32(_LEVELS) / self._frames(), 0, _LEVELS - 1).astype(np.uint8)
        evidence = np.asarray(np.maximum(self._evidence(0, level), self._evidence(1, level)), np.float32)
        small = np.asarray(cv2.resize(position, level.shape[::-1], interpolation=cv2.INTER_NEAREST), np.float32)
        apart = _local_deviation(small) / np.float32(self._count / np.sqrt(12))
        agreeing = _from_half(evidence / np.float32(_HARDLY)) * np.clip(2 - apart / np.float32(_AGREE), 0, 1)
        return np.asarray(np.maximum(_from_half(evidence), agreeing), np.float32)

    def _frames(self) -> Floats:
        """How many frames show each place, 1 at least: h x w, or one number where all of them do."""
        shown = np.asarray(self._count if self._shown is None else self._shown, np.float32)
        return np.asarray(np.maximum(shown, 1), np.float32)

    def _evidence(self, scale: int, level: NDArray[np.uint8]) -> Floats:
        """By how much the largest energy lies above the mean one, of what noise alone hardly reaches."""
        frames = self._frames()
        highest, lowest, mean = self._highest[scale], self._lowest[scale], self._sum[scale] / frames
        most = np.sqrt(2 * np.log(np.maximum(2, frames)))  # that the largest of so many normal numbers is expected to have
        unbiased = np.exp(_SPREAD[scale] * (0.7 * most + 0.4))  # the least of so many energies is less than the mean
        quiet = np.full(_LEVELS, np.inf, np.float32)
        for number in range(_LEVELS):
            places = lowest[level == number]
            places = places[np.isfinite(places)]  # no frame shows the others
            if places.size >= _FEWEST_PLACES:
                quiet[number] = np.quantile(places, _QUIET)
        noise = np.minimum(lowest, quiet[level]) * np.float32(unbiased)
        noise = np.maximum(noise, np.float32(_OF_NOISE[scale] * _LEAST_NOISE**2))
        # The spread of a sum of detail and noise: their product has a part in it.
        spread = _SPREAD[scale] * np.sqrt(noise * (noise + 2 * np.maximum(mean - noise, 0)))
        return np.asarray((highest - mean) / (_SURELY * most * spread), np.float32)


def _from_half(evidence: Floats) -> Floats:
    return np.asarray(np.clip(2 * evidence - 1, 0, 1), np.float32)


def _local_deviation(values: Floats) -> Floats:
    mean, square = (cv2.GaussianBlur(plane, (0, 0), _AROUND) for plane in (values, values * values))
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0)), np.float32)
