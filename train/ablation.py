"""The paper's ablations (Tables III and IV): train once per setting, score, and set the paper's figures beside ours."""

import csv
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ufafuse.network.weights import load_weights
from ufafuse.runtime.artefact import atomic_write, write_json
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.images import write_image
from ufafuse.runtime.pairs import find_pairs
from ufafuse.runtime.tables import markdown
from ufafuse.runtime.writing import check_folder, make_folder, read_json, write_text
from ufafuse.train.data import frames_of
from ufafuse.train.devices import device_of
from ufafuse.train.loop import train
from ufafuse.train.recipe import TrainOptions
from ufafuse.train.resuming import OPTIONS, check_same_run
from ufafuse.train.validate import fuse_frames

REPORT = "ablation.json"
EVAL = "from ufafuse.commands.cli import main; main()"  # scored through the command line: training needs no metrics


@dataclass(frozen=True)
class Sweep:
    """One of the paper's ablation tables.

    Attributes:
        table: its number.
        varied: what it varies, as its first column is headed.
        published: the paper's figures, per setting.
    """

    table: str
    varied: str
    published: Mapping[str, Mapping[str, float]]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The table's metrics, in its order."""
        return tuple(next(iter(self.published.values())))


def _rows(metrics: Sequence[str], rows: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    return {name: dict(zip(metrics, values, strict=True)) for name, values in rows.items()}


SWEEPS: dict[str, Sweep] = {
    "lambda": Sweep(
        "III",
        "lambda",
        _rows(
            ("AVG", "STD", "SEN", "Qabf"),
            {
                "0": (8.1440, 62.2940, 7.5523, 0.7312),
                "0.2": (8.2149, 62.6244, 7.5689, 0.7300),
                "0.4": (8.1690, 62.5130, 7.5608, 0.7214),
                "0.6": (8.1764, 62.5121, 7.5584, 0.7278),
                "0.8": (8.2644, 62.2040, 7.5427, 0.7228),
                "1": (8.0715, 61.7889, 7.5570, 0.7240),
            },
        ),
    ),
    "attention": Sweep(
        "IV",
        "attention",
        _rows(
            ("AVG", "SEN", "STD"),
            {
                "NO-UFA": (8.1859, 7.5629, 61.6871),
                "NO-SA": (8.1956, 7.5660, 61.8769),
                "NO-CA": (8.1964, 7.5668, 62.2399),
                "UFA": (8.2149, 7.5689, 62.6244),
            },
        ),
    ),
}
ATTENTION = {"NO-UFA": "none", "NO-SA": "no_spatial", "NO-CA": "no_channel", "UFA": "both"}


def settings(base: TrainOptions, over: str) -> dict[str, TrainOptions]:
    """Return the runs of a sweep by the name of their setting, each in a folder of its own below `base.out`.

    Raises:
        InputError: `over` names no sweep.
    """
    if over not in SWEEPS:
        raise InputError(f"`over={over}` is not known: choose one of {', '.join(SWEEPS)}.")
    runs: dict[str, TrainOptions] = {}
    for name in SWEEPS[over].published:
        if over == "lambda":
            changed: dict[str, Any] = {"recipe": dataclasses.replace(base.recipe, weight=float(name))}
        else:
            changed = {"attention": ATTENTION[name]}
        runs[name] = dataclasses.replace(base, out=base.out / f"{over}-{name}", **changed)
    return runs


def run_ablation(
    base: TrainOptions, over: str, *, pairs: Path | None = None, begin: Callable[[str], None] = ignored
) -> dict[str, Any]:
    """Train every setting of a sweep with the same budget, score them, and write table and plot.

    Interrupted or killed, the same call goes on where it was. Below `base.out`: a run's folder for each setting,
    `fused/SETTING/`, `table.md`, `ablation.json` and `ablation.png`.

    Args:
        base: the options of all runs; `out` is the sweep's folder.
        over: a name in `SWEEPS`.
        pairs: the folder of pairs that the table's metrics are computed on (the paper's: Lytro), as the weights fuse them that
            validated best; without one only the validation's PSNR and SSIM are there.
        begin: called with the name of each setting before it is trained.

    Returns:
        {"ok", "over", "finished", "rows": {SETTING: {"psnr", "ssim", "loss", METRIC...}}, "published", "note",
        "files"}; `ok` is False where the pairs could not be scored, `finished` where a signal ended it early. And "warnings",
        where there is anything to tell of the pairs' files or of a run.

    Raises:
        UfaError: As `train`; and where the pairs cannot be read, or a run that is there was begun with other options.
    """
    runs = settings(base, over)
    check_folder(base.out)
    report = base.out / REPORT
    if report.is_file() and (before := read_json(report).get("over")) != over:
        raise OutputError(f"{base.out} holds the table of the sweep over {before}: give this one a folder of its own (`out`).")
    for options in runs.values():
        check_same_run(options, budget=True)
    told: dict[str, None] = {}
    for pair in find_pairs(pairs) if pairs is not None else ():
        frames_of(pair, told)  # what is wrong with them is said before the first hour is spent
    rows: dict[str, dict[str, float]] = {}
    weights: dict[str, Path] = {}  # those whose PSNR stands in the row
    for name, options in runs.items():
        begin(name)
        result = train(options, resume=(options.out / OPTIONS).exists())
        told.update(dict.fromkeys(result.get("warnings", ())))
        if not result["finished"]:
            return {"ok": True, "over": over, "finished": False, "rows": rows, "files": []} | _told(told)
        rows[name] = {key: result["best"][key] for key in ("psnr", "ssim")} if result["best"] else {}
        weights[name] = Path(result["weights"])
        rows[name]["loss"] = loss_curve(options.out)[-1][1]
    note = "no `pairs` were given: the table's metrics were not computed"
    if pairs is not None:
        for name, path in weights.items():
            fuse_pairs(path, pairs, base.out / "fused" / name, device_of(base))
        scores, note = score(pairs, [base.out / "fused" / name for name in runs])
        for name, metrics in scores.items():
            rows[name] |= {metric: metrics[metric] for metric in SWEEPS[over].metrics}
    return _written(base, over, runs, rows, note, _told(told), scored=pairs is None or not note)


def _told(told: dict[str, None]) -> dict[str, Any]:
    return {"warnings": list(told)} if told else {}


def _written(
    base: TrainOptions,
    over: str,
    runs: Mapping[str, TrainOptions],
    rows: Mapping[str, dict[str, float]],
    note: str,
    told: dict[str, Any],
    *,
    scored: bool,
) -> dict[str, Any]:
    table, plot, report = (base.out / name for name in ("table.md", "ablation.png", REPORT))
    write_text(table, table_text(SWEEPS[over], rows, note), force=True)
    draw(SWEEPS[over], rows, {name: loss_curve(options.out) for name, options in runs.items()}, plot)
    result = {
        "ok": scored,
        "over": over,
        "finished": True,
        "rows": rows,
        "published": SWEEPS[over].published,
        "note": note,
        "files": [str(table), str(plot), str(report)],
        **told,
    }
    write_json(report, {**result, "options": base.to_dict()})
    return result


def loss_curve(run: Path) -> list[tuple[int, float]]:
    """Return step and loss of a run's log; at least one row (no number, where it has none)."""
    with (run / "log.csv").open(newline="") as stream:
        curve = [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(stream) if row["loss"]]
    return curve or [(0, float("nan"))]


def fuse_pairs(weights: Path, pairs: Path, out: Path, device: torch.device) -> None:
    """Fuse every pair of a folder in PyTorch on a device into `out/NAME.png`."""
    net = load_weights(weights).to(device)
    for pair in find_pairs(pairs):
        fused = fuse_frames(net, *frames_of(pair), device)
        path = out / f"{pair.name}.png"  # at its place, so that it is taken for no other pair's
        make_folder(path.parent)
        write_image(path, fused, force=True)


def score(pairs: Path, folders: Sequence[Path]) -> tuple[dict[str, dict[str, float]], str]:
    """Score folders of fused pictures with `ufa eval`; returns metrics by folder, and why there are none."""
    command = ["eval", "--pairs", str(pairs), *(word for folder in folders for word in ("--fused", str(folder))), "--json"]
    done = subprocess.run([sys.executable, "-c", EVAL, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return {}, f"`ufa {' '.join(command)}` did not work: {reason}"
    return json.loads(done.stdout)["mean"], ""


def table_text(sweep: Sweep, rows: Mapping[str, Mapping[str, float]], note: str) -> str:
    """Return the table as Markdown, the paper's figures in brackets beside ours."""
    head, *cells = table_cells(sweep, rows)
    table = markdown(head, cells, left=range(len(head)))
    return f"Table {sweep.table}: ours (the paper's)\n\n{table}\n\n{note}".rstrip() + "\n"


def table_cells(sweep: Sweep, rows: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """Return the table's head, and a row of texts for each setting."""
    cells = [[sweep.varied, *sweep.metrics, "PSNR", "SSIM", "loss"]]
    for name, published in sweep.published.items():
        ours = rows[name]
        row = [f"{_cell(ours, metric, 4)} ({published[metric]:.4f})" for metric in sweep.metrics]
        cells.append([name, *row, _cell(ours, "psnr", 2), _cell(ours, "ssim", 5), _cell(ours, "loss", 5)])
    return cells


def _cell(values: Mapping[str, float], key: str, digits: int) -> str:
    return f"{values[key]:.{digits}f}" if key in values else "-"


def draw(
    sweep: Sweep, rows: Mapping[str, Mapping[str, float]], curves: Mapping[str, Sequence[tuple[int, float]]], path: Path
) -> None:
    """Draw the loss over the steps of every setting (the paper's Fig. 6), and each metric there is, ours and the paper's."""
    from matplotlib.figure import Figure

    metrics = [metric for metric in sweep.metrics if any(metric in row for row in rows.values())]
    figure = Figure(figsize=(4 + 3 * len(metrics), 3.6), layout="constrained")
    axes = figure.subplots(1, 1 + len(metrics), width_ratios=[1.4, *[1] * len(metrics)], squeeze=False)[0]
    for name, curve in curves.items():
        axes[0].plot(*zip(*curve, strict=True), label=f"{sweep.varied} {name}")
    axes[0].set(xlabel="step", ylabel="loss", yscale="log")
    axes[0].legend(fontsize="small")
    names = list(sweep.published)
    for axis, metric in zip(axes[1:], metrics, strict=True):
        axis.plot(names, [sweep.published[name][metric] for name in names], "s--", color="0.5", label="paper")
        ours = [rows[name].get(metric, float("nan")) for name in names]
        axis.plot(names, ours, "o-", label="ours")
        axis.set(title=metric, xlabel=sweep.varied)
        axis.tick_params(axis="x", labelsize="small")
    for axis in axes[1:2]:
        axis.legend(fontsize="small")
    with atomic_write(path, force=True) as temporary:
        figure.savefig(temporary, dpi=110)
