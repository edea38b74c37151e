"""A measurement as terminal table, as Markdown, and as plots."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ufafuse.benchmarks.speed.contenders import CLASSICAL, OURS
from ufafuse.runtime.artefact import atomic_write, write_json
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.jobs import make_folder

if TYPE_CHECKING:
    import rich.console
    import rich.table

_COLOURS = {"ours": "#1b6ca8", "peer": "#8a8a8a", "classical": "#c98b1b"}
_HEADS = ("what", "engine", "precision", "p50 ms", "p90", "p99", "min", "fps", "MiB", "cold s", "x paper", "of limit")
_QUALITY = "Qabf"

Result = Mapping[str, Any]


def size_text(size: list[int]) -> str:
    """``[520, 520]`` to ``"520x520"``."""
    return "x".join(map(str, size))


def _sizes(result: Result) -> list[list[int]]:
    return [list(size) for size in dict.fromkeys(tuple(row["size"]) for row in result["rows"])]


def _rows_of(result: Result, size: list[int]) -> list[Mapping[str, Any]]:
    return sorted((row for row in result["rows"] if row["size"] == size), key=lambda row: float(row["p50_ms"]))


def _cells(row: Mapping[str, Any]) -> list[str]:
    def given(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    times = [format(row[name], ".1f") for name in ("p50_ms", "p90_ms", "p99_ms", "min_ms")]
    cold = None if row["cold_ms"] is None else row["cold_ms"] / 1e3
    ratios = [given(row["vs_paper"], ".2f"), given(row["of_floor"], ".0%")]
    return [
        row["artefact"],
        row["backend"],
        row["precision"],
        *times,
        given(row["fps"], ".2f"),
        given(row["rss_mib"], ".0f"),
        given(cold, ".2f"),
        *ratios,
    ]


def terminal_table(result: Result, size: list[int], console: "rich.console.Console") -> "rich.table.Table":
    """The rows of one size, fastest first; ours bright."""
    from rich.table import Table

    table = Table(title=f"one {size_text(size)} pair", box=None, padding=(0, 1, 0, 0))
    for number, head in enumerate(_HEADS):
        table.add_column(head, justify="left" if number < 3 else "right", no_wrap=True)
    for row in _rows_of(result, size):
        table.add_row(*_cells(row), style="" if row["group"] == OURS else "dim")
    table.width = console.measure(table, options=console.options.update(max_width=1000)).maximum
    return table


def peaks_text(result: Result) -> str:
    """The machine's limits in one line."""
    peaks = result["floor"]["peaks"]
    reached = [
        f"{name} {entry['gops']:.0f} GFLOP/s ({entry['by']})" if "gops" in entry else f"{name} none ({entry['why_not']})"
        for name, entry in peaks["gemm"].items()
    ]
    return f"Limits of this CPU, measured in this run: {'; '.join(reached)}; copy {peaks['copy_gbs']:.1f} GB/s"


def headline(result: Result) -> str:
    """The best of our rows at the first size, in a sentence: time, the paper's, the share of the limit."""
    size = _sizes(result)[0]
    ours = [row for row in _rows_of(result, size) if row["group"] == OURS]
    if not ours:
        return "none of our sessions could be timed"
    row = ours[0]
    limit = "" if row["of_floor"] is None else f", {row['of_floor']:.0%} of this machine's {row['precision']} limit"
    return (
        f"{row['artefact']} on {row['backend']} ({row['precision']}): {row['p50_ms'] / 1e3:.3g} s for one {size_text(size)} "
        "pair, "
        f"{row['vs_paper']:.2f} times the speed of the paper's GPU{limit}"
    )


def quality_of(path: Path) -> dict[str, float]:
    """Mean Qabf by method from an ``eval.json`` of `ufa eval`. Raises: InputError."""
    try:
        means = json.loads(path.read_text(encoding="utf-8"))["mean"]
        return {name: float(values[_QUALITY]) for name, values in means.items() if _QUALITY in values}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"--quality {path} is no eval.json: make one with `ufa eval --pairs DIR -o OUT` ({error}).") from error


def write_report(folder: Path, result: Result, quality: Mapping[str, float] | None = None) -> list[Path]:
    """Write ``report.md``, ``bench.json`` and the plots into ``folder``.

    Args:
        folder: Made where it is missing; files of an earlier report are replaced.
        result: From `bench.bench`.
        quality: Mean Qabf by method or artefact stem, for the plot of time against quality; left out without it.

    Raises:
        OutputError: A file cannot be written.
    """
    make_folder(folder)
    plots = [_latency_plot(folder / "latency.png", result)]
    if quality:
        plots.append(_quality_plot(folder / "quality.png", result, quality))
    write_json(folder / "bench.json", dict(result))
    with atomic_write(folder / "report.md", force=True) as temporary:
        temporary.write_text(markdown(result, [path.name for path in plots]), encoding="utf-8")
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
    for size in _sizes(result):
        parts += [f"## {size_text(size)}", _markdown_table(_rows_of(result, size))]
    parts += ["## The limit of each network", _floor_table(result)]
    if result["warnings"]:
        parts += ["## Warnings", "\n".join(f"- {text}" for text in result["warnings"])]
    if result["skipped"]:
        parts += ["## Not measured", "\n".join(_skipped(entry) for entry in result["skipped"])]
    parts += [
        "## How to read it",
        "- Runs are interleaved (A B C, A B C, ...) after a warm-up; times are of one pair, frames in memory to fused frame in "
        "memory. p99 of fewer than a hundred runs leans on the slowest one.\n"
        f"- *x paper*: times the speed, per pixel, of the paper's {paper['ms']:.0f} ms for {size_text(paper['size'])} "
        f"({paper['machine']}).\n"
        "- *of limit*: the least time that the network's operations and bytes would take at the peaks above, over p50.\n"
        "- *cold s* and *MiB*: a process of its own, from its start to its first fused pair, and its peak of resident memory.",
    ]
    return "\n\n".join(parts) + "\n"


def _markdown_table(rows: list[Mapping[str, Any]]) -> str:
    lines = ["| " + " | ".join(_HEADS) + " |", "|---|---|---|" + "---:|" * (len(_HEADS) - 3)]
    for row in rows:
        cells = _cells(row)
        if row["group"] == OURS:
            cells[0] = f"**{cells[0]}**"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _floor_table(result: Result) -> str:
    heads = ["network", "size", "precision", "GFLOP", "int8 GOP", "compute ms", "memory ms", "through-memory ms", "limit ms"]
    keys = ("gflop", "int8_gop", "compute_ms", "memory_ms", "layers_ms", "floor_ms")
    lines = ["| " + " | ".join(heads) + " |", "|---|---|---|" + "---:|" * 6]
    for entry in result["floor"]["networks"]:
        values = [f"{entry[key]:.4g}" if entry.get(key) is not None else "-" for key in keys]
        lines.append("| " + " | ".join([entry["artefact"], size_text(entry["size"]), entry["precision"], *values]) + " |")
    reasons = {entry["why_not"] for entry in result["floor"]["networks"] if "why_not" in entry}
    return "\n".join(lines) + "".join(f"\n\nNo limit: {reason}." for reason in sorted(reasons))


def _skipped(entry: Mapping[str, Any]) -> str:
    size = f" at {size_text(entry['size'])}" if entry["size"] else ""
    precision = f" {entry['precision']}" if entry["precision"] else ""
    return f"- {Path(entry['artefact']).name} on {entry['backend']}{precision}{size}: {entry['reason']}"


def _label(row: Mapping[str, Any]) -> str:
    if row["group"] == CLASSICAL:
        return str(row["artefact"])
    return f"{Path(row['artefact']).stem} · {row['backend']} · {row['precision']}"


def _latency_plot(path: Path, result: Result) -> Path:
    """Dots of p50, fastest on top, one panel per size; the paper's time as a line, each network's limit as a tick."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sizes = _sizes(result)
    counts = [len(_rows_of(result, size)) for size in sizes]
    figure = Figure(figsize=(10, 1.1 * len(sizes) + 0.32 * sum(counts)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(sizes), 1, squeeze=False, gridspec_kw={"height_ratios": [count + 2 for count in counts]})
    for panel, size in zip(panels[:, 0], sizes, strict=True):
        _latency_panel(panel, result, size)
    panels[-1, 0].set_xlabel("ms for one pair; dot p50, line to p90, tick this machine's limit, dashed the paper's GPU")
    figure.suptitle("Time of one fusion: blue ours, grey others, ochre classical", fontsize=11, x=0.01, ha="left")
    return _saved(path, figure)


def _latency_panel(panel: Any, result: Result, size: list[int]) -> None:  # noqa: ANN401 - matplotlib is imported lazily
    rows = _rows_of(result, size)
    for place, row in enumerate(rows):
        colour = _COLOURS[row["group"]]
        panel.plot([row["p50_ms"], row["p90_ms"]], [place, place], color=colour, linewidth=2)
        panel.plot(row["p50_ms"], place, "o", color=colour, markersize=8)
        panel.annotate(f"  {row['p50_ms']:.4g}", (row["p90_ms"], place), va="center", fontsize=8)
        if row["of_floor"]:
            panel.plot(row["of_floor"] * row["p50_ms"], place, "|", color=colour, markersize=12, markeredgewidth=2)
    paper = result["paper"]
    pixels = size[0] * size[1] / (paper["size"][0] * paper["size"][1])
    panel.axvline(paper["ms"] * pixels, color="#c0392b", linestyle="--", linewidth=1)
    panel.set_yticks(range(len(rows)), [_label(row) for row in rows], fontsize=8)
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.set_title(size_text(size), fontsize=10, loc="left")
    panel.grid(axis="x", alpha=0.3)
    _milliseconds(panel)


def _milliseconds(panel: Any) -> None:  # noqa: ANN401 - matplotlib is imported lazily
    from matplotlib.ticker import LogLocator, NullFormatter

    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.spines[["top", "right"]].set_visible(False)
    panel.margins(x=0.1)


def _quality_plot(path: Path, result: Result, quality: Mapping[str, float]) -> Path:
    """Mean Qabf against p50 at the first size, for everything that has both."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = _sizes(result)[0]
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    seen: set[str] = set()
    for row in _rows_of(result, size):
        name = row["artefact"] if row["group"] == CLASSICAL else Path(row["artefact"]).stem
        if name not in quality or name in seen:
            continue
        seen.add(name)  # the fastest way to run it: rows come fastest first
        panel.scatter(row["p50_ms"], quality[name], color=_COLOURS[row["group"]], s=45)
        below = len(seen) % 2 == 0  # neighbours in time often share their quality too, and their names would overlap
        offset = (4, -12 if below else 4)
        panel.annotate(name, (row["p50_ms"], quality[name]), offset, textcoords="offset points", fontsize=8)
    _milliseconds(panel)
    panel.set_xlabel(f"ms for one {size_text(size)} pair (p50, fastest way to run each)")
    panel.set_ylabel(f"mean {_QUALITY}")
    panel.set_title("Time against quality", loc="left")
    panel.grid(alpha=0.3)
    return _saved(path, figure)


def _saved(path: Path, figure: Any) -> Path:  # noqa: ANN401 - matplotlib is imported lazily
    with atomic_write(path, force=True) as temporary:
        figure.savefig(temporary, dpi=130)
    return path
