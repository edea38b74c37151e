"""A measurement as terminal table and as Markdown, and the files of a report."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ufafuse.benchmarks.speed import device_table as on_device
from ufafuse.benchmarks.speed import layer_tables, tradeoff
from ufafuse.benchmarks.speed.checked import bench_schema, problem
from ufafuse.benchmarks.speed.plots import latency_plot, layers_plot, rows_of, size_text, sizes, tradeoff_plot
from ufafuse.benchmarks.speed.runners import OURS
from ufafuse.benchmarks.speed.tradeoff import pair_ms
from ufafuse.runtime import tables
from ufafuse.runtime.artefact import write_json
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.filebytes import check_file
from ufafuse.runtime.writing import make_folder, write_text

if TYPE_CHECKING:
    import rich.console
    import rich.table

_HEADS = ("what", "engine", "precision", "p50 ms", "p90", "p99", "min", "fps", "MiB", "cold s", "x paper", "of limit")

Result = Mapping[str, Any]


_BATCHES = " With *batch N* they are of N pairs at once; *fps* and *x paper* count pairs."
_DROPPED_FIRST = ("cold s", "MiB", "min", "p99", "fps", "p90", "precision")


def _cells(row: Mapping[str, Any]) -> list[str]:
    def given(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    times = [format(row[name], ".1f") for name in ("p50_ms", "p90_ms", "p99_ms", "min_ms")]
    cold = None if row["cold_ms"] is None else row["cold_ms"] / 1e3
    over = row["of_floor"] is not None and row["of_floor"] > 1
    ratios = [given(row["vs_paper"], ".2f"), given(row["of_floor"], ".0%") + ("*" if over else "")]
    batch = f", batch {row['batch']}" if "batch" in row else ""
    return [
        row["artefact"],
        row["backend"] + batch,
        row["precision"],
        *times,
        given(row["fps"], ".2f"),
        given(row["rss_mib"], ".0f"),
        given(cold, ".2f"),
        *ratios,
    ]


def terminal_table(result: Result, size: list[int], console: "rich.console.Console") -> "rich.table.Table":
    """The rows of one size, fastest first; ours bright; columns are left out where ``console`` is narrow."""
    rows, title = rows_of(result, size), f"one {size_text(size)} pair"
    styles = ["" if row["group"] == OURS else "dim" for row in rows]
    cells = [_cells(row) for row in rows]
    return tables.terminal(_HEADS, cells, console=console, title=title, left=range(3), drop=_DROPPED_FIRST, styles=styles)


_FLIGHT_HEADS = ("what", "engine", "precision", "size", "in flight", "pairs/s", "x one", "p50 ms", "p90", "p99")


def _flight_cells(row: Mapping[str, Any]) -> list[str]:
    times = [f"{row[key]:.1f}" for key in ("p50_ms", "p90_ms", "p99_ms")]
    gain = "-" if row["vs_one"] is None else f"{row['vs_one']:.2f}"
    batch = f" x {row['batch']}" if row.get("batch", 1) > 1 else ""
    what = [row["artefact"], row["backend"], row["precision"], size_text(row["size"]) + batch, str(row["streams"])]
    return [*what, f"{row['pairs_per_s']:.1f}", gain, *times]


def throughput_table(result: Result, console: "rich.console.Console") -> "rich.table.Table":
    """Pairs a second with several in flight; columns are left out where ``console`` is narrow."""
    cells, drop = [_flight_cells(row) for row in result["throughput"]], ("p99", "p90", "precision")
    return tables.terminal(_FLIGHT_HEADS, cells, console=console, title="several in flight", left=range(4), drop=drop)


def peaks_text(result: Result) -> str:
    """The machine's limits in one line."""
    peaks = result["floor"]["peaks"]
    reached = [
        f"{name} {entry['gops']:.0f} {'GOP/s' if name == 'int8' else 'GFLOP/s'} ({entry['by']})"
        if "gops" in entry
        else f"{name} none ({entry['why_not']})"
        for name, entry in peaks["gemm"].items()
    ]
    threads = result["machine"]["threads"]
    whose = "this CPU" if threads is None else f"{threads} thread{'s' if threads > 1 else ''} of this CPU"
    return f"Limits of {whose}, measured in this run: {'; '.join(reached)}; copy {peaks['copy_gbs']:.1f} GB/s"


def headline(result: Result) -> str:
    """The best of our rows at the first size, in a sentence: time, the paper's, the share of the limit."""
    size = sizes(result)[0]
    ours = [row for row in rows_of(result, size) if row["group"] == OURS]
    if not ours:
        return "none of our sessions could be timed"
    ours = [row for row in ours if row["vs_paper"] is not None]
    if not ours:
        return "graphs that are a step of tiling or of a stack: no fused frame, so nothing to compare with the paper"
    row = ours[0]
    limit = "" if row["of_floor"] is None else f", {row['of_floor']:.0%} of this machine's {row['precision']} limit"
    if row["of_floor"] is not None and row["of_floor"] > 1:
        limit += ", so that limit was measured too low (see the warnings)"
    several = f" of {row['batch']} at once" if "batch" in row else ""
    return (
        f"{row['artefact']} on {row['backend']} ({row['precision']}): {pair_ms(row) / 1e3:.3g} s for one {size_text(size)} "
        f"pair{several}, "
        f"{row['vs_paper']:.2f} times the speed of the paper's GPU{limit}"
    )


def read_result(path: Path) -> dict[str, Any]:
    """The ``bench.json`` of an earlier report. Raises: InputError."""
    mend = "make one with `ufa bench --report DIR`"
    try:
        check_file(path, give="a report's JSON file")
        result: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a bench.json: {mend} ({error}).") from error
    if wrong := problem(result, bench_schema()):
        raise InputError(f"{path} is not a bench.json: {wrong}; {mend}.")
    return dict(result)


def write_report(folder: Path, result: Result) -> list[Path]:
    """Write ``report.md``, ``bench.json`` and the plots into ``folder``.

    Args:
        folder: Made where it is missing; files of an earlier report are replaced.
        result: From `bench.bench`; with ``tradeoff`` (from `tradeoff.tradeoff_rows`) time is set against quality too.

    Raises:
        OutputError: A file cannot be written.
    """
    make_folder(folder)
    plots = [latency_plot(folder / "latency.png", result)]
    if tradeoff.leading(result.get("tradeoff", [])):
        plots.append(tradeoff_plot(folder / "quality.png", result))
    if result.get("profiles"):
        plots.append(layers_plot(folder / "layers.png", result["profiles"]))
    write_json(folder / "bench.json", dict(result))
    write_text(folder / "report.md", markdown(result, [path.name for path in plots]), force=True)
    return [folder / "report.md", folder / "bench.json", *plots]


def markdown(result: Result, plots: list[str]) -> str:
    """The report's text: machine, limits, one table per size, what was skipped, and how to read it."""
    machine, paper = result["machine"], result["paper"]
    features = ", ".join(name for name, present in machine["features"].items() if present) or "none known"
    parts = [
        "# Time of one fusion",
        f"**{headline(result)}.**",
        f"Measured on {machine['cpu']}, {machine['usable_cores']} cores ({features}), {machine['system']}, load "
        f"{machine['load_average'][0]:.1f}; threads {machine['threads'] or 'left to each engine'}. "
        f"{peaks_text(result)}.",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in machine["versions"].items()) + ".",
        *(f"![{name}]({name})" for name in plots),
    ]
    for size in sizes(result):
        parts += [f"## {size_text(size)}", _markdown_table(rows_of(result, size)), *on_device.markdown(result, list(size))]
    if result.get("tradeoff"):
        parts += ["## Time against quality", tradeoff.markdown_table(result)]
    if result.get("throughput"):
        parts += [
            "## Several in flight",
            tables.markdown(_FLIGHT_HEADS, map(_flight_cells, result["throughput"]), left=range(4)),
        ]
    if result.get("profiles"):
        parts += layer_tables.markdown(result["profiles"])
    parts += ["## The limit of each network", _floor_table(result)]
    if result["warnings"]:
        parts += ["## Warnings", "\n".join(f"- {text}" for text in result["warnings"])]
    if result["skipped"]:
        parts += ["## Not measured", "\n".join(_skipped(entry) for entry in result["skipped"])]
    parts += [
        "## How to read it",
        "- Runs are interleaved (A B C, A B C, ...) after a warm-up; times are of one pair, frames in memory to fused frame in "
        "memory. p99 of fewer than a hundred runs leans on the slowest one."
        f"{_BATCHES if any('batch' in row for row in result['rows']) else ''}\n"
        f"- *x paper*: times the speed, per pixel, of the paper's {paper['ms']:.0f} ms for {size_text(paper['size'])} "
        f"({paper['machine']}).\n"
        "- *of limit*: the least time that the network's operations and bytes would take at the peaks above, over p50; with an "
        "asterisk where it is more than all, which a warning explains.\n"
        "- *cold s* and *MiB*: a process of its own, from its start to its first fused pair, and its peak of resident memory.",
    ]
    return "\n\n".join(parts) + "\n"


def _markdown_table(rows: list[Mapping[str, Any]]) -> str:
    marked = []
    for row in rows:
        name, *cells = _cells(row)
        marked.append([f"**{name}**" if row["group"] == OURS else name, *cells])
    return tables.markdown(_HEADS, marked, left=range(3))


def _floor_table(result: Result) -> str:
    heads = ["network", "size", "precision", "GFLOP", "int8 GOP", "compute ms", "memory ms", "through-memory ms", "limit ms"]
    keys = ("gflop", "int8_gop", "compute_ms", "memory_ms", "layers_ms", "floor_ms")
    rows = []
    for entry in result["floor"]["networks"]:
        values = [f"{entry[key]:.4g}" if entry.get(key) is not None else "-" for key in keys]
        rows.append([entry["artefact"], size_text(entry["size"]), entry["precision"], *values])
    reasons = {entry["why_not"] for entry in result["floor"]["networks"] if "why_not" in entry}
    return tables.markdown(heads, rows, left=range(3)) + "".join(f"\n\nNo limit: {reason}." for reason in sorted(reasons))


def _skipped(entry: Mapping[str, Any]) -> str:
    size = f" at {size_text(entry['size'])}" if entry["size"] else ""
    precision = f" {entry['precision']}" if entry["precision"] else ""
    return f"- {Path(entry['artefact']).name} on {entry['backend']}{precision}{size}: {entry['reason']}"
