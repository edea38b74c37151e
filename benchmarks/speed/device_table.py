"""What ran on a device: its copies and its computation apart, and what limits it."""

from collections.abc import Mapping
from typing import Any

from ufafuse.benchmarks.speed.plots import rows_of
from ufafuse.runtime import tables

_HEADS = ("what", "engine", "precision", "batch", "in ms", "compute ms", "out ms", "ms a pair", "compute of limit")
_BY_LAUNCHES = 1.25  # times the computation with CUDA graphs: then what is left out of them is launching

Result = Mapping[str, Any]


def markdown(result: Result, size: list[int]) -> list[str]:
    """The parts of a report about one size: a table and a sentence for each network; nothing where nothing was split."""
    rows = [row for row in rows_of(result, size) if "compute_ms" in row.get("device_ms", {})]
    if not rows:
        return []
    fastest = sorted(rows, key=lambda row: float(row["device_ms"]["compute_ms"]))
    return [
        "The copies and the computation apart:",
        tables.markdown(_HEADS, map(_cells, fastest), left=range(3)),
        *launches(rows),
    ]


def _cells(row: Mapping[str, Any]) -> list[str]:
    parts, batch = row["device_ms"], row.get("batch", 1)
    times = [f"{parts[name]:.3f}" if name in parts else "-" for name in ("h2d_ms", "compute_ms", "d2h_ms")]
    limit = f"{row['compute_of_floor']:.0%}" if row.get("compute_of_floor") else "-"
    what = [row["artefact"], row["backend"], row["precision"], str(batch)]
    return [*what, *times, f"{parts['compute_ms'] / batch:.3f}", limit]


def launches(rows: list[Mapping[str, Any]]) -> list[str]:
    """For each network in each arithmetic that PyTorch ran eagerly and as CUDA graphs on a GPU: what launching costs."""
    told = []
    by_name = {(row["artefact"], row["precision"], row.get("batch", 1), row["backend"]): row for row in rows}
    for (artefact, precision, batch, backend), row in by_name.items():
        graphs = by_name.get((artefact, precision, batch, "torch.compile, graphs cuda"))
        if backend != "torch cuda" or graphs is None:
            continue
        eager, replayed = row["device_ms"]["compute_ms"], graphs["device_ms"]["compute_ms"]
        if eager > _BY_LAUNCHES * replayed:
            told.append(
                f"{artefact} in {precision}, batch {batch}: launched one by one its kernels take {eager:.3f} ms, fused and "
                f"replayed as CUDA graphs {replayed:.3f} ms: launches and passes over memory limit it, not multiplications."
            )
    return told
