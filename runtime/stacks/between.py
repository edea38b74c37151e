"""Where between two frames a surface is in focus: the peak of the detail's energy over the frames, at two scales.

The logarithm of the energy falls off on both sides of the peak, near it like a parabola, farther off like a straight line. So
the peak is put half way between that of the parabola through three neighbouring energies and that of the two straight lines
of equal slope. Where frames lie far apart, nothing fine is left in the neighbours and the coarser scale tells more; where they
lie close together, the finer one does.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Floats
from ufafuse.runtime.stacks.evidence import FocusEvidence

_SCALES = (1.0, 3.0)  # pixels: sigma of the blur before the second derivative
_AROUND = 6.0  # pixels: sigma of the window in which the energy of detail is averaged
_NOISE = 0.05 / 255**2  # energy that says nothing, at scale 0
_STRAIGHT = 0.5  # share of the straight lines' peak
_LEAST_FALL = 0.1  # of the energy's logarithm, from one frame to the next, by which the end of a stack is extrapolated
# How many times its fall over the three frames at an end the energy falls over all: from there on, and wholly from there on,
# those are taken to lie close together. It was 1 to 3.1 in stacks of 8 wide steps, 2.1 to 16 where they are small. There the
# first step is 0.53 to 0.77 of the second if a surface lies in the end's plane, and it was put 0.11 to 0.27 frames inwards.
_CLOSE_TOGETHER, _ROUND = (4.0, 6.0), 0.4
_REACH = 4.0  # of a scale: how far the border of what a frame shows reaches into the second derivative
_LEAST_SHARE = 0.02  # of the window: what less of it tells is no energy of the place
_FAR_ABOVE = 3.0  # of the energy's logarithm above the least one of all frames, from which on it counts fully


class EnergyPeaks:
    """Keeps the energies beside the frame that is best so far, from frames that come one after the other.

    Args:
        size: (height, width).
    """

    BYTES_PER_PIXEL = 36.0 + FocusEvidence.BYTES_PER_PIXEL

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._beside = [[np.full(size, np.nan, np.float16) for _ in range(3)] for _ in _SCALES]  # before, there, after
        self._last: list[Floats] = []
        self._lowest: list[Floats] = []
        self._first: list[Floats] = []  # sums over the scales, of the first three frames
        self._latest: list[Floats] = []  # and of the last three
        self._evidence = FocusEvidence()

    def add(
        self,
        better: NDArray[np.bool_],
        following: NDArray[np.bool_],
        grey: Floats,
        covered: NDArray[np.uint8] | None = None,
    ) -> None:
        """Add a frame, in the order of focus.

        Args:
            better: H x W: where it is better than all before it.
            following: H x W: where the frame just before it, of those that show the place, was the best so far.
            grey: H x W: the frame, white = 1.
            covered: H x W, 0 where it shows nothing; None: it shows something everywhere.
        """
        linear = [_energy(grey, scale, covered) for scale in _SCALES]
        shown = None if covered is None else _halved(covered) == 1
        self._evidence.add(linear, grey, shown)
        energies = [
            np.asarray(np.log(energy + np.float32(_NOISE / (1 + scale) ** 2)), np.float32)
            for energy, scale in zip(linear, _SCALES, strict=True)
        ]
        for scale, energy in enumerate(energies):
            before, there, after = self._beside[scale]
            full = self._enlarged(energy)
            np.copyto(after, full, where=following, casting="same_kind")
            if self._last:
                np.copyto(before, self._enlarged(self._last[scale]), where=better, casting="same_kind")
            np.copyto(there, full, where=better, casting="same_kind")
            np.copyto(after, np.float16(np.nan), where=better)
        together = np.asarray(sum(energies), np.float32)
        lows = energies
        if shown is not None:
            together[~shown] = np.nan
            lows = [np.where(shown, energy, np.float32(0)) for energy in energies]  # a logarithm: hardly any is as high
            # What a frame does not show, the one before it did.
            energies = [np.where(shown, energy, last) for energy, last in zip(energies, self._last or energies, strict=True)]
        self._lowest = [np.minimum(a, b) for a, b in zip(self._lowest, lows, strict=True)] if self._lowest else lows
        self._last = energies
        self._first = [*self._first, together][:3]
        self._latest = [*self._latest, together][-3:]

    def offsets(self, first: NDArray[np.bool_], last: NDArray[np.bool_]) -> Floats:
        """How far from the best frame the peak lies, H x W, in frames: in [-0.6, 0.6], 0 where nothing tells.

        Args:
            first, last: H x W: where the best frame is the first or the last one of all.
        """
        left, right = np.zeros(self._size, np.float32), np.zeros(self._size, np.float32)
        for (before, there, after), lowest in zip(self._beside, self._lowest, strict=True):
            floor = self._enlarged(lowest)
            weight = np.clip(np.minimum(before, after).astype(np.float32) - floor, 0, _FAR_ABOVE) ** 2 + np.float32(1e-3)
            left += weight * (there.astype(np.float32) - before)
            right += weight * (there.astype(np.float32) - after)
        with np.errstate(invalid="ignore"):
            more, less = np.maximum(left, right), np.minimum(left, right)
            ratio = np.clip(np.where(more > 0, less / np.maximum(more, np.float32(1e-9)), 1), -0.2, 1)
            straight, parabola = 0.5 * (1 - ratio), 0.5 * (1 - ratio) / (1 + ratio)
            found = np.sign(left - right) * np.clip(_STRAIGHT * straight + (1 - _STRAIGHT) * parabola, 0, 0.6)
        found = np.nan_to_num(found, nan=0.0)
        if len(self._first) == 3:
            lowest = np.asarray(sum(self._lowest), np.float32)
            np.copyto(found, self._enlarged(_at_end(self._first, lowest)), where=first)
            np.copyto(found, -self._enlarged(_at_end(self._latest[::-1], lowest)), where=last)
        return np.asarray(found, np.float32)

    def believed(self, position: Floats) -> Floats:
        """How far heights, H x W in frames, can be believed, H x W in [0, 1]: 0 where frames differ by noise alone."""
        return self._enlarged(self._evidence.share(position))

    def _enlarged(self, small: Floats) -> Floats:
        return np.asarray(cv2.resize(small, self._size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _at_end(three: list[Floats], lowest: Floats) -> Floats:
    """How far inwards the peak lies where the frame at the end is the best, from the energies of it and the two beside it.

    Of frames far apart a straight line says what the missing one has. Of frames close together, after which the energy goes on
    falling, all three lie on the round top of the peak: the first step is the smaller one even if the peak is at the end.
    """
    end, second, third = three
    fall = second - third
    told = (fall > _LEAST_FALL) & np.isfinite(end)  # NaN: one of the three does not show the place
    further = (end - lowest) / np.maximum(end - third, np.float32(_LEAST_FALL))
    least, most = _CLOSE_TOGETHER
    at_the_end = 1 - _ROUND * np.clip((further - least) / (most - least), 0, 1)
    ratio = (end - second) / np.where(told, fall, np.float32(1)) / at_the_end
    return np.asarray(np.where(told, np.clip((1 - ratio) / 2, 0, 0.5), 0), np.float32)


def _energy(grey: Floats, scale: float, covered: NDArray[np.uint8] | None = None) -> Floats:
    """How much detail of a scale a frame has around each pixel, at half the size, of white squared.

    The border of what it shows is no detail: beside it counts what lies further inside.
    """
    reduced: Any = grey
    half = _half_of(grey.shape)
    shrunk = scale > 2  # nothing is left that half the size cannot hold
    if shrunk:
        reduced = cv2.resize(grey, half, interpolation=cv2.INTER_AREA)
    fine = cv2.Laplacian(cv2.GaussianBlur(reduced, (0, 0), scale / 2 if shrunk else scale), cv2.CV_32F)
    fine *= fine
    inside = None if covered is None else cv2.erode(covered, np.ones((2 * int(_REACH * scale) + 1,) * 2, np.uint8))
    if shrunk:
        fine *= np.float32(1 / 16)  # of the second derivative in half the pixels, squared
        if inside is not None:
            fine *= _halved(inside)
    else:
        if inside is not None:
            fine *= inside
        fine = cv2.resize(fine, half, interpolation=cv2.INTER_AREA)
    energy = np.asarray(cv2.GaussianBlur(fine, (0, 0), _AROUND / 2), np.float32)
    if inside is None:
        return energy
    share = cv2.GaussianBlur(_halved(inside), (0, 0), _AROUND / 2)
    return np.asarray(energy / np.maximum(share, np.float32(_LEAST_SHARE)), np.float32)


def _half_of(shape: tuple[int, ...]) -> tuple[int, int]:
    return max(1, shape[1] // 2), max(1, shape[0] // 2)


def _halved(covered: NDArray[Any]) -> Floats:
    """Which share of each place of half the size is covered: h x w."""
    return np.asarray(cv2.resize(covered.astype(np.float32), _half_of(covered.shape), interpolation=cv2.INTER_AREA), np.float32)
