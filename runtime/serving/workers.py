"""The threads that fuse: oldest request first, pairs of one size together where the engine gains by it."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.batch import fuse_batch
from ufafuse.runtime.errors import UfaError
from ufafuse.runtime.fusion import Fusion
from ufafuse.runtime.pictures.source import of_arrays
from ufafuse.runtime.registration.covering import Crop
from ufafuse.runtime.serving.models import Loaded
from ufafuse.runtime.stack import Stacked, StackOptions, folded, fuse_stack
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.rule import by_one_rule

_LEAVE_SECONDS = 3.0  # that a fusion in work has at the end


class TooLate(Exception):  # noqa: N818 - what happened
    """The deadline of a request passed."""


class Abandoned(Exception):  # noqa: N818 - what happened
    """Nobody waits for the result any longer."""


@dataclass(eq=False)
class Job:
    """One fusion that waits for a worker.

    Args:
        loaded: The model.
        frames: Two or more, as `Fuser.fuse` takes them.
        names: What messages call them.
        options: What is done to them.
        looked_at: What `made_comparable` found of a pair; None: nothing was looked at.
        until: The deadline, by `time.monotonic`.
        result: Takes what was made, or an error.
        waited: Seconds until a worker took it.
        together: How many were fused in the same run.
        seconds: What the run took.
    """

    loaded: Loaded
    frames: list[Array]
    names: list[str]
    options: StackOptions
    until: float
    looked_at: Stacked | None = None
    result: Future[Stacked] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)
    waited: float = 0.0
    together: int = 1
    seconds: float = 0.0

    @property
    def plain(self) -> bool:
        """Whether it is a pair that only has to be fused."""
        options = self.options
        moved = options.align != "off" or options.match_gain or options.bayer is not None
        ready = self.looked_at is not None or not moved
        return len(self.frames) == 2 and ready and not by_one_rule(self.loaded.fuser, 2, options)

    @property
    def key(self) -> tuple[object, ...]:
        """What jobs that are fused together have in common."""
        first, options = self.frames[0], self.options
        looked = self.looked_at is not None
        return self.loaded.name, first.shape, first.dtype, options.order, options.white, options.want_map, looked

    def check(self, *_step: object) -> None:
        """Go on only for somebody, and in time. Raises: Abandoned, TooLate."""
        if self.result.cancelled():
            raise Abandoned
        if time.monotonic() >= self.until:
            raise TooLate


class Workers:
    """Fuses jobs in threads of its own.

    Args:
        count: How many threads: fusions at once.
    """

    def __init__(self, count: int) -> None:
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._running: list[Job] = []
        # By this name the command line knows a thread that is left behind in an engine (`commands.cli`).
        self._threads = [threading.Thread(target=self._work, name="ufafuse-fuse", daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    @property
    def busy(self) -> int:
        """Jobs that are in work."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Jobs that no worker has taken yet."""
        return len(self._jobs)

    def submit(self, job: Job) -> None:
        """Put a job behind those that wait."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()

    def forget(self, job: Job) -> None:
        """Take a job back that nobody waits for any longer; one in work ends at its next tile, if it has any."""
        job.result.cancel()
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)

    def close(self) -> None:
        """End the threads: jobs that wait are cancelled, those in work end at their next tile or are left behind."""
        with self._changed:
            self._ended = True
            for job in (*self._jobs, *self._running):
                job.result.cancel()
            self._jobs.clear()
            self._changed.notify_all()
        until = time.monotonic() + _LEAVE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while jobs := self._taken():
            _run_for_all(jobs)
            with self._changed:
                for job in jobs:
                    self._running.remove(job)

    def _taken(self) -> list[Job]:
        """The oldest job and what can be fused with it; empty at the end."""
        with self._changed:
            while not self._jobs and not self._ended:
                self._changed.wait()
            if self._ended:
                return []
            jobs = [self._jobs.popleft()]
            first = jobs[0]
            most = first.loaded.batch if first.plain else 1
            same = [job for job in self._jobs if most > 1 and job.plain and job.key == first.key][: most - 1]
            # OpenVINO compiles the network for each number of pairs: only whole batches and single pairs are worth it.
            if first.loaded.fuser.backend != "openvino" or len(same) == most - 1:
                for job in same:
                    self._jobs.remove(job)
                    jobs.append(job)
            self._running += jobs
            return jobs


def _run_for_all(jobs: list[Job]) -> None:
    """Whatever goes wrong belongs to those who wait, not to the thread."""
    try:
        _run(jobs)
    except BaseException as error:  # noqa: BLE001 - see above
        for job in jobs:
            _settle(job, error)


def _run(jobs: list[Job]) -> None:
    begun = time.monotonic()
    due = []
    for job in jobs:
        job.waited = begun - job.since
        try:
            job.check()
            due.append(job)
        except (Abandoned, TooLate) as error:
            _settle(job, error)
    if not due:
        return
    try:
        results = _fused(due)
    except UfaError:
        if len(due) == 1:
            raise
        for job in due:  # one of them is at fault, and the others are not to suffer for it
            _run_for_all([job])
        return
    seconds = time.monotonic() - begun
    for job, result in zip(due, results, strict=True):
        job.seconds, job.together = seconds, len(due)
        result.ms = seconds * 1e3
        _settle(job, result)


def _fused(jobs: list[Job]) -> list[Stacked]:
    first, fuser, options = jobs[0], jobs[0].loaded.fuser, jobs[0].options
    if not first.plain:
        if by_one_rule(fuser, len(first.frames), options):
            return [fuse_sources(fuser, of_arrays(first.frames, first.names), options, first.check)]
        return [fuse_stack(fuser, first.frames, options, first.check)]
    if len(jobs) == 1 and first.looked_at is not None:
        return [folded(fuser, first.frames, options, first.looked_at, first.check)]
    pairs = [(job.frames[0], job.frames[1]) for job in jobs]
    known = [job.looked_at.levels for job in jobs if job.looked_at is not None and job.looked_at.levels is not None]
    if len(pairs) > 1:
        levels = known if len(known) == len(jobs) else None
        made = fuse_batch(fuser, pairs, order=options.order, white=options.white, levels=levels, want_map=options.want_map)
    else:
        near, far = pairs[0]
        made = [
            fuser.fuse_pair(near, far, order=options.order, white=options.white, want_map=options.want_map, on_tile=first.check)
        ]
    return [_stacked(job, one) for job, one in zip(jobs, made, strict=True)]


def _stacked(job: Job, made: Fusion) -> Stacked:
    """A fusion, with what was found of its frames before."""
    height, width = made.fused.shape[:2]
    found = job.looked_at or Stacked(made.fused, Crop(0, height, 0, width), levels=made.levels)
    found.fused, found.map, found.grid = made.fused, made.map, made.grid
    return found.cut() if job.options.crop else found


def _settle(job: Job, result: Stacked | BaseException) -> None:
    """Give the result to whoever waits; nobody may be left."""
    job.frames = []
    if job.result.done() or not job.result.set_running_or_notify_cancel():
        return
    if isinstance(result, BaseException):
        job.result.set_exception(result)
    else:
        job.result.set_result(result)
