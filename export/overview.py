"""The report of `ufa export --all`: JSON for programs, a table for people."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ufafuse.runtime.artefact import tool_versions, write_json
from ufafuse.runtime.kinds import kind_of
from ufafuse.runtime.machine import machine
from ufafuse.runtime.parameters import Size
from ufafuse.runtime.tables import markdown as table_text
from ufafuse.runtime.writing import write_text

TIMED_RUNS = 3
_TOOLS = (
    *("onnxruntime", "openvino", "tensorrt", "tensorrt-rtx", "ncnn", "pnnx", "MNN"),
    *("ai-edge-litert", "litert-torch", "executorch", "coremltools"),
)

_HEADS = (
    *("format", "argument", "artefact", "precision", "io", "MB", "on"),
    *("worst PSNR (dB)", "max. error (levels)", "ms", "runs on"),
)
_LEFT = (0, 1, 2, 3, 4, 6, 10)  # numbers of the columns that are words


@dataclass
class ArtefactRow:
    """One artefact.

    Args:
        artefact: The file.
        precision, io: As its manifest.
        targets: GPUs it was built for; ``"any"`` for ONNX.
        format: As ``--format`` takes it; ``"engine"`` of what `ufa build` makes.
        argument: What `ufa export` (or another command) is told to make it.
        runs_on: In words.
        checks: By backend: ``ok``, ``precision`` (the arithmetic in use), ``worst_psnr``, ``max_abs``, ``ms``.
        note: What stands in the table where nothing was run.
        kept: A run before this one made it.
    """

    artefact: Path
    precision: str
    io: str
    targets: str = "any"
    format: str = "onnx"
    argument: str = ""
    runs_on: str = "ONNX Runtime, OpenVINO; source of engines"
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)
    note: str = ""
    kept: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with the file's size in bytes."""
        return {
            "artefact": self.artefact.name,
            "precision": self.precision,
            "io": self.io,
            "targets": self.targets,
            "format": self.format,
            "argument": self.argument,
            "runs_on": self.runs_on,
            "bytes": bytes_of(self.artefact),
            "checks": self.checks,
            "note": self.note,
            "kept": self.kept,
        }


def bytes_of(path: Path) -> int:
    """All that makes up a model file, in bytes."""
    kind = kind_of(path)
    return sum(each.stat().st_size for each in (kind.files(path) if kind else [path]))


def write_report(
    folder: Path,
    weights: Path,
    rows: Sequence[ArtefactRow],
    left_out: Sequence[str],
    size: Size,
    *,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Write ``report.json`` and ``report.md`` into ``folder`` and return the former. Raises: OutputError.

    ``warnings``: what there is to tell of the pairs' files.
    """
    failed = [f"{row.artefact.name} on {name}" for row in rows for name, check in row.checks.items() if not check["ok"]]
    report = {
        "ok": not failed,
        "artefact": str(folder),
        "report": str(folder / "report.json"),
        "precision": "all",
        "verified": {"ok": not failed, "failed": failed},
        "weights": str(weights),
        "size": list(size),
        "machine": machine(),
        "tools": tool_versions("torch", "onnx", *_TOOLS),
        "rows": [row.to_dict() for row in rows],
        "left_out": list(left_out),
        **({"warnings": list(warnings)} if warnings else {}),
    }
    write_json(folder / "report.json", report)
    write_text(folder / "report.md", markdown(report), force=True)
    return report


def markdown(report: dict[str, Any]) -> str:
    """The table people love, from `write_report`'s report."""
    height, width = report["size"]
    machine_line = f"{report['machine']['cpu']}, {report['machine']['cores']} cores"
    lines = [
        f"# Artefacts of {Path(report['weights']).name}",
        "",
        f"Checked against PyTorch in float32 and timed at {height} x {width} on {machine_line}.",
        "PSNR is the worst pair's, of 255; 200 dB means equal. Times are medians of "
        f"{TIMED_RUNS} runs, to compare with each other: `ufa bench` measures properly.",
        "",
    ]
    cells: list[list[str]] = []
    for row in report["rows"]:
        argument = f"`{row['argument']}`" if row["argument"] else ""
        what = [row["format"], argument, row["artefact"], row["precision"], row["io"], f"{row['bytes'] / 1e6:.2f}"]
        for backend, check in row["checks"].items():
            where = backend if check["precision"] == row["precision"] else f"{backend} ({check['precision']})"
            psnr, top = f"{check['worst_psnr']:.1f}", f"{check['max_abs']:.2g}"
            psnr = psnr if check["ok"] else f"**{psnr}: too low**"
            cells.append([*what, where, psnr, top, f"{check['ms']:.1f}", row["runs_on"]])
        if not row["checks"]:
            cells.append([*what, row["note"] or "not checked", "", "", "", row["runs_on"]])
    lines.append(table_text(_HEADS, cells, left=_LEFT))
    if report["left_out"]:
        lines += ["", "Left out:", "", *(f"- {line}" for line in report["left_out"])]
    if report.get("warnings"):
        lines += ["", "Warnings:", "", *(f"- {text}" for text in report["warnings"])]
    return "\n".join(lines) + "\n"
