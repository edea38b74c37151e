"""The sensitivity table as a picture."""

from pathlib import Path
from typing import Any

from ufafuse.runtime.artefact import atomic_write


def plot(report: dict[str, Any], path: Path, *, force: bool = True) -> None:
    """Draw the PSNR of each layer quantised alone, coloured by what became of it.

    Args:
        report: Of `int8_from_onnx`.
        path: A ``.png`` file.
        force: Replace it if it exists.

    Raises:
        OutputError: It cannot be written.
    """
    from matplotlib.figure import Figure

    rows = report["layers"]
    figure = Figure(figsize=(7, 1.2 + 0.24 * len(rows)), layout="constrained")
    axes = figure.subplots()
    colours = ["tab:blue" if row["precision"] == "int8" else "tab:red" for row in rows]
    axes.barh([row["name"] for row in rows], [row["psnr_alone"] for row in rows], color=colours)
    goal = report["verified"]["min_psnr"]
    axes.axvline(goal, color="black", linestyle="--", linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel(f"worst PSNR in dB with this layer alone in int8 (dashed: {goal:g} dB)")
    axes.set_title(f"int8: {report['share_int8']:.0%} of the work (blue); the rest in {report['rest']} (red)", fontsize=10)
    with atomic_write(path, force=force) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
