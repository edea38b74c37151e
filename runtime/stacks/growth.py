"""How fast blur grows from frame to frame: the radius of a lens's blur one frame away from the plane in focus.

A place that lies `t` frames from the nearest plane is blurred by `t` times that radius in the frame nearest to it, by `1 - t`
times in the next, and by `1 + t` in the third (`2 - t` beside an end of the stack). What is on it is the same in all three, so
the ratios of their power spectra are those of the lens alone, a disc's: depth from defocus (Subbarao and Surya, IJCV 1994), but
asked for one number of the whole stack, for which hundreds of patches answer. Which frames are nearest the power says, so the
order of the frames does not matter.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Doubles, Floats

PATCH = 64  # pixels: side
NEAREST = 3  # frames of which a patch's spectra are kept
_STEP = 32  # pixels from patch to patch, at least
_MOST = 256  # patches
_EDGES = (0.02, 0.05, 0.08, 0.11, 0.14, 0.17, 0.2, 0.24, 0.28, 0.33, 0.4)  # of the spectra's rings, in cycles a pixel
_SCORED = slice(1, 5)  # rings by which frames are ranked: fine enough to fall off, coarse enough to be seen
_TELLING = 3  # the ring that is to have some power, or nothing is on the patch
_LEAST_POWER = 20.0  # there, in levels squared
_FLOOR = 3.0  # of the power that noise may make up, in levels squared
_ABOVE = (4.0, 2.0)  # times the floor, for a ring to count: of the nearest frame, of the others
_LEAST_RINGS = 2
_RADII = np.exp(np.linspace(np.log(0.3), np.log(10.0), 50))  # that are tried
_OFFSETS = np.linspace(0, 0.5, 6)
_OUTLIER = 1.5  # a logarithm that is further off says no more
LENS = 0.25  # pixels: sigma of what a lens out of focus adds to a disc's hard edge
_DEAD = 0.004  # power that is left at a disc's zeros
_NONE_LEFT = 1.0  # level squared: added to powers, whose logarithms are taken


class Growth(NamedTuple):
    """How blur grows in a stack.

    Attributes:
        radius: of the blur one frame away from the plane in focus, in pixels; 0: unknown.
        misfit: how far the logarithms of the ratios are from what that radius explains, in [0, 1.5].
        patches: that told it.
        share: which those are of all.
        local: the misfit of each patch, rows x columns of them, float32; as large as can be of those that told nothing.
    """

    radius: float
    misfit: float
    patches: int
    share: float
    local: Floats


class BlurGrowth:
    """Looks at the frames' spectra, whatever their number.

    Args:
        size: (height, width) of the frames.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._rows, self._columns = _places(size)
        self._corners = [(y, x) for y in self._rows for x in self._columns]
        count, rings = len(self._corners), len(_EDGES) - 1
        self._score = np.full((NEAREST, count), -np.inf, np.float32)
        self._power = np.zeros((NEAREST, count, rings), np.float32)
        self._least = np.full(count, np.inf, np.float32)  # power of the finest ring: of the frame that has least, noise

    def add(self, grey: NDArray[np.uint8] | Floats, covered: NDArray[np.uint8] | None = None) -> None:
        """Add a frame, H x W, white = 255; patches that it does not wholly cover (H x W of 0 and 1) take no part."""
        if not self._corners:
            return
        power = _powers(grey, self._corners)
        score = np.log(power[:, _SCORED] + np.float32(_NONE_LEFT)).sum(1)
        if covered is not None:
            shown = np.array([covered[y : y + PATCH, x : x + PATCH].all() for y, x in self._corners])
            score[~shown] = -np.inf
            np.minimum(self._least, power[:, -1], out=self._least, where=shown)
        else:
            np.minimum(self._least, power[:, -1], out=self._least)
        for rank in range(NEAREST):
            higher = score > self._score[rank]
            pushed_score, pushed_power = np.where(higher, self._score[rank], score), self._power[rank].copy()
            pushed_power[~higher] = power[~higher]
            self._score[rank] = np.where(higher, score, self._score[rank])
            self._power[rank][higher] = power[higher]
            score, power = pushed_score, pushed_power

    def found(self) -> Growth:
        """What all frames together say."""
        local = np.full(len(self._corners), _OUTLIER, np.float32)
        unknown = Growth(0.0, _OUTLIER, 0, 0.0, local.reshape(len(self._rows), len(self._columns)))
        enough = np.isfinite(self._score[-1]) if len(self._corners) else np.zeros(0, np.bool_)
        if not enough.any():
            return unknown
        noise = float(np.quantile(self._least[enough], 0.25))
        floor = max(_FLOOR, 1.5 * noise)
        first, others = self._power[0], self._power[1:]
        rings = (first[None] > _ABOVE[0] * floor) & (others > _ABOVE[1] * floor)
        told = enough & (first[:, _TELLING] > max(_LEAST_POWER, _ABOVE[0] * floor))
        told &= (rings.sum(2) >= _LEAST_RINGS).all(0)
        if not told.any():
            return unknown
        clean = np.maximum(self._power[:, told] - np.float32(noise), 0) + np.float32(_NONE_LEFT)
        ratios, rings = np.log(clean[1:] / clean[:1]), rings[:, told].astype(np.float32)
        misfit: Floats = np.zeros((len(ratios[0]), *_ratios().shape[:2]), np.float32)
        for expected, ratio, ring in zip(np.moveaxis(_ratios(), 2, 0), ratios, rings, strict=True):
            off = np.minimum(np.abs(expected[None] - ratio[:, None, None]), np.float32(_OUTLIER))
            misfit += np.einsum("nroi,ni->nro", off, ring)
        misfit /= rings.sum((0, 2))[:, None, None]
        by_radius = misfit.min(2)
        best = int(by_radius.mean(0).argmin())
        local[told] = by_radius[:, best]
        shape = unknown.local.shape
        return Growth(float(_RADII[best]), float(local[told].mean()), int(told.sum()), float(told.mean()), local.reshape(shape))

    def misfit_over(self, found: Growth, shape: tuple[int, int], cell: int) -> Floats:
        """What `found` says of patches, over cells of so many pixels: ``shape`` float32, linear between their middles."""
        if not found.patches:
            return np.full(shape, found.misfit, np.float32)
        weights = []
        for places, length in zip((self._rows, self._columns), shape, strict=True):
            middle = np.array(places, np.float64) + PATCH / 2
            at = (np.arange(length) + 0.5) * cell
            weights.append(np.stack([np.interp(at, middle, row) for row in np.eye(len(middle))], 1))
        return np.asarray(weights[0] @ found.local @ weights[1].T, np.float32)


def disc_response(radius: Doubles | float, frequency: Doubles) -> Doubles:
    """What a disc's blur leaves of a wave, in [-0.14, 1]; radius in pixels, frequency in cycles a pixel, broadcast together.

    The transform of a disc's profile: its chords, summed (2 J1(x) / x without a library of Bessel functions).
    """
    place = (np.arange(64) + 0.5) / 32 - 1
    chord = np.sqrt(1 - place * place)
    waves = np.cos(2 * np.pi * (np.asarray(radius) * frequency)[..., None] * place)
    return np.asarray((waves * (chord / chord.sum())).sum(-1), np.float64)


@cache
def _ratios() -> Floats:
    """Logarithms of expected ratios of powers: radii x offsets x (second, third frame) x rings, beside an end as well."""
    edges = np.array(_EDGES)
    middle = (edges[1:] + edges[:-1]) / 2

    def power(away: float) -> Doubles:
        radius = _RADII * abs(away)
        left = disc_response(radius[:, None], middle[None]) ** 2
        return np.asarray(left * np.exp(-((2 * np.pi * middle * LENS) ** 2) * (away != 0)) + _DEAD)

    def expected(offset: float, *others: float) -> Doubles:
        return np.asarray(np.stack([np.log(power(other) / power(offset)) for other in others], 1))

    between = [expected(offset, 1 - offset, 1 + offset) for offset in _OFFSETS]
    at_an_end = [expected(offset, 1 - offset, 2 - offset) for offset in _OFFSETS]
    return np.asarray(np.stack(between + at_an_end, 1), np.float32)


def _places(size: tuple[int, int]) -> tuple[list[int], list[int]]:
    """The upper and the left sides of patches, spread evenly over a frame; none if it is smaller than one."""
    if min(size) < PATCH:
        return [], []
    counts = [(side - PATCH) // _STEP + 1 for side in size]
    fewer = max(1.0, np.sqrt(counts[0] * counts[1] / _MOST))
    rows, columns = (
        np.linspace(0, side - PATCH, max(1, int(count / fewer))).astype(int).tolist()
        for side, count in zip(size, counts, strict=True)
    )
    return rows, columns


@cache
def _window() -> Floats:
    hann = np.hanning(PATCH)
    return np.asarray(np.outer(hann, hann), np.float32)


@cache
def _into_rings() -> Floats:
    """What adds a patch's powers up into rings' means, frequencies x rings; white noise has its variance in each."""
    frequency = np.hypot(np.fft.fftfreq(PATCH)[:, None], np.fft.rfftfreq(PATCH)[None]).ravel()
    ring = np.digitize(frequency, _EDGES) - 1
    inside = np.stack([ring == number for number in range(len(_EDGES) - 1)], 1).astype(np.float64)
    return np.asarray(inside / inside.sum(0) / np.square(_window()).sum(), np.float32)


def _powers(grey: NDArray[np.uint8] | Floats, corners: list[tuple[int, int]]) -> Floats:
    """The spectra of patches, patches x rings, in levels squared."""
    result, at_once = [], 32  # patches whose spectra stay in the cache
    for start in range(0, len(corners), at_once):
        patches = np.stack([grey[y : y + PATCH, x : x + PATCH] for y, x in corners[start : start + at_once]]).astype(np.float32)
        patches -= patches.mean((1, 2), keepdims=True)
        spectra = np.fft.rfft2(patches * _window()).reshape(len(patches), -1)
        result.append((spectra.real**2 + spectra.imag**2).astype(np.float32) @ _into_rings())
    return np.concatenate(result)
