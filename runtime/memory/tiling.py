"""Where tiles lie: windows that overlap by the network's reach, and the cores that together make the frame.

A window is what the network sees of the frame; its core is the part of the result that is kept. Windows start at multiples
of the network's stride, so that every feature lies on the grid of the whole frame; the last one ends with the frame, so that
the graph pads it as it would pad the frame. A core is at least the halo away from every edge of its window that is not an edge
of the frame. All windows of a frame have one size: engines compile themselves for each size they meet, which takes time and
memory (OpenVINO 25 MB and 0.2 s for ufa-edge).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from ufafuse.runtime.parameters import Size


class Span(NamedTuple):
    """One axis of a tile, in pixels of the frame: the window ``start..stop`` and its core ``first..last``."""

    start: int
    stop: int
    first: int
    last: int

    @property
    def window(self) -> slice:
        """The window within the frame."""
        return slice(self.start, self.stop)

    @property
    def core(self) -> slice:
        """The core within the frame."""
        return slice(self.first, self.last)

    @property
    def inner(self) -> slice:
        """The core within its window."""
        return slice(self.first - self.start, self.last - self.start)


class Tile(NamedTuple):
    """A window and its core: rows and columns."""

    rows: Span
    columns: Span

    @property
    def window(self) -> tuple[slice, slice]:
        """What the network sees, within the frame."""
        return self.rows.window, self.columns.window

    @property
    def core(self) -> tuple[slice, slice]:
        """What is kept, within the frame."""
        return self.rows.core, self.columns.core

    @property
    def inner(self) -> tuple[slice, slice]:
        """What is kept, within the window."""
        return self.rows.inner, self.columns.inner


@dataclass(frozen=True)
class Grid:
    """The tiles of one frame.

    Args:
        size: (height, width) of the frame.
        window: (height, width) of every window: on each axis the frame's length, or a multiple of ``stride`` less.
        halo: How far the network sees, rounded up to a multiple of ``stride``.
        stride: The network's.
    """

    size: Size
    window: Size
    halo: int
    stride: int

    def spans(self, axis: int) -> list[Span]:
        """The tiles along one axis (0: rows, 1: columns)."""
        length, window = self.size[axis], self.window[axis]
        count = self._count(axis)
        last = length - window
        step = round_up(-(-last // max(1, count - 1)), self.stride)
        starts = [min(index * step, last) for index in range(count)]
        cuts = [0, *(start + self.halo for start in starts[1:]), length]
        return [Span(start, start + window, *core) for start, core in zip(starts, pairwise(cuts), strict=True)]

    def _count(self, axis: int) -> int:
        length, window = self.size[axis], self.window[axis]
        return 1 if window >= length else 1 + -(-(length - window) // _useful(window, self.halo, self.stride))

    def __iter__(self) -> Iterator[Tile]:
        columns = self.spans(1)
        return (Tile(rows, column) for rows in self.spans(0) for column in columns)

    def __len__(self) -> int:
        return self._count(0) * self._count(1)

    @property
    def work(self) -> float:
        """Pixels that the network sees, over the frame's own."""
        return len(self) * self.window[0] * self.window[1] / (self.size[0] * self.size[1])


def round_up(value: int, stride: int) -> int:
    """The next multiple of ``stride``."""
    return -(-value // stride) * stride


def _useful(window: int, halo: int, stride: int) -> int:
    """How far one window may lie from the next."""
    return (window - 2 * halo) // stride * stride


def grid_of_step(size: Size, step: int, *, halo: int, stride: int) -> Grid:
    """Tiles that give about ``step`` x ``step`` pixels of the result each (rounded up to the network's stride)."""
    halo = round_up(halo, stride)
    height, width = (_at_least(length, round_up(step, stride) + 2 * halo, stride) for length in size)
    return Grid(size, (height, width), halo, stride)


def _at_least(length: int, window: int, stride: int) -> int:
    """The smallest window of at least ``window`` pixels whose last place on the grid ends with the frame."""
    return length if window >= length else length - (length - window) // stride * stride


def grid_within(size: Size, pixels: int, *, halo: int, stride: int) -> Grid | None:
    """Tiles whose windows hold ``pixels`` at most, with little overlap; None where not even the smallest window fits.

    Every number of rows is tried, each with the fewest columns that fit.
    """
    halo = round_up(halo, stride)
    best: Grid | None = None
    for rows in range(1, -(-size[0] // stride) + 1):
        height = _dividing(size[0], rows, halo, stride)
        if best is not None and rows * height >= best.work * size[0]:
            break  # the rows alone already cost as much, and ever more
        width = _widest(size[1], pixels // height, halo, stride)
        if width:
            grid = Grid(size, (height, width), halo, stride)
            best = grid if best is None or grid.work < best.work else best
        if height == _dividing(size[0], -(-size[0] // stride), halo, stride):
            break  # no smaller window exists
    return best


def _dividing(length: int, count: int, halo: int, stride: int) -> int:
    """The smallest window of which ``count`` cover ``length`` pixels."""
    shared = -(-(length + (count - 1) * 2 * halo) // count)
    window = _at_least(length, max(shared, min(length, stride + 2 * halo)), stride)
    while window < length and (count - 1) * _useful(window, halo, stride) < length - window:
        window += stride
    return window


def _widest(length: int, window: int, halo: int, stride: int) -> int:
    """The window of at most ``window`` pixels that covers ``length`` with least work; 0 where none does."""
    if window >= length:
        return length
    most = length - round_up(length - window, stride)
    if _useful(most, halo, stride) < stride:
        return 0
    count = 1 + -(-(length - most) // _useful(most, halo, stride))
    return _dividing(length, count, halo, stride)
