"""When a frame was taken, where the only clocks are the stream's own and the moment it arrived."""

from __future__ import annotations

import math

_AT_ONCE = 0.1  # seconds from opening to reading in which nothing worth a thought can pile up
_WINDOW, _LEAST_FRAMES = 0.3, 4  # seconds, and frames, over which is judged whether the reading catches up
_CATCHING_UP = 0.25  # seconds of delay that a reader of old frames makes good in each second, at least
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
        self._first: float | None = None
        self._window = (0.0, 0.0)
        self._frames = 0
        self._over = False

    def holds(self, moment: float, arrived: float) -> bool:
        """Whether the frame of ``moment`` (seconds of the stream's clock) that was read at ``arrived`` is an old one.

        While old frames are read, the delay between the two clocks falls; once it stands still, frames are new. So the
        first third of a second is passed over, except where reading began right after the opening.
        """
        if not self._over:
            self._over = not self._catches_up(moment, arrived)
        return not self._over

    def _catches_up(self, moment: float, arrived: float) -> bool:
        delay = arrived - moment
        if self._first is None:
            self._first, self._window = moment, (arrived, delay)
            return arrived - self._opened > _AT_ONCE
        if moment - self._first > arrived - self._opened:
            return False
        self._frames += 1
        since, delay_then = self._window
        if self._frames < _LEAST_FRAMES or arrived - since < _WINDOW:
            return True
        self._frames, self._window = 0, (arrived, delay)
        return delay_then - delay >= _CATCHING_UP * (arrived - since)


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
