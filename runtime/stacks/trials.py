"""The graphs for stacks on empty frames, by which it is found out how much memory they take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.memory.tiled import layout_for
from ufafuse.runtime.packing import pack

if TYPE_CHECKING:
    from ufafuse.runtime.fuser import Fuser


class StackTrials:
    """Runs the graphs for stacks on empty frames of any side; see `ufafuse.runtime.memory.budget.Trials`."""

    tiles_alike = True

    def __init__(self, fuser: Fuser, kind: FrameKind) -> None:
        self._fuser, self._kind = fuser, kind

    def whole(self, side: int) -> None:
        """Run each graph once on a square of this side. Raises: BackendError."""
        model = self._fuser.stack_model()
        frame = self._kind.black(side)
        gathered, told = model.between((side, side))
        model.encode.infer({"frame": pack(frame, self._kind, layout_for(model.encode, self._kind))})
        model.common.infer({name: np.zeros(shape, model.dtype(name)) for name, shape in gathered.items()})
        given = {"frame": pack(frame, self._kind, layout_for(model.score, self._kind))}
        model.score.infer({**given, **{name: np.zeros(shape, model.dtype(name)) for name, shape in told.items()}})
        for session in (model.encode, model.common, model.score):
            session.release()  # no window has this size

    def tiled(self, side: int) -> None:
        """The same: a window is seen as a frame is."""
        self.whole(side)

    def reach(self) -> tuple[int, int]:
        """How far a window has to reach beyond what it gives, and the step of its sides, in pixels."""
        model = self._fuser.stack_model()
        return max(model.score_halo, model.encode_halo), model.stride
