"""One pair or stack of many: where its frames are, where its result goes; fused as `ufa fuse` fuses it."""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from ufafuse.runtime.atonce import in_order
from ufafuse.runtime.batches.clash import Wanted, check_results
from ufafuse.runtime.batches.places import check_places
from ufafuse.runtime.batches.storage import fetch, head, joined, present, put, url_of
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.errors import UfaError
from ufafuse.runtime.files import FileOptions, Outcome, fuse_files
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.memory.budget import SURELY_ENOUGH
from ufafuse.runtime.memory.usage import available_bytes
from ufafuse.runtime.outputs import Outputs
from ufafuse.runtime.pixels import declared_size
from ufafuse.runtime.stack import StackOptions
from ufafuse.runtime.writing import already_there, make_folder, together

_PAIR = 2
_SHARE_AT_ONCE = 0.5  # of the memory that is left: for all pairs that are under way
_HEADER = 256 << 10  # bytes of a file that tell its size


class HasFiles(Protocol):
    """What is fused of several files."""

    @property
    def files(self) -> Sequence[Path | str]:
        """In the order of focus."""
        ...


class FileGroup(Protocol):
    """The files of a pair or stack, and what its result is called: `PairPaths`, `StackPaths`."""

    @property
    def name(self) -> str:
        """Of the result, without a suffix."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """In the order of focus."""
        ...

    @property
    def note(self) -> str:
        """Which pictures beside them are none of them; empty: nothing to say."""
        ...

    @property
    def refused(self) -> str:
        """Why they cannot be fused, where that shows before they are read; empty: nothing is known against it."""
        ...


@dataclass(frozen=True)
class Task:
    """A pair or stack.

    Args:
        name: What results beside the picture are called, without a suffix.
        files: Names or URLs of the frames, in the order of focus.
        out: Name or URL of the result.
        note: Which pictures beside the frames are none of them; empty: nothing to say.
        refused: Why they cannot be fused; empty: nothing is known against it.
        again: Some of its results are there, others are not: what is there is replaced.
    """

    name: str
    files: tuple[str, ...]
    out: str
    note: str = ""
    refused: str = ""
    again: bool = False

    def results(self, plan: BatchPlan) -> list[str]:
        """All that is to be written: the picture, what goes beside it, the page."""
        suffix = posixpath.splitext(self.out)[1]
        beside = [str(folder / f"{self.name}{suffix}") for folder in plan.beside if folder is not None]
        page = plan.files.report
        return [self.out, *beside, *([] if page is None else [str(page / f"{self.name}.html")])]


@dataclass(frozen=True)
class BatchPlan:
    """How all of them are fused.

    Args:
        options, files: As `fuse_files`; a report is ``NAME.html`` in the folder that `FileOptions.report` names.
        beside: Folders for maps, confidences and conflicts, where wanted.
        force: Replace existing results.
    """

    options: StackOptions = field(default_factory=StackOptions)
    files: FileOptions = field(default_factory=FileOptions)
    beside: tuple[Path | None, Path | None, Path | None] = (None, None, None)
    force: bool = False


def task_of(group: FileGroup, out: str | Path, *, suffix: str = ".png", mirror: tuple[Path, str] | None = None) -> Task:
    """A pair or stack as `find_pairs` and `find_stacks` give it.

    Args:
        group: What they give.
        out: A folder or a URL for the results.
        suffix: Of the results.
        mirror: The folder in which it was found, and the URL whose mirror that is (`mirrored`).
    """

    def place(path: Path) -> str:
        return str(path) if mirror is None else joined(mirror[1], path.relative_to(mirror[0]).as_posix())

    return Task(group.name, tuple(map(place, group.files)), joined(out, f"{group.name}{suffix}"), group.note, group.refused)


def check_tasks(tasks: Sequence[Task], plan: BatchPlan, *, links: bool = False) -> None:
    """Refuse, before anything runs, what `check_places` and `check_results` refuse; for ``links`` and the errors see there."""
    known = [task for task in tasks if not task.refused]
    check_places((task.results(plan) for task in known), plan.files.store)
    check_results(known, lambda task: Wanted(task.name, task.files, task.results(plan)), links=links)


@dataclass(frozen=True)
class Sorted:
    """What is to be done, and what is there already.

    Args:
        due: To be fused.
        there: How many results are there, and are left.
        refused: Results that are there and may not be replaced.
    """

    due: list[Task]
    there: int
    refused: list[Outcome]


def sort_out(tasks: list[Task], plan: BatchPlan, *, skip_existing: bool) -> Sorted:
    """Look once which results are there; done is what has all of them.

    Raises:
        InputError: Two tasks have one result, or storage does not answer.
        OutputError: A result would replace what is read, or could not be written.
    """
    check_tasks(tasks, plan)
    there = set() if plan.force else present(place for task in tasks for place in task.results(plan))
    if not skip_existing:
        refused = [failed(task, already_there(task.out)) for task in tasks if task.out in there]
        return Sorted([task for task in tasks if task.out not in there], 0, refused)
    due = []
    for task in tasks:
        found = sum(place in there for place in task.results(plan))
        if found < len(task.results(plan)):
            due.append(replace(task, again=True) if found else task)
    return Sorted(due, len(tasks) - len(due), [])


def failed(task: Task, error: str) -> Outcome:
    """What became of a pair that was not fused."""
    first, second = (*task.files, task.files[-1])[:2]
    return Outcome(Path(first), Path(second), Path(task.out), error=error)


def fuse_task(fuser: Fuser, task: Task, plan: BatchPlan) -> Outcome:
    """Fuse one of many; whatever is wrong with it is an `Outcome` with an error.

    Args:
        fuser: With a loaded model.
        task: The pair or stack.
        plan: How it is fused.
    """
    if task.refused:
        return failed(task, task.refused)
    plan = replace(plan, force=plan.force or task.again)
    try:
        with ExitStack() as opened:
            return _fused(fuser, task, plan, opened)
    except UfaError as error:
        return failed(task, str(error))


def _fused(fuser: Fuser, task: Task, plan: BatchPlan, opened: ExitStack) -> Outcome:
    here: dict[str, str] = {}  # copies of what lies behind URLs, and the URLs
    urls = [url_of(place) for place in (*task.files, task.out)]
    folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="ufafuse-"))) if any(urls) else Path()
    paths = []
    try:
        for index, (place, url) in enumerate(zip(task.files, urls[:-1], strict=True)):
            path = Path(place) if url is None else fetch(url, folder / str(index))
            here[str(path)] = place
            paths.append(path)
        out = Path(task.out) if urls[-1] is None else folder / "out" / Path(task.out).name
        here[str(out)] = task.out
        outputs, files = _outputs(task, out, plan), _files(task, plan)
        with together() as run:
            outcome = fuse_files(fuser, paths, outputs, plan.options, files=files, force=plan.force)
            if urls[-1] is not None:
                put(run.now_at(out), urls[-1])
    except UfaError as error:
        return failed(task, _with_names(str(error), here))
    outcome.note(task.note)
    outcome.warnings = [_with_names(text, here) for text in outcome.warnings]
    if any(urls):
        known = failed(task, "")
        outcome.near, outcome.far, outcome.fused = known.near, known.far, known.fused
    return outcome


def _outputs(task: Task, out: Path, plan: BatchPlan) -> Outputs:
    maps, confidences, conflicts = (folder and folder / f"{task.name}{out.suffix}" for folder in plan.beside)
    outputs = Outputs(out, map=maps, confidence=confidences, conflicts=conflicts)
    for path in outputs.all():
        make_folder(path.parent)
    return outputs


def _files(task: Task, plan: BatchPlan) -> FileOptions:
    if plan.files.report is None:
        return plan.files
    page = plan.files.report / f"{task.name}.html"
    make_folder(page.parent)
    return replace(plan.files, report=page)


def _with_names(text: str, here: dict[str, str]) -> str:
    """A text with the names that the user gave instead of those of copies."""
    for path, name in here.items():
        text = text.replace(path, name)
    return text


def fuse_tasks(
    fuser: Fuser,
    tasks: Iterable[Task],
    plan: BatchPlan,
    *,
    at_once: int | None = None,
    done: Callable[[Outcome], None] = ignored,
    fuse: Callable[[Fuser, Task, BatchPlan], Outcome | None] = fuse_task,
) -> list[Outcome]:
    """Fuse them on this machine; several pairs at once, so that files are read and written while others are fused.

    Args:
        fuser: With a loaded model.
        tasks: The pairs or stacks.
        plan: How they are fused.
        at_once: How many; None: as `pairs_at_once` says.
        done: Called after each, in their order.
        fuse: What fuses one; None of it: there was nothing to do.
    """
    workers = pairs_at_once(fuser, tasks) if at_once is None else at_once
    plan = replace(plan, files=replace(plan.files, ahead=workers == 1))
    room = _SHARE_AT_ONCE * available_bytes()
    outcomes = []
    for outcome in in_order(tasks, lambda task: fuse(fuser, task, plan), workers=workers, cost=_memory_for, room=room):
        if outcome is not None:
            outcomes.append(outcome)
            done(outcome)
    return outcomes


def pairs_at_once(fuser: Fuser, groups: Iterable[HasFiles]) -> int:
    """How many of ``groups`` are fused at once: twice as many pairs as there are cores, for each waits for the disk at its end.

    Stacks come one after the other, as do groups that are still arriving, and pairs under a memory budget.
    """
    if not isinstance(groups, Sequence) or fuser.memory_limit is not None or any(len(group.files) > _PAIR for group in groups):
        return 1
    return max(1, min(2 * fuser.threads, len(groups)))


def _memory_for(task: Task) -> float:
    """Bytes that fusing a pair takes at most, as far as its first file tells.

    More than there are where that does not tell; none where it cannot be read, which will be told.
    """
    data = head(task.files[0], _HEADER)
    if not data:
        return 0.0
    size = declared_size(data)
    return float("inf") if size is None else float(size[0] * size[1] * SURELY_ENOUGH)
