"""Interleaved timing: every runner runs once in each round, so that a machine that slows down slows all of them down."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ufafuse.runtime.callbacks import ignored

_SETTLE_S = 0.01
"""Between two runs: engines keep their threads spinning for some milliseconds, and would steal the next one's cores."""

WIDE_SPREAD = 0.25
"""Above this the middle eight tenths of the runs differ by more than a quarter, and small ratios mean nothing."""


@dataclass
class Samples:
    """The runs of one runner at one size, in ms, after warm-up."""

    times_ms: list[float] = field(default_factory=list)

    def statistics(self) -> dict[str, float]:
        """p50, p90, p99, min, frames a second, the number of runs, and the spread: (p90 - p10) / p50."""
        p10, p50, p90, p99 = np.percentile(self.times_ms, (10, 50, 90, 99))
        return {
            "p50_ms": round(float(p50), 3),
            "p90_ms": round(float(p90), 3),
            "p99_ms": round(float(p99), 3),
            "min_ms": round(min(self.times_ms), 3),
            "fps": round(1e3 / float(p50), 3),
            "runs": len(self.times_ms),
            "spread": round(float((p90 - p10) / p50), 4),
        }


def timed(run: Callable[[], object]) -> float:
    """One run, in ms."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def interleaved(
    runs: Mapping[str, Callable[[], object]],
    *,
    seconds: float,
    most: int,
    fewest: int = 3,
    warm_up: int = 1,
    after: Callable[[str], None] = ignored,
) -> dict[str, Samples]:
    """Time several runners in turn: A B C, A B C, ...

    Args:
        runs: Name to a call that fuses one pair and waits for it.
        seconds: A runner leaves the rounds when it has used this much time, but not before ``fewest`` runs.
        most: ... or when it has this many runs.
        fewest: Runs that even the slowest makes.
        warm_up: Runs of each before the rounds, not counted.
        after: Called with the name after each counted run.
    """
    for run in runs.values():
        for _ in range(warm_up):
            run()
    samples = {name: Samples() for name in runs}
    waiting = list(runs)
    while waiting:
        for name in list(waiting):
            time.sleep(_SETTLE_S)
            times = samples[name].times_ms
            times.append(timed(runs[name]))
            after(name)
            if len(times) >= most or (len(times) >= fewest and sum(times) >= seconds * 1e3):
                waiting.remove(name)
    return samples
