"""Frames taken apart into octaves of detail, and put together again from weighed sums of them.

The bands are those of `ufafuse.network.stacknet.octaves`, computed strip by strip so that no full-size float copy of a frame is
made. Sums of weighed bands and sums of weights are all that is kept between frames; channel by channel, for arrays whose last
axis has three entries are gone through at a fifth of the pace.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Floats
from ufafuse.runtime.frames import FrameKind, luma
from ufafuse.runtime.memory.tiling import round_up

Area = tuple[slice, slice]

_STRIP_PIXELS = 65_536  # of a strip: its float arrays stay in the cache
_BEYOND = 0.1  # of the range of the pixels around, by which detail that is raised may leave it


class OctaveSums:
    """Weighed sums of the frames' octaves.

    Args:
        size: (height, width) of the frames.
        kind: What they are; alpha takes no part in the weighing.
        octaves: The sizes, in pixels, that part the bands; each a multiple of the one before.
        stride: Frames are continued to a multiple of it by their last pixels, as the network does.
        threads: How many strips are worked on side by side.
        beside: Frames are added beside the network's work on the next ones, so by half of the threads.
    """

    def __init__(
        self, size: tuple[int, int], kind: FrameKind, octaves: Sequence[int], *, stride: int, threads: int, beside: bool = False
    ) -> None:
        self._size, self._kind, self._octaves, self._stride, self._threads = size, kind, tuple(octaves), stride, threads
        self._adding = max(1, threads // 2) if beside else threads
        bands, self._channels = len(octaves) + 1, 1 if kind.grey else 3
        # Weights reach 1e35: with levels of up to 65,535 their products would be more than float32 holds. A power of two rounds
        # nothing.
        self._scale = np.float32(2.0 ** -np.ceil(np.log2(max(kind.unit, 1e-30))))
        self._light = np.zeros((bands, self._channels, *size), np.float32)
        self._weight = np.zeros((bands, *size), np.float32)
        # Octaves of several frames together can overshoot; the camera saw nothing beyond what the frames show.
        ends = (-np.inf, np.inf) if kind.dtype == np.float32 else (0, np.iinfo(kind.dtype).max)
        self._limits = np.array(ends, kind.dtype)
        self._low = np.full((*size, self._channels), self._limits[1])
        self._high = np.full((*size, self._channels), self._limits[0])
        self._colours = FrameKind(np.dtype(np.float32), self._channels, kind.white, kind.order)
        self._alpha: Any = np.zeros(size, kind.dtype) if kind.channels == 4 else None

    @staticmethod
    def bytes_per_pixel(kind: FrameKind, octaves: Sequence[int]) -> float:
        """What an object of this class takes for each pixel of a frame, in bytes."""
        channels = 1 if kind.grey else 3
        kept = 2 * channels + (kind.channels == 4)
        return 4.0 * (len(octaves) + 1) * (channels + 1) + kept * kind.dtype.itemsize

    def begin(self, frame: Array, covered: NDArray[np.uint8] | None) -> None:
        """Take the next frame; its weights follow, window by window.

        Args:
            frame: H x W [x 1, 3 or 4].
            covered: H x W: 0 where the frame shows nothing; None: it shows something everywhere.
        """
        self._picture = frame.reshape(*self._size, -1)[..., : self._channels]
        self._covered = covered
        if self._alpha is not None:
            keep_greatest_alpha(self._alpha, frame, covered)
        reduced = _reduced(self._picture, self._octaves, self._stride)
        self._small = [cv2.split(small * self._scale) for small in reduced]

    def add(self, area: Area, weights: Floats) -> None:
        """Add a window of the frame.

        Args:
            area: Its rows and columns, which begin at multiples of the largest octave's size.
            weights: h x w x bands, above 0.
        """

        def add_strip(strip: slice) -> None:
            rows = slice(area[0].start + strip.start, area[0].start + strip.stop)
            self._add_strip((rows, area[1]), cv2.split(weights[strip]))

        _side_by_side(add_strip, _strips((weights.shape[0], weights.shape[1]), self._octaves[-1]), self._adding)

    def _add_strip(self, area: Area, weights: Sequence[Any]) -> None:
        picture, covered = self._picture[area], None if self._covered is None else self._covered[area]
        if covered is not None and covered.all():
            covered = None
        self._widen(area, picture, covered)
        if covered is not None:
            shown = covered.astype(np.float32)
            weights = [weight * shown for weight in weights]
        for total, weight in zip(self._weight, weights, strict=True):
            cv2.accumulate(weight, total[area])
        # Channel by channel: parting floats, and steps over three samples a pixel, take several times as long.
        for channel, plane in enumerate(cv2.split(picture)):
            finer: Any = np.multiply(plane, self._scale, dtype=np.float32)
            for weight, light, small, size in zip(weights, self._light, self._small, self._octaves, strict=False):
                coarser = _enlarged(small[channel], size, area)
                cv2.accumulateProduct(cv2.subtract(finer, coarser), weight, light[channel][area])
                finer = coarser
            cv2.accumulateProduct(finer, weights[-1], self._light[-1, channel][area])

    def _widen(self, area: Area, picture: Array, covered: NDArray[np.uint8] | None) -> None:
        """Take what a frame shows into the range of what was seen."""
        low, high = self._low[area], self._high[area]
        least = most = picture
        if covered is not None:
            # What is not shown widens nothing: as large as can be for the one, as small as can be for the other.
            lowest, highest = self._limits
            if self._kind.dtype == np.float32:
                shown = covered[..., None] > 0
                least, most = np.where(shown, picture, highest), np.where(shown, picture, lowest)
            else:
                bits: Any = cv2.merge([(covered > 0).astype(self._kind.dtype) * highest] * self._channels).reshape(
                    picture.shape
                )
                least, most = picture | ~bits, picture & bits
        np.minimum(low, least, out=low)
        np.maximum(high, most, out=high)

    def fused(self, reference: Array) -> Array:
        """The weighed mean: like ``reference``, whose pixels stand where no frame shows anything.

        Alpha is the greatest of the frames that show a pixel. Rounded and clipped to the levels of the kind. To be called
        once, when all frames are added.
        """
        result = np.ascontiguousarray(reference).copy()
        picture: Any = result.reshape(*self._size, -1)

        def put(rows: slice) -> None:
            seen = self._weight[0, rows] > 0
            light = self._finished(rows)
            np.copyto(picture[rows, :, : self._channels], _levels(light, self._kind), where=seen[..., None])
            if self._alpha is not None:
                np.copyto(picture[rows, :, 3], self._alpha[rows], where=seen)

        self._by_strips(put)
        return result

    def _finished(self, rows: slice) -> Floats:
        """The bands together, within the range of what was seen, h x w x channels.

        They are kept in the coarsest band's place: what `raise_detail` goes on with.
        """
        weights = [np.maximum(weight[rows], 1e-37) for weight in self._weight]
        low, high = cv2.split(self._low[rows]), cv2.split(self._high[rows])
        for channel in range(self._channels):
            total: Any = sum(light[channel, rows] / weight for light, weight in zip(self._light, weights, strict=True))
            total *= 1 / self._scale
            np.clip(total, low[channel], high[channel], out=self._light[-1, channel, rows])
        return self._joined([plane[rows] for plane in self._light[-1]])

    def _joined(self, planes: list[Any]) -> Floats:
        return np.asarray(cv2.merge(planes), np.float32).reshape(*planes[0].shape, -1)

    def raise_detail(self, fused: Array, shares: Floats, kernels: Sequence[NDArray[np.float32]]) -> Floats:
        """Add what filters make of the fused picture's brightness, in place; clipped to the levels of the kind.

        Gives the most that was added or taken away in each cell, h x w, white = 1.

        Args:
            fused: What `fused` gave. Where no frame shows anything, or no filter has a share, it stays as it is.
            shares: h x w cells x filters, how much of each to add, 0 or above; between cells' middles linear. A cell is the
                coarsest octave's size.
            kernels: The filters, of the same odd number of rows and columns each.
        """
        colours: Any = fused.reshape(*self._size, -1)[..., : self._channels]
        cell, reach = self._octaves[-1], len(kernels[0]) // 2
        most = np.zeros(shares.shape[:2], np.float32)

        def put(rows: slice) -> None:
            # Enlarged linearly, a cell reaches into the ones beside it.
            cells = shares[max(0, rows.start // cell - 1) : -(-rows.stop // cell) + 1]
            touched = np.flatnonzero(cells.any((0, 2)))
            if not len(touched):
                return
            left, right = max(0, (touched[0] - 1) * cell), min(self._size[1], (touched[-1] + 2) * cell)
            area = rows, slice(left, right)
            around, inner = _with_margin(area, self._size, reach)
            grey = self._brightness(around)
            added: Any = np.zeros((rows.stop - rows.start, right - left), np.float32)
            here = np.zeros(added.shape, np.bool_)
            for kernel, share in zip(kernels, cv2.split(_enlarged(shares, cell, area)), strict=True):
                if share.any():
                    filtered = cv2.filter2D(grey, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101)
                    added += filtered[inner] * share
                    here |= share > 0
            here &= self._weight[0][area] > 0
            added = _without_halo(grey, added, inner)
            planes = [self._light[-1, channel][area] + added for channel in range(self._channels)]
            np.copyto(colours[area], _levels(self._joined(planes), self._kind), where=here[..., None])
            part = slice(rows.start // cell, -(-rows.stop // cell)), slice(left // cell, -(-right // cell))
            most[part] = _most_of_cells(np.abs(added) * here, cell)

        self._by_strips(put)
        return most / np.float32(self._kind.unit)

    def _brightness(self, area: Area) -> Floats:
        """The fused picture's, h x w float32."""
        planes = [self._light[-1, channel][area] for channel in range(self._channels)]
        return np.ascontiguousarray(planes[0]) if self._channels == 1 else luma(self._joined(planes), self._colours)

    def _by_strips(self, work: Callable[[slice], None]) -> None:
        _side_by_side(work, _strips(self._size, self._octaves[-1]), self._threads)


def _with_margin(area: Area, size: tuple[int, int], margin: int) -> tuple[Area, Area]:
    """An area and what lies around it inside a picture, and where in that it is."""
    outer, inner = [], []
    for side, length in zip(area, size, strict=True):
        first = max(0, side.start - margin)
        outer.append(slice(first, min(length, side.stop + margin)))
        inner.append(slice(side.start - first, side.stop - first))
    return (outer[0], outer[1]), (inner[0], inner[1])


def _most_of_cells(values: Floats, cell: int) -> Floats:
    """The greatest value of each cell, of whole ones and of those that the picture's edge cuts."""
    for axis in (0, 1):
        values = np.asarray(np.maximum.reduceat(values, np.arange(0, values.shape[axis], cell), axis), np.float32)
    return values


def _without_halo(grey: Floats, added: Floats, inner: Area) -> Floats:
    """What is added, so bounded that no pixel of ``grey[inner]`` comes to lie far beyond those around it.

    Undoing blur makes edges steeper, and of an edge that was blurred otherwise than assumed a bright and a dark line as well.
    """
    around = np.ones((3, 3), np.uint8)
    least, most = cv2.erode(grey, around)[inner], cv2.dilate(grey, around)[inner]
    beyond, here = (most - least) * np.float32(_BEYOND), grey[inner]
    return np.asarray(np.clip(here + added, least - beyond, most + beyond) - here, np.float32)


def _side_by_side(work: Callable[[slice], None], strips: Iterable[slice], threads: int) -> None:
    if threads == 1:  # a thread of its own would only be waited for
        for strip in strips:
            work(strip)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, strips))


def _strips(size: tuple[int, int], multiple: int) -> Iterator[slice]:
    rows = round_up(max(1, _STRIP_PIXELS // max(1, size[1])), multiple)
    return (slice(top, min(top + rows, size[0])) for top in range(0, size[0], rows))


def _reduced(picture: Array, octaves: Sequence[int], stride: int) -> list[Floats]:
    """The picture's averages over squares of the octaves' sizes; its last pixels are repeated up to the stride."""
    height, width = picture.shape[:2]
    down, right = round_up(height, stride) - height, round_up(width, stride) - width
    # Strip by strip: a float copy of the whole frame would be the largest array of all.
    reduced = [_reduced_by_strips(picture, octaves[0], down, right)]
    for before, size in pairwise(octaves):
        factor = before / size
        smaller = cv2.resize(reduced[-1], None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        reduced.append(np.asarray(smaller, np.float32).reshape(*smaller.shape[:2], -1))
    return reduced


def _reduced_by_strips(picture: Array, size: int, down: int, right: int) -> Floats:
    height, width = picture.shape[:2]
    result = np.empty(((height + down) // size, (width + right) // size, picture.shape[2]), np.float32)
    for rows in _strips((height, width), size):
        last = rows.stop == height
        strip: Any = np.ascontiguousarray(picture[rows], np.float32)
        if right or (down and last):
            strip = cv2.copyMakeBorder(strip, 0, down if last else 0, 0, right, cv2.BORDER_REPLICATE)
        area = (strip.shape[1] // size, strip.shape[0] // size)
        small = cv2.resize(strip, area, interpolation=cv2.INTER_AREA)
        result[rows.start // size : rows.start // size + area[1]] = small.reshape(area[1], area[0], -1)
    return result


def _enlarged(small: Any, size: int, area: Area) -> Any:  # noqa: ANN401 - as OpenCV's arrays are typed
    """A part of a reduced picture, H x W [x C], at full size, linearly interpolated."""
    parts, inner = [], []
    for side, length in zip(area, small.shape[:2], strict=True):
        first, last = max(0, side.start // size - 1), min(length, -(-side.stop // size) + 1)
        parts.append(slice(first, last))
        inner.append(slice(side.start - first * size, side.stop - first * size))
    whole = cv2.resize(small[tuple(parts)], None, fx=size, fy=size, interpolation=cv2.INTER_LINEAR)
    return whole[tuple(inner)]


def _levels(light: Floats, kind: FrameKind) -> Array:
    if kind.dtype == np.float32:
        return np.clip(light, np.float32(kind.low), np.float32(kind.white))
    return np.clip(light + np.float32(0.5), 0, kind.white).astype(kind.dtype)


def keep_greatest_alpha(alpha: Array, frame: Array, covered: NDArray[np.uint8] | None) -> None:
    """Take the alpha of a frame of four channels, where it shows something, into the greatest so far, H x W, in place."""
    own = frame[..., 3]
    np.maximum(alpha, own if covered is None else own * covered, out=alpha, casting="unsafe")
