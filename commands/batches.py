"""`ufa fuse` of what is listed: manifests, results behind URLs, clusters."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ufafuse.runtime import console

if TYPE_CHECKING:
    from ufafuse.runtime.batches.task import BatchPlan, Task
    from ufafuse.runtime.files import Outcome
    from ufafuse.runtime.fuser import Fuser

FAILED = "failed.csv"
_THREADS = 1  # of a worker on a cluster: with as many workers as cores, files are read and written while others fuse


@dataclass(frozen=True)
class Listed:
    """A list of pairs or stacks.

    Args:
        tasks: What is to be done.
        pairs: They are pairs; else stacks.
        ray: The cluster's address; None: this process fuses.
        out: Where results go, a folder or a URL.
        plan: How they are fused.
        limits: Options of `Fuser` beside model, backend and arithmetic.
    """

    tasks: list[Task]
    pairs: bool
    ray: str | None
    out: Path
    plan: BatchPlan
    limits: dict[str, Any]


def fuse_listed(fuser: Fuser, listed: Listed, *, skip_existing: bool) -> tuple[list[Outcome], int, int]:
    """What became of them, how many results were there already, how many were fused at once; the failed ones are listed.

    Raises:
        UfaError: Storage or the cluster cannot be used, or a result would replace a frame.
    """
    from ufafuse.runtime.batches.task import sort_out

    found = sort_out(listed.tasks, listed.plan, skip_existing=skip_existing)
    with console.progress() as bar:
        shown = bar.add_task(f"fusing {'pairs' if listed.pairs else 'stacks'}", total=len(found.due))
        made, at_once = _run(fuser, listed, found.due, lambda _: bar.advance(shown))
    outcomes = [*found.refused, *made]
    if listed.pairs:
        _list_failed(listed.out, listed.tasks, outcomes)
    return outcomes, found.there, at_once


def _run(fuser: Fuser, listed: Listed, due: Sequence[Task], done: Callable[[Outcome], None]) -> tuple[list[Outcome], int]:
    from ufafuse.runtime.batches.task import fuse_tasks, pairs_at_once

    if listed.ray is None:
        at_once = pairs_at_once(fuser, due)
        return fuse_tasks(fuser, due, listed.plan, at_once=at_once, done=done), at_once
    from ufafuse.runtime.batches.on_ray import Setup, fuse_on_ray

    # What is there was sorted out before: what a worker wrote and did not tell, for it was killed, is written again.
    plan = replace(listed.plan, force=True)
    more = {name: listed.limits[name] for name in ("pin", "provider", "max_memory", "tile")}
    setup = Setup.like(fuser, plan, threads=listed.limits["threads"] or _THREADS, **more)
    return fuse_on_ray(due, setup, address=listed.ray, done=done)


def _list_failed(out: Path, tasks: Sequence[Task], outcomes: Sequence[Outcome]) -> None:
    """Write the manifest of those that failed; where none did, take away that of an earlier run."""
    from ufafuse.runtime.batches.manifest import write_failed
    from ufafuse.runtime.batches.storage import joined, put, remove, url_of
    from ufafuse.runtime.writing import make_folder

    by_result = {str(Path(task.out)): task for task in tasks}
    failed = [(by_result[str(outcome.fused)], outcome.error) for outcome in outcomes if outcome.error]
    place = joined(out, FAILED)
    url = url_of(place)
    if not failed:
        Path(place).unlink(missing_ok=True) if url is None else remove(url)
        return
    if url is None:
        make_folder(Path(place).parent)
        write_failed(Path(place), failed)
    else:
        with tempfile.TemporaryDirectory(prefix="ufafuse-") as folder:
            write_failed(Path(folder) / FAILED, failed)
            put(Path(folder) / FAILED, url)
    console.wrote(Path(place), as_json=True)
