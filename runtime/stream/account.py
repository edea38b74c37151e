"""What a run has done so far, in figures, each of which is counted where it happens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ufafuse.runtime.stream.judge import Judge
from ufafuse.runtime.stream.pairqueue import PairQueue
from ufafuse.runtime.stream.reader import SourceReader
from ufafuse.runtime.stream.stats import Meter, resident_mib
from ufafuse.runtime.stream.watch import Watcher, milliseconds


class Account:
    """Puts together what the parts of a `ufafuse.runtime.stream.pipeline.Pipeline` have counted; from any thread.

    Args:
        meter: Counts what was fused and written.
        pairs: Counts the frames that came, and what became of them.
        feeds: The readers of the sources.
        watcher: Knows in which state each source is.
        judge: Counts the verdicts.
    """

    def __init__(self, meter: Meter, pairs: PairQueue, feeds: Sequence[SourceReader], watcher: Watcher, judge: Judge) -> None:
        self._meter, self._pairs, self._feeds = meter, pairs, feeds
        self._watcher, self._judge = watcher, judge

    def figures(self, *, done: bool) -> dict[str, Any]:
        """The figures, JSON-ready; ``done``: the run has ended, and nothing is under way any more."""
        figures = self._meter.figures()  # before the counts: no more can have been fused than were taken
        counts = self._pairs.counts()
        dropped = counts.dropped
        under_way = counts.taken - figures["fused"]
        if done:  # a pair whose fusion failed was lost
            dropped += under_way
            under_way = 0
        return {
            "frames_in": counts.frames_in,
            "fused": figures.pop("fused"),
            "dropped": dropped,
            "unmatched": sum(counts.unmatched),
            "unmatched_by_side": counts.unmatched,
            "passed_over": counts.passed_over,
            "in_doubt": counts.in_doubt,
            "broken": [feed.broken for feed in self._feeds],
            "reconnects": [feed.reconnects for feed in self._feeds],
            "waiting": counts.waiting + under_way,
            "sources": [{"name": feed.source.name, "state": self._watcher.state_of(feed)} for feed in self._feeds],
            **figures,
            **self._judge.figures(),
            "rss_mib": resident_mib(),
        }

    def of_pairing(self) -> dict[str, float | None]:
        """How far apart the frames of a pair were, and those that were just too far, in milliseconds; JSON-ready."""
        counts = self._pairs.counts()
        return {"max_skew_ms": milliseconds(counts.max_skew), "nearest_miss_ms": milliseconds(counts.nearest_miss)}

    def latency_counts(self, bounds_ms: tuple[float, ...]) -> tuple[list[int], int, float]:
        """As `Pipeline.latency_counts`."""
        latency = self._meter.latency
        return [latency.below(bound) for bound in bounds_ms], latency.total, latency.sum_ms
