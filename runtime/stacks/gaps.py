"""Detail that lies between the focal planes of two frames, and so is in full focus in none: how far to raise it.

Frames taken too far apart leave soft bands where the surface passes between two planes. There the frames on both sides
show the same detail alike, only fainter than it is; how much fainter, its energy in the frames around says: it falls off
to both sides of a plane that was missed as it does to both sides of one that was hit. So every octave's detail of the
fused picture is multiplied by a factor of at least 1. Nothing is drawn that no frame shows, and where a plane was hit,
where fewer than three frames show a place, and where there is nothing but noise, the factor is 1.

What is known of a place, a *cell* of 8 x 8 pixels: of each octave, and of what is coarser than both, the energy in the frames
that show most of it and in the one that shows least, over three surroundings, and how much finer detail there is than coarser.
Of which frame an energy comes is not asked, so the order of the frames does not matter. The factor is that of a small network
(`fitted`), learnt from drawn stacks whose truth is known (`ufafuse.train.gaps`).

A plane that was missed by half a step and one that was all but hit, with a lens that blurs the more from frame to frame, can
look alike in a cell, but not in all cells: how fast detail falls off in a stack, its lens and its step decide. So the network
is also told a mean over all cells that tell something, the *context* (the sum over a set of Zaheer et al., Deep Sets, 2017).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Floats
from ufafuse.runtime.frames import FrameKind, luma
from ufafuse.runtime.memory.tiling import round_up
from ufafuse.runtime.models import FOLDER
from ufafuse.runtime.stacks.options import MOST_RESTORED
from ufafuse.runtime.writing import read_json

OCTAVES = (2, 8)  # pixels: detail finer than the first, between the two; the bands of the networks that gather
CELL = OCTAVES[-1]
BANDS = len(OCTAVES) + 1  # of energies: those of the octaves, which are raised, and of what is coarser
SURROUNDINGS = (0.0, 1.0, 2.5)  # cells: sigma over which energies are averaged
_CONTEXT = 1  # which of them says whether a cell tells something of the stack
FEWEST = 3  # frames that show a place: two do not say where between them the focus is best
RANKS = 4  # of the strongest energies of a place
_AT_ONCE = 1024  # cells: what comes between stays in the cache
LITTLE = 0.05  # that is not worth adding: what would be more by so much is not touched
SLOPE = 0.1  # of the small network's leaky ReLU
_LEVELS = 255.0  # energies are of levels with white at it
_NOTHING = 0.3  # energy that says nothing, in such levels squared
_MODEL = "focus-gaps.json"
# Beyond these a fall says no more: a pattern of the very size of a blurred point, of which nothing is left in the next frame,
# says as little of the plane between them as one that falls off within a few frames.
_FAR, _DEEP, _ABOVE = np.float32(1.5), np.float32(5), np.float32(0.6)
_CRISPEST = 0.9  # share of a stack's cells that are less crisp than what counts as sharp there
_TELLING = 3 - _NOTHING  # energy of the second octave from which on a cell tells how crisp the stack is
_COARSE = (7, 1.5)  # cells: taps and sigma of the window in which the coarsest energy is a variance
TOLD = ((RANKS + 1) * BANDS + 2 * (BANDS - 1)) * len(SURROUNDINGS)  # numbers of a cell


class Known(NamedTuple):
    """What the network is told of a picture's cells.

    Attributes:
        numbers: One behind the other they are the `TOLD` numbers of each cell, 2 or 3 x h x w float32 each.
        enough: h x w: where enough frames show the cell.
        telling: h x w: the cells of which the context is a mean.
    """

    numbers: Sequence[Floats]
    enough: NDArray[np.bool_]
    telling: NDArray[np.bool_]

    @property
    def told(self) -> Floats:
        """The numbers in one array, h x w x `TOLD` float32."""
        return np.moveaxis(np.concatenate(self.numbers), 0, 2)


@dataclass(frozen=True)
class GapLayers:
    """The small network: of each layer its weight, inputs x outputs, and its bias, float32.

    Attributes:
        hidden: Of each cell's numbers.
        context: Of the same numbers; what it gives, through the leaky ReLU, is averaged over the telling cells.
        second: Of what `hidden` gives, and behind it the context.
        last: Gives two numbers.
    """

    hidden: tuple[Floats, Floats]
    context: tuple[Floats, Floats]
    second: tuple[Floats, Floats]
    last: tuple[Floats, Floats]


def cell_energies(grey: NDArray[Any], shown: NDArray[np.bool_] | None = None) -> Floats:
    """The energy of detail in cells, 3 x ceil(H / 8) x ceil(W / 8) float32.

    Of the two octaves they are variances within squares; of what is coarser, that of the cells' means around.

    Args:
        grey: H x W, white = 255, uint8 or float32.
        shown: The cells that take part in the energy of others, h x w; None: all.
    """
    height, width = grey.shape
    down, right = round_up(height, CELL) - height, round_up(width, CELL) - width
    if down or right:
        grey = cv2.copyMakeBorder(grey, 0, down, 0, right, cv2.BORDER_REPLICATE)
    size = (grey.shape[1] // CELL, grey.shape[0] // CELL)
    halves = cv2.resize(np.asarray(grey, np.float32), (grey.shape[1] // 2, grey.shape[0] // 2), interpolation=cv2.INTER_AREA)
    means = cv2.resize(halves, size, interpolation=cv2.INTER_AREA)
    middle = cv2.resize(cv2.multiply(halves, halves), size, interpolation=cv2.INTER_AREA)
    whole = cv2.resize(cv2.multiply(grey, grey, dtype=cv2.CV_32F), size, interpolation=cv2.INTER_AREA)
    return np.maximum(np.stack([whole - middle, middle - means * means, _variance(means, shown)]), np.float32(0))


class FocusGaps:
    """Keeps what frames say of the planes between them, whatever their number.

    Args:
        size: (height, width) of the frames.
        kind: What they are.
    """

    BYTES_PER_PIXEL = 4.0 * BANDS * (RANKS + 1) * len(SURROUNDINGS) / CELL**2

    def __init__(self, size: tuple[int, int], kind: FrameKind) -> None:
        self._kind = kind
        shape = (BANDS, -(-size[0] // CELL), -(-size[1] // CELL))
        self._strongest = [[np.full(shape, -np.inf, np.float32) for _ in range(RANKS)] for _ in SURROUNDINGS]
        self._least = [np.full(shape, np.inf, np.float32) for _ in SURROUNDINGS]

    def add(self, frame: Array, covered: NDArray[np.uint8] | None = None) -> None:
        """Add a frame, H x W [x 1, 3 or 4]; cells that it does not wholly cover (H x W of 0 and 1) take no part."""
        shown = None if covered is None else _whole_cells(covered)
        energies = self._energies(frame, shown)
        for strongest, least, sigma in zip(self._strongest, self._least, SURROUNDINGS, strict=True):
            energy = _around(energies, sigma, shown)
            np.minimum(least, energy if shown is None else np.where(shown, energy, np.inf), out=least)
            weaker = energy if shown is None else np.where(shown, energy, -np.inf)
            for rank in strongest:
                weaker, _ = np.minimum(rank, weaker), np.maximum(rank, weaker, out=rank)

    def _energies(self, frame: Array, shown: NDArray[np.bool_] | None) -> Floats:
        grey = luma(frame, self._kind)
        if not self._kind.plain:
            grey = np.multiply(grey, np.float32(_LEVELS / self._kind.unit), dtype=np.float32)
        return cell_energies(grey, shown)

    def known(self, fused: Array | None) -> Known:
        """What the network is told of each cell.

        Args:
            fused: The fused picture, like the frames. None: it is taken for as detailed as the frame that shows most of a
                place, as of frames that were averaged, which has less noise than any.
        """
        energies = None if fused is None else self._energies(fused, None)
        enough = np.isfinite(self._strongest[0][FEWEST - 1][0])
        numbers: list[Floats] = []
        for place, sigma in enumerate(SURROUNDINGS):
            numbers += self._numbers(place, None if energies is None else _around(energies, sigma, None), enough)
        return Known(numbers, enough, _telling(self._strongest[_CONTEXT][0], enough))

    def _numbers(self, place: int, fused: Floats | None, enough: NDArray[np.bool_]) -> Iterator[Floats]:
        """What is told of one of the surroundings: by how much energies' logarithms fall, 2 or 3 x h x w each."""
        strongest = self._strongest[place]
        lowest = _log(np.where(enough, self._least[place], 0))
        logs = [np.maximum(_log(np.maximum(energy, 0)), lowest) for energy in strongest]
        for before, after in pairwise(logs):
            yield np.minimum(before - after, _FAR)
        yield np.minimum(logs[0] - lowest, _DEEP)
        yield np.clip((logs[0] if fused is None else _log(fused)) - logs[0], -_FAR, _ABOVE)
        yield from _crispness(logs[0], _telling(strongest[0], enough))

    def more(self, fused: Array | None, most: float = MOST_RESTORED) -> Floats:
        """How much of each octave's detail to add, h x w x 2 float32 in [0, most - 1]: its factor less 1, cell by cell.

        Args:
            fused: As `known` takes it.
            most: The greatest factor, 1 to `MOST_RESTORED`.
        """
        known = self.known(fused)
        return np.minimum(decided(known, fitted()) * known.enough[..., None], np.float32(most - 1))


def decided(known: Known, layers: GapLayers) -> Floats:
    """Run the small network: h x w x 2 in [0, MOST_RESTORED - 1], 0 wherever that would be `LITTLE` or less."""
    cells = [each.reshape(len(each), -1) for each in known.numbers]
    telling = known.telling.ravel()
    parts = [slice(start, start + _AT_ONCE) for start in range(0, len(telling), _AT_ONCE)]
    weight, bias = (np.concatenate(both, -1) for both in zip(layers.hidden, layers.context, strict=True))
    width = len(layers.hidden[1])
    hidden, total = np.empty((width, len(telling)), np.float32), np.zeros(len(bias) - width)
    for part in parts:
        values = _layer(np.concatenate([each[:, part] for each in cells]), weight, bias)
        hidden[:, part] = values[:width]
        total += values[width:] @ telling[part].astype(np.float32)
    context = np.asarray(total / max(1, int(telling.sum())), np.float32)
    weight, bias = layers.second
    bias = np.asarray(bias + context @ weight[width:], np.float32)  # the same for all cells
    more = np.empty((len(telling), len(OCTAVES)), np.float32)
    for part in parts:
        values = layers.last[0].T @ _layer(hidden[:, part], weight[:width], bias) + layers.last[1][:, None]
        share = 1 / (1 + np.exp(-np.clip(values.T, -30, 30)))
        more[part] = np.maximum(np.float32(MOST_RESTORED - 1 + LITTLE) * share - np.float32(LITTLE), np.float32(0))
    return more.reshape(*known.telling.shape, len(OCTAVES))


def _layer(values: Floats, weight: Floats, bias: Floats) -> Floats:
    """A layer of cells, inputs x cells to outputs x cells, and its leaky ReLU."""
    values = weight.T @ values
    values += bias[:, None]
    return np.maximum(values, np.float32(SLOPE) * values, out=values)


@cache
def fitted() -> GapLayers:
    """The layers that are bundled."""
    found = read_json(FOLDER / _MODEL)
    layers = [[np.array(found[each.name][part], np.float32) for part in ("weight", "bias")] for each in fields(GapLayers)]
    return GapLayers(*((weight, bias) for weight, bias in layers))


def _telling(strongest: Floats, enough: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The cells that tell something of the stack, h x w: of enough frames, and with detail in the strongest."""
    return np.asarray(enough & (strongest[1] > _TELLING))


def _crispness(logs: Floats, telling: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """How fine detail is compared with coarser one, 2 x h x w each: as it is, and beside what is sharp in the same stack.

    A place that lies in the depth of field of two frames shows them the same detail too, and a plane that was missed is told
    from it by what blur takes first.
    """
    crisp = np.clip(logs[:-1] - logs[1:], -_DEEP, _FAR)
    sharp = np.zeros((BANDS - 1, 1, 1), np.float32)
    if telling.any():
        sharp[:, 0, 0] = [np.quantile(each[telling], _CRISPEST) for each in crisp]
    return crisp, np.clip(crisp - sharp, -_DEEP, _FAR)


def _variance(means: NDArray[Any], shown: NDArray[np.bool_] | None) -> Floats:
    """The variance of cells' means in their surroundings, h x w, of the cells that are shown.

    In double precision: a difference of squares, of which little is left in an even bright place.
    """
    values, share = means.astype(np.float64), None
    if shown is not None:
        share = np.asarray(shown, np.float64)
        values *= share
    mean, square = _window(values), _window(values * values)
    if share is not None:
        share = np.maximum(_window(share), 1e-6)
        mean, square = mean / share, square / share
    return np.asarray(square - mean * mean, np.float32)


def _window(values: NDArray[np.float64]) -> NDArray[np.float64]:
    taps = cv2.getGaussianKernel(*_COARSE)
    return np.asarray(cv2.sepFilter2D(values, -1, taps, taps), np.float64)


def _log(energies: Floats) -> Floats:
    return np.asarray(np.log(energies + np.float32(_NOTHING)), np.float32)


def _around(energies: Floats, sigma: float, shown: NDArray[np.bool_] | None) -> Floats:
    """Energies averaged over their surroundings, of the cells that are shown."""
    if not sigma:
        return energies
    if shown is None:
        return np.stack([cv2.GaussianBlur(each, (0, 0), sigma) for each in energies])
    share = np.asarray(shown, np.float32)
    total = np.stack([cv2.GaussianBlur(each * share, (0, 0), sigma) for each in energies])
    return np.asarray(total / np.maximum(cv2.GaussianBlur(share, (0, 0), sigma), 1e-6), np.float32)


def _whole_cells(covered: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which cells are wholly covered, h x w."""
    down, right = (round_up(side, CELL) - side for side in covered.shape)
    padded = cv2.copyMakeBorder(covered, 0, down, 0, right, cv2.BORDER_REPLICATE)
    rows = padded.reshape(padded.shape[0] // CELL, CELL, padded.shape[1]).min(1)  # both at once take six times as long
    return np.asarray(rows.reshape(len(rows), -1, CELL).min(2) > 0)
