"""The one place where the threads that read meet the thread that fuses, and where pairs are dropped."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.stream.messages import FAR, NEAR, Frame, Pair, plane_names, size_of
from ufafuse.runtime.stream.pairing import Pairing

DROP_OLDEST, BLOCK = "drop-oldest", "block"
WHEN_LATE = (DROP_OLDEST, BLOCK)


@dataclass(frozen=True)
class PairCounts:
    """What became of the frames.

    Args:
        frames_in, unmatched: Frames by side, or by focus setting of one camera.
        passed_over: Frames of one camera that are of no setting.
        in_doubt: Of those, frames of which it was not sure.
        mismatched: Pairs whose frames are not alike; their frames are unmatched.
        taken, dropped, waiting: Pairs.
        nearest_miss, max_skew: As `Pairing`'s, in seconds.
    """

    frames_in: list[int]
    unmatched: list[int]
    passed_over: int
    in_doubt: int
    mismatched: int
    taken: int
    dropped: int
    waiting: int
    nearest_miss: float
    max_skew: float


class PairQueue:
    """Pairs frames and keeps at most ``size`` pairs until the fusing thread takes them.

    Each frame that was put ends as half of a taken pair, of a dropped pair, or unmatched; the counts always add up.
    ``mismatch`` says why the latest two frames that did not fit did not.

    Args:
        pairing: Decides what belongs together.
        size: Pairs that may wait.
        when_late: What happens when they are full: `DROP_OLDEST` gives up the oldest pair, `BLOCK` lets the readers wait.
        hold: Also let a reader wait while this many of its frames have no partner yet (recordings, of which nothing may
            get lost because one file is read faster than the other); 0 never does.
        on_mismatch: Told once per change when the two frames of a pair differ in size or kind; they count as unmatched.
    """

    def __init__(
        self,
        pairing: Pairing,
        *,
        size: int = 2,
        when_late: str = DROP_OLDEST,
        hold: int = 0,
        on_mismatch: Callable[[str], None] = ignored,
    ) -> None:
        self._pairing = pairing
        self._size = size
        self._when_late = when_late
        self._hold = hold
        self._on_mismatch = on_mismatch
        self.mismatch = ""
        self._mismatch = ""
        self._pairs: deque[Pair] = deque()
        self._ended = [False, False]
        self._dropped = 0
        self._mismatched = 0
        self._taken = 0
        self._changed = threading.Condition()

    def put(self, side: int, frame: Frame) -> bool:
        """Take a frame from a source; waits as the policy says.

        Returns:
            False when it came too late to count (the queue was ended) or no further frame of this side can be used.
        """
        with self._changed:
            if self._ended[side]:
                return False
            self._queue(self._pairing.add(side, frame))
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._ended[side] or not self._must_wait(side))
            return not (self._ended[side] or self._pairing.hopeless(side))

    def quiet(self, side: int) -> None:
        """Nothing has come from ``side`` for a while: what waits for more is settled without."""
        with self._changed:
            if not self._ended[side]:
                self._queue(self._pairing.quiet(side))
            self._changed.notify_all()

    def end(self, side: int) -> None:
        """No more frames come from ``side``; what waits is still taken."""
        with self._changed:
            if not self._ended[side]:
                self._ended[side] = True
                self._queue(self._pairing.end(side))
            self._changed.notify_all()

    def take(self, timeout: float) -> Pair | None:
        """The oldest pair, or None when there was none within ``timeout`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._pairs or all(self._ended), timeout)
            if not self._pairs:
                return None
            self._taken += 1
            self._changed.notify_all()
            return self._pairs.popleft()

    def abandon(self) -> None:
        """Give up what waits: end both sides and count the waiting pairs as dropped."""
        for side in (NEAR, FAR):
            self.end(side)
        with self._changed:
            self._dropped += len(self._pairs)
            self._pairs.clear()
            self._changed.notify_all()

    @property
    def finished(self) -> bool:
        """Whether nothing waits and nothing can come."""
        with self._changed:
            return all(self._ended) and not self._pairs

    def counts(self) -> PairCounts:
        """What became of the frames so far."""
        with self._changed:
            return PairCounts(
                frames_in=list(self._pairing.received),
                unmatched=[count + self._mismatched for count in self._pairing.unmatched],
                passed_over=self._pairing.passed_over,
                in_doubt=self._pairing.in_doubt,
                mismatched=self._mismatched,
                taken=self._taken,
                dropped=self._dropped,
                waiting=len(self._pairs),
                nearest_miss=self._pairing.nearest_miss,
                max_skew=self._pairing.max_skew,
            )

    def _must_wait(self, side: int) -> bool:
        held = 0 < self._hold <= self._pairing.waiting(side) and not self._ended[1 - side]
        return held or (self._when_late == BLOCK and len(self._pairs) >= self._size)

    def _queue(self, pairs: list[Pair]) -> None:
        for pair in pairs:
            if self._fit(pair):
                self._pairs.append(pair)
            else:
                self._mismatched += 1
        while self._when_late == DROP_OLDEST and len(self._pairs) > self._size:
            self._pairs.popleft()
            self._dropped += 1

    def _fit(self, pair: Pair) -> bool:
        near = pair.near.array
        others = [(name, frame.array) for name, frame in zip(plane_names(len(pair.frames)), pair.frames, strict=True)]
        unlike = [(name, it) for name, it in others if it.shape != near.shape or it.dtype != near.dtype]
        if not unlike:
            self._mismatch = ""
            return True
        name, other = unlike[-1]
        text = f"near is {_words(near)}, {name} is {_words(other)}: such pairs cannot be fused"
        if text != self._mismatch:
            self.mismatch = self._mismatch = text
            self._on_mismatch(text)
        return False


def _words(frame: Array) -> str:
    """What a frame is, as far as two that belong together have to be alike."""
    colours = {3: "colour", 4: "colour and alpha"}
    colour = "grey" if frame.ndim == 2 else colours.get(frame.shape[2], f"of {frame.shape[2]} channel")
    return f"{size_of(frame)} {frame.dtype} {colour}"
