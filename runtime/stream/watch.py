"""What a person should hear of a run that goes on: sources that are silent or hang, sides that never match."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from ufafuse.runtime.stream.messages import SIDES
from ufafuse.runtime.stream.pairqueue import PairQueue
from ufafuse.runtime.stream.reader import SourceReader


class Watcher:
    """Looks at a run now and then, and reports each trouble once.

    Args:
        feeds: The sources' threads.
        pairs: Where their frames go.
        stall_after: Seconds of silence that are reported.
        report: Takes (kind, side, text) for people.
    """

    def __init__(
        self, feeds: Sequence[SourceReader], pairs: PairQueue, stall_after: float, report: Callable[[str, str, str], None]
    ) -> None:
        self._feeds = feeds
        self._pairs = pairs
        self._stall_after = stall_after
        self._report = report
        self._stalled: set[int] = set()
        self._began = math.inf
        self._held_up, self._longest = False, stall_after
        self._paired, self._paired_at, self._unmatched, self._told_unpaired = 0, math.inf, 0, False

    def look(self, output: str = "", writing: float = 0.0) -> None:
        """Look once.

        Args:
            output: What the output is called.
            writing: Seconds that it has taken by now for the picture under way.
        """
        now = time.monotonic()
        if self._began == math.inf:
            self._began = self._paired_at = now
        for feed in self._feeds:
            self._look_at(feed, now)
        self._look_at_output(output, writing)
        self._look_at_pairs(now)

    def busy(self, written: int) -> bool:
        """Whether a pair waits, is being fused, or is being written; ``written`` were before this was asked."""
        counts = self._pairs.counts()
        return counts.waiting > 0 or counts.taken > written

    def state_of(self, feed: SourceReader) -> str:
        """``"lost"``, ``"stalled"``, ``"reading"`` or ``"ended"``."""
        if feed.lost_at is not None:
            return "lost"
        if feed.side in self._stalled:
            return "stalled"
        return "reading" if feed.is_alive() else "ended"

    def _look_at(self, feed: SourceReader, now: float) -> None:
        if feed.held_back or feed.lost_at is not None or not feed.is_alive():
            return
        name = feed.source.name
        if feed.source.live:
            silent = now - (feed.last_frame or self._began)
            text = f"{name} has sent no frame for {silent:.1f} s"
        else:  # silence is no trouble of a folder; a disk that does not answer is
            busy = feed.busy_since
            silent = 0.0 if busy is None else now - busy
            text = f"reading {name} has taken {silent:.1f} s until now: its disk does not answer"
        if feed.side not in self._stalled and silent > self._stall_after:
            self._stalled.add(feed.side)
            self._report("stalled", SIDES[feed.side], text)
        elif feed.side in self._stalled and silent <= self._stall_after:
            self._stalled.discard(feed.side)
            self._report("resumed", SIDES[feed.side], f"{name} sends frames again")

    def _look_at_output(self, name: str, writing: float) -> None:
        """A reader that does not read, a disk that does not answer. One that is always slow is told when it gets slower."""
        if not self._held_up and writing > self._longest:
            self._held_up, self._longest = True, 2 * writing
            self._report("stalled", "", f"{name} has taken nothing for {writing:.1f} s: what is captured waits or is dropped")
        elif self._held_up and writing < self._stall_after:
            self._held_up = False
            self._report("resumed", "", f"{name} takes pictures again")

    def _look_at_pairs(self, now: float) -> None:
        """Both sides send frames and none of them match: a clock was set, or a trigger cable fell off."""
        counts = self._pairs.counts()
        paired = counts.taken + counts.dropped + counts.waiting + counts.mismatched
        if paired != self._paired:
            self._paired, self._paired_at, self._told_unpaired = paired, now, False
        unmatched = min(counts.unmatched)
        reading = all(feed.source.live and self.state_of(feed) == "reading" for feed in self._feeds)
        flowing = reading and unmatched > self._unmatched
        self._unmatched = unmatched
        if flowing and not self._told_unpaired and now - self._paired_at > self._stall_after:
            self._told_unpaired = True
            miss = milliseconds(counts.nearest_miss)
            nearest = "" if miss is None else f", the nearest are {miss:g} ms apart"
            self._report("unpaired", "", f"both sources send frames and none lie within `max_skew`{nearest}")


def milliseconds(seconds: float) -> float | None:
    """For figures; None for what never happened (infinite)."""
    return round(seconds * 1000, 3) if seconds < math.inf else None
