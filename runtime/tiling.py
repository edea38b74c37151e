"""Where tiles lie: windows that overlap by the network's reach, and the cores that together make the frame.

A window is what the network sees of the frame; its core is the part of the result that is kept. Windows start at multiples
of the network's stride, so that every feature lies on the grid of the whole frame, and end at such multiples or at the
frame's edge, so that the graph pads the last one as it would pad the frame. A core is at least the halo away from every
edge of its window that is not an edge of the frame.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

Size = tuple[int, int]


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
        steps: Rows and columns from one window to the next: multiples of the network's stride.
        halo: How far the network sees, rounded up to a multiple of the stride.
    """

    size: Size
    steps: Size
    halo: int

    def spans(self, axis: int) -> list[Span]:
        """The tiles along one axis (0: rows, 1: columns)."""
        length, step, halo = self.size[axis], self.steps[axis], self.halo
        count = _count(length, step, halo)
        starts = [index * step for index in range(count)]
        cuts = [0, *(start + halo for start in starts[1:]), length]
        stops = [*(start + step + 2 * halo for start in starts[:-1]), length]
        return [Span(*values) for values in zip(starts, stops, cuts[:-1], cuts[1:], strict=True)]

    def __iter__(self) -> Iterator[Tile]:
        columns = self.spans(1)
        return (Tile(rows, column) for rows in self.spans(0) for column in columns)

    def __len__(self) -> int:
        return _count(self.size[0], self.steps[0], self.halo) * _count(self.size[1], self.steps[1], self.halo)

    @property
    def window(self) -> Size:
        """(height, width) of the largest window."""
        (height, width), (row_step, column_step) = self.size, self.steps
        return min(height, row_step + 2 * self.halo), min(width, column_step + 2 * self.halo)

    @property
    def work(self) -> float:
        """Pixels that the network sees, over the frame's own: each further window overlaps the one before it by two halos."""
        overlaps = (
            (_count(*pair, self.halo) - 1) * 2 * self.halo / pair[0] for pair in zip(self.size, self.steps, strict=True)
        )
        rows, columns = overlaps
        return (1 + rows) * (1 + columns)


def round_up(value: int, stride: int) -> int:
    """The next multiple of ``stride``."""
    return -(-value // stride) * stride


def _count(length: int, step: int, halo: int) -> int:
    """How many windows of ``step + 2 * halo`` cover ``length`` pixels."""
    return max(1, -(-(length - 2 * halo) // step))


def grid_of_step(size: Size, step: int, *, halo: int, stride: int) -> Grid:
    """Tiles that give about ``step`` x ``step`` pixels of the result each (rounded up to the network's stride)."""
    rounded = round_up(step, stride)
    return Grid(size, (rounded, rounded), round_up(halo, stride))


def grid_within(size: Size, pixels: int, *, halo: int, stride: int) -> Grid | None:
    """The tiles of least work whose windows hold ``pixels`` at most; None where not even the smallest window does."""
    halo = round_up(halo, stride)
    best: Grid | None = None
    for rows in range(1, _count(size[0], stride, halo) + 1):
        overlap = (size[0] + (rows - 1) * 2 * halo) / size[0]
        if best is not None and overlap > best.work:
            break  # the rows alone already cost more, and ever more
        row_step = round_up(max(1, -(-(size[0] - 2 * halo) // rows)), stride)
        height = min(size[0], row_step + 2 * halo)
        column_step = _widest_step(size[1], pixels // height, halo=halo, stride=stride)
        if column_step == 0:
            continue
        grid = Grid(size, (row_step, column_step), halo)
        if best is None or grid.work < best.work:
            best = grid
    return best


def _widest_step(length: int, window: int, *, halo: int, stride: int) -> int:
    """The step that cuts ``length`` evenly with windows of at most ``window``; 0 where none does."""
    if length <= window:
        return round_up(max(1, length - 2 * halo), stride)
    widest = (window - 2 * halo) // stride * stride
    if widest < stride:
        return 0
    count = _count(length, widest, halo)
    return round_up(-(-(length - 2 * halo) // count), stride)
