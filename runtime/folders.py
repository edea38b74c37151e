"""Fusing the pairs or stacks of a folder; see `ufafuse.runtime.batches.task` for those of a list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ufafuse.runtime.batches.places import check_places
from ufafuse.runtime.batches.task import BatchPlan, FileGroup, Task, check_tasks, failed, fuse_task, fuse_tasks, task_of
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.files import FileOptions, Outcome
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.stack import StackOptions
from ufafuse.runtime.writing import make_folder


def fuse_folder(
    fuser: Fuser,
    groups: Iterable[FileGroup],
    folder: Path,
    options: StackOptions | None = None,
    *,
    files: FileOptions | None = None,
    maps: Path | None = None,
    confidences: Path | None = None,
    conflicts: Path | None = None,
    suffix: str = ".png",
    force: bool = False,
    skip_existing: bool = False,
    at_once: int | None = None,
    done: Callable[[Outcome], None] = ignored,
) -> list[Outcome]:
    """Fuse every pair or stack into ``folder/NAME.suffix``; one that fails is an `Outcome` with an error and stops no other.

    Several pairs are under way at once, so that files are read and written while others are fused.

    Args:
        fuser: With a loaded model.
        groups: As `find_pairs` or `find_stacks` gives them, or `arriving` one after the other.
        folder: Made if need be.
        options, files: As `fuse_files`; a report is ``NAME.html`` in the folder that `FileOptions.report` names.
        maps, confidences, conflicts: Folders for those results, if wanted.
        suffix: The format of the results.
        force: Replace existing files.
        skip_existing: Leave out those of which all results are there already: goes on where an earlier run stopped.
        at_once: How many; None: see `pairs_at_once`.
        done: Called after each, in their order.

    Raises:
        InputError: Two of them have one result.
        OutputError: A result could not be written, or would replace a file that is read.
    """
    plan = BatchPlan(options or StackOptions(), files or FileOptions(), (maps, confidences, conflicts), force)
    tasks: Iterable[Task] = (task_of(group, folder, suffix=suffix) for group in groups)
    if isinstance(groups, Sequence):
        tasks = list(tasks)
        check_tasks(tasks, plan, links=True)
    else:  # of those that still arrive the format and the folders are known
        check_places([Task("*", (), str(folder / f"*{suffix}")).results(plan)], plan.files.store)
    made: set[str] = set()

    def one(fuser: Fuser, task: Task, plan: BatchPlan) -> Outcome | None:
        if task.refused:
            return failed(task, task.refused)
        if task.out in made:  # those that still arrive could not be compared before
            return failed(task, f"another called {task.name} was fused before: rename this one.")
        made.add(task.out)
        places = list(map(Path, task.results(plan)))
        there = [place.exists() for place in places]
        if skip_existing and all(there):
            return None
        for place in places:
            make_folder(place.parent)
        return fuse_task(fuser, replace(task, again=skip_existing and any(there)), plan)

    return fuse_tasks(fuser, tasks, plan, at_once=at_once, done=done, fuse=one)
