"""Frames taken apart into octaves of detail, and put together again from weighed sums of them.

The bands are those of `ufafuse.network.stacknet.octaves`, computed strip by strip so that no full-size float copy of a frame is
made. Sums of weighed bands and sums of weights are all that is kept between frames.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.frames import Frame, FrameKind
from ufafuse.runtime.memory.tiling import round_up

Floats = NDArray[np.float32]

_STRIP_PIXELS = 131_072  # of a strip: its float arrays stay in the cache


class OctaveSums:
    """Weighed sums of the frames' octaves.

    Args:
        size: (height, width) of the frames.
        kind: What they are; alpha takes no part.
        octaves: The sizes, in pixels, that part the bands; each a multiple of the one before.
        stride: Frames are continued to a multiple of it by their last pixels, as the network does.
        threads: How many strips are worked on side by side.
    """

    def __init__(self, size: tuple[int, int], kind: FrameKind, octaves: Sequence[int], *, stride: int, threads: int) -> None:
        self._size, self._kind, self._octaves, self._stride, self._threads = size, kind, tuple(octaves), stride, threads
        bands, channels = len(octaves) + 1, 1 if kind.grey else 3
        self._light = np.zeros((bands, *size, channels), np.float32)
        self._weight = np.zeros((bands, *size), np.float32)
        # Octaves of several frames together can overshoot; the camera saw nothing beyond what the frames show.
        self._range: NDArray[Any] = np.zeros((2, *size, channels), kind.dtype)
        self._first = True

    @staticmethod
    def bytes_per_pixel(kind: FrameKind, octaves: Sequence[int]) -> float:
        """What an object of this class takes for each pixel of a frame, in bytes."""
        channels = 1 if kind.grey else 3
        return 4.0 * (len(octaves) + 1) * (channels + 1) + 2 * channels * kind.dtype.itemsize

    def add(self, frame: Frame, weights: Floats, covered: NDArray[np.uint8] | None) -> None:
        """Add a frame.

        Args:
            frame: H x W [x 1, 3 or 4].
            weights: bands x H x W, above 0; changed.
            covered: H x W: 0 where the frame shows nothing; None: it shows something everywhere.
        """
        picture = frame.reshape(*self._size, -1)[..., :1] if self._kind.grey else frame[..., :3]
        small = _reduced(picture, self._octaves, self._stride)

        def add_strip(rows: slice) -> None:
            self._widen(picture, rows, covered)
            _add_strip(picture, small, self._octaves, rows, weights, covered, self._light, self._weight)

        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(add_strip, _strips(self._size, self._octaves[-1])))
        self._first = False

    def _widen(self, picture: Frame, rows: slice, covered: NDArray[np.uint8] | None) -> None:
        """Take what a frame shows into the range of what was seen."""
        low, high = self._range[0, rows], self._range[1, rows]
        unseen: Any = self._weight[0, rows, :, None] == 0 if not self._first else True
        shown: Any = True if covered is None else covered[rows, :, None] > 0
        np.copyto(low, picture[rows], where=shown & ((picture[rows] < low) | unseen))
        np.copyto(high, picture[rows], where=shown & ((picture[rows] > high) | unseen))

    def fused(self, reference: Frame) -> Frame:
        """The weighed mean: like ``reference``, whose pixels stand where no frame shows anything, and whose alpha is kept.

        Pixels that some frame shows are opaque. Rounded and clipped to the levels of the kind.
        """
        result = np.ascontiguousarray(reference).copy()
        picture: Any = result.reshape(*self._size, -1)

        def put(rows: slice) -> None:
            light: Any = np.zeros(self._light[0, rows].shape, np.float32)
            for band in range(len(self._light)):
                light += self._light[band, rows] / np.maximum(self._weight[band, rows], 1e-30)[..., None]
            np.clip(light, self._range[0, rows], self._range[1, rows], out=light)
            seen = self._weight[0, rows] > 0
            np.copyto(picture[rows, :, : light.shape[2]], _levels(light, self._kind), where=seen[..., None])
            if self._kind.channels == 4:
                picture[rows, :, 3] = np.where(seen, _opaque(self._kind), picture[rows, :, 3])

        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(put, _strips(self._size, self._octaves[-1])))
        return result


def _strips(size: tuple[int, int], multiple: int) -> Iterator[slice]:
    rows = round_up(max(1, _STRIP_PIXELS // max(1, size[1])), multiple)
    return (slice(top, min(top + rows, size[0])) for top in range(0, size[0], rows))


def _reduced(picture: Frame, octaves: Sequence[int], stride: int) -> list[Floats]:
    """The picture's averages over squares of the octaves' sizes; its last pixels are repeated up to the stride."""
    height, width = picture.shape[:2]
    down, right = round_up(height, stride) - height, round_up(width, stride) - width
    reduced: list[Floats] = []
    source: Any = picture
    before = 1
    for size in octaves:
        if not reduced:
            # Strip by strip: a float copy of the whole frame would be the largest array of all.
            source = _reduced_by_strips(picture, size, down, right)
        else:
            factor = size // before
            source = cv2.resize(source, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
        source = np.asarray(source, np.float32).reshape(*source.shape[:2], -1)
        reduced.append(source)
        before = size
    return reduced


def _reduced_by_strips(picture: Frame, size: int, down: int, right: int) -> Floats:
    height, width = picture.shape[:2]
    result = np.empty(((height + down) // size, (width + right) // size, picture.shape[2]), np.float32)
    for rows in _strips((height, width), size):
        last = rows.stop == height
        strip: Any = np.asarray(picture[rows], np.float32)
        if right or (down and last):
            strip = cv2.copyMakeBorder(strip, 0, down if last else 0, 0, right, cv2.BORDER_REPLICATE)
        area = (strip.shape[1] // size, strip.shape[0] // size)
        small = cv2.resize(strip, area, interpolation=cv2.INTER_AREA)
        result[rows.start // size : rows.start // size + area[1]] = small.reshape(area[1], area[0], -1)
    return result


def _enlarged(small: Floats, size: int, rows: slice, width: int) -> Floats:
    """Some rows of a reduced picture at full size, linearly interpolated."""
    first, last = max(0, rows.start // size - 1), min(len(small), -(-rows.stop // size) + 1)
    part = small[first:last]
    whole = cv2.resize(part, None, fx=size, fy=size, interpolation=cv2.INTER_LINEAR)
    top = rows.start - first * size
    return np.asarray(whole, np.float32).reshape(*whole.shape[:2], -1)[top : top + rows.stop - rows.start, :width]


def _add_strip(
    picture: Frame,
    small: Sequence[Floats],
    octaves: Sequence[int],
    rows: slice,
    weights: Floats,
    covered: NDArray[np.uint8] | None,
    light: Floats,
    total: Floats,
) -> None:
    finer: Any = np.asarray(picture[rows], np.float32)
    width = picture.shape[1]
    for band in range(len(octaves) + 1):
        weight = weights[band, rows]
        if covered is not None:
            weight *= covered[rows]
        coarser = _enlarged(small[band], octaves[band], rows, width) if band < len(octaves) else None
        detail = finer if coarser is None else finer - coarser
        light[band, rows] += detail * weight[..., None]
        total[band, rows] += weight
        if coarser is not None:
            finer = coarser


def _levels(light: Floats, kind: FrameKind) -> Frame:
    if kind.dtype == np.float32:
        return np.clip(light, kind.low, kind.white)
    light = light + np.float32(0.5)
    return np.clip(light, 0, kind.white, out=light).astype(kind.dtype)


def _opaque(kind: FrameKind) -> float:
    return 1.0 if kind.dtype == np.float32 else float(np.iinfo(kind.dtype).max)
