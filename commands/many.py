"""`ufa fuse` of many: folders of pairs and of stacks, cut or watched."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ufafuse.commands.quantities import seconds_from
from ufafuse.runtime import console
from ufafuse.runtime.errors import InputError

if TYPE_CHECKING:
    from ufafuse.runtime.batches.task import FileGroup, Task
    from ufafuse.runtime.files import FileOptions, Outcome
    from ufafuse.runtime.fuser import Fuser
    from ufafuse.runtime.stack import StackOptions


@dataclass(frozen=True)
class Many:
    """A folder of pairs or stacks, and how it is cut or watched."""

    folder: Path
    pairs: bool
    gap: float | None
    every: int | None
    watch: bool
    quiet: float
    limit: int | None
    ray: str | None = None

    @classmethod
    def checked(
        cls,
        pairs: Path | None,
        stacks: Path | None,
        *,
        gap: str | None,
        every: int | None,
        watch: bool,
        quiet: str,
        limit: int | None,
        ray: str | None = None,
    ) -> Many | None:
        """What the options say; None: one pair or stack. Raises: InputError where one lacks another."""
        for option, value in (("--gap", gap), ("--every", every), ("--watch", watch)):
            if value and stacks is None:
                raise InputError(f"{option} is for a folder of stacks: add --stacks DIR.")
        if gap is not None and (watch or every is not None):
            raise InputError("--gap was given beside another way to cut: give one of --gap, --every and --watch.")
        if limit is not None and not watch:
            raise InputError("--limit ends a watch: add --watch.")
        if ray is not None and (watch or not (pairs or stacks)):
            raise InputError("--ray is for many that are there: give --pairs or --stacks, without --watch.")
        folder = pairs or stacks
        if folder is None:
            return None
        _check_there(folder, pairs=pairs is not None, by_time=gap is not None or watch)
        seconds = None if gap is None else seconds_from("--gap", gap)
        return cls(folder, pairs is not None, seconds, every, watch, seconds_from("--quiet", quiet), limit, ray)

    def listed(self, out: Path) -> bool:
        """Whether they are a list of tasks: from a manifest, for a cluster, or with results behind a URL."""
        from ufafuse.runtime.batches.storage import url_of

        return self.ray is not None or not self.folder.is_dir() or url_of(out) is not None

    def tasks(self, out: Path, suffix: str, passed: list[str]) -> list[Task]:
        """The pairs or stacks with their results in ``out``; ``passed`` as `groups`. Raises: InputError."""
        from ufafuse.runtime.batches.manifest import is_manifest, read_manifest
        from ufafuse.runtime.batches.storage import mirrored, url_of
        from ufafuse.runtime.batches.task import task_of

        url = url_of(self.folder)
        if self.pairs and is_manifest(self.folder) and not self.folder.is_dir():
            return read_manifest(self.folder, out, suffix=suffix)
        if url is None:
            return [task_of(group, out, suffix=suffix) for group in self.groups(passed)]
        with mirrored(url) as root:
            try:
                groups = replace(self, folder=root).groups(passed)
                return [task_of(group, out, suffix=suffix, mirror=(root, url)) for group in groups]
            except InputError as error:
                raise InputError(str(error).replace(str(root), url)) from error

    def groups(self, passed: list[str]) -> Iterable[FileGroup]:
        """The pairs or stacks; of a watched folder one after the other; ``passed`` takes what is none. Raises: InputError."""
        from ufafuse.runtime.pairs import find_pairs
        from ufafuse.runtime.pictures.arriving import arriving
        from ufafuse.runtime.pictures.inputs import find_stacks

        if self.pairs:
            return find_pairs(self.folder, passed=passed)
        if self.watch:

            def tell(text: str) -> None:
                passed.append(text)
                console.warn(f"{text}.")  # a watch may go on for weeks

            return islice(arriving(self.folder, quiet=self.quiet, every=self.every, tell=tell), self.limit)
        return find_stacks(self.folder, gap=self.gap, every=self.every, passed=passed)


def _check_there(folder: Path, *, pairs: bool, by_time: bool) -> None:
    """Refuse what is neither a folder (here or behind a URL) nor, for pairs, a manifest (`InputError`)."""
    from ufafuse.runtime.batches.manifest import SUFFIXES, is_manifest
    from ufafuse.runtime.batches.storage import url_of

    if folder.is_dir():
        return
    manifest = pairs and is_manifest(folder)
    if (url_of(folder) and not by_time) or (manifest and folder.is_file()):
        return
    if url_of(folder):
        raise InputError(f"{url_of(folder)}: --gap and --watch look at files of this machine; cut with --every, or omit them.")
    kinds = f", or a manifest ({' or '.join(SUFFIXES)})" if pairs else ""
    told = "does not exist" if manifest else "is not a folder"
    raise InputError(f"{folder} {told}: give one that holds {'pairs' if pairs else 'stacks'}{kinds}.")


class Done(NamedTuple):
    """What became of many.

    Args:
        outcomes: In their order.
        skipped: How many results were there already.
        at_once: How many were under way at once.
        seconds: All of it took, files too.
        passed: What beside the pairs or stacks is none, each with the reason.
    """

    outcomes: list[Outcome]
    skipped: int
    at_once: int
    seconds: float
    passed: Sequence[str] = ()

    def speed(self) -> dict[str, float]:
        """For the report: ``at_once``, ``seconds``, and how many were fused ``per_second``, from disk to disk."""
        fused = sum(not outcome.error for outcome in self.outcomes)
        rate = fused / self.seconds if self.seconds > 0 else 0.0
        return {"at_once": self.at_once, "seconds": round(self.seconds, 3), "per_second": round(rate, 3)}


def fuse_many(
    fuser: Fuser,
    many: Many,
    results: tuple[tuple[Path, Path | None, Path | None, Path | None], str],
    options: StackOptions,
    files: FileOptions,
    *,
    force: bool,
    skip_existing: bool,
    limits: dict[str, Any],
) -> Done:
    """Fuse the pairs or stacks; several pairs at once."""
    from ufafuse.runtime.batches.task import pairs_at_once
    from ufafuse.runtime.folders import fuse_folder

    passed: list[str] = []
    if many.listed(results[0][0]):
        from ufafuse.commands.batches import Listed, fuse_listed
        from ufafuse.runtime.batches.task import BatchPlan

        target, plan = results[0][0], BatchPlan(options, files, results[0][1:], force=force)
        listed = Listed(many.tasks(target, results[1], passed), many.pairs, many.ray, target, plan, limits)
        began = time.monotonic()
        found = fuse_listed(fuser, listed, skip_existing=skip_existing)
        return Done(*found, seconds=time.monotonic() - began, passed=passed)
    groups = many.groups(passed)
    total = len(groups) if isinstance(groups, list) else None
    (out, maps, confidences, conflicts), suffix = results
    outcomes: list[Outcome] = []
    at_once, began = pairs_at_once(fuser, groups), time.monotonic()
    with console.progress() as bar:
        task = bar.add_task("watching" if many.watch else f"fusing {'pairs' if many.pairs else 'stacks'}", total=total)

        def done(outcome: Outcome) -> None:
            outcomes.append(outcome)
            bar.advance(task)
            if many.watch and outcome.error:
                console.fail(outcome.error)  # a watch may go on for weeks
            elif many.watch:
                console.wrote(outcome.fused, as_json=True)

        try:
            with _ended_by_signal(many.watch):
                fuse_folder(
                    fuser, groups, out, options, files=files, maps=maps, confidences=confidences, conflicts=conflicts,
                    suffix=suffix, force=force, skip_existing=skip_existing, at_once=at_once, done=done,
                )  # fmt: skip
        except KeyboardInterrupt:
            if not many.watch:  # the way to end a watch
                raise
    return Done(outcomes, 0 if total is None else total - len(outcomes), at_once, time.monotonic() - began, passed)


@contextmanager
def _ended_by_signal(watching: bool) -> Iterator[None]:
    """A watch ends at SIGTERM as it does at Ctrl-C: what was begun is finished or left out, and all is reported."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop) if watching else None
    try:
        yield
    finally:
        if watching:
            signal.signal(signal.SIGTERM, before)
