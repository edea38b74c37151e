"""A table of methods, measured and published side by side, as terminal table, Markdown and CSV."""

import csv
import io
from typing import TYPE_CHECKING

from ufafuse.benchmarks.evaluate import Evaluation
from ufafuse.benchmarks.metrics import JUDGES, LESS_IS_BETTER, METRICS, SHARES, STACK_METRICS, TRUTH_METRICS
from ufafuse.benchmarks.published import MEASURED, Table, TableRow
from ufafuse.runtime.tables import kept_columns, left_out

if TYPE_CHECKING:
    import rich.console
    import rich.table

NOT_GIVEN = "-"
BOUND = "upper bound"
_WIDE = 104
_DROPPED_FIRST = ("Qncie", "Qs", "Qw", "Qmi", "Qcb", "SEN", "Qm", "STD", "Qc")
_SHORT_HEADS = {"detail_sharp": "sharp", "detail_low": "low", "detail_added": "added"}
_SHORT_HEADS |= {"depth_error": "depth off", "depth_known": "known"}
_SHORT_DIGITS = {"AVG": 2, "STD": 2, "SEN": 2, "PSNR": 2}


def measured_rows(evaluation: Evaluation) -> list[TableRow]:
    """The means of an evaluation as rows; contestants of whom no pair could be scored are left out."""
    rows = []
    for method in evaluation.methods:
        means, ms = evaluation.mean(method), evaluation.median_ms(method)
        outcomes = [not row.error for row in evaluation.rows if row.method == method]
        note = (
            ""
            if all(outcomes)
            else f"a mean over only {sum(outcomes)} of {len(outcomes)} {evaluation.what}s, not comparable with the others"
        )
        if means:
            source = BOUND if method in evaluation.bounds else MEASURED
            rows.append(TableRow(method, source, means, None if ms is None else ms / 1e3, note))
    return rows


def columns(rows: list[TableRow]) -> list[str]:
    """The metrics that at least one row has, in the order of the paper's table."""
    return [name for name in (*METRICS, *JUDGES, *TRUTH_METRICS, *STACK_METRICS) if any(name in row.metrics for row in rows)]


def cells(row: TableRow, names: list[str], *, short: bool = False) -> list[str]:
    """A row as text: method, what it is, its metrics (four digits after the point, fewer if ``short``).

    Without times: those of an evaluation are taken beside other work and are no speeds, which `ufa bench` measures.
    """
    values = [cell(name, row.metrics[name], short=short) if name in row.metrics else NOT_GIVEN for name in names]
    return [row.method, row.source, *values]


def cell(name: str, value: float, *, short: bool = False) -> str:
    """A metric's value as text: shares in per cent with one digit, all others with four digits or, ``short``, fewer."""
    if name in SHARES:
        return f"{100 * value:.1f} %"
    return f"{value:.{_SHORT_DIGITS.get(name, 3) if short else 4}f}"


def header(names: list[str], *, short: bool = False) -> list[str]:
    """The heads of `cells`' columns; ``short``, for narrow terminals."""
    return ["method", "what it is", *(_SHORT_HEADS.get(name, name) if short else name for name in names)]


def best(rows: list[TableRow], names: list[str]) -> dict[str, float]:
    """The best value of each metric among the rows measured here, over all pairs or stacks."""
    measured = [row for row in rows if row.source == MEASURED and not row.note]
    values = {name: [row.metrics[name] for row in measured if name in row.metrics] for name in names}
    return {name: (min if name in LESS_IS_BETTER else max)(found) if found else float("inf") for name, found in values.items()}


def is_best(row: TableRow, name: str, top: dict[str, float]) -> bool:
    """Whether a row measured here has the best value, to the digits shown."""
    comparable = row.source == MEASURED and not row.note
    return comparable and name in row.metrics and cell(name, row.metrics[name]) == cell(name, top[name])


def terminal_table(rows: list[TableRow], title: str, console: "rich.console.Console") -> "rich.table.Table":
    """For ``console``: measured rows bright, the best of them bold; fewer digits where it is narrow, never half a number."""
    from rich.table import Table as RichTable

    names = columns(rows)
    top = best(rows, names)
    heads = header(names)
    texts = [cells(row, names, short=console.width < _WIDE) for row in rows]
    kept = kept_columns(heads, texts, drop=_DROPPED_FIRST, width=console.width)
    table = RichTable(title=title, box=None, padding=(0, 1, 0, 0), caption=left_out(heads, kept) or None)
    for number in kept:
        table.add_column(heads[number], justify="left" if number < 2 else "right", no_wrap=True)
    for row, found in zip(rows, texts, strict=True):
        marked = [
            f"[bold green]{text}[/]" if is_best(row, head, top) else text for head, text in zip(heads, found, strict=True)
        ]
        table.add_row(*(marked[number] for number in kept), style="" if row.source == MEASURED else "dim")
    table.width = console.measure(table, options=console.options.update(max_width=1000)).maximum
    return table


def markdown_table(rows: list[TableRow]) -> str:
    """The same in Markdown, the best of the measured rows bold."""
    names = columns(rows)
    top = best(rows, names)
    heads = header(names)
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for row in rows:
        first, what, *values = cells(row, names)
        marked = [f"**{value}**" if is_best(row, name, top) else value for name, value in zip(names, values, strict=True)]
        lines.append("| " + " | ".join([first, what, *marked]) + " |")
    return "\n".join(lines)


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


def with_published(rows: list[TableRow], table: Table | None) -> list[TableRow]:
    """The measured rows above those of one of the paper's tables."""
    return rows + (list(table.rows) if table else [])
