"""Scores of fused pictures over a folder of pairs; one pair that fails does not stop the others."""

import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from ufafuse.benchmarks.contestants import Contestant, FusedPicture
from ufafuse.benchmarks.frames import alike, told_of_alike
from ufafuse.benchmarks.metrics import JUDGES, METRICS, STACK_METRICS, TRUTH_METRICS, score
from ufafuse.benchmarks.metrics.white import White
from ufafuse.runtime.arrays import Bytes
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.cores import usable_cores
from ufafuse.runtime.errors import BackendError, InputError, UfaError
from ufafuse.runtime.images import read_image, write_image
from ufafuse.runtime.pairs import PairPaths, find_pairs
from ufafuse.runtime.pictures.conform import told_of
from ufafuse.runtime.pictures.decode import read_picture
from ufafuse.runtime.texts import kind_of
from ufafuse.runtime.writing import make_folder

_WAITING_PER_JOB = 2
FAILURES = (UfaError, MemoryError, cv2.error)
"""What one pair or stack may fail by, while the others go on; anything else is a defect of ours."""


@dataclass(frozen=True)
class EvalRow:
    """One pair or stack and one contestant.

    Args:
        name: The pair's or the stack's.
        method: The contestant's.
        metrics: Name to value, NaN where it is not defined; empty when ``error`` is not.
        ms: Time of the fusion alone; None where the picture was not made here.
        error: Why there are no metrics.
        note: What was done to the picture before it was scored, and what is to be known of the files; empty as a rule.
    """

    name: str
    method: str
    metrics: dict[str, float] = field(default_factory=dict)
    ms: float | None = None
    error: str = ""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """The entry of ``rows``; a metric that is not defined is null."""
        entry: dict[str, Any] = {"name": self.name, "method": self.method, "metrics": _finite(self.metrics)}
        if self.ms is not None:
            entry["ms"] = round(self.ms, 3)
        return entry | {key: text for key, text in (("note", self.note), ("error", self.error)) if text}

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> "EvalRow":
        """The row that `to_json` wrote as ``entry``."""
        metrics = {name: math.nan if value is None else float(value) for name, value in entry["metrics"].items()}
        texts = {key: str(entry.get(key, "")) for key in ("error", "note")}
        ms = entry.get("ms")
        return cls(str(entry["name"]), str(entry["method"]), metrics, None if ms is None else float(ms), **texts)


def _finite(metrics: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


@dataclass(frozen=True)
class Evaluation:
    """All rows, and their means.

    Args:
        rows: In the order of contestants and pairs.
        networks: Of each contestant that is a network, the ``backend`` and the ``precision`` that it ran in, and its
            ``parameters``; of a rival also the ``weights``: ``"ours"``, or the file's name.
        what: What was fused: "pair" or "stack".
        bounds: Methods that are no contestants but what could be had at best.
        kinds: What each contestant's row is, a key of `published.KINDS`.
    """

    rows: list[EvalRow]
    networks: dict[str, dict[str, Any]] = field(default_factory=dict)
    what: str = "pair"
    bounds: tuple[str, ...] = ()
    kinds: dict[str, str] = field(default_factory=dict)

    @property
    def methods(self) -> list[str]:
        """The contestants in the order of their first row."""
        return list(dict.fromkeys(row.method for row in self.rows))

    @property
    def failed(self) -> list[EvalRow]:
        """The rows without metrics."""
        return [row for row in self.rows if row.error]

    def failures(self) -> list[str]:
        """What to tell of the failed rows, in few lines.

        One for each pair or stack that failed for all alike (its frames are damaged); else one a method and kind of reason, for
        a folder may lack the same ten pictures as the next.
        """
        lines, alone = [], list[EvalRow]()
        for name in dict.fromkeys(row.name for row in self.failed):
            rows = [row for row in self.rows if row.name == name]
            if len(rows) > 1 and len({row.error for row in rows}) == 1:
                lines.append(f"{name}: {rows[0].error}")
            else:
                alone += [row for row in rows if row.error]
        for method in self.methods:
            kinds: dict[str, list[EvalRow]] = {}
            for row in alone:
                if row.method == method:
                    kinds.setdefault(kind_of(row.error.replace(row.name, "")), []).append(row)
            for rows in kinds.values():
                which = rows[0].name if len(rows) == 1 else f"{len(rows)} {self.what}s from {rows[0].name} to {rows[-1].name}"
                lines.append(f"{method}, {which}: {rows[0].error}")
        return lines

    def mean(self, method: str) -> dict[str, float]:
        """The plain mean of each metric over the pairs or stacks where it is defined."""
        rows = [row for row in self.rows if row.method == method and not row.error]
        means = {}
        for name in (*METRICS, *JUDGES, *TRUTH_METRICS, *STACK_METRICS):
            values = [row.metrics[name] for row in rows if math.isfinite(row.metrics.get(name, math.nan))]
            if values:
                means[name] = float(np.mean(values))
        return means

    def defined(self, method: str, metric: str) -> set[str]:
        """The pairs or stacks where a metric of a contestant is a number."""
        rows = (row for row in self.rows if row.method == method and not row.error)
        return {row.name for row in rows if math.isfinite(row.metrics.get(metric, math.nan))}

    def median_ms(self, method: str) -> float | None:
        """The median time of a fusion; None where nothing was fused here."""
        times = [row.ms for row in self.rows if row.method == method and row.ms is not None]
        return float(np.median(times)) if times else None

    def to_json(self) -> dict[str, Any]:
        """The command's JSON: ``ok``, ``rows``, ``mean``, ``failed``, ``networks`` and ``kinds``."""
        return {
            "ok": not self.failed,
            "rows": [row.to_json() for row in self.rows],
            "mean": {method: self.mean(method) for method in self.methods},
            "failed": len(self.failed),
            "networks": self.networks,
            "kinds": self.kinds,
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "Evaluation":
        """The evaluation that `to_json` wrote as ``found``, taken as one of pairs: ``what`` and ``bounds`` are not in it."""
        rows = [EvalRow.from_json(entry) for entry in found["rows"]]
        networks = {name: dict(facts) for name, facts in found.get("networks", {}).items()}
        return cls(rows, networks, kinds=dict(found.get("kinds", {})))


def chosen_pairs(folder: Path, pattern: str | None = None) -> list[PairPaths]:
    """The pairs below ``folder`` whose name matches the shell pattern. Raises: InputError when there is none."""
    pairs = [pair for pair in find_pairs(folder) if pattern is None or fnmatch(pair.name, pattern)]
    if not pairs:
        raise InputError(f"no pair in {folder} has a name like {pattern}: look at the names with `ls {folder}`.")
    return pairs


def evaluate(
    pairs: list[PairPaths],
    contestants: list[Contestant],
    *,
    jobs: int | None = None,
    pictures: Path | None = None,
    perceptual: str | None = None,
    done: Callable[[EvalRow], None] = ignored,
) -> Evaluation:
    """Fuse (where needed) and score every pair of every contestant.

    Args:
        pairs: From `chosen_pairs`.
        contestants: From `contestants.contestants`.
        jobs: Processes; None: as many as there are cores. With 1 everything runs in this process.
        pictures: Write each fused picture to ``pictures/CONTESTANT/PAIR.png``, replacing what is there.
        perceptual: Also score by LPIPS, where the truth is known, with this one of `metrics.perceptual.NETS`.
        done: Called after each row.

    Returns:
        Rows in the order of contestants and pairs; a pair that could not be read, fused or scored is a row with an error.

    Raises:
        BackendError: A process was killed from outside, as a system out of memory does.
    """
    tasks = [(contestant, pair) for contestant in contestants for pair in pairs]
    jobs = min(jobs or usable_cores(), len(tasks))
    rows: dict[tuple[str, str], EvalRow] = {}
    try:
        with _executor(jobs) as executor:
            for row in _rows(executor, jobs, tasks, _How(pictures, perceptual)):
                rows[row.method, row.name] = row
                done(row)
    except BrokenProcessPool as error:
        raise BackendError(f"one of {jobs} processes was killed, for want of memory as a rule: give `jobs=1`.") from error
    kinds = {contestant.name: contestant.kind for contestant in contestants}
    return Evaluation([rows[task[0].name, task[1].name] for task in tasks], _networks(contestants), kinds=kinds)


def _networks(contestants: list[Contestant]) -> dict[str, dict[str, Any]]:
    return {contestant.name: facts for contestant in contestants if (facts := contestant.facts())}


@contextmanager
def _executor(jobs: int) -> Iterator[Executor | None]:
    if jobs == 1:
        yield None
        return
    # spawn: a forked child of a process that holds an inference engine's threads may hang.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_single_threaded)
    with _one_blas_thread(), pool as executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """What is started meanwhile has one thread for matrix products, as NumPy reads when it is loaded; unless a user set it."""
    names = [name for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS") if name not in os.environ]
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)


def _single_threaded() -> None:
    import signal

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends them; a traceback from each would drown its one line


class _How(NamedTuple):
    """Where fused pictures go, and the network of LPIPS."""

    pictures: Path | None = None
    perceptual: str | None = None


def _rows(executor: Executor | None, jobs: int, tasks: list[tuple[Contestant, PairPaths]], how: _How) -> Iterable[EvalRow]:
    if executor is None:
        for contestant, pair in tasks:
            yield _fuse_and_score(contestant, pair, how)
        return
    waiting: set[Future[EvalRow]] = set()
    for contestant, pair in tasks:
        if contestant.in_worker:
            continue
        # A network is faster than the scoring: without a limit, its pictures of all pairs would wait in memory.
        while len(waiting) >= _WAITING_PER_JOB * jobs:
            finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in finished)
        try:
            fused = contestant.fused(pair, *_frames(pair))
        except FAILURES as error:
            yield EvalRow(pair.name, contestant.name, error=reason(error))
        else:
            waiting.add(executor.submit(_score, contestant.name, pair, fused, how))
    waiting |= {executor.submit(_fuse_and_score, *task, how) for task in tasks if task[0].in_worker}
    for future in as_completed(waiting):
        yield future.result()


def reason(error: Exception, mend: str = "a smaller picture, or fewer `jobs`, may do") -> str:
    """Why one failed, in a line; of what says nothing, as running out of memory, its kind and what may mend it."""
    return " ".join(str(error).split()) or f"{type(error).__name__}: {mend}"


def _frames(pair: PairPaths) -> tuple[Any, Any]:
    return alike(read_image(pair.near), read_image(pair.far))


def _fuse_and_score(contestant: Contestant, pair: PairPaths, how: _How) -> EvalRow:
    try:
        fused = contestant.fused(pair, *_frames(pair))
    except FAILURES as error:
        return EvalRow(pair.name, contestant.name, error=reason(error))
    return _score(contestant.name, pair, fused, how)


def _score(method: str, pair: PairPaths, fused: FusedPicture, how: _How) -> EvalRow:
    try:
        files = [path for path in (pair.near, pair.far, pair.truth) if path is not None]
        pictures = [read_picture(path, inside="thoroughly") for path in files]
        both, names = (pictures[0].array, pictures[1].array), [path.name for path in files]
        frames, told = alike(*both), [*told_of(names, pictures), *told_of_alike(names[:2], *both)]
        white = White.of_frames(frames)
        if how.pictures is not None:
            keep_picture(how.pictures, method, pair.name, white.bytes(fused.picture))
        truth = pictures[2].array if pair.truth else None
        told += [] if truth is None else white.told(names[2], truth)
        told += white.told("the fused picture", fused.picture)
        given = [sentence[:-1] for sentence in fused.told]
        metrics = score(*frames, fused.picture, truth, perceptual=how.perceptual)
    except FAILURES as error:
        return EvalRow(pair.name, method, error=f"{pair.name}: {reason(error)}")
    return EvalRow(pair.name, method, metrics, fused.ms, note="; ".join(filter(None, (white.note, *told, *given))))


def picture_path(pictures: Path, method: str, pair: str) -> Path:
    """Where `evaluate` writes a fused picture."""
    return pictures / method / f"{pair}.png"


def keep_picture(pictures: Path, method: str, pair: str, levels: Bytes) -> Path:
    """Write a picture of a pair or stack, replacing what is there; returns its file. Raises: OutputError."""
    path = picture_path(pictures, method, pair)
    make_folder(path.parent)
    write_image(path, levels, force=True)
    return path
