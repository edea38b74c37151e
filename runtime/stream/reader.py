"""The thread that reads one source, and brings it back when it is lost."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError, UfaError
from ufafuse.runtime.pfnc import BrokenBuffer
from ufafuse.runtime.stream.messages import SIDES, Frame, fault_in, size_of
from ufafuse.runtime.stream.moments import Moments
from ufafuse.runtime.stream.opening import closed, interrupted, trouble_of
from ufafuse.runtime.stream.sources.base import BrokenFrame, EndOfSource, Source, SourceLost
from ufafuse.runtime.values import check_fields

_READ_TIMEOUT = 0.2
_QUIET_AFTER = 0.5
_BROKEN_IN_A_ROW = 100  # then the source counts as lost: it is connected and sends rubbish
_REMARKS = 16  # on a source's frames that are told
_HELD_SECONDS = 15.0  # a connection that lasts this long counts as one, even if no frame came yet


@dataclass(frozen=True)
class Event:
    """Something a person should hear of.

    Args:
        kind: ``"lost"``, ``"back"``, ``"stalled"``, ``"resumed"``, ``"size"``, ``"broken"``, ``"ended"``, ``"mismatch"``,
            ``"unpaired"``, ``"cycle"``, ``"registered"``, ``"caution"``, ``"alarm"``, ``"stopping"`` or ``"failed"``.
        side: ``"near"``, ``"far"``, or empty when it concerns both.
        text: The sentence for people.
        seconds: Since the run began.
    """

    kind: str
    side: str
    text: str
    seconds: float

    def __str__(self) -> str:
        """Such as "1.5 s near lost: TEXT", or "1.5 s caution: TEXT" where it concerns both."""
        return f"{self.seconds:.1f} s {f'{self.side} {self.kind}'.strip()}: {self.text}"


@dataclass(frozen=True)
class RetryPolicy:
    """How a lost source is called back, in seconds.

    Args:
        first, longest: Pauses double from the first to the longest, until a frame came.
        give_up: The run ends when a source was lost, and sent no frame or hung, for this many seconds; None: never.
        remind: How often a loss that lasts is reported again.
    """

    first: float = 0.25
    longest: float = 10.0
    give_up: float | None = None
    remind: float = 60.0

    def __post_init__(self) -> None:
        """Raises: InputError for a time that is none."""
        check_fields(self)
        for name, pause in (("first", self.first), ("longest", self.longest), ("remind", self.remind)):
            if not pause >= 0:
                raise InputError(f"`{name}={pause}` is no duration: give seconds, 0 or more.")
        if self.give_up is not None and not 0 <= self.give_up < math.inf:
            raise InputError(f"`give_up` {self.give_up} is no duration: give seconds, 0 or more.")


class SourceReader(threading.Thread):
    """Reads ``source`` and hands its frames on until it ends or `stop` is called.

    Args:
        source: Opened already, by the caller, so that a wrong name is found before anything runs.
        side: `NEAR` or `FAR`.
        put: Takes a frame; False means that no more are wanted.
        quiet: Told once when nothing has come for half a second after a frame.
        done: Called once when this thread will put no more, with the error that ended it, if any.
        report: Takes (kind, side, text) for people.
        retry: What to do when the source is lost.

    Attributes:
        broken: Damaged frames so far, and what the source raised instead of one.
        reconnects: Times that the source came back.
        lost_at: Since when it is away, in seconds of `time.monotonic`; None while it is there.
        trouble: What it was lost for last.
        last_frame: When the last frame came, or the source came back, likewise; None before the first.
        busy_since: When the read (or the opening) under way began, likewise; None between reads.
        held_back: Whether a frame waits to be taken: the source is not to blame for the silence.
    """

    def __init__(
        self,
        source: Source,
        side: int,
        *,
        put: Callable[[int, Frame], bool],
        quiet: Callable[[int], None],
        done: Callable[[int, BaseException | None], None],
        report: Callable[[str, str, str], None],
        retry: RetryPolicy,
    ) -> None:
        super().__init__(name=f"ufafuse-{SIDES[side]}", daemon=True)
        self.source = source
        self.side = side
        self.broken = 0
        self.reconnects = 0
        self.lost_at: float | None = None
        self.trouble = ""
        self.last_frame: float | None = None
        self.busy_since: float | None = None
        self.held_back = False
        self._put, self._quiet = put, quiet
        self._fell_quiet = True  # nothing has come yet that could wait
        self._done = done
        self._report = report
        self._retry = retry
        self._pause = retry.first
        self._away_since: float | None = None
        self._opened_at = 0.0
        self._size = ""
        self._remarks: set[str] = set()
        self._failure: Exception | None = None
        self._moments = Moments()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Read no more; returns at once, `join` waits for the read under way."""
        self._stopping.set()
        interrupted(self.source)

    def seconds_away(self) -> float:
        """How long the source has been lost, coming and going without a frame, or hung in one read; 0 while it is well."""
        now = time.monotonic()
        busy, away = self.busy_since, self._away_since
        hung = 0.0 if busy is None else now - busy - _READ_TIMEOUT
        flapping = self.lost_at is not None or now - self._opened_at < _HELD_SECONDS
        return max(0.0, hung, now - away if away is not None and flapping else 0.0)

    def given_up(self) -> str:
        """Why the source is waited for no longer, by `RetryPolicy.give_up`; empty while it is."""
        limit, away = self._retry.give_up, self.seconds_away()
        if limit is None or away <= limit:
            return ""
        trouble = self.trouble or "it does not return from reading"
        return f"{self.source.name} has been away for {away:.0f} s, the limit of `give_up`: {trouble}."

    def run(self) -> None:
        """The thread's work; every error goes to ``done``."""
        error: BaseException | None = None
        try:
            while not self._stopping.is_set():
                try:
                    self._read_on()
                    break
                except SourceLost as lost:
                    closed(self.source)
                    if self._stopping.is_set() or not self._brought_back(str(lost)):
                        break
        except BaseException as failure:  # noqa: BLE001 - it is raised again in the thread that runs the pipeline
            error = failure
        finally:
            closed(self.source)
            self._done(self.side, error)

    def _read_on(self) -> None:
        """Hand on frames until the source ends, is lost (raises), or nobody wants more."""
        broken_in_a_row = 0
        while not self._stopping.is_set():
            try:
                frame = self._read()
                if frame is None:
                    self._note_silence()
                    continue
            except EndOfSource as end:
                self._tell("ended", str(end) or f"{self.source.name} has no more frames")
                return
            except BrokenFrame as damage:
                broken_in_a_row += 1
                self._note_broken(str(damage), broken_in_a_row)
                continue
            broken_in_a_row = 0
            self._away_since, self._pause = None, self._retry.first
            self._watch_size(frame.array)
            self._pass_on_remark()
            self.held_back = True
            wanted = self._put(self.side, frame)
            self.last_frame, self.held_back, self._fell_quiet = time.monotonic(), False, False
            if not wanted:
                return

    def _note_silence(self) -> None:
        if not self._fell_quiet and self.last_frame is not None and time.monotonic() - self.last_frame > _QUIET_AFTER:
            self._fell_quiet = True
            self._quiet(self.side)

    def _read(self) -> Frame | None:
        """One read. What it raises beyond what a source should is a broken frame, and a loss where the source is live.

        A recording would begin anew: it is read on, and fails for good when it raises again, or ends, before a frame came.
        """
        self.busy_since = time.monotonic()
        try:
            frame = self.source.read(_READ_TIMEOUT)
            if frame is not None:
                self._refuse_faulty(frame)
                self._failure = None
        except EndOfSource:
            if self._failure is not None:
                raise self._failure from None
            raise
        except (BrokenFrame, SourceLost):
            raise
        except BrokenBuffer as damage:
            raise BrokenFrame(str(damage)) from damage
        except Exception as error:
            if self.source.live or self.source.numbered:
                self.broken += 1
                raise SourceLost(f"{self.source.name} failed ({trouble_of(error)})") from error
            if self._failure is not None:
                raise
            self._failure = error
            raise BrokenFrame(f"{self.source.name} failed ({trouble_of(error)})") from error
        finally:
            self.busy_since = None
        return frame

    def _refuse_faulty(self, frame: Frame) -> None:
        fault = fault_in(frame) or ("" if self.source.numbered else self._moments.fault_of(frame))
        if fault:
            raise BrokenFrame(fault)

    def _note_broken(self, damage: str, in_a_row: int) -> None:
        self.broken += 1
        if in_a_row == 1 and self.broken & (self.broken - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: a log for days
            self._tell("broken", f"a broken frame, {self.broken} so far: {damage}")
        if in_a_row >= _BROKEN_IN_A_ROW:
            raise SourceLost(f"{in_a_row} broken frames in a row")

    def _watch_size(self, array: Array) -> None:
        size = size_of(array)
        if self._size and size != self._size:
            self._tell("size", f"the frames' size changed from {self._size} to {size}")
        self._size = size

    def _pass_on_remark(self) -> None:
        """Each is told once; where a source has too many of them, the later ones are not."""
        remark = self.source.remark
        if remark and remark not in self._remarks and len(self._remarks) < _REMARKS:
            self._remarks.add(remark)
            self._tell("caution", remark)

    def _brought_back(self, why: str) -> bool:
        """Open the source again, with growing pauses; False when the run is stopping."""
        self.lost_at = reported = time.monotonic()
        if self._away_since is None or self.lost_at - self._opened_at > _HELD_SECONDS:
            self._away_since = self.lost_at
        self.trouble = why
        self._tell("lost", f"{why}; trying again")
        while not self._stopping.wait(self._pause):
            self._pause = min(2 * self._pause, self._retry.longest)
            if self._opened():
                self.reconnects += 1
                self.last_frame = self._opened_at = time.monotonic()  # its silence counts from here
                away, self.lost_at = self.last_frame - self.lost_at, None
                self._tell("back", f"{self.source.name} is back after {away:.1f} s")
                return True
            if time.monotonic() - reported > self._retry.remind:
                reported = time.monotonic()
                self._tell("lost", f"still away after {reported - self.lost_at:.0f} s: {self.trouble}")
        return False

    def _opened(self) -> bool:
        self.busy_since = time.monotonic()
        try:
            self.source.open()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this source's, and the next try may go well
            self.trouble = str(error) if isinstance(error, (SourceLost, UfaError)) else trouble_of(error)
            closed(self.source)
            return False
        finally:
            self.busy_since = None
        return True

    def _tell(self, kind: str, text: str) -> None:
        self._report(kind, SIDES[self.side], text)
