"""Height maps: which frame has each point in focus, to a fraction of a frame, how sure that is, and a view of the relief.

The network scores every frame at every pixel; between frames the height is where the detail has its peak (see
`ufafuse.runtime.stacks.between`). Where no frame stands out nothing is known; there the height is that of the surface around
(see `ufafuse.runtime.stacks.surface`).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Brief, Floats
from ufafuse.runtime.stacks.between import EnergyPeaks
from ufafuse.runtime.stacks.surface import along_surfaces

SURE = 0.35  # confidence from which on a height is taken as known
_SMOOTHING = 2.0  # pixels: a score is noisier than the surface is rough
_CLEAR = 12.0  # by how much the best frame's score stands above the average one's, where it is surely the sharp one
_LEAST_SCORE = -80.0
_WIDEST = 2  # frames from the best one to the next that shows the place, for a height between them to be known
_RELIEF = 12.0  # pixels that the whole range stands high, for the light


@dataclass(frozen=True, repr=False)
class Height(Brief):
    """A height map.

    Attributes:
        position: H x W float32, in frames from the first: where the surface is in focus. NaN where nothing is known, unless
            it was filled.
        confidence: H x W float32 in [0, 1]: by how much the best frame stands out of those that show the place; 0 where noise
            alone makes it do so, and where it is the first or the last of these but not of the stack, or several frames beside
            it do not show the place, so that the surface may as well lie there.
    """

    position: Floats
    confidence: Floats


class ScorePeaks:
    """Finds where each pixel is in focus, from frames that come one after the other; whatever their number.

    The network says which frame; between frames the peak is that of the frames' own detail, whose energy falls off evenly
    with defocus, which the network's scores need not.

    Args:
        size: (height, width).
    """

    BYTES_PER_PIXEL = 24.0 + EnergyPeaks.BYTES_PER_PIXEL

    def __init__(self, size: tuple[int, int]) -> None:
        self._best = np.full(size, -np.inf, np.float32)
        self._index = np.zeros(size, np.uint16)
        self._mean = np.zeros(size, np.float32)
        self._energies = EnergyPeaks(size)
        self._places: list[int] = []
        self._shown: _Shown | None = None  # None: every frame shows every place

    def add(self, place: int, weights: Floats, covered: NDArray[np.uint8] | None, grey: Floats) -> None:
        """Add a frame, in the order of focus.

        Args:
            place: Where it stands in the stack, from 0: frames that are left out have places too.
            weights: H x W, above 0: what the network gives it.
            covered: H x W, 0 where it shows nothing; None: it shows something everywhere.
            grey: H x W: the frame, white = 1.
        """
        count = len(self._places)  # of those that were added: what lies between neighbours is found by these
        if covered is not None and self._shown is None:
            self._shown = _Shown(count, self._index)
        score = _smoothed(np.log(weights), covered)
        better = score > self._best
        following = self._index == np.uint16(count - 1) if count else np.zeros_like(better)
        if self._shown is not None:
            following = self._shown.add(count, better, covered)
        self._energies.add(better, following, grey, covered)
        np.copyto(self._best, score, where=better)
        np.copyto(self._index, np.uint16(count), where=better)
        np.add(self._mean, np.maximum(score, _LEAST_SCORE), out=self._mean, where=True if covered is None else covered > 0)
        self._places.append(place)

    def winner(self) -> NDArray[np.uint16]:
        """The place of the frame with the highest score, H x W."""
        return np.asarray(self._places, np.uint16)[self._index]

    def height(self) -> Height:
        """The height map, not filled."""
        count = len(self._places)
        first, last = (self._index == np.uint16(end) for end in (0, count - 1))
        offset = self._energies.offsets(first, last)
        frames = max(1, count) if self._shown is None else np.maximum(self._shown.count, 1)
        lead = self._best - self._mean / frames
        confidence = 1 - np.exp(-np.maximum(lead, 0) / _CLEAR)
        position = (self._index + offset).astype(np.float32)
        believed = self._energies.believed(position)
        places = np.asarray(self._places, np.float32)
        if self._shown is not None:
            position = self._shown.between(self._index, offset, places)
            believed = np.where(self._shown.open(self._index, count), 0, believed)
        elif self._places != list(range(count)):  # a surface lies where it lies, whichever frames were left out
            position = np.interp(position, range(count), places).astype(np.float32)
        return Height(position, (confidence * believed).astype(np.float32))


class _Shown:
    """Which frames show each pixel, where not all of them do: how many, and those before and after the best one.

    Frames are counted as they were added, from 1; 0 is none.

    Args:
        count: How many were added before, all of which show everything.
        index: H x W: the best of them, counted from 0.
    """

    def __init__(self, count: int, index: NDArray[np.uint16]) -> None:
        self.count = np.full(index.shape, count, np.uint16)
        self._latest = np.full(index.shape, count, np.uint16)
        self._before = index.copy()
        self._after = np.where(index + np.uint16(1) < count, index + np.uint16(2), 0).astype(np.uint16)
        self._best_is_latest = index == np.uint16(count - 1) if count else np.zeros(index.shape, np.bool_)

    def add(self, number: int, better: NDArray[np.bool_], covered: NDArray[np.uint8] | None) -> NDArray[np.bool_]:
        """Add a frame; returns where the one before it that shows the place was the best so far."""
        shows = np.ones_like(better) if covered is None else covered > 0
        following = self._best_is_latest & shows
        np.copyto(self._after, np.uint16(number + 1), where=following)
        np.copyto(self._before, self._latest, where=better)
        np.copyto(self._after, np.uint16(0), where=better)
        np.copyto(self._latest, np.uint16(number + 1), where=shows)
        np.copyto(self._best_is_latest, better, where=shows)
        self.count += shows
        return following

    def between(self, index: NDArray[np.uint16], offset: Floats, places: Floats) -> Floats:
        """Where the peak lies, H x W in frames: ``offset`` is a share of the way to the next frame that shows the place."""
        there = places[index]
        other = np.where(offset > 0, self._after, self._before)
        step = np.where(other > 0, np.abs(places[np.maximum(other, 1) - 1] - there), 1)
        return np.asarray(there + offset * step, np.float32)

    def open(self, index: NDArray[np.uint16], count: int) -> NDArray[np.bool_]:
        """Where the best of ``count`` frames is an end of those that show the place, and not of the stack, or beside a gap.

        One frame that is missing between two is no gap: the surface is known to a frame then, as where it is left out.
        """
        here = index.astype(np.int32) + 1
        before = (self._before == 0) & (index > 0) | (self._before > 0) & (here - self._before > _WIDEST)
        after = (self._after == 0) & (index < count - 1) | (self._after > 0) & (self._after - here > _WIDEST)
        return np.asarray(before | after)


def _smoothed(score: Floats, covered: NDArray[np.uint8] | None) -> Floats:
    """Scores without their noise; -1000 where the frame shows nothing, which leaves those beside it as they are."""
    if covered is None:
        return np.asarray(cv2.GaussianBlur(score, (0, 0), _SMOOTHING), np.float32)
    shown = (covered > 0).astype(np.float32)
    share = cv2.GaussianBlur(shown, (0, 0), _SMOOTHING)
    smooth = cv2.GaussianBlur(score * shown, (0, 0), _SMOOTHING) / np.maximum(share, np.float32(1e-6))
    return np.where(shown > 0, smooth, np.float32(-1e3)).astype(np.float32)


def filled(height: Height, picture: NDArray[np.uint8]) -> Floats:
    """The height map without gaps and without what is there by chance; see `ufafuse.runtime.stacks.surface`.

    Args:
        height: As `ScorePeaks.height` gives it.
        picture: H x W x 3: the fused one.

    Returns:
        H x W float32, in frames from the first.
    """
    sure = np.where(height.confidence >= SURE, height.confidence, 0).astype(np.float32)
    return along_surfaces(np.nan_to_num(height.position).astype(np.float32), sure, picture)


def shaded(position: Floats) -> NDArray[np.uint8]:
    """A view of the relief: filled heights, H x W, as colours, lit from the upper left. H x W x 3, BGR."""
    low, high = (float(np.percentile(position, share)) for share in (0.5, 99.5))
    span = max(high - low, 1e-6)
    level = np.clip((position - low) / span, 0, 1)
    smooth = cv2.GaussianBlur(level.astype(np.float32), (0, 0), 1.5)
    across = cv2.Scharr(smooth, cv2.CV_32F, 1, 0) / 32 * _RELIEF
    down = cv2.Scharr(smooth, cv2.CV_32F, 0, 1) / 32 * _RELIEF
    light = np.array([-0.5, -0.5, 0.7071], np.float32)
    shade = (light[2] - light[0] * across - light[1] * down) / np.sqrt(1 + across**2 + down**2)
    colours = cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS).astype(np.float32)
    return np.clip(colours * np.clip(0.35 + 0.85 * shade, 0.15, 1.3)[..., None], 0, 255).astype(np.uint8)
