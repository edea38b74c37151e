"""How frames of one camera that moves its focus are told apart: in turn, by where they are sharp, or by a number they carry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.stream.cycle import MOST_PER_STEP, settled_after
from ufafuse.runtime.stream.focus import SharpnessSorter, Steps, sharpness_of
from ufafuse.runtime.stream.messages import Frame

AUTO = "auto"
SettledFrames = list[tuple[Frame, int | None]]


class Sorter(ABC):
    """Says of each frame at which of the camera's focus settings, in the order of time, it was taken.

    Attributes:
        in_doubt: Frames passed over because it was not sure whether they were settled frames of the setting that seemed likely.
    """

    def __init__(self) -> None:
        self._told: dict[str, Any] = {}
        self.in_doubt = 0

    @property
    def step(self) -> int | None:
        """Frames from one setting's to the next one's where none gets lost; None where that is not known."""
        return None

    @property
    def told(self) -> dict[str, Any]:
        """What was found out, for the summary."""
        return self._told

    @abstractmethod
    def take(self, frame: Frame) -> SettledFrames:
        """Take the camera's next frame; the frames that are decided by it, with their setting, or None for one passed over."""

    def quiet(self) -> SettledFrames:
        """Nothing has come for a while, and nothing may come for long; the frames that are decided without more."""
        return []

    def end(self) -> SettledFrames:
        """No more will come; the frames that waited."""
        return []


class InTurn(Sorter):
    """By counting alone: each setting gives ``settle`` frames to pass over and one to use; missing frames are counted in.

    Args:
        planes, settle: See `sorter_for`.
        by_index: Count by `Frame.index`, not by the frames' times.
    """

    def __init__(self, planes: int, settle: int, *, by_index: bool) -> None:
        super().__init__()
        self._planes, self._step = planes, settle + 1
        self._steps = Steps(by_index=by_index)
        self._place = -1

    @property
    def step(self) -> int | None:
        """As it was asked for."""
        return self._step

    def take(self, frame: Frame) -> SettledFrames:
        """Settled at once."""
        self._place = (self._place + self._steps.to(frame)) % (self._planes * self._step)
        return [(frame, self._place // self._step if self._place % self._step == self._step - 1 else None)]


class OfTwo(Sorter):
    """Two settings, whatever cycle they come in, by where the frames are sharp."""

    def __init__(self) -> None:
        super().__init__()
        self._sorter = SharpnessSorter()

    def take(self, frame: Frame) -> SettledFrames:
        """Settled at once."""
        return [(frame, self._sorter.side_of(frame))]


class ByNumber(Sorter):
    """By `Frame.plane`, which the source tells; frames that say -1, and the first ``settle`` of each setting, are passed over.

    One frame of each setting is used; those that come after it, before the next step, are passed over too.

    Args:
        planes: Focus settings.
        settle: Frames to pass over; ``"auto"``: as many as differ from the last one of their setting.
        without: Sorts frames that have no such number.
        tell: Takes a sentence for people.
    """

    def __init__(self, planes: int, settle: int | str, *, without: Sorter, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._planes = planes
        self._settle = None if isinstance(settle, str) else settle
        self._learns = self._settle is None
        self._without = without
        self._tell = tell
        self._plane = -1
        self._since = 0
        self._seen: list[Array] = []
        self._settled_after: deque[int] = deque(maxlen=2 * planes)

    @property
    def told(self) -> dict[str, Any]:
        """What was found out, for the summary."""
        return self._told or self._without.told

    @property
    def step(self) -> int | None:
        """Of frames without a number: those that have one need not come evenly."""
        return self._without.step if self._plane < 0 else None

    def take(self, frame: Frame) -> SettledFrames:
        """Settled at once."""
        if frame.plane is None:
            sorted_ = self._without.take(frame)
            self.in_doubt = self._without.in_doubt
            return sorted_
        stepped = frame.plane != self._plane
        self._since = 0 if stepped else self._since + 1
        self._plane = frame.plane
        if not 0 <= frame.plane < self._planes:
            return [(frame, None)]
        if self._learns:
            self._learn(sharpness_of(frame.array), stepped=stepped)
        return [(frame, frame.plane if self._since == self._settle else None)]

    def _learn(self, sharpness: Array, *, stepped: bool) -> None:
        if stepped:
            if self._seen:
                self._settled_after.append(settled_after(self._seen))
            self._seen = []
        if len(self._seen) < MOST_PER_STEP:
            self._seen.append(sharpness)
        if stepped and len(self._settled_after) == 2 * self._planes and max(self._settled_after) != self._settle:
            self._settle = max(self._settled_after)
            self._told = {"settle": self._settle}
            self._tell(f"the first {self._settle} frames of each focus setting are passed over: they are not settled")

    def quiet(self) -> SettledFrames:
        """What waited without a number, and waits no longer."""
        return self._without.quiet()

    def end(self) -> SettledFrames:
        """What waited without a number."""
        return self._without.end()
