"""Whether a frame is fused whole or in tiles, and in which."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal, Protocol

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.memory.tiling import Grid, grid_of_step, grid_within
from ufafuse.runtime.memory.usage import Appetite, appetite_of, available_bytes, resident_bytes
from ufafuse.runtime.parameters import Size
from ufafuse.runtime.values import check_value, is_number, is_whole

TilingChoice = Literal["auto", "off"] | int

MB = 10**6
PLANNED_SHARE = 0.95  # of the budget: what is planned for, the rest is for what the line through two peaks misses
_COMPILED_SHARE = 0.25  # of what a size takes once: the code that was compiled for it, without what compiling took
_SHARE_OF_AVAILABLE = 0.8  # without a budget: of the memory that the system has left
# Without a budget nothing is measured for frames that surely fit. The paper's network, the widest, was measured at 1,100 to
# 2,200 bytes a pixel; this only decides whether to measure.
SURELY_ENOUGH = 4096


class Trials(Protocol):
    """A model that can be tried on small square frames.

    Attributes:
        tiles_alike: The graphs for tiles are those for whole frames: what one takes, the other does.
    """

    tiles_alike: bool

    def whole(self, side: int) -> None:
        """Fuse a frame whole."""

    def tiled(self, side: int) -> None:
        """Fuse a frame with the graphs for tiles."""

    def reach(self) -> tuple[int, int]:
        """How far the network sees (halo) and its stride, in pixels. Raises: ModelError when it has no graphs for tiles."""
        ...


class Budget:
    """Decides how frames are cut.

    Args:
        tile: ``"auto"``: tiles where the memory asks for them. ``"off"``: never. A number: tiles that give about that many
            pixels a side, always.
        max_memory: What the process may hold at its peak, in MB (10^6 bytes); None: what the system has left.

    Raises:
        InputError: An option is out of range.
    """

    def __init__(self, tile: TilingChoice = "auto", max_memory: float | None = None) -> None:
        if not (tile in ("auto", "off") if isinstance(tile, str) else is_whole(tile) and tile > 0):
            raise InputError(f"`tile={tile}` is not known: give auto, off, or the side of a tile in pixels.")
        check_value("max_memory", max_memory, is_number, optional=True)
        if max_memory is not None and not max_memory > 0:
            raise InputError(f"`max_memory={max_memory}` is too little: give megabytes above 0.")
        self.tile: TilingChoice = tile if isinstance(tile, str) else int(tile)  # NumPy's whole numbers too
        self.limit = None if max_memory is None else max_memory * MB
        self._lock = threading.Lock()
        self._appetites: dict[str, Appetite] = {}
        self._held = 0.0
        self._fits: Size | None = None  # without a budget, asking the system again for every frame of a stream costs 0.1 ms

    @contextlib.contextmanager
    def planned(self, size: Size, result_bytes: int, trials: Trials) -> Iterator[Grid | None]:
        """The tiles for one frame, or None for the whole of it; while the block runs, the budget is this frame's.

        Args:
            size: (height, width).
            result_bytes: What the results will take.
            trials: The model.

        Raises:
            InputError: The budget is too small for the frame.
            ModelError: Tiles are needed and the model has no graphs for them.
        """
        if self._free(size):
            yield None if isinstance(self.tile, str) else _by_hand(size, self.tile, trials)
            return
        with self._lock:  # two at a time would each be within the budget, and both beyond it
            base = resident_bytes() - self._held
            try:
                yield self._grid(size, base + result_bytes, trials)
            finally:
                self._held = max(0.0, resident_bytes() - base - result_bytes)

    def surely_whole(self, size: Size) -> bool:
        """Whether frames of this size are fused whole, as far as can be said without a measurement."""
        return isinstance(self.tile, str) and self._free(size)

    def _free(self, size: Size) -> bool:
        """Whether nothing has to be measured."""
        if self.limit is not None:
            return False
        if self.tile != "auto" or size == self._fits:
            return True
        if size[0] * size[1] * SURELY_ENOUGH < available_bytes():
            self._fits = size
        return size == self._fits

    def _grid(self, size: Size, taken: float, trials: Trials) -> Grid | None:
        """The tiles that fit beside ``taken`` bytes, or None where the whole frame does."""
        limit = self.limit or resident_bytes() + _SHARE_OF_AVAILABLE * available_bytes()
        room = limit * PLANNED_SHARE - taken
        if isinstance(self.tile, str):
            appetite = self._appetite("whole", trials.whole, limit)
            appetite = self._for_stack(appetite) if trials.tiles_alike else appetite
            need = appetite.of(size[0] * size[1])
            if need <= room:
                return None
            if self.tile == "off":
                raise _too_little(limit, taken + need, size, "whole (or omit `tile=off`)")
            room, taken = room - appetite.kept, taken + appetite.kept
        if trials.tiles_alike:
            appetite = self._for_stack(self._appetite("whole", trials.tiled, limit))
        else:
            appetite = self._appetite("tiles", trials.tiled, limit)
        halo, stride = trials.reach()
        if isinstance(self.tile, str):
            grid = grid_within(size, appetite.pixels_within(room), halo=halo, stride=stride)
            smallest = grid_of_step(size, 1, halo=halo, stride=stride).window
        else:
            grid = _by_hand(size, self.tile, trials)
            smallest = grid.window
        least = appetite.of(smallest[0] * smallest[1])
        if grid is None or least > room:
            raise _too_little(limit, taken + least, size, f"in tiles of {smallest[0]} x {smallest[1]} pixels")
        return grid

    def _appetite(self, name: str, run: Callable[[int], None], limit: float) -> Appetite:
        if name not in self._appetites:
            self._appetites[name] = appetite_of(run, limit=limit)
        return self._appetites[name]

    def _for_stack(self, appetite: Appetite) -> Appetite:
        """A stack's engines are compiled before its sums take their memory: most of what is taken once is free again."""
        return replace(appetite, once=_COMPILED_SHARE * appetite.once)


def _by_hand(size: Size, tile: int, trials: Trials) -> Grid:
    halo, stride = trials.reach()
    return grid_of_step(size, tile, halo=halo, stride=stride)


def _too_little(limit: float, need: float, size: Size, how: str) -> InputError:
    least = need / PLANNED_SHARE / MB
    return InputError(
        f"a memory of {limit / MB:.0f} MB is too little for frames of {size[0]} x {size[1]}: {least:.0f} MB are needed "
        f"to fuse them {how}. Give more `max_memory`."
    )
