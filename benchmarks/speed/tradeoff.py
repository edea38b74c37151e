"""Time against quality: one table and one plot of every network and classical method, from a measurement and evaluations."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ufafuse.benchmarks.evaluate import Evaluation
from ufafuse.benchmarks.methods import methods
from ufafuse.benchmarks.metrics import METRICS, TRUTH_METRICS
from ufafuse.benchmarks.speed.runners import CLASSICAL, OURS
from ufafuse.benchmarks.tables import measured_rows
from ufafuse.runtime import tables
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.filebytes import check_file, real_path

if TYPE_CHECKING:
    import rich.console
    import rich.table

_TABLE_V = tuple(name for name in METRICS if name != "Qcb")  # the paper's table has no column of it
_DIGITS = {"PSNR": 2, "SSIM": 4, "AVG": 3, "STD": 2, "SEN": 3}
_LEADING = ("PSNR", "Qabf")
_HEADS = ("what", "parameters", "GFLOP", "engine", "precision", "ms")
_LEFT = (0, 3, 4)  # numbers of the columns that are words


@dataclass(frozen=True)
class MeanScores:
    """One evaluation.

    Args:
        label: Of its pairs: the file's name, or its folder's where the file is called ``eval.json``.
        means: By method, by metric.
        networks: By method, ``backend`` and ``precision`` that a network was judged in, and what else is known of it; empty in
            older files.
        warnings: Which means are over fewer pairs than others.
    """

    label: str
    means: Mapping[str, Mapping[str, float]]
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    warnings: Sequence[str] = ()


def read_quality(path: Path) -> MeanScores:
    """An ``eval.json`` of `ufa eval`. Raises: InputError."""
    try:
        check_file(path, give="a report's JSON file")
        found = json.loads(path.read_text(encoding="utf-8"))
        means = {name: {key: float(value) for key, value in values.items()} for name, values in found["mean"].items()}
        networks = {name: dict(facts) for name, facts in found.get("networks", {}).items()}
        rows = measured_rows(Evaluation.from_json({"rows": [], **found}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"`quality={path}` is not an eval.json: make one with `ufa eval --pairs DIR -o OUT` ({error})."
        ) from error
    if any("detail_sharp" in values for values in means.values()):
        raise InputError(
            f"`quality={path}` is of stacks, and what is timed are pairs: give one of `ufa eval --pairs DIR -o OUT`."
        )
    label = real_path(path).parent.name if path.stem == "eval" else path.stem
    warnings = [f"quality {label}: {row.method}: {row.note}." for row in rows if row.note]
    return MeanScores(label, means, networks, warnings)


def read_qualities(paths: Sequence[Path]) -> list[MeanScores]:
    """Several of them. Raises: InputError, also where two have one label."""
    found = [read_quality(path) for path in paths]
    labels = [quality.label for quality in found]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise InputError(f"`quality` names two evaluations of {twice}: rename one file, or give it once.")
    return found


def pair_ms(row: Mapping[str, Any], key: str = "p50_ms") -> float:
    """A row's time for each of the pairs that its runs take at once."""
    return float(row[key]) / float(row.get("batch", 1))


def tradeoff_rows(result: Mapping[str, Any], qualities: Sequence[MeanScores]) -> list[dict[str, Any]]:
    """Every way to run each network at the first size, every classical method, and whatever was judged and not timed.

    Returns:
        ``name``, ``group``, ``parameters``, ``gop``, ``backend``, ``precision``, ``p50_ms`` (of one pair), ``batch`` where
        several went in at once, ``quality`` (by label, by metric) and ``judged`` (by label, the engine and
        precision that a network's quality was judged in). Sorted by the fastest way to run each, the ways of one network
        together; what was not timed comes last.
    """
    size = result["rows"][0]["size"]
    timed = [row for row in result["rows"] if row["size"] == size and row["group"] in (OURS, CLASSICAL)]
    timed.sort(key=pair_ms)
    names = list(dict.fromkeys(_name(row) for row in timed))
    rows = [_timed_row(result, row, qualities) for name in names for row in timed if _name(row) == name]
    judged = dict.fromkeys(name for quality in qualities for name in quality.means)
    return rows + [_row(name, CLASSICAL if name in methods() else OURS, qualities) for name in judged if name not in names]


def _name(row: Mapping[str, Any]) -> str:
    return str(row["artefact"]) if row["group"] == CLASSICAL else Path(row["artefact"]).stem


def _row(name: str, group: str, qualities: Sequence[MeanScores]) -> dict[str, Any]:
    quality = {found.label: dict(found.means.get(name, {})) for found in qualities}
    judged = {found.label: _way(found.networks[name]) for found in qualities if name in found.networks}
    nothing = dict.fromkeys(("parameters", "gop", "backend", "precision", "p50_ms"))
    return {"name": name, "group": group, **nothing, "quality": quality, "judged": judged}


def _way(network: Mapping[str, Any]) -> str:
    """What a network was judged on: its engine and its arithmetic."""
    return " ".join(str(network[key]) for key in ("backend", "precision") if key in network)


def _timed_row(result: Mapping[str, Any], row: Mapping[str, Any], qualities: Sequence[MeanScores]) -> dict[str, Any]:
    networks = (entry for entry in result["floor"]["networks"] if entry["artefact"] == row["artefact"])
    work: Mapping[str, Any] = next((entry for entry in networks if entry["size"] == row["size"] and "gflop" in entry), {})
    figures = {
        "parameters": work.get("parameters"),
        "gop": round(work["gflop"] + work["int8_gop"], 3) if work else None,
        "backend": row["backend"],
        "precision": row["precision"],
        "p50_ms": round(pair_ms(row), 3),
        **({"batch": row["batch"]} if "batch" in row else {}),
    }
    return _row(_name(row), row["group"], qualities) | figures


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(label, metric) of the quality columns: PSNR and SSIM where the truth is known, otherwise the paper's Table V."""
    found: list[tuple[str, str]] = []
    for label in dict.fromkeys(label for row in rows for label in row["quality"]):
        given = {metric for row in rows for metric in row["quality"].get(label, {})}
        chosen = TRUTH_METRICS if given & set(TRUTH_METRICS) else _TABLE_V
        found += [(label, metric) for metric in chosen if metric in given]
    return found


def heads(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The heads of `table_cells`' columns."""
    return [*_HEADS, *(f"{metric} {label}" for label, metric in _columns(rows))]


def table_cells(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """The rows as text; what holds for every way to run a network stands in its first row only."""
    columns, previous = _columns(rows), None
    for row in rows:
        first = row["name"] != previous
        previous = row["name"]
        parameters = "-" if row["parameters"] is None else f"{row['parameters']:,}"
        gop = "-" if row["gop"] is None else f"{row['gop']:.4g}"
        quality = []
        for label, metric in columns:
            value = row["quality"].get(label, {}).get(metric)
            quality.append("-" if value is None else format(value, f".{_DIGITS.get(metric, 4)}f"))
        time = "-" if row["p50_ms"] is None else f"{row['p50_ms']:.1f}"
        batch = f", batch {row['batch']}" if "batch" in row else ""
        way = [(row["backend"] or "-") + batch, row["precision"] or "-", time]
        if first:
            yield [row["name"], parameters, gop, *way, *quality]
        else:
            yield ["", "", "", *way, *[""] * len(quality)]


def markdown_table(result: Mapping[str, Any]) -> str:
    """The table in Markdown, of ``result["tradeoff"]``."""
    rows = result["tradeoff"]
    names = heads(rows)
    ways = {f"{row['name']} on {way}" for row in rows for way in row["judged"].values()}
    note = f"\n\nThe quality of a network was judged once for all its rows: {', '.join(sorted(ways))}." if ways else ""
    return tables.markdown(names, table_cells(rows), left=_LEFT) + note


def leading(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(label, metric) of the one metric that stands for each evaluation: PSNR where the truth is known, Qabf otherwise."""
    return [(label, metric) for label, metric in _columns(rows) if metric in _LEADING]


def terminal_table(result: Mapping[str, Any], console: "rich.console.Console") -> "rich.table.Table":
    """The same for a terminal, with the leading metric of each evaluation only: it would be too wide otherwise."""
    rows = result["tradeoff"]
    shown = [*_HEADS, *(f"{metric} {label}" for label, metric in leading(rows))]
    kept = [number for number, name in enumerate(heads(rows)) if name in shown]
    cells = [[texts[number] for number in kept] for texts in table_cells(rows)]
    return tables.terminal(shown, cells, console=console, title="time against quality", left=_LEFT)
