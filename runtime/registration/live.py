"""Registering a live pair: the cameras stand still, so what was found once is applied to every pair."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from ufafuse.runtime.frames import FrameKind, check_pair
from ufafuse.runtime.registration.align import Alignment, check_motion, estimate, moved_like

_RETRY_SECONDS = 1.0


class Registration:
    """Brings far frames into the near ones' geometry.

    The estimate takes from tens of milliseconds to a second, so it is made on the first pair, again after a change of size,
    and every ``every`` seconds if told to. Until one is believed it is tried again each second, and frames stay as they are;
    one that is not believed later leaves the last good one in force.

    Args:
        motion: A key of `ufafuse.runtime.registration.guesses.MOTIONS`.
        every: Seconds after which it is estimated anew; None keeps the first.
        report: Told in a sentence what was found.

    Attributes:
        alignment: What is applied; None before the first estimate.

    Raises:
        InputError: The motion is not known.
    """

    def __init__(self, motion: str, *, every: float | None, report: Callable[[str], None]) -> None:
        check_motion(motion)
        self.alignment: Alignment | None = None
        self._motion = motion
        self._every = every
        self._report = report
        self._size: tuple[int, ...] = ()
        self._due = 0.0

    def moved(self, near: NDArray[Any], far: NDArray[Any]) -> NDArray[Any]:
        """``far``, or a new picture of it that lies on ``near``."""
        kind = check_pair(near, far)
        if near.shape[:2] != self._size:
            self._size, self._due, self.alignment = near.shape[:2], 0.0, None
        if time.monotonic() >= self._due:
            self._estimate(near, far, kind)
        return far if self.alignment is None else moved_like(far, near, self.alignment, kind)

    def _estimate(self, near: NDArray[Any], far: NDArray[Any], kind: FrameKind) -> None:
        found = estimate(near, far, kind, self._motion)
        first_refusal = found.refused and self.alignment is None and not self._due
        if not found.refused:
            self.alignment = found
            self._report(f"registered ({found.motion}): the farthest corner moves {found.moved:.1f} pixels")
        elif first_refusal or self.alignment is not None:
            kept = "left as they are" if self.alignment is None else "moved as before"
            self._report(f"far frames are {kept}: {found.refused}")
        pause = _RETRY_SECONDS if self.alignment is None else self._every
        self._due = float("inf") if pause is None else time.monotonic() + pause
