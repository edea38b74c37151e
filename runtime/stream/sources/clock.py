"""When a frame was taken, where the only clocks are the stream's own and the moment it arrived."""

from __future__ import annotations

import math

_AT_ONCE = 0.1  # seconds from opening to reading in which nothing worth a thought can pile up
_AS_IT_CAME = 0.8  # of the time between two exposures: frames that come faster had been lying about
_READ_AT_ONCE = 0.005  # seconds between two frames without times of their own, of which the second had been lying about
_LONGEST_HOLD = 2.0  # seconds that a frame may be held up on its way; beyond, the stream's clock was set
_DRIFT = 1e-3  # of the time: two clocks part by less


class Backlog:
    """Tells the frames that piled up between a source's opening and its reading: they come in a burst, and are old.

    The other camera was still being opened, FFmpeg looked at two seconds of video to learn its format, the network was
    compiled: without this such frames would be taken for new ones, and paired with new ones.

    Args:
        opened: When the opening began, in seconds of `time.monotonic`: no more can have piled up than since then.
    """

    def __init__(self, opened: float) -> None:
        self._opened = opened
        self._last: tuple[float, float] | None = None
        self._passed = 0.0
        self._over = False

    def holds(self, moment: float, arrived: float) -> bool:
        """Whether the frame of ``moment`` (seconds of the stream's clock) that was read at ``arrived`` is an old one."""
        if self._over:
            return False
        if self._last is None:
            old = arrived - self._opened > _AT_ONCE  # nothing tells yet: one frame is a small price
        else:
            apart, came_after = moment - self._last[0], arrived - self._last[1]
            self._passed += max(apart, 0.0)
            quick = came_after < (_AS_IT_CAME * apart if apart > 0 else _READ_AT_ONCE)
            old = quick and self._passed <= arrived - self._opened
        self._last = (moment, arrived)
        self._over = not old
        return old


class StreamClock:
    """Times frames by the stream's clock, set by those that arrived with the least delay.

    A network that stalls delivers what it held back in a burst: by their arrival such frames would all be of one moment.
    """

    def __init__(self) -> None:
        self._delay = math.inf
        self._last = (-math.inf, 0.0)

    def exposed(self, moment: float, arrived: float) -> float:
        """When the frame of ``moment`` was exposed, in seconds of `time.monotonic`, give or take the least delay.

        Args:
            moment: Seconds of the stream's clock; one that does not go on is not believed.
            arrived: When it was read, in seconds of `time.monotonic`.
        """
        last_moment, last_arrived = self._last
        self._last = (moment, arrived)
        delay = arrived - moment
        if moment <= last_moment or delay - self._delay > _LONGEST_HOLD:
            self._delay = delay
            return arrived
        self._delay = min(delay, self._delay + _DRIFT * (arrived - last_arrived))
        return moment + self._delay
