"""`ufa eval --pairs`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ufafuse.runtime import console
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.filebytes import real_path
from ufafuse.runtime.texts import few_of_a_kind
from ufafuse.runtime.writing import make_folder

if TYPE_CHECKING:
    from ufafuse.benchmarks.contestants import Contestant
    from ufafuse.benchmarks.evaluate import Evaluation
    from ufafuse.benchmarks.published import TableRow
    from ufafuse.runtime.pairs import PairPaths


class Shown(NamedTuple):
    """Where results go, the patterns of the names of what is scored and what is shown, and what joins from earlier runs."""

    out: Path | None
    only: str | None
    show: tuple[str, ...]
    join: list[Path]

    def check_joinable(self, pairs: "list[PairPaths]", compared: "list[Contestant]") -> None:
        """Refuse an earlier run that cannot join before the work. Raises: InputError."""
        from ufafuse.benchmarks.joined import check_joinable
        from ufafuse.benchmarks.published import MEASURED

        untrained = [contestant.name for contestant in compared if contestant.kind == MEASURED]
        for earlier in self.join:
            check_joinable(earlier, [pair.name for pair in pairs], untrained)

    def joined(self, evaluation: "Evaluation", on_page: "list[PairPaths]") -> "tuple[Evaluation, list[str]]":
        """With the rows and pictures of earlier runs, and what to tell of it. Raises: InputError."""
        from ufafuse.benchmarks.joined import copy_pictures, joined

        told = []
        for earlier in self.join:
            before, evaluation = evaluation.methods, joined(evaluation, earlier)
            added = [name for name in evaluation.methods if name not in before]
            told.append(f"{', '.join(added) or 'nothing new'}: from {earlier}, an earlier evaluation of the same pairs.")
            if self.out is not None:
                copy_pictures(earlier, self.out / "fused", added, [pair.name for pair in on_page])
        return evaluation, told

    def on_page(self, pairs: "list[PairPaths]") -> "list[PairPaths]":
        """Those that the page shows. Raises: InputError, where ``--show`` cannot be."""
        from fnmatch import fnmatch

        if not self.show:
            return pairs
        if self.out is None:
            raise InputError("--show is about the page: add -o OUT.")
        found = [pair for pair in pairs if any(fnmatch(pair.name, pattern) for pattern in self.show)]
        if not found:
            raise InputError(
                f"no pair that is scored has a name like --show {','.join(self.show)}: they begin with {pairs[0].name}."
            )
        return found


def evaluate_pairs(
    pairs: Path,
    named: dict[str, Any],
    *,
    table: str | None,
    shown: "Shown",
    jobs: int | None,
    lpips: str | None,
    as_json: bool,
) -> "Evaluation":
    """Score the pairs in a folder, and tell of it.

    Args:
        pairs: What ``--pairs`` was given.
        named: What is compared, as `contestants` takes it.
        table: The paper's table that is set beside it.
        shown: Where results go, what is scored, shown and joined.
        jobs: Processes.
        lpips: The network of LPIPS.
        as_json: Print JSON.

    Raises:
        UfaError: Nothing to score, something that cannot be run, or a file that cannot be written.
    """
    from ufafuse.benchmarks.contestants import contestants
    from ufafuse.benchmarks.evaluate import chosen_pairs
    from ufafuse.benchmarks.lytro import TableComparison, beside_table
    from ufafuse.benchmarks.published import published_table
    from ufafuse.benchmarks.tables import measured_rows, terminal_table, with_published
    from ufafuse.commands.telling import unpaired_in, warn_of_passed

    out, chosen = shown.out, chosen_pairs(pairs, shown.only)
    on_page = shown.on_page(chosen)
    beside = published_table(table) if table else None
    _check_lpips(lpips, chosen)
    compared = contestants(**named, names=[pair.name for pair in chosen_pairs(pairs)])
    try:
        shown.check_joinable(chosen, compared)
        if out is not None:
            make_folder(out)  # before hours of work for it
        evaluation = _evaluated(chosen, compared, out, jobs, lpips)
    finally:
        for contestant in compared:
            contestant.close()
    evaluation, told = shown.joined(evaluation, on_page)
    compares = beside_table(table, chosen) if table else TableComparison(same=True)
    rows = with_published(measured_rows(evaluation), beside, same=compares.same)
    count = "1 pair" if len(chosen) == 1 else f"{len(chosen)} pairs"
    title = f"{real_path(pairs).name}: fusion quality of {count}" + (f", beside Table {table.upper()}" if table else "")
    result = evaluation.to_json()
    if table:
        title += "" if compares.same else " (of other pairs)"
        result["table"] = {"number": table.upper(), "same_pairs": compares.same, "rows": [row.to_json() for row in rows]}
    result |= (beside_them := unpaired_in(pairs))
    to_tell = (compares.warning, left_out_of_all(named["method_names"]), *_whites(evaluation), *told)
    if warnings := [text for text in to_tell if text]:
        result["warnings"] = warnings
    if out is not None:
        from ufafuse.benchmarks.page import write_pages

        written = write_pages(out, evaluation, rows, on_page, title=title, table=beside, warnings=warnings, result=result)
        result["files"] = [str(path) for path in written]
    console.emit(result, as_json=as_json)
    if not as_json:
        console.out.print(terminal_table(rows, title, console.out))
    warn_of_passed(beside_them.get("passed_over", ()))
    _tell(evaluation, rows, result, as_json=as_json)
    if out is not None:
        console.hint(f"ufa bench --quality {console.word(out / 'eval.json')} --report DIR", as_json=as_json)
    return evaluation


def _whites(evaluation: "Evaluation") -> list[str]:
    """What to tell of pairs whose level of white was found."""
    notes = {row.name: row.note for row in evaluation.rows if row.note}
    return [f"{name}: {note}." for name, note in notes.items()]


def _check_lpips(net: str | None, pairs: "list[PairPaths]") -> None:
    """Raises: UfaError, where LPIPS is asked for and cannot be measured."""
    if net is None:
        return
    from ufafuse.benchmarks.metrics.perceptual import check_lpips

    if not any(pair.truth for pair in pairs):
        raise InputError("--lpips compares with the truth, and no pair has one: put NAME_GT.* beside NAME_A.* and NAME_B.*.")
    check_lpips(net)


def left_out_of_all(method_names: list[str]) -> str:
    """Say which of all methods cannot run here; empty where all can, or all were not asked for."""
    from ufafuse.benchmarks.methods import missing_rivals

    if "all" not in method_names or not (missing := missing_rivals()):
        return ""
    return f"all is without {len(missing)} networks of the paper's tables: {next(iter(missing.values()))}"


def _tell(evaluation: "Evaluation", rows: "list[TableRow]", result: dict[str, Any], *, as_json: bool) -> None:
    """What stands below the table: what its rows are, notes, warnings, failures, files."""
    from ufafuse.benchmarks.tables import legend

    if not as_json and len({row.source for row in rows}) > 1:
        console.out.print(f"{legend(rows)}.", style="dim", markup=False)
    for entry in rows:
        if entry.note and not as_json:
            console.err.print(f"{entry.method}, {entry.what}: {entry.note}", markup=False)
    for warning in few_of_a_kind(result.get("warnings", [])):
        console.warn(warning)
    for line in evaluation.failures():
        console.fail(line)
    for path in result.get("files", []):
        console.wrote(path, as_json=as_json)


def _evaluated(
    pairs: "list[PairPaths]", compared: "list[Contestant]", out: Path | None, jobs: int | None, lpips: str | None
) -> "Evaluation":
    from ufafuse.benchmarks.evaluate import evaluate

    with console.progress() as bar:
        task = bar.add_task("scoring", total=len(pairs) * len(compared))
        pictures = out / "fused" if out else None
        return evaluate(pairs, compared, jobs=jobs, pictures=pictures, perceptual=lpips, done=lambda _: bar.advance(task))
