"""Detail that lies between the focal planes of two frames, and so is in full focus in none: how far to raise it.

Frames taken too far apart leave soft bands where the surface passes between two planes. There the frames on both sides
show the same detail alike, only fainter than it is; how much fainter, its energy in the frames around says: it falls off
to both sides of a plane that was missed as it does to both sides of one that was hit. So every octave's detail of the
fused picture is multiplied by a factor of at least 1. Nothing is drawn that no frame shows, and where a plane was hit,
where fewer than three frames show a place, and where there is nothing but noise, the factor is 1.

What is known of a place, a *cell* of 8 x 8 pixels: of each octave the energy in the frames that show most of it and in the
one that shows least, over three surroundings, and how much finer detail there is than coarser. Of which frame an energy comes
is not asked, so the order of the frames does not matter. The factor is that of a small network (`fitted`), learnt from drawn
stacks whose truth is known (`ufafuse.train.gaps`).
"""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

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
SURROUNDINGS = (0.0, 1.0, 2.5)  # cells: sigma over which energies are averaged
FEWEST = 3  # frames that show a place: two do not say where between them the focus is best
RANKS = 4  # of the strongest energies of a place
_AT_ONCE = 8  # rows of cells
LITTLE = 0.05  # that is not worth adding: what would be more by so much is not touched
SLOPE = 0.1  # of the small network's leaky ReLU
_LEVELS = 255.0  # energies are of levels with white at it
_NOTHING = 0.3  # energy that says nothing, in such levels squared
_MODEL = "focus-gaps.json"
# Beyond these a fall says no more: a pattern of the very size of a blurred point, of which nothing is left in the next frame,
# says as little of the plane between them as one that falls off within a few frames.
_FAR, _DEEP, _ABOVE = np.float32(1.5), np.float32(5), np.float32(0.6)
_CRISPEST = 0.9  # share of a stack's cells that are less crisp than what counts as sharp there
_TELLING = np.log(np.float32(3))  # of the logarithm of energy, from which on a cell tells how crisp the stack is
TOLD = (RANKS + 2) * len(OCTAVES) * len(SURROUNDINGS)  # numbers of a cell


def cell_energies(grey: NDArray[Any]) -> Floats:
    """The energy of each octave's detail in cells, ceil(H / 8) x ceil(W / 8) x 2 float32: variances within squares.

    Args:
        grey: H x W, white = 255, uint8 or float32.
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
    return np.maximum(np.dstack([whole - middle, middle - means * means]), np.float32(0))


class FocusGaps:
    """Keeps what frames say of the planes between them, whatever their number.

    Args:
        size: (height, width) of the frames.
        kind: What they are.
    """

    BYTES_PER_PIXEL = 4.0 * len(OCTAVES) * (RANKS + 1) * len(SURROUNDINGS) / CELL**2

    def __init__(self, size: tuple[int, int], kind: FrameKind) -> None:
        self._kind = kind
        shape = (-(-size[0] // CELL), -(-size[1] // CELL), len(OCTAVES))
        self._strongest = [[np.full(shape, -np.inf, np.float32) for _ in range(RANKS)] for _ in SURROUNDINGS]
        self._least = [np.full(shape, np.inf, np.float32) for _ in SURROUNDINGS]

    def add(self, frame: Array, covered: NDArray[np.uint8] | None = None) -> None:
        """Add a frame, H x W [x 1, 3 or 4]; cells that it does not wholly cover (H x W of 0 and 1) take no part."""
        energies, shown = self._energies(frame), None if covered is None else _whole_cells(covered)
        for strongest, least, sigma in zip(self._strongest, self._least, SURROUNDINGS, strict=True):
            energy = _around(energies, sigma, shown)
            np.minimum(least, energy if shown is None else np.where(shown, energy, np.inf), out=least)
            weaker = energy if shown is None else np.where(shown, energy, -np.inf)
            for rank in strongest:
                weaker, _ = np.minimum(rank, weaker), np.maximum(rank, weaker, out=rank)

    def _energies(self, frame: Array) -> Floats:
        grey = luma(frame, self._kind)
        if not self._kind.plain:
            grey = np.multiply(grey, np.float32(_LEVELS / self._kind.unit), dtype=np.float32)
        return cell_energies(grey)

    def known(self, fused: Array | None) -> tuple[Floats, NDArray[np.bool_]]:
        """What the network is told of each cell: from energy to energy by how much its logarithm falls.

        Args:
            fused: The fused picture, like the frames. None: it is taken for as detailed as the frame that shows most of a
                place, as of frames that were averaged, which has less noise than any.

        Returns:
            h x w x `TOLD` float32, and h x w: where enough frames show the cell.
        """
        energies, told = None if fused is None else self._energies(fused), []
        enough = np.isfinite(self._strongest[0][FEWEST - 1][..., 0])
        for strongest, least, sigma in zip(self._strongest, self._least, SURROUNDINGS, strict=True):
            lowest = _log(np.where(enough[..., None], least, 0))
            logs = [np.maximum(_log(np.maximum(energy, 0)), lowest) for energy in strongest]
            told += [np.minimum(before - after, _FAR) for before, after in pairwise(logs)]
            told.append(np.minimum(logs[0] - lowest, _DEEP))
            now = logs[0] if energies is None else _log(_around(energies, sigma, None))
            told.append(np.clip(now - logs[0], -_FAR, _ABOVE))
            told.append(_crispness(logs[0], enough))
        return np.asarray(np.concatenate(told, 2), np.float32), enough

    def more(self, fused: Array | None, most: float = MOST_RESTORED) -> Floats:
        """How much of each octave's detail to add, h x w x 2 float32 in [0, most - 1]: its factor less 1, cell by cell.

        Args:
            fused: As `known` takes it.
            most: The greatest factor, 1 to `MOST_RESTORED`.
        """
        told, enough = self.known(fused)
        more = np.empty((*enough.shape, len(OCTAVES)), np.float32)
        for top in range(0, len(told), _AT_ONCE):  # what comes between stays in the cache
            more[top : top + _AT_ONCE] = decided(told[top : top + _AT_ONCE], fitted())
        return np.minimum(more * enough[..., None], np.float32(most - 1))


def decided(told: Floats, layers: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Run the small network: ... x numbers to ... x 2 in [0, MOST_RESTORED - 1], 0 wherever that would be `LITTLE` or less."""
    values = told
    for weight, bias in layers[:-1]:
        values = values @ weight + bias
        values = np.maximum(values, np.float32(SLOPE) * values)
    weight, bias = layers[-1]
    share = 1 / (1 + np.exp(-np.clip(values @ weight + bias, -30, 30)))
    return np.maximum(np.float32(MOST_RESTORED - 1 + LITTLE) * share - np.float32(LITTLE), np.float32(0))


@cache
def fitted() -> list[tuple[Floats, Floats]]:
    """The layers that are bundled: a weight, inputs x outputs, and a bias each."""
    layers = read_json(FOLDER / _MODEL)["layers"]
    return [(np.array(layer["weight"], np.float32), np.array(layer["bias"], np.float32)) for layer in layers]


def _crispness(logs: Floats, enough: NDArray[np.bool_]) -> Floats:
    """How fine detail is compared with coarser one, h x w x 2: as it is, and compared with what is sharp in the same stack.

    A place that lies in the depth of field of two frames shows them the same detail too, and a plane that was missed is told
    from it by what blur takes first.
    """
    crisp = np.clip(logs[..., 0] - logs[..., 1], -_DEEP, _FAR)
    telling = enough & (logs[..., 1] > _TELLING)
    sharp = np.quantile(crisp[telling], _CRISPEST) if telling.any() else np.float32(0)
    return np.dstack([crisp, np.clip(crisp - np.float32(sharp), -_DEEP, _FAR)])


def _log(energies: Floats) -> Floats:
    return np.asarray(np.log(energies + np.float32(_NOTHING)), np.float32)


def _around(energies: Floats, sigma: float, shown: NDArray[np.bool_] | None) -> Floats:
    """Energies averaged over their surroundings, of the cells that are shown."""
    if not sigma:
        return energies
    if shown is None:
        return np.asarray(cv2.GaussianBlur(energies, (0, 0), sigma), np.float32)
    share = np.asarray(shown[..., 0], np.float32)
    total = cv2.GaussianBlur(energies * share[..., None], (0, 0), sigma)
    return np.asarray(total / np.maximum(cv2.GaussianBlur(share, (0, 0), sigma), 1e-6)[..., None], np.float32)


def _whole_cells(covered: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which cells are wholly covered, h x w x 1."""
    down, right = (round_up(side, CELL) - side for side in covered.shape)
    padded = cv2.copyMakeBorder(covered, 0, down, 0, right, cv2.BORDER_REPLICATE)
    cells = padded.reshape(padded.shape[0] // CELL, CELL, padded.shape[1] // CELL, CELL)
    return np.asarray(cells.min((1, 3)) > 0)[..., None]
