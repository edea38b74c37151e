"""Whether a frame's time can be believed, and the times of a video that only ever go forward.

Clocks are set, drivers and cameras send a wrong stamp now and then: one such time must cost one frame, not the rest of a run.
"""

from __future__ import annotations

from ufafuse.runtime.stream.messages import Frame

_LEAP_SECONDS = 3600.0  # back, or ahead of what passed here: no network holds frames up that long
_AGREE = 3  # frames in a row that leapt together: the clock was set
_USUAL = 1 / 25
_TOLERANCE = 2.0  # seconds that stamps may be out of order, or a pause as they tell it and as it was here differ


class Moments:
    """Finds the frames whose stamp leaps: they would pair with nothing, and nothing would be near them."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None
        self._leapt: tuple[float, float] | None = None
        self._in_a_row = 0

    def fault_of(self, frame: Frame) -> str:
        """Why ``frame``'s time is not believed; empty when it is."""
        now = frame.timestamp, frame.arrived
        leap = _leap(self._last, now)
        if not leap:
            self._last, self._leapt, self._in_a_row = now, None, 0
            return ""
        together = self._leapt is not None and not _leap(self._leapt, now)
        self._leapt, self._in_a_row = now, self._in_a_row + 1 if together else 1
        if self._in_a_row < _AGREE:
            return f"its time leaps {abs(leap):.0f} s {'ahead' if leap > 0 else 'back'}"
        self._last, self._leapt, self._in_a_row = now, None, 0  # so it is what the clock shows now
        return ""


def _leap(last: tuple[float, float] | None, now: tuple[float, float]) -> float:
    """Seconds by which a stamp went ahead of what passed here, or back; 0 where that can be true."""
    if last is None:
        return 0.0
    step, passed = now[0] - last[0], now[1] - last[1]
    if step < -_LEAP_SECONDS:
        return step
    return step - passed if step - passed > _LEAP_SECONDS else 0.0


class Timeline:
    """A run's own time, from 0: that of the frames, but for steps that cannot be true.

    A step back of more than two seconds, or one ahead of more than an hour that did not take as long here, is a clock that was
    set: it is replaced by the step before, and what follows is counted from there. Smaller steps back are waited out.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._offset: float | None = None
        self._last = 0.0, 0.0
        self._step = _USUAL

    def advance(self, frame: Frame) -> float:
        """Go on to ``frame``; its time in seconds."""
        stamp, arrived = frame.timestamp, frame.arrived
        if self._offset is None:
            self._offset, self._last = -stamp, (stamp, arrived)
            return self.now
        ahead, passed = stamp + self._offset - self.now, arrived - self._last[1]
        if -_TOLERANCE <= ahead <= max(_LEAP_SECONDS, passed + _TOLERANCE):
            step = stamp - self._last[0]
            self._step = step if 0 < step < 1 else self._step
            self.now += max(0.0, ahead)
        else:
            self.now += self._step
            self._offset = self.now - stamp
        self._last = stamp, arrived
        return self.now
