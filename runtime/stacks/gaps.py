"""Detail that lies between the focal planes of two frames, and so is in full focus in none: by which filters to raise it.

Frames taken too far apart leave soft bands where the surface passes between two planes. How soft it is there follows from
two numbers: how far the surface lies from the nearest plane, which the energy of its detail in the three frames around says,
and how fast blur grows from frame to frame, which the whole stack says (`ufafuse.runtime.stacks.growth`). That blur is undone
by Wiener's filters (`ufafuse.runtime.stacks.inverse`), of which none raises a wave by more than asked. Where a plane was hit,
where fewer than three frames show a place, where blur grows too slowly to be seen half way between two frames, and where there
is nothing but noise, nothing is changed.

What is known of a place, a *cell* of 8 x 8 pixels: the energies of its detail at two scales in the frames that show most of
it and in the one that shows least, over three surroundings, and what follows from them. Of which frame an energy comes is not
asked, so the order of the frames does not matter. How much of each filter is taken a small network says (`fitted`), learnt
from drawn stacks whose truth is known (`ufafuse.train.gaps`).
"""

from collections.abc import Sequence
from functools import cache, reduce
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Floats
from ufafuse.runtime.frames import FrameKind, luma
from ufafuse.runtime.memory.tiling import round_up
from ufafuse.runtime.models import FOLDER
from ufafuse.runtime.stacks.growth import BlurGrowth, Growth
from ufafuse.runtime.stacks.inverse import COUNT
from ufafuse.runtime.writing import read_json

CELL = 8
SCALES = (1.0, 3.0)  # pixels: sigma of the blur before the second derivative
SURROUNDINGS = (0.4, 0.75, 2.0)  # cells: sigma over which energies are averaged
FEWEST = 3  # frames that show a place: two do not say where between them the focus is best
RANKS = 4  # of the strongest energies of a place
LITTLE = 0.05  # share of the filters that is not worth a change
SLOPE = 0.1  # of the small network's leaky ReLU
_SLOWEST = 0.6  # pixels a frame: blur that grows no faster is not seen half way between two frames
_SEEN = (_SLOWEST / 2, _SLOWEST)  # pixels of blur: from there on it may be undone, and wholly from there on
_AT_ONCE = 8  # rows of cells
_STRIP, _REACH = 256, 16  # rows of pixels; the second derivatives see 14 beyond
_LEVELS = 255.0  # greys have white at it
_NOTHING = np.array([0.05 / 255**2, 0.0125 / 255**2], np.float32)  # energies that say nothing, of white squared
_RANKED_BY = 1  # of the surroundings
_FULL = 3.0  # of a logarithm, above the least one: from there on an energy counts fully
_TELLING = 3.0  # above nothing, from which on a cell tells how crisp the stack is
_CRISPEST = 0.9  # share of a stack's cells that are less crisp than what counts as sharp there
_NEAR_WHITE = 0.99  # of white: a sample that may be clipped
_MODEL = "focus-gaps.json"
_OF_A_SURROUNDING = (RANKS + 2) * len(SCALES) + 2 + 5
TOLD = _OF_A_SURROUNDING * len(SURROUNDINGS) + 6  # numbers of a cell
_BLURS = [last - back for last in range(_OF_A_SURROUNDING, TOLD - 5, _OF_A_SURROUNDING) for back in (3, 2)]  # among them


def cell_energies(grey: NDArray[Any]) -> Floats:
    """The energy of detail at each scale in cells, ceil(H / 8) x ceil(W / 8) x 2 float32: mean squares of second derivatives.

    Args:
        grey: H x W, white = 255, uint8 or float32.
    """
    height, width = grey.shape
    down, right = round_up(height, CELL) - height, round_up(width, CELL) - width
    if down or right:
        grey = cv2.copyMakeBorder(grey, 0, down, 0, right, cv2.BORDER_REPLICATE)
    strips = []
    for top in range(0, len(grey), _STRIP):  # floats of a whole frame would be larger than all that is kept of it
        first = max(0, top - _REACH)
        energies = _energies(grey[first : top + _STRIP + _REACH])
        strips.append(energies[(top - first) // CELL :][: _STRIP // CELL])
    return np.concatenate(strips)


def _energies(grey: NDArray[Any]) -> Floats:
    """As `cell_energies`, of whole cells."""
    size = (grey.shape[1] // CELL, grey.shape[0] // CELL)
    whole = np.multiply(grey, np.float32(1 / _LEVELS), dtype=np.float32)
    # Of the coarse scale nothing is left that half the size cannot hold.
    half = cv2.resize(whole, (grey.shape[1] // 2, grey.shape[0] // 2), interpolation=cv2.INTER_AREA)
    fine = cv2.Laplacian(cv2.GaussianBlur(whole, (0, 0), SCALES[0]), cv2.CV_32F)
    coarse = cv2.Laplacian(cv2.GaussianBlur(half, (0, 0), SCALES[1] / 2), cv2.CV_32F) * np.float32(1 / 4)
    squares = [cv2.resize(cv2.multiply(band, band), size, interpolation=cv2.INTER_AREA) for band in (fine, coarse)]
    return np.asarray(np.dstack(squares), np.float32)


class FocusGaps:
    """Keeps what frames say of the planes between them, whatever their number.

    Args:
        size: (height, width) of the frames.
        kind: What they are.
    """

    BYTES_PER_PIXEL = 4.0 * (2 * RANKS + 4) * (len(SCALES) * len(SURROUNDINGS) + 1) / CELL**2

    def __init__(self, size: tuple[int, int], kind: FrameKind) -> None:
        self._kind = kind
        shape = (-(-size[0] // CELL), -(-size[1] // CELL))
        self._score = np.full((RANKS, *shape), -np.inf, np.float32)
        self._logs = np.zeros((RANKS, len(SURROUNDINGS), *shape, len(SCALES)), np.float32)
        self._lowest = np.full((len(SURROUNDINGS), *shape, len(SCALES)), np.inf, np.float32)
        self._growth = BlurGrowth(size)

    def add(self, frame: Array, covered: NDArray[np.uint8] | None = None) -> None:
        """Add a frame, H x W [x 1, 3 or 4]; cells that it does not wholly cover (H x W of 0 and 1) take no part."""
        grey: Any = self._grey(frame)
        shown = None
        if covered is not None:
            grey = cv2.bitwise_and(grey, grey, mask=covered)  # what is hidden there is not to reach beyond
            shown = _whole_cells(covered)
        self._growth.add(grey, covered)
        energies = cell_energies(grey)
        logs = np.stack([_log(_around(energies, sigma, shown)) for sigma in SURROUNDINGS])
        score = logs[_RANKED_BY].sum(-1)
        if shown is not None:
            score[~shown] = -np.inf
        np.minimum(self._lowest, logs, out=self._lowest, where=True if shown is None else shown[None, ..., None])
        for rank in range(RANKS):
            higher = score > self._score[rank]
            weaker, below = np.where(higher, self._score[rank], score), np.where(higher[..., None], self._logs[rank], logs)
            np.copyto(self._score[rank], score, where=higher)
            np.copyto(self._logs[rank], logs, where=higher[..., None])
            score, logs = weaker, below

    def _grey(self, frame: Array) -> Any:  # noqa: ANN401 - uint8 or float32
        grey = luma(frame, self._kind)
        if self._kind.plain:
            return grey
        return np.multiply(grey, np.float32(_LEVELS / self._kind.unit), dtype=np.float32)

    def growth(self) -> Growth:
        """How fast blur grows from frame to frame."""
        return self._growth.found()

    def known(self, fused: Array | None) -> tuple[Floats, NDArray[np.bool_]]:
        """What the network is told of each cell.

        Args:
            fused: The fused picture, like the frames. None: it is taken for as detailed as the frame that shows most of a
                place, as of frames that were averaged, which has less noise than any.

        Returns:
            h x w x `TOLD` float32, and h x w: where enough frames show the cell and those around it, and how fast blur grows
            is known.
        """
        cells = self._cells(fused)
        return cells.told(slice(0, len(cells.enough))), cells.enough

    def shares(self, fused: Array | None) -> Floats:
        """How much of each of the filters `inverse.inverses` to take, h x w x `COUNT` float32, in sum 0 to 1, cell by cell.

        Args:
            fused: As `known` takes it.
        """
        cells = self._cells(fused)
        shares = np.zeros((*cells.enough.shape, COUNT), np.float32)
        for top in range(0, len(shares) if cells.enough.any() else 0, _AT_ONCE):  # what comes between stays in the cache
            rows = slice(top, min(top + _AT_ONCE, len(shares)))
            told = cells.told(rows)
            shares[rows] = decided(told, fitted()) * (cells.enough[rows] * _missed(told))[..., None]
        return shares

    def _cells(self, fused: Array | None) -> "_Cells":
        growth, shown = self.growth(), np.isfinite(self._score)
        enough = cv2.erode(shown[FEWEST - 1].astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        if growth.radius <= _SLOWEST:
            enough[:] = False
        ranks = self._logs.copy()
        for rank in range(1, RANKS):
            np.copyto(ranks[rank], ranks[rank - 1], where=~shown[rank][..., None])
        lowest = np.where(np.isfinite(self._lowest), self._lowest, ranks[0])
        now = ranks[0]
        if fused is not None:
            energies = cell_energies(self._grey(fused))
            now = np.stack([_log(_around(energies, sigma, None)) for sigma in SURROUNDINGS])
        local = self._growth.misfit_over(growth, enough.shape, CELL)
        clipped = _clipped(fused, self._kind, enough.shape)
        return _Cells(ranks, lowest, now, local, clipped, enough, growth, averaged=fused is None)


class _Cells:
    """What the network is told of cells, some rows at a time."""

    def __init__(
        self,
        ranks: Floats,
        lowest: Floats,
        now: Floats,
        local: Floats,
        clipped: Floats,
        enough: NDArray[np.bool_],
        growth: Growth,
        *,
        averaged: bool,
    ) -> None:
        self._ranks, self._lowest, self._now, self._local, self._clipped = ranks, lowest, now, local, clipped
        self.enough, self._radius = enough, growth.radius
        self._stack = np.array((growth.radius / 4, growth.misfit, growth.share, float(averaged)), np.float32)
        self._sharp = [_crispest(logs, enough) for logs in ranks[0]]

    def told(self, rows: slice) -> Floats:
        """The numbers of some rows, h x w x `TOLD`."""
        told = []
        for number, sharp in enumerate(self._sharp):
            logs, lowest = self._ranks[:, number, rows], self._lowest[number, rows]
            told += _of_energies(logs, lowest, self._now[number, rows], sharp)
            told.append(_of_offsets(logs, lowest, self._radius))
        told += [self._clipped[rows][..., None], self._local[rows][..., None]]
        told.append(np.broadcast_to(self._stack, (*told[0].shape[:2], len(self._stack))))
        return np.asarray(np.concatenate(told, 2), np.float32)


def decided(told: Floats, layers: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Run the small network: ... x numbers to ... x `COUNT`, in sum 0 to 1, and 0 wherever that would be `LITTLE` or less."""
    values = told
    for weight, bias in layers[:-1]:
        values = values @ weight + bias
        values = np.maximum(values, np.float32(SLOPE) * values)
    weight, bias = layers[-1]
    values = values @ weight + bias
    powers = np.exp(values - values.max(-1, keepdims=True))
    shares = powers[..., 1:] / powers.sum(-1, keepdims=True)  # the first is that of the picture as it is
    total = shares.sum(-1, keepdims=True)
    return np.asarray(shares * np.maximum(1 - np.float32(LITTLE) / np.maximum(total, np.float32(1e-6)), 0), np.float32)


def _missed(told: Floats) -> Floats:
    """How far any blur is there to be undone, by the energies alone: ... in [0, 1].

    No network has learnt from all surfaces. Without this, sand, cloth and frames that a camera sharpened would be raised in
    full focus, for they are finer than what this one was shown.
    """
    least, wholly = _SEEN
    return np.asarray(np.clip((told[..., _BLURS].max(-1) - least) / (wholly - least), 0, 1), np.float32)


@cache
def fitted() -> list[tuple[Floats, Floats]]:
    """The layers that are bundled: a weight, inputs x outputs, and a bias each."""
    layers = read_json(FOLDER / _MODEL)["layers"]
    return [(np.array(layer["weight"], np.float32), np.array(layer["bias"], np.float32)) for layer in layers]


def _of_energies(logs: Floats, lowest: Floats, now: Floats, sharp: float) -> list[Floats]:
    """From energy to energy by how much the logarithm falls, and how fine detail is compared with coarser one."""
    told = [np.clip(before - after, -1, 2.5) for before, after in pairwise(logs)]
    told += [np.minimum(logs[0] - lowest, 8), np.clip(now - logs[0], -1.5, 0.6), np.clip(logs[0] + 12, -4, 10)]
    # A place that lies in the depth of field of two frames shows them the same detail too, and a plane that was missed is told
    # from it by what blur takes first: as it is, and compared with what is sharp in the same stack.
    crisp = _crispness(logs[0])
    return [np.asarray(each, np.float32) for each in (*told, np.dstack([crisp, np.clip(crisp - sharp, -5, 1.5)]))]


def _crispness(logs: Floats) -> Floats:
    return np.clip(logs[..., 0] - logs[..., 1], -3, 6)


def _crispest(logs: Floats, enough: NDArray[np.bool_]) -> float:
    """How crisp what is sharp in a stack is, by the energies of the frame that shows most of each cell."""
    telling = enough & (logs[..., 1] > np.log(_NOTHING[1]) + _TELLING)
    return float(np.quantile(_crispness(logs)[telling], _CRISPEST)) if telling.any() else 0.0


def _of_offsets(logs: Floats, lowest: Floats, radius: float) -> Floats:
    """How far from the nearest plane the surface lies, in frames and in pixels of blur, by the energies of three frames.

    Between two frames as `ufafuse.runtime.stacks.between` has it; beside an end of the stack by the two steps inwards.
    """
    weight = np.clip(np.minimum(logs[1], logs[2]) - lowest, 0, _FULL) ** 2 + np.float32(1e-3)
    near, far = ((weight * (logs[0] - logs[rank])).sum(-1) for rank in (1, 2))
    total = weight.sum(-1)
    less, more = np.minimum(near, far), np.maximum(near, far)
    ratio = np.clip(np.where(more > 0, less / np.maximum(more, np.float32(1e-9)), 1), -0.2, 1)
    between = np.clip((1 - ratio) / 4 + (1 - ratio) / (1 + ratio) / 4, 0, 0.6)
    fall = np.maximum(far - near, 0)
    falls = fall > 0.05 * total
    at_end = np.clip((1 - np.where(falls, near / np.where(falls, fall, np.float32(1)), 1)) / 2, 0, 0.5)
    blurs = [np.minimum(offset * np.float32(radius), 4) for offset in (between, at_end)]
    return np.asarray(np.dstack([between, at_end, *blurs, (near + far) / total / 2]), np.float32)


def _clipped(fused: Array | None, kind: FrameKind, shape: tuple[int, int]) -> Floats:
    """Which share of each cell's surroundings may be clipped, h x w: what is white has no blur that could be undone."""
    if fused is None:
        return np.zeros(shape, np.float32)
    colours = cv2.split(fused)[:3]  # channel by channel: a maximum over three samples a pixel takes ten times as long
    white = reduce(np.maximum, colours) >= _NEAR_WHITE * kind.white
    down, right = shape[0] * CELL - white.shape[0], shape[1] * CELL - white.shape[1]
    padded = cv2.copyMakeBorder(white.astype(np.uint8), 0, down, 0, right, cv2.BORDER_REPLICATE)
    share = cv2.resize(padded.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.dilate(share, np.ones((3, 3), np.uint8)), np.float32)


def _log(energies: Floats) -> Floats:
    return np.asarray(np.log(np.maximum(energies, 0) + _NOTHING), np.float32)


def _around(energies: Floats, sigma: float, shown: NDArray[np.bool_] | None) -> Floats:
    """Energies averaged over their surroundings, of the cells that are shown."""
    if shown is None:
        return np.asarray(cv2.GaussianBlur(energies, (0, 0), sigma), np.float32)
    share = shown.astype(np.float32)
    total = cv2.GaussianBlur(energies * share[..., None], (0, 0), sigma)
    return np.asarray(total / np.maximum(cv2.GaussianBlur(share, (0, 0), sigma), 1e-6)[..., None], np.float32)


def _whole_cells(covered: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which cells are wholly covered, and those around them too, h x w: the second derivative reaches into these."""
    cell = np.ones((CELL, CELL), np.uint8)
    whole = np.ascontiguousarray(cv2.erode(covered, cell, anchor=(0, 0))[::CELL, ::CELL])
    return np.asarray(cv2.erode(whole, np.ones((3, 3), np.uint8)) > 0)
