"""A table of methods, measured and published side by side, as terminal table, Markdown and CSV."""

import csv
import io
from dataclasses import replace
from typing import TYPE_CHECKING

from ufafuse.benchmarks.evaluate import Evaluation
from ufafuse.benchmarks.methods import labels
from ufafuse.benchmarks.metrics import JUDGES, LESS_IS_BETTER, METRICS, SHARES, STACK_METRICS, TRUTH_METRICS
from ufafuse.benchmarks.published import AUTHORS, BOUND, HERE, KINDS, MEASURED, OURS, PRINTED, Table, TableRow
from ufafuse.runtime.tables import markdown, terminal

if TYPE_CHECKING:
    import rich.console
    import rich.table

NOT_GIVEN = "-"
TIME = "time, s"
_WIDE = 118
_DROPPED_FIRST = ("Qncie", "Qs", "Qw", "Qmi", "Qcb", "SEN", "Qm", "STD", "Qc")
_SHORT_DIGITS = {"AVG": 2, "STD": 2, "SEN": 2, "PSNR": 2}


def measured_rows(evaluation: Evaluation) -> list[TableRow]:
    """The means of an evaluation as rows; contestants of whom no pair could be scored are left out."""
    rows = []
    for method in evaluation.methods:
        means, ms = evaluation.mean(method), evaluation.median_ms(method)
        if means:
            note, short = _how_far_comparable(evaluation, method)
            source = BOUND if method in evaluation.bounds else evaluation.kinds.get(method, MEASURED)
            rows.append(TableRow(method, source, means, None if ms is None else ms / 1e3, note, short=short))
    return rows


def _how_far_comparable(evaluation: Evaluation, method: str) -> tuple[str, frozenset[str]]:
    """What to tell of means over fewer pairs or stacks than those of other methods, and of which metrics they are."""
    means = evaluation.mean(method)
    outcomes = [not row.error for row in evaluation.rows if row.method == method]
    failed = "" if all(outcomes) else f"a mean over only {sum(outcomes)} of {len(outcomes)} {evaluation.what}s"
    fewer: dict[str, list[str]] = {}
    for name in () if failed else means:
        defined = {other: evaluation.defined(other, name) for other in evaluation.methods}
        count, every = len(defined[method]), len(set().union(*defined.values()))
        if count < every:
            fewer.setdefault(f"over only {count} of {every} {evaluation.what}s", []).append(name)
    told = [failed] if failed else [f"its mean of {' and '.join(names)} is {over}" for over, names in fewer.items()]
    note = f"{'; '.join(told)}, not comparable with the others" if told else ""
    return note, frozenset(means) if failed else frozenset(name for names in fewer.values() for name in names)


def columns(rows: list[TableRow]) -> list[str]:
    """The metrics that at least one row has, in the order of the paper's table; then the time, beside a table that has one."""
    times = [TIME] if any(row.source == PRINTED and row.time_s is not None for row in rows) else []
    known = (*METRICS, *JUDGES, *TRUTH_METRICS, *STACK_METRICS)
    return [name for name in known if any(name in row.metrics for row in rows)] + times


def cells(row: TableRow, names: list[str], *, short: bool = False) -> list[str]:
    """A row as text: method, what it is, its metrics (four digits after the point, fewer if ``short``), its time if named."""
    values = dict(row.metrics) | ({} if row.time_s is None else {TIME: row.time_s})
    return [row.method, row.what, *(cell(name, values[name], short=short) if name in values else NOT_GIVEN for name in names)]


def cell(name: str, value: float, *, short: bool = False) -> str:
    """A metric's value as text: shares in per cent with one digit, all others with four digits or, ``short``, fewer."""
    if name == TIME:
        return f"{value:.2f}"
    if name in SHARES:
        return f"{100 * value:.1f} %"
    return f"{value:.{_SHORT_DIGITS.get(name, 3) if short else 4}f}"


def header(names: list[str]) -> list[str]:
    """The heads of `cells`' columns."""
    return ["method", "what it is", *names]


def best(rows: list[TableRow], names: list[str]) -> dict[str, float]:
    """The best value of each metric among the rows measured here, over all pairs or stacks."""
    measured = [row for row in rows if row.source in HERE]
    values = {name: [row.metrics[name] for row in measured if name in row.metrics.keys() - row.short] for name in names}
    return {name: (min if name in LESS_IS_BETTER else max)(found) if found else float("inf") for name, found in values.items()}


def is_best(row: TableRow, name: str, top: dict[str, float]) -> bool:
    """Whether a row measured here has the best value, to the digits shown."""
    comparable = row.source in HERE and name in row.metrics.keys() - row.short
    return comparable and cell(name, row.metrics[name]) == cell(name, top[name])


def terminal_table(rows: list[TableRow], title: str, console: "rich.console.Console") -> "rich.table.Table":
    """For ``console``: measured rows bright, the best of them bold; fewer digits where it is narrow, never half a number."""
    names = columns(rows)
    top = best(rows, names)
    heads = header(names)
    marked = [
        [
            f"[bold green]{text}[/]" if is_best(row, head, top) else text
            for head, text in zip(heads, cells(row, names, short=console.width < _WIDE), strict=True)
        ]
        for row in rows
    ]
    styles = ["" if row.source in HERE else "dim" for row in rows]
    return terminal(heads, marked, console=console, title=title, left=range(2), drop=_DROPPED_FIRST, styles=styles)


def markdown_table(rows: list[TableRow]) -> str:
    """The same in Markdown, the best of the measured rows bold."""
    names = columns(rows)
    top = best(rows, names)
    heads = header(names)
    marked = (
        [f"**{text}**" if is_best(row, head, top) else text for head, text in zip(heads, cells(row, names), strict=True)]
        for row in rows
    )
    return markdown(heads, marked, left=range(2))


def csv_text(evaluation: Evaluation) -> str:
    """Every pair of every contestant, then the means (name ``mean``), with all digits."""
    names = columns([TableRow(row.method, MEASURED, row.metrics) for row in evaluation.rows])
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["name", "method", *names, "ms", "error"])
    for row in evaluation.rows:
        values = [repr(row.metrics[name]) if name in row.metrics else "" for name in names]
        writer.writerow([row.name, row.method, *values, "" if row.ms is None else f"{row.ms:.3f}", row.error])
    for method in evaluation.methods:
        means, ms = evaluation.mean(method), evaluation.median_ms(method)
        values = [repr(means[name]) if name in means else "" for name in names]
        writer.writerow(["mean", method, *values, "" if ms is None else f"{ms:.3f}", ""])
    return stream.getvalue()


def with_published(rows: list[TableRow], table: Table | None, *, same: bool) -> list[TableRow]:
    """The measured rows with those of one of the paper's tables.

    Args:
        rows: From `measured_rows`.
        table: The paper's.
        same: Whether both are over the same pairs. Then each method's rows stand together, in the paper's order, with what the
            paper does not have at the end; else the paper's stand below ours, and each says that it is of other pairs.
    """
    if table is None:
        return rows
    if not same:
        return rows + [replace(row, other_pairs=True) for row in table.rows]
    order = list(dict.fromkeys(_paper_name(row) for row in table.rows))
    order.append("")  # all others
    return sorted((*table.rows, *rows), key=lambda row: order.index(name if (name := _paper_name(row)) in order else ""))


_OTHERWISE = {"IFCNN": "IFCNN-MAX", "MFF-GAN": "MFF", "ufa": "UFA-FUSE"}


def _paper_name(row: TableRow) -> str:
    """The name that the paper's tables have for a row's method, or its own."""
    if row.source in HERE:
        known = labels()
        with_file = (name for name in known if row.source in (OURS, AUTHORS) and row.method.startswith(f"{name}-"))
        name = known.get(row.method if row.method in known else next(with_file, ""), row.method)
    else:
        name = row.method
    return _OTHERWISE.get(name, name)


def legend(rows: list[TableRow]) -> str:
    """What the words of the second column mean, of those that stand there."""
    return "; ".join(f"{word}: {meaning}" for source, (word, meaning) in KINDS.items() if any(r.source == source for r in rows))
