"""The figures of a run, in memory that does not grow with it."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from typing import Any

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.memory.usage import resident_bytes

_LOWEST_MS, _STEP, _BUCKETS = 0.01, 1.02, 1000  # up to 0.01 * 1.02**1000 ms: over an hour
_RECENT = 5.0


class LatencyHistogram:
    """Counts of latencies in buckets two per cent wide: quantiles to within one per cent in 8 KiB, for any run's length."""

    def __init__(self) -> None:
        self._counts = [0] * (_BUCKETS + 1)
        self.total = 0
        self.sum_ms = 0.0

    def add(self, milliseconds: float) -> None:
        """Count one latency."""
        bucket = math.ceil(math.log(max(milliseconds, _LOWEST_MS) / _LOWEST_MS) / math.log(_STEP))
        self._counts[min(bucket, _BUCKETS)] += 1
        self.total += 1
        self.sum_ms += milliseconds

    def quantile_ms(self, share: float) -> float | None:
        """The latency that ``share`` (0 to 1) of all stay below, to within one per cent; None without any."""
        if not self.total:
            return None
        rank, seen = max(1, math.ceil(share * self.total)), 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                # The middle of the bucket.
                return _LOWEST_MS * _STEP ** (bucket - 0.5) if bucket else _LOWEST_MS
        raise AssertionError("the counts add up to the total")

    def below(self, milliseconds: float) -> int:
        """How many were at most ``milliseconds``, to within a bucket."""
        last = math.floor(math.log(max(milliseconds, _LOWEST_MS) / _LOWEST_MS) / math.log(_STEP))
        return sum(self._counts[: last + 1])


class Meter:
    """What the fusing and the writing thread count.

    Args:
        late_after: Seconds from capture to output beyond which a pair counts as late.
    """

    def __init__(self, late_after: float) -> None:
        self.latency = LatencyHistogram()
        self.fused = 0
        self.written = 0
        self.late = 0
        self.fuse_seconds = 0.0
        self.write_seconds = 0.0
        self.started = time.monotonic()
        self.ended: float | None = None
        self.last_output: float | None = None
        self._late_after = late_after
        self._recent: deque[float] = deque(maxlen=1000)
        self._lock = threading.Lock()

    def fusion_done(self, seconds: float) -> None:
        """Count one fusion that took ``seconds``."""
        with self._lock:
            self.fused += 1
            self.fuse_seconds += seconds

    def output_done(self, arrived: float, seconds: float, *, written: bool) -> None:
        """Count one output: ``arrived`` is the capture's moment, ``seconds`` what writing took."""
        now = time.monotonic()
        with self._lock:
            self.write_seconds += seconds
            if not written:
                return
            self.written += 1
            self.late += now - arrived > self._late_after
            self.latency.add((now - arrived) * 1000)
            self._recent.append(now)
            self.last_output = now

    def figures(self) -> dict[str, Any]:
        """Counts, rates and quantiles; names as in the summary."""
        with self._lock:
            now = self.ended or time.monotonic()
            seconds = max(now - self.started, 1e-9)
            recent = [moment for moment in self._recent if moment > now - _RECENT]
            span = now - recent[0] if len(recent) > 1 else 0.0
            return {
                "fused": self.fused,
                "written": self.written,
                "late": self.late,
                "latency_ms": {f"p{share}": _rounded(self.latency.quantile_ms(share / 100)) for share in (50, 95, 99)},
                "fps": round(self.written / seconds, 3),
                "fps_now": round(len(recent) / span, 2) if span else 0.0,
                "seconds": round(seconds, 3),
                "busy": {"fuse": round(self.fuse_seconds / seconds, 4), "write": round(self.write_seconds / seconds, 4)},
            }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def resident_mib() -> float | None:
    """Memory of this process in MiB; None where /proc does not tell."""
    try:
        return round(resident_bytes() / 2**20, 1)
    except InputError:
        return None
