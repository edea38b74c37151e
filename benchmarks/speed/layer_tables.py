"""Profiles for people: where the time of each network goes, in the terminal and as Markdown."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ufafuse.benchmarks.speed.plots import size_text
from ufafuse.runtime import tables

if TYPE_CHECKING:
    import rich.console
    import rich.table

_HEADS = ("kind", "of which most", "layers", "ms", "share", "GOP", "MiB", "limit ms", "of limit", "bound")
_LAYER_HEADS = ("layer", "kind", "ms", "share", "result", "GOP", "MiB", "of limit", "kernel")
_LEFT, _LAYERS_LEFT = (0, 1, 9), (0, 1, 4, 8)  # numbers of the columns that are words
_DROPPED_FIRST = ("MiB", "GOP", "bound", "limit ms", "of which most", "layers")
_LONGEST_NAME, _LONGEST_WORDS = 44, 34
_MOST_LAYERS = 25  # in the Markdown; all are in bench.json
_SLOWED = 1.15  # counters that cost more than this make the shares doubtful

CountedLayers = Mapping[str, Any]


def title(profile: CountedLayers) -> str:
    """Which network, on what, at which size."""
    return f"{profile['artefact']} on {profile['backend']} ({profile['precision']}), {size_text(profile['size'])}"


def summary(profile: CountedLayers) -> str:
    """The whole time, what of it the layers are, and the share of the limit, in a sentence."""
    outside = profile["p50_ms"] - profile["layers_ms"]
    text = f"{profile['p50_ms']:.2f} ms without counters; the layers take {profile['layers_ms']:.2f} ms"
    if outside >= 0:
        text += f", between them {outside:.2f}"
    if profile["of_limit"] is not None:
        text += f"; at this machine's limit they would take {profile['limit_ms']:.2f} ms ({profile['of_limit']:.0%})"
    if profile["layers_ms"] > _SLOWED * profile["p50_ms"]:
        text += ". Counting slowed the run: trust the order more than the shares"
    return text


def terminal_table(profile: CountedLayers, console: "rich.console.Console") -> "rich.table.Table":
    """The kinds of layers, the longest first; columns are left out where ``console`` is narrow."""
    cells = [_kind_cells(kind) for kind in profile["kinds"]]
    return tables.terminal(_HEADS, cells, console=console, title=title(profile), left=_LEFT, drop=_DROPPED_FIRST)


def markdown(profiles: Sequence[CountedLayers]) -> list[str]:
    """A heading and two tables for each profile, and how to read them."""
    parts = ["## Where the time goes"]
    for profile in profiles:
        kinds = tables.markdown(_HEADS, map(_kind_cells, profile["kinds"]), left=_LEFT)
        layers = tables.markdown(_LAYER_HEADS, map(_layer_cells, profile["layers"][:_MOST_LAYERS]), left=_LAYERS_LEFT)
        shown = min(_MOST_LAYERS, len(profile["layers"]))
        parts += [
            f"### {title(profile)}",
            f"{summary(profile)}.",
            kinds,
            f"The {shown} longest of {len(profile['layers'])} layers:",
            layers,
        ]
    parts.append(
        "Times are the engine's own counters, medians over the runs. A layer's limit is the longer of its operations at the "
        "measured peak of its arithmetic and its bytes, in and out, at the measured speed of a large copy; what stays in a "
        "cache can beat that."
    )
    return parts


def _kind_cells(kind: Mapping[str, Any]) -> list[str]:
    words = " ".join(kind["engine_kinds"])
    return [
        kind["kind"],
        words if len(words) <= _LONGEST_WORDS else f"{words[: _LONGEST_WORDS - 3]}...",
        str(kind["layers"]),
        f"{kind['ms']:.2f}",
        f"{kind['share']:.0%}",
        f"{kind['gop']:.2f}",
        f"{kind['mib']:.1f}",
        "-" if kind["limit_ms"] is None else f"{kind['limit_ms']:.2f}",
        _share(kind["of_limit"]),
        kind["bound"] or "-",
    ]


def _layer_cells(layer: Mapping[str, Any]) -> list[str]:
    name = str(layer["name"])
    return [
        name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}...",
        f"{layer['engine_kind']} {layer['arithmetic'] or ''}".strip(),
        f"{layer['ms']:.3f}",
        f"{layer['share']:.1%}",
        "-" if layer["shape"] is None else "x".join(map(str, layer["shape"])),
        f"{layer['gop']:.3f}",
        f"{layer['mib']:.2f}",
        _share(layer["of_limit"]),
        layer["kernel"] or "-",
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}" + ("*" if value > 1 else "")
