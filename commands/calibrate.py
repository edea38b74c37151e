"""`ufa calibrate`."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ufafuse.commands.effects import refuse_idle
from ufafuse.commands.limits import MOST_CROPS, MOST_SEED, MOST_SIDE, MOST_THREADS
from ufafuse.commands.request import as_command
from ufafuse.runtime import console
from ufafuse.runtime.texts import few_of_a_kind

if TYPE_CHECKING:
    from ufafuse.calibration.options import CalibrationOptions


_CROPS = 32  # windows to calibrate on, unless others are asked for
Calibrator = Literal["minmax", "entropy", "percentile"]  # how ranges are drawn from what was seen


def register(app: typer.Typer) -> None:
    """Add this folder's commands to ``app``."""
    app.command("calibrate")(as_command(calibrate, CalibrateRequest))


@dataclass(frozen=True, kw_only=True)
class CalibrateRequest:
    """Quantise to INT8 with real pairs: as many layers as keep the quality asked for."""

    onnx: Annotated[Path, typer.Argument(help="An fp32 or fp16 .onnx, or a bundled name; companions beside it go along.")]
    out: Annotated[Path, typer.Option("-o", "--out", help="The .onnx file.")]
    pairs: Annotated[Path | None, typer.Option(help="A folder of real pairs; a quarter is kept to judge on.")] = None
    images: Annotated[Path | None, typer.Option(help="Instead: photographs to draw pairs from.")] = None
    masks: Annotated[Path | None, typer.Option(help="Their labels.")] = None
    method: Annotated[Calibrator, typer.Option(help="How ranges are drawn.")] = "minmax"
    percentile: Annotated[
        float | None, typer.Option(help="With --method percentile: the share that lies within. [default: 99.99]")
    ] = None
    ranges: Annotated[Path | None, typer.Option(help="Ranges of an earlier run, X.ranges.json, instead of measuring.")] = None
    min_psnr: Annotated[float, typer.Option(help="Worst PSNR (dB) against the source, on pairs kept back.")] = 45.0
    keep: Annotated[list[str] | None, typer.Option(help="A layer to leave as it is; repeatable.")] = None
    weight_bits: Annotated[
        int, typer.Option(min=7, max=8, help="7: safe on CPUs without VNNI; 8: for GPUs and CPUs with it.")
    ] = 7
    outputs: Annotated[bool, typer.Option(help="Quantise results too: for ONNX Runtime; slower elsewhere.")] = False
    only_faster: Annotated[bool, typer.Option("--only-faster", help="Keep float where int8 is measured to be slower.")] = False
    equalise: Annotated[bool, typer.Option(help="Bring channels to like sizes first; the float values stay the same.")] = True
    crops: Annotated[int, typer.Option(min=1, max=MOST_CROPS, help="Windows to calibrate on.")] = _CROPS
    judge: Annotated[int, typer.Option(min=1, max=MOST_CROPS, help="Windows to judge on.")] = 6
    hard: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            max=MOST_CROPS,
            help="Drawn windows with wide defocus, added to both; to judge, also with clipped lights and pure colours.",
        ),
    ] = 24
    crop: Annotated[int, typer.Option(min=1, max=MOST_SIDE, help="Side of a window in pixels.")] = 128
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Draws the windows.")] = 0
    threads: Annotated[int | None, typer.Option(min=1, max=MOST_THREADS, help="CPU threads.")] = None
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False


def calibrate(asked: CalibrateRequest) -> None:
    """Run `ufa calibrate`."""
    with console.run(asked.as_json):
        from ufafuse.calibration.crops import CropOptions
        from ufafuse.calibration.options import CalibrationOptions
        from ufafuse.calibration.quantizers import QuantizerOptions
        from ufafuse.calibration.ranges import RangeMethod
        from ufafuse.commands.telling import warn_of_passed
        from ufafuse.runtime.artefact import made_at
        from ufafuse.runtime.filebytes import same_file
        from ufafuse.runtime.models import file_named

        made_at()  # what it would refuse at the end is refused now
        refuse_idle(
            (
                "--percentile",
                asked.percentile is not None,
                asked.method == "percentile",
                "is for --method percentile: add that",
            ),
            (
                "--crops",
                asked.crops != _CROPS,
                asked.ranges is None,
                "is about measuring, and those of --ranges are used: omit it",
            ),
        )
        options = CalibrationOptions(
            pairs=asked.pairs,
            images=asked.images,
            masks=asked.masks,
            crops=CropOptions(asked.crops, asked.judge, asked.hard, asked.crop, asked.seed),
            method=RangeMethod(asked.method, RangeMethod.percentile if asked.percentile is None else asked.percentile),
            ranges=asked.ranges,
            quantizers=QuantizerOptions(asked.weight_bits, asked.outputs),
            equalise=asked.equalise,
            min_psnr=asked.min_psnr,
            keep=tuple(asked.keep or ()),
            only_faster=asked.only_faster,
            threads=asked.threads,
        )
        report = _calibrated(file_named(asked.onnx), asked.out, options, force=asked.force)
        console.emit(report, as_json=asked.as_json)
        if not asked.as_json:
            _print_table(report)
        for name in report["files"]:
            console.wrote(asked.out.with_name(name), as_json=asked.as_json)
        again = asked.ranges is not None and same_file(asked.ranges, Path(report["ranges"]))  # they were there, and stay
        for key in ("report", "plot") if again else ("report", "ranges", "plot"):
            console.wrote(Path(report[key]), as_json=asked.as_json)
        for warning in few_of_a_kind(report["warnings"]):
            console.warn(warning)
        warn_of_passed(report.get("passed_over", ()))
        console.hint(_next(asked.out), as_json=asked.as_json)


def _next(out: Path) -> str:
    """An engine where one can be built, else what runs the file as it is."""
    if find_spec("tensorrt") or find_spec("tensorrt_rtx"):
        return f"ufa build {console.word(out)} -o {console.word(out.with_suffix('.engine'))} --static 520x520"
    return f"ufa fuse NEAR FAR --model {console.word(out)}"


def _calibrated(onnx: Path, out: Path, options: "CalibrationOptions", *, force: bool) -> dict[str, Any]:
    from ufafuse.calibration.calibrate import int8_from_onnx

    with console.progress() as bar:
        task = bar.add_task("calibrating", total=None)

        def on_step(what: str, step: int, total: int) -> None:
            bar.update(task, description=what, completed=step, total=total)

        return int8_from_onnx(onnx, out, options, force=force, on_step=on_step)


def _print_table(report: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("layer", "alone in int8 (dB)", "share of work", "became")
    for row in report["layers"]:
        became = row["precision"] if row["precision"] == "int8" else f"[yellow]{row['precision']}[/yellow]"
        table.add_row(row["name"], f"{row['psnr_alone']:.1f}", f"{row['share_of_work']:.1%}", became)
    console.out.print(table)
    reached = ", ".join(f"{engine} {psnr:.1f} dB" for engine, psnr in report["verified"]["psnr"].items())
    console.out.print(f"{report['share_int8']:.0%} of the work in int8; worst of the pairs kept back: {reached}")
    speed, (height, width) = report["speed"], report["speed"]["size"]
    console.out.print(
        f"{height}x{width} on {speed['engine']}: {speed['int8_ms']:.1f} ms, the source {speed['source_ms']:.1f} ms"
    )
