"""The plots of a report: time by size and engine, and time against quality."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ufafuse.benchmarks.speed.runners import CLASSICAL, OURS
from ufafuse.benchmarks.speed.tradeoff import leading, pair_ms
from ufafuse.runtime.artefact import atomic_write
from ufafuse.runtime.texts import one_line

_COLOURS = {"ours": "#1b6ca8", "peer": "#8a8a8a", "classical": "#c98b1b"}
_KINDS = ("#1b6ca8", "#c98b1b", "#3c8d53", "#a8453c", "#7457a6", "#4f9aa8", "#b06a9a", "#6d6d6d", "#98a33b", "#34495e")
_WORTH_A_FIGURE = 0.05  # of the bar: a narrower piece has no room for its time
_DPI, _FONT = 130, 8
_LETTER = 0.6
"""Width of a letter over the height of its font, a little more than it is."""

_TRADEOFF_TITLE = (
    "Blue: networks, full dot the fastest way to run one, rings the others. Ochre: classical methods. Dashed: the paper's GPU."
)

Result = Mapping[str, Any]
Box = tuple[float, float, float, float]


def size_text(size: Sequence[int]) -> str:
    """``[520, 520]`` to ``"520x520"``."""
    return "x".join(map(str, size))


def sizes(result: Result) -> list[list[int]]:
    """The sizes that were measured, in their order."""
    return [list(size) for size in dict.fromkeys(tuple(row["size"]) for row in result["rows"])]


def rows_of(result: Result, size: list[int]) -> list[Mapping[str, Any]]:
    """The rows of one size, fastest first."""
    return sorted((row for row in result["rows"] if row["size"] == size), key=pair_ms)


def _canvas(width: float, height: float) -> Any:  # noqa: ANN401 - matplotlib is imported lazily
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=_DPI)
    FigureCanvasAgg(figure)
    return figure


def _saved(path: Path, figure: Any) -> Path:  # noqa: ANN401 - matplotlib is imported lazily
    with atomic_write(path, force=True) as temporary:
        figure.savefig(temporary)
    return path


def _milliseconds(panel: Any) -> None:  # noqa: ANN401 - matplotlib is imported lazily
    from matplotlib.ticker import LogLocator, NullFormatter

    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.spines[["top", "right"]].set_visible(False)
    panel.margins(x=0.1)


def latency_plot(path: Path, result: Result) -> Path:
    """Dots of p50, fastest on top, one panel per size; the paper's time as a line, each network's limit as a tick."""
    shown = sizes(result)
    counts = [len(rows_of(result, size)) for size in shown]
    figure = _canvas(10, 1.1 * len(shown) + 0.32 * sum(counts))
    panels = figure.subplots(len(shown), 1, squeeze=False, gridspec_kw={"height_ratios": [count + 2 for count in counts]})
    for panel, size in zip(panels[:, 0], shown, strict=True):
        _latency_panel(panel, result, size)
    panels[-1, 0].set_xlabel("ms for one pair; dot p50, line to p90, tick this machine's limit, dashed the paper's GPU")
    figure.suptitle("Time of one fusion: blue ours, grey others, ochre classical", fontsize=11, x=0.01, ha="left")
    return _saved(path, figure)


def _latency_panel(panel: Any, result: Result, size: list[int]) -> None:  # noqa: ANN401 - matplotlib is imported lazily
    rows = rows_of(result, size)
    for place, row in enumerate(rows):
        colour, middle, late = _COLOURS[row["group"]], pair_ms(row), pair_ms(row, "p90_ms")
        panel.plot([middle, late], [place, place], color=colour, linewidth=2)
        panel.plot(middle, place, "o", color=colour, markersize=8)
        panel.annotate(f"  {middle:.4g}", (late, place), va="center", fontsize=_FONT)
        if row["of_floor"]:
            panel.plot(row["of_floor"] * middle, place, "|", color=colour, markersize=12, markeredgewidth=2)
    panel.axvline(_paper_ms(result, size), color="#c0392b", linestyle="--", linewidth=1)
    panel.set_yticks(range(len(rows)), [_label(row) for row in rows], fontsize=_FONT)
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.set_title(size_text(size), fontsize=10, loc="left")
    panel.grid(axis="x", alpha=0.3)
    _milliseconds(panel)


def _label(row: Mapping[str, Any]) -> str:
    if row.get("group") == CLASSICAL:
        return str(row["artefact"])
    batch = f" · batch {row['batch']}" if row.get("batch", 1) > 1 else ""
    return f"{_as_it_is(Path(row['artefact']).stem)} · {row['backend']} · {row['precision']}{batch}"


def _as_it_is(name: str) -> str:
    """A file's name as matplotlib shows it: what stands between two dollars it would read as mathematics, or refuse."""
    return one_line(name).replace("$", r"\$")


def _paper_ms(result: Result, size: Sequence[int]) -> float:
    """The paper's time at its speed per pixel."""
    paper = result["paper"]
    return float(paper["ms"] * size[0] * size[1] / (paper["size"][0] * paper["size"][1]))


def layers_plot(path: Path, profiles: Sequence[Mapping[str, Any]]) -> Path:
    """A bar for each profile, cut by kinds of layers; the dark part of each piece is what it would take at the limit."""
    kinds: dict[str, float] = {}
    for profile in profiles:
        for kind in profile["kinds"]:
            kinds[kind["kind"]] = kinds.get(kind["kind"], 0.0) + kind["share"]
    colours = {name: _KINDS[place % len(_KINDS)] for place, name in enumerate(sorted(kinds, key=lambda name: -kinds[name]))}
    figure = _canvas(10, 1.6 + 0.55 * len(profiles))
    panel = figure.subplots()
    for place, profile in enumerate(profiles):
        _layers_bar(panel, profile, place, colours)
    labels = [f"{_label(profile)} · {size_text(profile['size'])}" for profile in profiles]
    panel.set_yticks(range(len(labels)), labels, fontsize=_FONT)
    panel.set_ylim(len(labels) - 0.5, -0.5)
    panel.set_xlabel("share of the layers' time; dark: what the kind would take at this machine's limit")
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    panel.set_xlim(0, 1)
    panel.spines[["top", "right"]].set_visible(False)
    handles = [panel.barh(0, 0, color=colour, label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=_FONT, frameon=False)
    figure.suptitle("Where the time of one run goes", fontsize=11, x=0.01, ha="left")
    return _saved(path, figure)


def _layers_bar(panel: Any, profile: Mapping[str, Any], place: int, colours: Mapping[str, str]) -> None:  # noqa: ANN401
    left = 0.0
    for kind in profile["kinds"]:
        colour, share = colours[kind["kind"]], kind["share"]
        panel.barh(place, share, left=left, height=0.7, color=colour, alpha=0.45)
        if kind["of_limit"]:
            panel.barh(place, share * min(1.0, kind["of_limit"]), left=left, height=0.7, color=colour)
        if share > _WORTH_A_FIGURE:
            panel.annotate(f"{kind['ms']:.3g}", (left + share / 2, place), ha="center", va="center", fontsize=_FONT)
        left += share
    panel.annotate(f" {profile['layers_ms']:.3g} ms", (1.0, place), va="center", fontsize=_FONT, annotation_clip=False)


def tradeoff_plot(path: Path, result: Result) -> Path:
    """Quality against p50 at the first size, one panel for each evaluation; see `tradeoff.tradeoff_rows`."""
    size, rows = sizes(result)[0], result["tradeoff"]
    shown = leading(rows)
    figure = _canvas(max(7.0, 5.5 * len(shown)), 5.5)
    for panel, (label, metric) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        _tradeoff_panel(panel, rows, label, metric)
        panel.axvline(_paper_ms(result, size), color="#c0392b", linestyle="--", linewidth=1)
        panel.set_title(f"{metric}{' (dB)' if metric == 'PSNR' else ''} on {_as_it_is(label)}", fontsize=10, loc="left")
        panel.set_xlabel(f"ms for one {size_text(size)} pair, p50")
        _milliseconds(panel)
        panel.grid(alpha=0.3)
        _name_points(figure, panel, rows, label, metric)
    figure.suptitle(_TRADEOFF_TITLE, fontsize=9, x=0.01, ha="left")
    return _saved(path, figure)


def _points(rows: Sequence[Mapping[str, Any]], label: str, metric: str) -> dict[str, list[tuple[float, float, str]]]:
    """By name: (ms, quality, group) of each way to run it, fastest first."""
    found: dict[str, list[tuple[float, float, str]]] = {}
    for row in rows:
        value = row["quality"].get(label, {}).get(metric)
        if value is not None and row["p50_ms"] is not None:
            found.setdefault(row["name"], []).append((row["p50_ms"], value, row["group"]))
    return found


def _tradeoff_panel(panel: Any, rows: Sequence[Mapping[str, Any]], label: str, metric: str) -> None:  # noqa: ANN401
    for ways in _points(rows, label, metric).values():
        times, values, colour = [way[0] for way in ways], [way[1] for way in ways], _COLOURS[ways[0][2]]
        panel.plot(times, values, color=colour, linewidth=1, alpha=0.5)
        panel.plot(times[1:], values[1:], "o", color=colour, markerfacecolor="white", markersize=4)
        panel.plot(times[0], values[0], "o", color=colour, markersize=7 if ways[0][2] == OURS else 5)


def _name_points(figure: Any, panel: Any, rows: Sequence[Mapping[str, Any]], label: str, metric: str) -> None:  # noqa: ANN401
    """Write each name beside its full dot, at the first of ten places that hits neither a dot nor another name."""
    figure.draw_without_rendering()  # so that the panel knows where a point is on the paper
    letter, height = _FONT * _LETTER * _DPI / 72, _FONT * 1.2 * _DPI / 72
    points = _points(rows, label, metric)
    taken: list[Box] = []
    for ways in points.values():
        for ms, value, _ in ways:
            x, y = panel.transData.transform((ms, value))
            taken.append((x - 4, y - 4, x + 4, y + 4))
    for name, ways in points.items():
        x, y = panel.transData.transform(ways[0][:2])
        width = letter * len(name)
        places = [(dx, dy) for dy in (0, height, -height, 2 * height, -2 * height) for dx in (9, -9 - width)]
        boxes = [(x + dx, y + dy - height / 2, x + dx + width, y + dy + height / 2) for dx, dy in places]
        box = min(boxes, key=lambda box: sum(_overlap(box, other) for other in taken))
        taken.append(box)
        offset = ((box[0] - x) * 72 / _DPI, (box[1] + height / 2 - y) * 72 / _DPI)
        panel.annotate(_as_it_is(name), ways[0][:2], offset, textcoords="offset points", fontsize=_FONT, va="center")


def _overlap(first: Box, second: Box) -> float:
    """Common area."""
    across = min(first[2], second[2]) - max(first[0], second[0])
    along = min(first[3], second[3]) - max(first[1], second[1])
    return max(0.0, across) * max(0.0, along)
