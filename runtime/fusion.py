"""What fusing one pair gives, and what is run to see how much memory it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ufafuse.runtime.arrays import Array, in_short
from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.levels import Levels
from ufafuse.runtime.memory.tiled import TiledModel, layout_for
from ufafuse.runtime.memory.tiling import Grid, grid_of_step
from ufafuse.runtime.packing import pack, unpack
from ufafuse.runtime.session import Session

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Fusion(NamedTuple):
    """One pair fused.

    Args:
        fused: A frame like the near one.
        map: H x W float32 in [0, 1], the near frame's weight; None where it was not asked for, or the model has none.
        grid: The tiles it was fused in; None when it was fused whole.
        levels: The level of white that was taken, and why; what the network was shown.
    """

    fused: Array
    map: NDArray[np.float32] | None
    grid: Grid | None
    levels: Levels | None = None

    def __repr__(self) -> str:
        told = (f"{name}={in_short(value)}" for name, value in self._asdict().items() if value is not None)
        return f"Fusion({', '.join(told)})"


class PairTrials:
    """Runs a network's graphs on empty frames of any side; see `ufafuse.runtime.memory.budget.Trials`.

    Args:
        session: The graph for whole frames.
        tiled_model: Gives those for tiles, which are opened when they are asked for.
        kind: What the frames are.
    """

    tiles_alike = False

    def __init__(self, session: Session, tiled_model: Callable[[], TiledModel], kind: FrameKind) -> None:
        self._session, self._tiled_model, self._kind = session, tiled_model, kind

    def whole(self, side: int) -> None:
        """Fuse two empty frames at once."""
        frame, session = self._kind.black(side), self._session
        layout = layout_for(session, self._kind)
        planes = [pack(frame, self._kind, layout) for _ in range(2)]
        unpack(session.run(*planes), self._kind, frame, layout)

    def tiled(self, side: int) -> None:
        """Fuse two empty frames as one tile is fused."""
        frame, model = self._kind.black(side), self._tiled_model()
        grid = grid_of_step((side, side), side, halo=model.halo, stride=model.stride)
        model.fuse(frame, frame, self._kind, grid, np.empty_like(frame))

    def reach(self) -> tuple[int, int]:
        """By how much a tile is larger than what comes of it, and what it begins at multiples of."""
        model = self._tiled_model()
        return model.halo, model.stride
