"""Two sources, a function that fuses, a sink: joined by bounded queues, each in a thread of its own."""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ufafuse.runtime.errors import NO_THREADS, BackendError, InputError, OutputError, UfaError
from ufafuse.runtime.stream.account import Account
from ufafuse.runtime.stream.judge import Judge
from ufafuse.runtime.stream.messages import FAR, NEAR, SIDES, FusedPair, Pair, fault_of
from ufafuse.runtime.stream.opening import all_opened, closed
from ufafuse.runtime.stream.options import PipelineOptions, check_parts
from ufafuse.runtime.stream.pairqueue import PairQueue
from ufafuse.runtime.stream.reader import Event, SourceReader
from ufafuse.runtime.stream.sinks.base import Sink
from ufafuse.runtime.stream.sources.base import Source
from ufafuse.runtime.stream.stats import Meter
from ufafuse.runtime.stream.watch import Watcher
from ufafuse.runtime.texts import one_line

Fuse = Callable[..., Any]

_TICK = 0.1
_EVENTS_KEPT = 100
_JOIN_SECONDS = 0.8  # altogether: a signal ends any wait within a second
_DRAIN_SECONDS = 10.0  # that the output may take for one picture once the run is ending


class Pipeline:
    """Captures, pairs, fuses and writes at the same time; memory stays bounded however long it runs.

    Args:
        near: The source in focus on what is near, or the one camera that alternates its focus.
        far: The source in focus on what is far; None makes pairs of ``near``'s consecutive frames.
        fuse: ``fuse(near, far)`` on two pictures (H x W or H x W x 3 BGR, uint8 or uint16, not to be written into) returns
            the fused one, (fused, map or None), or (fused, map or None, depth or None). It runs in a thread of its own, one
            pair at a time. With more than two ``planes`` it is given as many pictures, from near to far.
        sink: Where fused pictures go; None leaves them to ``on_frame``.
        options: Pairing, queues, limits.
        on_frame: Called with each `FusedPair` after it was written, in the writing thread: what it takes, the line waits.
        on_event: Called with each `Event`, from any thread. What it raises ends the run, as with ``on_frame``.
        prepare: Called once by `start`, when everything is open and before the run's first moment, with the frames' height and
            width, or None where no source knows them yet: for what would hold up the first pair, such as compiling.
        judge: Judges the results, logs them, sounds alarms; None: they are judged, and no more.

    Once started it runs to its end, or until `stop`, whether anybody still holds it or not: its threads do. ``with`` starts it,
    and at the end of the block stops it, waits for what is under way, and raises what ended the run, as `run` does.

    Raises:
        InputError: The options do not fit the sources.

    Example:
        >>> pipeline = Pipeline(PushSource("near"), PushSource("far"), Fuser().fuse, on_frame=show)
        >>> summary = pipeline.run()
    """

    def __init__(
        self,
        near: Source,
        far: Source | None,
        fuse: Fuse,
        sink: Sink | None = None,
        *,
        options: PipelineOptions | None = None,
        on_frame: Callable[[FusedPair], None] | None = None,
        on_event: Callable[[Event], None] | None = None,
        prepare: Callable[[tuple[int, int] | None], None] | None = None,
        judge: Judge | None = None,
    ) -> None:
        check_parts(near, far, fuse, sink, options)
        self.options = options or PipelineOptions()
        self.error: BaseException | None = None
        self.events: deque[Event] = deque(maxlen=_EVENTS_KEPT)
        self._sources = [near] if far is None else [near, far]
        self._fuse = fuse
        self._sink = sink
        self._on_frame = on_frame
        self._on_event = on_event
        self._prepare = prepare
        self.judge = judge or Judge()
        self._when_late = self.options.when_late_for(self._sources)
        self._pairing = pairing = self.options.pairing_for(self._sources, tell=lambda text: self.report("cycle", "", text))
        self._pairs = PairQueue(
            pairing,
            size=self.options.queue,
            when_late=self._when_late,
            hold=self.options.hold_for(self._sources),
            on_mismatch=lambda text: self.report("mismatch", "", text),
        )
        self._outputs: queue.Queue[FusedPair | None] = queue.Queue(self.options.queue)
        self._meter = Meter(self.options.late_after)
        self._feeds = [
            SourceReader(
                source,
                side,
                put=self._pairs.put,
                quiet=self._pairs.quiet,
                done=self._source_done,
                report=self.report,
                retry=self.options.retry,
            )
            for side, source in enumerate(self._sources)
        ]
        self._watcher = Watcher(self._feeds, self._pairs, self.options.stall_after, self.report)
        self._account = Account(self._meter, self._pairs, self._feeds, self._watcher, self.judge)
        self._fusing_since: float | None = None
        self._writing_since: float | None = None
        self._stopping_since: float | None = None
        self._given_up = self._begun = False
        self._busy_at = -math.inf
        self._done = threading.Event()

    def run(self) -> dict[str, Any]:
        """Run until the sources end, a limit is reached or `stop` is called; the summary.

        An interrupt (Ctrl-C) drains the queues and finishes the outputs; a second one gives up what waits.

        Raises:
            UfaError: What ended the run before its time; everything finished until then is whole.
        """
        self.start()
        while not self._done.is_set():
            with contextlib.suppress(KeyboardInterrupt):
                self._done.wait()
                break
            self.stop()
        if self.error is not None:
            raise self.error
        return self.summary()

    def start(self, unless: Callable[[], bool] = lambda: False) -> None:
        """Open everything and begin.

        Args:
            unless: Asked ten times a second while the sources are opened: once it is true, that is given up, the run has
                ended with nothing captured, and this returns.

        Raises:
            InputError: A source cannot be opened, or not within half a minute; or it was started before.
            OutputError: The sink cannot be written.
            BackendError: The system starts no more threads.
        """
        if self._begun:
            raise InputError("this pipeline was started before, and runs once: make another one, of sources of its own.")
        self._begun = True
        opened: list[Source] = []
        try:
            if self._stopping_since is not None or not all_opened(self._sources, opened, unless):
                self._over()
                return
            if self._sink is not None:
                self._sink.tell = lambda text: self.report("caution", "", text)
                self._sink.open()
            self.judge.tell = lambda text: self.report("caution", "", text)
            self.judge.open()
            if self._prepare is not None:
                self._prepare(next((source.size for source in opened if source.size is not None), None))
            self._meter.started = time.monotonic()
            for source in opened:
                source.begin(self._meter.started)
        except BaseException:
            for source in opened:
                closed(source)
            self._over()  # or whoever cleans up would wait for it
            raise
        if self._sink is not None and self._sink.caution:
            self.report("caution", "", self._sink.caution)
        self._start_threads()

    def _start_threads(self) -> None:
        fusing = threading.Thread(target=self._fuse_all, name="ufafuse-fuse", daemon=True)
        writing = threading.Thread(target=self._write_all, name="ufafuse-write", daemon=True)
        watching = threading.Thread(target=self._watch, args=(writing,), name="ufafuse-watch", daemon=True)
        try:
            for thread in (fusing, writing, *self._feeds, watching):
                thread.start()
        except RuntimeError as error:
            self._end()
            self._over()
            raise BackendError(f"{NO_THREADS}.") from error

    def _over(self) -> None:
        """It ends before it could begin."""
        self._meter.ended = self._stopping_since = time.monotonic()
        self._done.set()

    def __enter__(self) -> Pipeline:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        if kind is not None:
            self.stop()  # what failed in the block is not to wait for pictures
        self.wait()
        if kind is None and self.error is not None:
            raise self.error

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the run's end; whether it has ended."""
        return self._done.wait(timeout)

    def stop(self) -> None:
        """Read no more, fuse and write what waits. A second call gives up what waits. Returns at once."""
        if self._stopping_since is None:
            self._end()
            if not self._begun:  # nobody will begin what is to end
                self._done.set()
            return
        self._stopping_since, self._given_up = time.monotonic(), True
        self._pairs.abandon()

    def _end(self) -> None:
        if self._stopping_since is not None:
            return
        self._stopping_since = time.monotonic()
        for feed in self._feeds:
            feed.stop()
        for side in (NEAR, FAR):
            self._pairs.end(side)

    @property
    def fusing_seconds(self) -> float:
        """How long the fusion under way has taken; 0 between fusions. For watchdogs."""
        since = self._fusing_since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def mismatch(self) -> str:
        """Why the latest two frames that belong together could not be fused; empty where all could."""
        return self._pairs.mismatch

    @property
    def seconds_since_output(self) -> float:
        """How long ago the last fused pair was written, or since the start."""
        return time.monotonic() - (self._meter.last_output or self._meter.started)

    def figures(self) -> dict[str, Any]:
        """The run's figures so far, as `summary` names them."""
        return self._account.figures(done=self._done.is_set())

    def latency_counts(self, bounds_ms: tuple[float, ...]) -> tuple[list[int], int, float]:
        """Outputs within each bound, of all, and the sum of their latencies in milliseconds: a Prometheus histogram."""
        return self._account.latency_counts(bounds_ms)

    def summary(self) -> dict[str, Any]:
        """The figures and what the run was: JSON-ready. ``frames_in[i] == fused + dropped + unmatched_by_side[i]``."""
        summary = {"ok": self.error is None, **self.figures(), "when_late": self._when_late, **self._account.of_pairing()}
        if len(self._sources) == 1:
            summary |= {"planes": self.options.planes, "cycle": self._pairing.cycle}
        summary["outputs"] = [str(path) for path in self._sink.outputs] if self._sink else []
        summary["events"] = [str(event) for event in self.events]
        if self.error is not None:
            summary["error"] = str(self.error) or type(self.error).__name__
        return summary

    def _fuse_all(self) -> None:
        number = 0
        try:
            while not (self._pairs.finished or number == self.options.frames):
                if (pair := self._pairs.take(_TICK)) is not None:
                    self._outputs.put(self._fused(pair, number))
                    number += 1
        except BaseException as error:  # noqa: BLE001 - it is raised again by run(): a thread's SystemExit would end nothing
            self._fail(error)
        finally:
            self._end()
            self._pairs.abandon()
            self._outputs.put(None)

    def _fused(self, pair: Pair, number: int) -> FusedPair:
        started = self._fusing_since = time.monotonic()
        result = self._fuse(*(frame.array for frame in pair.frames))
        self._fusing_since = None
        fused, weights, *more = result if isinstance(result, tuple) else (result, None)
        fault = fault_of(fused)
        if fault:
            raise UfaError(f"the fusing function returned {fault}: it must return a picture like those it was given.")
        seconds = time.monotonic() - started
        self._meter.fusion_done(seconds)
        return FusedPair(pair, fused, weights, number, started, seconds * 1000, more[0] if more else None)

    def _write_all(self) -> None:
        writable = True
        try:
            while (item := self._outputs.get()) is not None:
                started = self._writing_since = time.monotonic()
                written = writable = writable and self._written(item)
                self._writing_since = None
                self._meter.output_done(item.pair.arrived, time.monotonic() - started, written=written)
        finally:
            self._writing_since = time.monotonic()
            for close in [self.judge.close] if self._sink is None else [self.judge.close, self._sink.close]:
                try:
                    close()
                except BaseException as error:  # noqa: BLE001, PERF203 - likewise
                    self._fail(error)

    def _written(self, item: FusedPair) -> bool:
        try:
            item = self.judge.judged(item)
            if self._sink is not None:
                self._sink.write(item)
            if self._on_frame is not None:
                self._on_frame(item)
            self.judge.written(item)
        except BaseException as error:  # noqa: BLE001 - likewise
            self._fail(error)
            return False
        return True

    def _fail(self, error: BaseException) -> None:
        """End the run because of ``error``; the first one is what `run` raises."""
        self._note(error)
        self._pairs.abandon()
        self._end()

    def _source_done(self, side: int, error: BaseException | None) -> None:
        """A side has ended; where by an error (of a recording), the other one may still pair what waits, and it is raised."""
        if error is not None:
            self._note(error, SIDES[side])
            if not isinstance(error, Exception):  # such as SystemExit, which asks for the end of all
                self._end()
        for ended in (side,) if len(self._sources) == 2 else (NEAR, FAR):
            self._pairs.end(ended)

    def _note(self, error: BaseException, side: str = "") -> None:
        if self.error is None:
            self.error = error
            self.report("failed", side, str(error) or type(error).__name__)

    def _watch(self, writing: threading.Thread) -> None:
        while writing.is_alive() and not self._output_hangs():
            writing.join(_TICK)
            self._watch_limits()
            since = self._writing_since
            self._watcher.look(self._output, 0.0 if since is None else time.monotonic() - since)
            self._watch_given_up()
        until = time.monotonic() + _JOIN_SECONDS
        for feed in self._feeds:  # a camera that hangs in its driver is left behind: its thread is a daemon
            feed.join(max(0.0, until - time.monotonic()))
        self._meter.ended = time.monotonic()
        self._done.set()

    def _watch_limits(self) -> None:
        if self._stopping_since is not None:
            return
        now = time.monotonic()
        if self.options.seconds is not None and now - self._meter.started >= self.options.seconds:
            self._end()
        if self._watcher.busy(self._meter.written):  # a source that waits for the fusion is not to blame for the silence
            self._busy_at = now
        last = max(self._busy_at, *(feed.last_frame or self._meter.started for feed in self._feeds))
        if self.options.idle is not None and now - last >= self.options.idle:
            self.report("stopping", "", f"no source sent a frame for {self.options.idle:g} s (`idle`)")
            self._end()

    def _watch_given_up(self) -> None:
        for feed in self._feeds:
            if self._stopping_since is None and (why := feed.given_up()):
                self._note(UfaError(why), SIDES[feed.side])
                self._end()  # what was captured until now is still fused and written

    @property
    def _output(self) -> str:
        name = "on_frame" if self._sink is None else self._sink.name
        return "standard output" if name == "-" else name

    def _output_hangs(self) -> bool:
        """Whether the end waits for an output that takes nothing: a pipe that nobody reads, a disk that is away."""
        since = self._stopping_since
        if since is None or self._writing_since is None:
            return False
        patience = _JOIN_SECONDS if self._given_up else _DRAIN_SECONDS
        if time.monotonic() - max(since, self._writing_since) < patience:
            return False
        if self.error is None:
            self._fail(OutputError(f"{self._output} has taken nothing for {patience:.0f} s: what waits for it is given up."))
        return True

    def report(self, kind: str, side: str, text: str) -> None:
        """Tell ``on_event`` and the summary something; see `Event`."""
        event = Event(kind, side, one_line(text), time.monotonic() - self._meter.started)
        self.events.append(event)
        tell = self._on_event
        if tell is None:
            return
        try:
            tell(event)
        except BaseException as error:  # noqa: BLE001 - it would end the thread that tells, and nobody would know: it ends the run
            self._on_event = None
            self._fail(error)
