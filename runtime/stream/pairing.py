"""Which frames belong together."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import insort
from collections.abc import Iterable
from typing import Any

from ufafuse.runtime.stream.messages import FAR, NEAR, Frame, Pair
from ufafuse.runtime.stream.sorters import Sorter

_SURE = 0.4  # of a side's frame interval: no later frame of it can be nearer than this
_FOLLOW = 0.2
_FOLLOW_UP = 0.05  # a longer interval is rather a lost frame than a slower camera
_NEIGHBOUR = 0.7  # of the faster side's frame interval: what lies further away is another moment's frame
_SET_BACK = 1.0  # seconds that a side's times may go back before its clock counts as set
_PATIENCE = 0.06  # seconds of a fast side's frames that may wait: its threads do not run by the frame
_MOST_WAITING = 64


class Pairing(ABC):
    """Turns two sides' frames into pairs; every frame that came in ends in one pair or is counted as unmatched.

    Not thread-safe: `PairQueue` guards it.

    Attributes:
        max_skew: Greatest distance within a pair, in seconds (or numbers).
        received, unmatched: Frames by side (of one camera: by focus setting).
        passed_over: Frames of one camera that are of no setting: the lens was moving, or they come again.
        in_doubt: How many of those may be of one, but it was not sure of which.
        nearest_miss: Seconds between the two frames that came closest without being a pair; infinite where there were none,
            or no times.
    """

    def __init__(self, max_skew: float, planes: int = 2) -> None:
        self.max_skew = max_skew
        self.received = [0] * planes
        self.unmatched = [0] * planes
        self.passed_over = 0
        self.in_doubt = 0
        self.nearest_miss = math.inf

    @property
    def cycle(self) -> dict[str, Any]:
        """What was found of the cycle of one camera: ``frames``, ``frames_a_plane``; empty where nothing was."""
        return {}

    @abstractmethod
    def add(self, side: int, frame: Frame) -> list[Pair]:
        """Take a frame; the pairs that are settled by it."""

    @abstractmethod
    def end(self, side: int) -> list[Pair]:
        """No more frames will come from ``side``; the pairs that are settled by it."""

    def quiet(self, side: int) -> list[Pair]:  # noqa: ARG002 - for those that let frames wait
        """Nothing has come from ``side`` for a while, and nothing may come for long; the pairs that wait no longer."""
        return []

    def waiting(self, side: int) -> int:  # noqa: ARG002 - likewise
        """Frames of ``side`` that wait for a partner."""
        return 0

    def hopeless(self, side: int) -> bool:  # noqa: ARG002 - likewise
        """Whether no further frame of ``side`` can find a partner."""
        return False


class NearestPairing(Pairing):
    """Two sources: each frame goes with the nearest of the other side, if it lies within ``max_skew``.

    A frame is passed over when a later frame of its own side lies nearer to the partner. Pairs keep the order of time.

    Args:
        max_skew: Greatest distance within a pair, in seconds (or numbers).
        adaptive: Less than ``max_skew`` where frames come so fast that it would reach their neighbours.
        by_number: Measure by `Frame.index` instead of `Frame.timestamp`.
        far_offset: Added to the far side's keys.
        exact: Always wait for the next frame of a side before a pair is settled that it could beat. Without, a pair is
            settled at once when the side's frame rate says that nothing nearer can come: live streams gain a frame's
            time by that.
        waiting: Frames a side that may wait for partners (those of 0.06 s, if that is more); then the oldest goes unmatched.
            Never when ``exact``: there the reader is held back.
    """

    def __init__(
        self,
        max_skew: float,
        *,
        adaptive: bool = False,
        by_number: bool = False,
        far_offset: float = 0.0,
        exact: bool = False,
        waiting: int = 3,
    ) -> None:
        super().__init__(max_skew)
        self._widest = max_skew
        self._adaptive = adaptive
        self._by_number = by_number
        self._offsets = (0.0, far_offset)
        self._exact = exact
        self._limit = waiting
        self._frames: tuple[list[tuple[float, int, Frame]], ...] = ([], [])
        self._ended = [False, False]
        self._quiet = [False, False]
        self._latest = [-math.inf, -math.inf]
        self._interval = [0.0, 0.0]
        self._shortest = [0.0, 0.0]

    def add(self, side: int, frame: Frame) -> list[Pair]:
        """Take a frame; the pairs that are settled by it."""
        # Numbers stay whole: those made of time stamps are beyond what a float tells apart.
        key = frame.index if self._by_number else frame.timestamp + self._offsets[side]
        # The count breaks ties, so that frames themselves are never compared.
        insort(self._frames[side], (key, self.received[side], frame))
        self.received[side] += 1
        self._quiet[side] = False
        self._follow_rate(side, key)
        pairs = self._settled()
        if not self._exact and self._overdue(side):
            self._pass_over(side)
            pairs += self._settled()
        return pairs

    def _overdue(self, side: int) -> bool:
        frames = self._frames[side]
        if len(frames) <= self._limit:
            return False
        return self._latest[side] - frames[0][0] > _PATIENCE or len(frames) > max(self._limit, _MOST_WAITING)

    def quiet(self, side: int) -> list[Pair]:
        """Nothing has come from ``side`` for a while: a part that was taken is not to wait for the next one."""
        self._quiet[side] = True
        return self._settled()

    def end(self, side: int) -> list[Pair]:
        """No more frames will come from ``side``."""
        self._ended[side] = True
        return self._settled()

    def waiting(self, side: int) -> int:
        """Frames of ``side`` that wait for a partner."""
        return len(self._frames[side])

    def hopeless(self, side: int) -> bool:
        """The other side has ended, and all its frames lie behind."""
        other = 1 - side
        beyond = self._latest[side] > self._latest[other] + self.max_skew
        return self._ended[other] and not self._frames[other] and beyond

    def _follow_rate(self, side: int, key: float) -> None:
        step = key - self._latest[side]
        if step < -_SET_BACK and not (self._by_number or self._exact):
            self._clock_went_back(side, key)
            return
        if 0 < step < math.inf:
            known = self._interval[side]
            self._interval[side] = known + _FOLLOW * (step - known) if known else step
            self._follow_shortest(side, step)
        self._latest[side] = max(self._latest[side], key)

    def _follow_shortest(self, side: int, step: float) -> None:
        known = self._shortest[side]
        towards = min(step, 2 * known) - known
        self._shortest[side] = known + (_FOLLOW if towards < 0 else _FOLLOW_UP) * towards if known else step
        if self._adaptive:
            self.max_skew = min(self._widest, _NEIGHBOUR * min(filter(None, self._shortest)))

    def _clock_went_back(self, side: int, key: float) -> None:
        """What waits from the time before has no partner any more, and nothing that is known of the old clock holds."""
        self._latest[side] = key
        ahead = [entry for entry in self._frames[side] if entry[0] > key]
        self._frames[side][:] = [entry for entry in self._frames[side] if entry[0] <= key]
        self.unmatched[side] += len(ahead)

    def _settled(self) -> list[Pair]:
        pairs: list[Pair] = []
        while all(self._frames):
            early = NEAR if self._frames[NEAR][0][0] <= self._frames[FAR][0][0] else FAR
            decided = self._decide(early, pairs)
            if not decided:
                return pairs
        for side in (NEAR, FAR):
            while self._frames[side] and self._ended[1 - side] and not self._frames[1 - side]:
                self._pass_over(side)
        return pairs

    def _decide(self, early: int, pairs: list[Pair]) -> bool:
        """Settle the earliest frame of all; False when it must wait for more to be known."""
        late = 1 - early
        key, partner = self._frames[early][0][0], self._frames[late][0][0]
        gap = partner - key
        if gap > self.max_skew:
            if not self._by_number:
                self.nearest_miss = min(self.nearest_miss, gap)
            self._pass_over(early)
            return True
        if len(self._frames[early]) > 1:
            if abs(self._frames[early][1][0] - partner) < gap:
                self._pass_over(early)
                return True
        elif not self._nothing_nearer_comes(early, partner, gap):
            return False
        frames = {side: self._frames[side].pop(0)[2] for side in (NEAR, FAR)}
        pairs.append(Pair(frames[NEAR], frames[FAR], far_offset=self._offsets[FAR]))
        return True

    def _nothing_nearer_comes(self, early: int, partner: float, gap: float) -> bool:
        if gap == 0 or self._ended[early] or self._quiet[early]:
            return True
        if self._exact:
            return False
        # Once the other side is this far ahead, the frame that could have been nearer is lost or late.
        other_went_on = self._latest[1 - early] >= partner + gap + self.max_skew
        return gap <= _SURE * self._interval[early] or other_went_on

    def _pass_over(self, side: int) -> None:
        del self._frames[side][0]
        self.unmatched[side] += 1


class PlanePairing(Pairing):
    """One camera that moves its focus: one settled frame of each setting, in the order of time, is fused.

    Args:
        planes: Focus settings.
        sorter: Says which setting a frame is of.
        swap: The first frame is the far one.
        max_skew: Greatest time from the first to the last frame of a moment, in seconds.
    """

    def __init__(self, planes: int, sorter: Sorter, *, swap: bool = False, max_skew: float = math.inf) -> None:
        super().__init__(max_skew, planes=planes)
        self._sorter = sorter
        self._planes = planes
        self._swap = swap
        self._open: list[Frame] = []
        self._came = 0  # frames of the camera
        self._opened_at = 0  # of those, the last one that was taken into the open moment

    @property
    def cycle(self) -> dict[str, Any]:
        """What was found of the camera's cycle: ``frames``, ``frames_a_plane``; empty where nothing was."""
        return self._sorter.told

    def add(self, side: int, frame: Frame) -> list[Pair]:  # noqa: ARG002 - all settings come through one source
        """Take the camera's next frame."""
        return self._joined(self._sorter.take(frame))

    def quiet(self, side: int) -> list[Pair]:  # noqa: ARG002 - likewise
        """Nothing has come from the camera for a while."""
        return self._joined(self._sorter.quiet())

    def end(self, side: int) -> list[Pair]:  # noqa: ARG002 - likewise
        """The camera has ended."""
        pairs = self._joined(self._sorter.end())
        self._give_up()
        return pairs

    def _joined(self, entries: Iterable[tuple[Frame, int | None]]) -> list[Pair]:
        pairs = []
        for frame, plane in entries:
            self._came += 1
            if plane is None:
                self.passed_over += 1
            elif (pair := self._with(frame, plane)) is not None:
                pairs.append(pair)
        self.in_doubt = self._sorter.in_doubt
        return pairs

    def _with(self, frame: Frame, plane: int) -> Pair | None:
        if self._swap and self._planes == 2:
            plane = 1 - plane
        self.received[self._shown(plane)] += 1
        # Lost frames bring two settings nearer to each other, nothing takes them farther apart: one was taken for another.
        torn = self._sorter.step is not None and self._came - self._opened_at > self._sorter.step
        self._opened_at = self._came
        if plane == 0 or torn:
            self._give_up()
        if plane != len(self._open):
            self._give_up()
            self.unmatched[self._shown(plane)] += 1
            return None
        self._open.append(frame)
        gap = frame.timestamp - self._open[0].timestamp
        if gap > self.max_skew:
            self.nearest_miss = min(self.nearest_miss, gap)
            self._give_up()
            return None
        if len(self._open) < self._planes:
            return None
        near, *between, far = self._open[::-1] if self._swap and self._planes > 2 else self._open
        self._open = []
        return Pair(near, far, tuple(between))

    def _shown(self, plane: int) -> int:
        """The number by which the setting is counted: with ``swap``, and more than two, from the far one on."""
        return self._planes - 1 - plane if self._swap and self._planes > 2 else plane

    def _give_up(self) -> None:
        for plane in range(len(self._open)):
            self.unmatched[self._shown(plane)] += 1
        self._open = []
