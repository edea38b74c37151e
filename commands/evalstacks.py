"""`ufa eval --stacks`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ufafuse.runtime import console
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.filebytes import real_path
from ufafuse.runtime.texts import few_of_a_kind
from ufafuse.runtime.writing import make_folder

if TYPE_CHECKING:
    from ufafuse.benchmarks.evaluate import Evaluation
    from ufafuse.benchmarks.stacks.contestants import StackContestant
    from ufafuse.benchmarks.stacks.evaluate import OnStack
    from ufafuse.benchmarks.stacks.folders import StackToScore
    from ufafuse.benchmarks.stacks.registered import Registered


def checked_align(align: str | None) -> str | None:
    """What ``--align`` was given. Raises: InputError where it is not known."""
    from ufafuse.runtime.registration.align import check_motion

    if align not in (None, "off"):
        check_motion(str(align))
    return align


def evaluate_stacks(
    folder: Path, compared: "list[StackContestant]", *, align: str | None, out: Path | None, only: str | None, as_json: bool
) -> "Evaluation":
    """Score the stacks in a folder, and tell of it.

    Args:
        folder: What ``--stacks`` was given.
        compared: The contestants; they are closed.
        align: What ``--align`` was given.
        out: Write a page, CSV, JSON and the pictures here.
        only: Only stacks whose name matches.
        as_json: Print JSON.

    Raises:
        UfaError: Nothing to score, or a file that cannot be written.
    """
    from ufafuse.benchmarks.stacks.folders import find_stacks
    from ufafuse.benchmarks.tables import measured_rows, terminal_table

    told: list[dict[str, Any]] = []
    try:
        stacks = find_stacks(folder, only)
        on_stack, pages = _telling(told, out)
        evaluation = _evaluated(stacks, compared, align, out, on_stack)
    finally:
        for contestant in compared:
            contestant.close()
    rows = measured_rows(evaluation)
    count = "1 stack" if len(stacks) == 1 else f"{len(stacks)} stacks"
    title = f"{real_path(folder).name}: fusion quality of {count}"
    result = evaluation.to_json() | {"stacks": told}
    if pages is not None:
        result["files"] = [str(path) for path in pages.write(evaluation, rows, title=title, result=result)]
    console.emit(result, as_json=as_json)
    if not as_json:
        console.out.print(terminal_table(rows, title, console.out))
        for entry in rows:
            if entry.note:
                console.err.print(f"{entry.method}, {entry.what}: {entry.note}", markup=False)
    _tell(evaluation, told, result, as_json=as_json)
    return evaluation


def _telling(told: list[dict[str, Any]], out: Path | None) -> "tuple[OnStack, Any]":
    """What is called after each stack: it notes what was decided, and keeps what the page shows; and the page, if any."""
    from ufafuse.benchmarks.stacks.page import StackPages

    pages = None if out is None else StackPages(out)
    if out is not None:
        make_folder(out)  # before hours of work for it

    def on_stack(stack: "StackToScore", frames: "Registered", made: dict[str, Any]) -> None:
        entry: dict[str, Any] = {"name": stack.name, "frames": len(frames.sources), "size": list(frames.size)}
        entry |= {"align": frames.align, "reference": frames.sources[frames.pyramid.reference].name}
        told.append(entry | ({"warnings": frames.notes} if frames.notes else {}))
        if pages is not None:
            pages.add(stack, frames, made)

    return on_stack, pages


def _evaluated(
    stacks: "list[StackToScore]", compared: "list[StackContestant]", align: str | None, out: Path | None, on_stack: "OnStack"
) -> "Evaluation":
    from ufafuse.benchmarks.stacks.evaluate import evaluate_stacks as evaluate

    with console.progress() as bar:
        truths = sum(stack.truth is not None for stack in stacks)
        task = bar.add_task("fusing and scoring", total=len(stacks) * len(compared) + truths)
        pictures = out / "fused" if out else None
        return evaluate(stacks, compared, align=align, pictures=pictures, done=lambda _: bar.advance(task), on_stack=on_stack)


def _tell(evaluation: "Evaluation", told: list[dict[str, Any]], result: dict[str, Any], *, as_json: bool) -> None:
    """What stands below the table."""
    for warning in few_of_a_kind(f"{entry['name']}: {warning}" for entry in told for warning in entry.get("warnings", [])):
        console.warn(warning)
    for row in evaluation.rows:
        if row.note:
            console.warn(f"{row.name}, {row.method}: {row.note}.")
    for line in evaluation.failures():
        console.fail(line)
    for path in result.get("files", []):
        console.wrote(path, as_json=as_json)


def refuse_with_stacks(**options: object) -> None:
    """Raises: InputError for the first option, by its name, that only pairs have."""
    for name, value in options.items():
        if value is not None:
            raise InputError(f"--{name} is for pairs: leave it out with --stacks.")
