"""Fusing many pairs or stacks: several at once, and one bad file must not stop the others."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ufafuse.runtime.atonce import in_order
from ufafuse.runtime.batches.clash import Wanted, check_results
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.errors import UfaError
from ufafuse.runtime.files import FileOptions, Outcome, fuse_files
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.memory.budget import SURELY_ENOUGH
from ufafuse.runtime.memory.usage import available_bytes
from ufafuse.runtime.outputs import Outputs
from ufafuse.runtime.pixels import declared_size
from ufafuse.runtime.stack import StackOptions
from ufafuse.runtime.writing import make_folder

_PAIR = 2
SHARE_AT_ONCE = 0.5  # of the memory that is left: for all pairs that are under way
HEADER = 256 << 10  # bytes of a file that tell its size


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
        OutputError: A folder cannot be made, or a result would replace a file that is read.
    """
    files = files or FileOptions()
    places = _Places(folder, maps, confidences, conflicts, files.report, suffix)
    made: set[Path] = set()
    if isinstance(groups, Sequence):
        check_results([group for group in groups if not group.refused], places.wanted, links=True)
    workers = pairs_at_once(fuser, groups) if at_once is None else at_once
    files = replace(files, ahead=workers == 1)

    def one(group: FileGroup) -> Outcome | None:
        if group.refused:
            return _failed(group, places, group.refused)
        if places.outputs(group).fused in made:  # those that still arrive could not be compared before
            return _failed(group, places, f"another called {group.name} was fused before: rename this one.")
        made.add(places.outputs(group).fused)
        return _fused(fuser, group, places, options, files, force=force, skip_existing=skip_existing)

    outcomes = []
    for outcome in in_order(groups, one, workers=workers, cost=_memory_for, room=SHARE_AT_ONCE * available_bytes()):
        if outcome is not None:
            outcomes.append(outcome)
            done(outcome)
    return outcomes


@dataclass(frozen=True)
class _Places:
    """Folders for the results of many."""

    fused: Path
    maps: Path | None
    confidences: Path | None
    conflicts: Path | None
    pages: Path | None
    suffix: str

    def outputs(self, group: FileGroup) -> Outputs:
        name = f"{group.name}{self.suffix}"
        maps, confidences, conflicts = (folder and folder / name for folder in (self.maps, self.confidences, self.conflicts))
        return Outputs(self.fused / name, maps, confidences, conflicts)

    def page(self, group: FileGroup) -> Path | None:
        return self.pages and self.pages / f"{group.name}.html"

    def all(self, group: FileGroup) -> list[Path]:
        page = self.page(group)
        return [*self.outputs(group).all(), *([page] if page else [])]

    def wanted(self, group: FileGroup) -> Wanted:
        return Wanted(group.name, [str(path) for path in group.files], [str(path) for path in self.all(group)])


def _fused(
    fuser: Fuser,
    group: FileGroup,
    places: _Places,
    options: StackOptions | None,
    files: FileOptions,
    *,
    force: bool,
    skip_existing: bool,
) -> Outcome | None:
    """What became of one of many; None: all of its results are there."""
    there = [path.exists() for path in places.all(group)]
    if skip_existing and all(there):
        return None
    for path in places.all(group):
        make_folder(path.parent)
    force = force or (skip_existing and any(there))  # some of them without the others are no result
    try:
        files = replace(files, report=places.page(group))
        outcome = fuse_files(fuser, group.files, places.outputs(group), options, files=files, force=force)
    except UfaError as error:
        return _failed(group, places, str(error))
    outcome.note(group.note)
    return outcome


def _failed(group: FileGroup, places: _Places, error: str) -> Outcome:
    first, second = (*group.files, group.files[-1])[:2]
    return Outcome(first, second, places.outputs(group).fused, error=error)


def pairs_at_once(fuser: Fuser, groups: Iterable[HasFiles]) -> int:
    """How many of ``groups`` are fused at once: twice as many pairs as there are cores, for each waits for the disk at its end.

    Stacks come one after the other, as do groups that are still arriving, and pairs under a memory budget.
    """
    if not isinstance(groups, Sequence) or fuser.memory_limit is not None or any(len(group.files) > _PAIR for group in groups):
        return 1
    return max(1, min(2 * fuser.threads, len(groups)))


def _memory_for(group: FileGroup) -> float:
    """Bytes that fusing a pair takes at most, as far as its first file tells; more than there are where it does not."""
    try:
        with group.files[0].open("rb") as file:
            return memory_for_pair(file.read(HEADER))
    except OSError:  # it will be told when the pair is read
        return 0.0


def memory_for_pair(head: bytes) -> float:
    """Bytes that fusing a pair takes at most, as far as the first `HEADER` bytes of its first file tell; else infinity."""
    size = declared_size(head)
    return float("inf") if size is None else float(size[0] * size[1] * SURELY_ENOUGH)
