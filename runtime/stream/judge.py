"""What becomes of each result's figures: the log, the alarms, the curves of the last minutes."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.bayer import pattern_from
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.errors import OutputError
from ufafuse.runtime.stream.alarms import LATENCY, Alarm, AlarmEvent, Alarms
from ufafuse.runtime.stream.growing import Lines
from ufafuse.runtime.stream.messages import FusedPair
from ufafuse.runtime.stream.moments import Timeline
from ufafuse.runtime.stream.quality import FIGURES, Quality, QualityMeter
from ufafuse.runtime.texts import json_text
from ufafuse.runtime.writing import check_new

_SHARE = 0.02  # of the fusions' time, that judging may take ...
_AT_LEAST_EVERY = 0.2  # seconds: ... but so often it is done, however fast they are
_HISTORY = 600  # seconds, one point each
CURVES = ("sharp", "exposure", "shift", "disagreement", LATENCY)


class Judge:
    """Judges results, logs them, sounds alarms; used by the thread that writes, and asked from any.

    Args:
        alarms: As `alarms_from` gives them.
        on_alarm: Takes each `AlarmEvent`; what it takes, the line waits.
        log: A file that gets a line of JSON for each result; None: none.
        force: Replace the log if it is there.
        white: The level of white of 16-bit frames; None: it is found.
        bayer: The pattern of raw frames, of which the green pixels are judged.

    Attributes:
        tell: Takes a sentence for people while it runs; set by who runs it.
    """

    tell: Callable[[str], None] = staticmethod(ignored)

    def __init__(
        self,
        *,
        alarms: Sequence[Alarm] = (),
        on_alarm: Callable[[AlarmEvent], None] = ignored,
        log: Path | None = None,
        force: bool = False,
        white: float | None = None,
        bayer: str | None = None,
    ) -> None:
        self._green = None if bayer is None else pattern_from(bayer)[0] == "g"
        self.latest: Quality | None = None
        self._meter = QualityMeter(white)
        self._alarms = Alarms(alarms, on_alarm)
        self._log_path, self._force = log, force
        self._log: Lines | None = None
        self._timeline = Timeline()
        self._judging = self._fusing = 0.0
        self._judged_at = -math.inf
        self._history = History()

    def open(self) -> None:
        """Begin the log. Raises: OutputError when it cannot be written, or is there already."""
        if self._log_path is None:
            return
        check_new(self._log_path, force=self._force, streams=True)
        try:
            self._log = Lines(self._log_path, force=self._force, tell=self.tell)
        except OSError as error:
            raise OutputError(f"{self._log_path} cannot be written: {error.strerror}.") from error

    def judged(self, item: FusedPair) -> FusedPair:
        """``item`` with its quality, where there is time to judge it."""
        started = time.perf_counter()
        self._fusing += item.fuse_ms / 1000
        due = started - self._judged_at >= _AT_LEAST_EVERY
        if not due and self._judging > _SHARE * self._fusing:
            return item
        quality = self._meter.judge([self._looked_at(frame.array) for frame in item.pair.frames])
        ended = time.perf_counter()
        self._judged_at = started
        self._judging += ended - started
        self.latest = quality
        return replace(item, quality=quality)

    def _looked_at(self, frame: Array) -> Array:
        return frame if self._green is None else frame[::2, int(not self._green) :: 2]

    def written(self, item: FusedPair) -> None:
        """``item`` has reached the output: log it, look at the alarms. Raises: OutputError when the log cannot be written."""
        latency = (time.monotonic() - item.pair.arrived) * 1000
        seconds = self._timeline.advance(item.pair.near)
        quality = item.quality
        if self._log is not None:
            self._write_line(item, seconds, latency)
        if quality is None:
            self._alarms.see(seconds, {LATENCY: latency})
            return
        figures = {name: quality.figure(name) for name in FIGURES} | {LATENCY: latency}
        self._alarms.see(seconds, figures)
        self._history.add(figures)

    def _write_line(self, item: FusedPair, seconds: float, latency: float) -> None:
        assert self._log is not None
        line = {
            "time": round(time.time(), 3),
            "seconds": round(seconds, 4),
            "number": item.number,
            "frames": [frame.index for frame in item.pair.frames],
            "skew_ms": round(item.pair.skew * 1000, 3),
            "fuse_ms": round(item.fuse_ms, 3),
            LATENCY: round(latency, 3),
            **(item.quality.to_json() if item.quality is not None else {}),
        }
        try:
            self._log.add(json_text(line))
        except OSError as error:
            raise OutputError(f"{self._log_path} cannot be written: {error.strerror}.") from error

    def figures(self) -> dict[str, Any]:
        """For the summary and the page: ``quality`` (of the latest result that was judged, or None) and ``alarms``."""
        quality = None if self.latest is None else self.latest.to_json()
        share = self._judging / self._fusing if self._fusing else 0.0
        return {"quality": quality, "judging_share": round(share, 4), "alarms": self._alarms.to_json()}

    @property
    def rang(self) -> list[str]:
        """The alarms that began at least once."""
        return self._alarms.rang

    def history(self) -> dict[str, list[float]]:
        """The curves of the last ten minutes, see `History`."""
        return self._history.to_json()

    def close(self) -> None:
        """End the log."""
        if self._log is not None:
            try:
                self._log.close()
            except OSError as error:
                raise OutputError(f"{self._log_path} cannot be written: {error.strerror}.") from error
            finally:
                self._log = None


class History:
    """One point a second of each curve, for ten minutes: the worst of that second."""

    def __init__(self) -> None:
        self._points: deque[tuple[int, dict[str, float]]] = deque(maxlen=_HISTORY)
        self._lock = threading.Lock()

    def add(self, figures: dict[str, float]) -> None:
        """Take one result's figures."""
        second = int(time.monotonic())
        with self._lock:
            if not self._points or self._points[-1][0] != second:
                self._points.append((second, {name: figures[name] for name in CURVES}))
                return
            point = self._points[-1][1]
            for name in CURVES:
                point[name] = (min if name == "sharp" else max)(point[name], figures[name])

    def to_json(self) -> dict[str, list[float]]:
        """``ago`` (seconds before now) and each of `CURVES`, from the oldest point to the newest."""
        now = int(time.monotonic())
        with self._lock:
            points = [(second, dict(values)) for second, values in self._points if now - second < _HISTORY]
        curves: dict[str, list[float]] = {"ago": [float(now - second) for second, _ in points]}
        return curves | {name: [round(values[name], 4) for _, values in points] for name in CURVES}
