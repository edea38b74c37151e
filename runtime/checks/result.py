"""Checks of every result, before anybody sees it: an engine that computes wrong must not leave a picture."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import BackendError
from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.session import check_finite as check_finite  # noqa: PLC0414 - one of the checks of a result

_WEIGHED, _MADE = 12, 128  # levels of 255 by which a result may leave its frames' range, of a model that weighs and of another
_BLOCK = 131_072  # bytes of a frame that are looked at in one go: what is made of them stays in the cache
_MEND = "the engine computed wrong: take another precision (fp32) or backend (onnxruntime), and report it"


def check_between(fused: Array, near: Array, far: Array, kind: FrameKind, *, weighs: bool) -> None:
    """Refuse a result that leaves the frames' range: at each sample for a model that weighs them (`BackendError`).

    Args:
        fused, near, far: Alike; alpha is not looked at.
        kind: What they are.
        weighs: Whether the model only weighs the frames.
    """
    spare = (_WEIGHED if weighs else _MADE) * kind.unit / 255
    rows = max(1, _BLOCK // max(1, near[:1].nbytes))
    parts = [slice(top, top + rows) for top in range(0, len(near), rows)]
    room = np.empty_like(near[parts[0]], order="C"), np.empty_like(near[parts[0]], order="C")
    worst = float(np.max([_outside(fused[part], near[part], far[part], *room) for part in parts]))
    if not worst <= spare:
        raise BackendError(f"the result lies {worst:.4g} levels outside of the frames' range; {_MEND}.")


def _outside(fused: Array, near: Array, far: Array, low: Array, high: Array) -> float:
    """By how much a result leaves its frames' range at most; NaN where one of its samples is none.

    `low` and `high` are room for as many rows or more: what is made stays in the cache.
    """
    low, high = cv2.min(near, far, dst=low[: len(near)]), cv2.max(near, far, dst=high[: len(near)])
    if near.dtype.kind == "u" and near.ndim == 3 and near.shape[2] == 3:  # bytes and levels hold no NaN: one pass less
        within = cv2.min(cv2.max(fused, low, dst=low), high, dst=low)
        return float(cv2.norm(within, fused, cv2.NORM_INF))
    below, above = cv2.subtract(low, fused, dst=low), cv2.subtract(fused, high, dst=high)
    return float(np.max([_greatest(below), _greatest(above)]))


def _greatest(difference: NDArray[Any]) -> float:
    colours = difference[..., :3] if difference.ndim == 3 and difference.shape[2] == 4 else difference
    return float(np.max(colours))
