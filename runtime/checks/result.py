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
_BLOCK = 262_144  # bytes of a frame that are looked at in one go: what is made of them stays in the cache
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
    worst = float(
        np.max([_outside(*(each[top : top + rows] for each in (fused, near, far))) for top in range(0, len(near), rows)])
    )
    if not worst <= spare:
        raise BackendError(f"the result lies {worst:.4g} levels outside of the frames' range; {_MEND}.")


def _outside(fused: Array, near: Array, far: Array) -> float:
    """By how much a result leaves its frames' range at most; NaN where one of its samples is none."""
    low, high = cv2.min(near, far), cv2.max(near, far)
    return float(np.max([_greatest(cv2.subtract(fused, high)), _greatest(cv2.subtract(low, fused))]))


def _greatest(difference: NDArray[Any]) -> float:
    colours = difference[..., :3] if difference.ndim == 3 and difference.shape[2] == 4 else difference
    return float(np.max(colours))
