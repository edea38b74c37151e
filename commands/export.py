"""`ufa export`, `ufa build` and `ufa verify`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ufafuse.commands.fuse import Backend, Json, Provider
from ufafuse.runtime import console
from ufafuse.runtime.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from ufafuse.runtime.checks.cases import Findings
    from ufafuse.runtime.session import SessionOptions


ExportPrecision = Literal["fp32", "fp16"]  # types of an exported graph's tensors
Io = Literal["float", "uint8"]  # layouts of a graph's inputs and outputs
Flavor = Literal["tensorrt", "tensorrt-rtx"]  # TensorRT's two kinds
Hardware = Literal["none", "ampere+", "same-cc"]  # which other GPUs may load a classic engine
Force = Annotated[bool, typer.Option("--force", help="Replace existing files.")]
Weights = Annotated[str, typer.Option(help="A .safetensors file, or a bundled network's name.")]
PairsDir = Annotated[Path | None, typer.Option(help="A folder of real pairs [default: synthetic ones].")]


def register(app: typer.Typer) -> None:
    """Add this folder's commands to ``app``."""
    app.command("export")(export)
    app.command("build")(build)
    app.command("verify")(verify)


def export(
    weights: Weights,
    out: Annotated[Path, typer.Option("-o", "--out", help="The .onnx file; with --all a folder.")],
    precision: Annotated[ExportPrecision, typer.Option(help="Types of the graph's tensors.")] = "fp32",
    io: Annotated[Io, typer.Option(help="float: N x 3 x H x W, RGB, [0, 1]; uint8: N x H x W x 3, BGR.")] = "float",
    tiles: Annotated[bool, typer.Option("--tiles", help="Also X.means.onnx and X.tile.onnx, for exact tiling.")] = False,
    reference: Annotated[Path | None, typer.Option(help="Also pack PyTorch's results into this .npz, for the device.")] = None,
    reference_size: Annotated[list[str] | None, typer.Option(help="HxW of a packed pair; repeatable.")] = None,
    pairs: PairsDir = None,
    everything: Annotated[bool, typer.Option("--all", help="Every artefact this machine can make, and a report.")] = False,
    size: Annotated[str, typer.Option(help="With --all: HxW to check and time at, and the engines' size.")] = "256x256",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Export weights to ONNX, verified against PyTorch; with --all to everything that can be made here."""
    with console.run(as_json):
        from ufafuse.export.onnx_export import onnx_from_weights
        from ufafuse.export.verify import REFERENCE_SIZES, pack_reference
        from ufafuse.runtime.models import weights_path
        from ufafuse.runtime.parameters import size_from

        source = weights_path(weights)
        sizes = [size_from(text, "reference_size") for text in reference_size or []] or REFERENCE_SIZES
        if everything:
            report = _export_all(source, out, pairs, size_from(size), force=force)
        else:
            with console.progress() as bar:
                task = bar.add_task("loading", total=None)
                report = onnx_from_weights(
                    source,
                    out,
                    precision=precision,
                    io=io,
                    tiles=tiles,
                    force=force,
                    on_step=lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
                )
            if reference is not None:
                pack_reference(source, reference, pairs=pairs, sizes=sizes, force=force)
                report["reference"] = str(reference)
        console.emit(report, as_json=as_json)
        _tell_export(report, out, source, as_json=as_json)


def _export_all(source: Path, out: Path, pairs: Path | None, size: tuple[int, int], *, force: bool) -> dict[str, Any]:
    from ufafuse.commands.everything import export_all

    with console.progress() as bar:
        task = bar.add_task("exporting", total=None)
        return export_all(
            source,
            out,
            pairs=pairs,
            size=size,
            force=force,
            done=lambda name: bar.update(task, description=f"made {name}", advance=1),
        )


def _tell_export(report: dict[str, Any], out: Path, source: Path, *, as_json: bool) -> None:
    if report["precision"] == "all":
        if not as_json:
            console.plain((out / "report.md").read_text())
        for name in ("report.json", "report.md"):
            console.wrote(out / name, as_json=as_json)
        return
    if not as_json:
        for name, check in report["verified"].items():
            console.out.print(f"{name}: as PyTorch on {len(check['pairs'])} frames, worst {_measured(check['worst'])}")
    for name in report["files"]:
        console.wrote(out.with_name(name), as_json=as_json)
    console.wrote(Path(report["report"]), as_json=as_json)
    if "reference" in report:
        console.wrote(Path(report["reference"]), as_json=as_json)
    console.hint(f"ufa verify {out} --against {source}", as_json=as_json)


def _measured(worst: dict[str, Any]) -> str:
    if "relative" in worst:
        return f"{worst['relative']:.1e} relative"
    return f"{worst['psnr']:.1f} dB, {worst['max_abs']:.2g} levels ({worst['name']})"


def build(
    onnx: Annotated[Path, typer.Argument(help="A file of `ufa export` or `ufa calibrate`; its precision is the engine's.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The .engine file.")],
    *,
    minima: Annotated[
        list[str] | None, typer.Option("--min", help="HxW; --min, --opt, --max make a profile; repeatable.")
    ] = None,
    optima: Annotated[list[str] | None, typer.Option("--opt", help="HxW the engine is fastest at.")] = None,
    maxima: Annotated[list[str] | None, typer.Option("--max", help="HxW. A wide range makes a slower engine.")] = None,
    statics: Annotated[
        list[str] | None, typer.Option("--static", help="HxW: a profile of one size, the fastest; repeatable.")
    ] = None,
    batch: Annotated[str, typer.Option(help="Pairs at once: N, or MIN,OPT,MAX.")] = "1",
    flavor: Annotated[Flavor | None, typer.Option(help="TensorRT's kind [default: the installed one].")] = None,
    targets: Annotated[str, typer.Option("--target", help="sm75,sm86,...: GPUs to build for, with tensorrt-rtx only.")] = "",
    workspace_mib: Annotated[int | None, typer.Option("--workspace", help="MiB of scratch memory a layer may use.")] = None,
    optimization_level: Annotated[int | None, typer.Option("--level", help="0 (fast build) to 5 (fast engine).")] = None,
    timing_cache: Annotated[Path | None, typer.Option(help="File that keeps tactic timings; classic only.")] = None,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="Newer releases can load it; classic only.")
    ] = False,
    hardware: Annotated[Hardware, typer.Option(help="Other GPUs that can load it; classic only.")] = "none",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Build a TensorRT or TensorRT-RTX engine from ONNX (the latter without a GPU)."""
    with console.run(as_json):
        from ufafuse.export.build_options import BuildOptions
        from ufafuse.export.engine import engine_from_onnx
        from ufafuse.export.profiles import profiles_from_options

        options = BuildOptions(
            profiles_from_options(minima or [], optima or [], maxima or [], statics or [], batch),
            flavor=flavor,
            targets=tuple(part.strip() for part in targets.split(",") if part.strip()),
            workspace_mib=workspace_mib,
            optimization_level=optimization_level,
            timing_cache=timing_cache,
            version_compatible=version_compatible,
            hardware=hardware,
        )
        with console.progress() as bar:
            report = engine_from_onnx(onnx, out, options, force=force, on_phase=_phases(bar))
        console.emit(report, as_json=as_json)
        if not as_json:
            _print_build(report)
        console.wrote(out, as_json=as_json)
        console.wrote(Path(report["report"]), as_json=as_json)
        console.hint(f"ufa verify {out} --reference X.npz  (on the machine that will run it)", as_json=as_json)


def _phases(bar: "Bar") -> Any:  # noqa: ANN401 - the callback of engine_from_onnx
    """Show each phase of a build as a line of its own; builders call this from their threads."""
    tasks: dict[str, Any] = {}

    def on_phase(phase: str, steps: int, total: int | None) -> None:
        if total is None:
            if phase in tasks:
                bar.remove_task(tasks.pop(phase))
        elif phase in tasks:
            bar.update(tasks[phase], completed=steps, total=total)
        else:
            tasks[phase] = bar.add_task(phase, completed=steps, total=total)

    return on_phase


def _print_build(report: dict[str, Any]) -> None:
    layers = report["layers"]
    console.out.print(
        f"{report['flavor']} {report['version']} for {', '.join(report['compute_capability'])}: "
        f"{report['bytes'] / 1e6:.1f} MB in {report['seconds']:.1f} s; of {layers['convolutions']} convolutions "
        f"{layers['half']} are half, {layers['int8']} int8"
    )


def verify(
    artefact: Annotated[Path, typer.Argument(help="A .onnx or .engine file.")],
    against: Annotated[
        str | None, typer.Option(help="The weights it came from: a .safetensors file or a bundled name.")
    ] = None,
    reference: Annotated[Path | None, typer.Option(help="Packed results instead of weights: needs no PyTorch.")] = None,
    pairs: PairsDir = None,
    size: Annotated[list[str] | None, typer.Option(help="HxW to cut from the middle of each pair; repeatable.")] = None,
    max_pairs: Annotated[int | None, typer.Option(min=1, help="Take only so many pairs, spread over the folder.")] = None,
    backend: Annotated[Backend, typer.Option(help="Inference engine.")] = "auto",
    provider: Annotated[Provider, typer.Option(help="ONNX Runtime's execution provider.")] = "cpu",
    precision: Annotated[str | None, typer.Option(help="Arithmetic [default: the backend chooses].")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for report and heat map.")] = None,
    as_json: Json = False,
) -> None:
    """Hold an artefact against PyTorch, or against packed results of it; exit code 1 when it falls short."""
    with console.run(as_json):
        from ufafuse.runtime.jobs import make_folder
        from ufafuse.runtime.parameters import size_from
        from ufafuse.runtime.session import SessionOptions

        if (against is None) == (reference is None):
            raise InputError("give either --against WEIGHTS, or --reference X.npz where PyTorch is not installed.")
        options = SessionOptions(precision=precision, threads=threads, provider=provider)
        if reference is not None:
            from ufafuse.runtime.checks.cases import verify_against_reference

            findings = verify_against_reference(artefact, reference, backend=backend, options=options)
        else:
            sizes = [size_from(text) for text in size or []]
            findings = _verify_against_weights(artefact, against, pairs, sizes, max_pairs, backend, options)
        if out is not None:
            make_folder(out)
        written = findings.write(out or artefact.parent)
        console.emit(findings.report, as_json=as_json)
        if not as_json:
            _print_rows(findings.report)
        for path in written:
            console.wrote(path, as_json=as_json)
    if not findings.report["ok"]:
        console.fail(findings.verdict)
        raise typer.Exit(1)


def _verify_against_weights(
    artefact: Path,
    against: str | None,
    pairs: Path | None,
    sizes: "list[tuple[int, int]]",
    max_pairs: int | None,
    backend: str,
    options: "SessionOptions",
) -> "Findings":
    from ufafuse.export.verify import verify_against_weights
    from ufafuse.runtime.models import weights_path

    with console.progress() as bar:
        task = bar.add_task("verifying", total=None)

        def done(row: dict[str, Any]) -> None:
            bar.update(task, description=f"verified {row['name']}", advance=1)

        weights = weights_path(against)
        return verify_against_weights(
            artefact, weights, pairs=pairs, sizes=sizes, max_pairs=max_pairs, backend=backend, options=options, done=done
        )


_HEADS = ("pair", "size", "PSNR (dB)", "SSIM", "max (levels)", "mean (levels)", "")


def _print_rows(report: dict[str, Any]) -> None:
    from rich.table import Table

    from ufafuse.runtime.tables import kept_columns

    rows = [
        [
            row["name"],
            "x".join(map(str, row["size"])),
            f"{row['psnr']:.2f}",
            f"{row['ssim']:.5f}",
            f"{row['max_abs']:.3g}",
            f"{row['mean_abs']:.2g}",
            "ok" if row["ok"] else "too far" if row["finite"] else "not finite",
        ]
        for row in report["pairs"]
    ]
    # The lines of the table take as much as the gaps that are counted, and two more for each column.
    kept = kept_columns(_HEADS, rows, drop=_HEADS[5:2:-1], width=console.out.width - 2 * len(_HEADS) - 1)
    table = Table()
    for number in kept:
        table.add_column(_HEADS[number], no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(console.escape(row[number]) for number in kept), style="" if row[-1] == "ok" else "red")
    console.out.print(table)
    console.out.print(f"{report['backend']}, {report['precision']}; tolerance: {_tolerance(report['tolerance'])}")


def _tolerance(values: dict[str, Any]) -> str:
    """What a pair may differ by, in words."""
    told = [f"{values['max_abs']:g} levels at most"] if values.get("max_abs") is not None else []
    told += [f"{values['psnr']:g} dB at least"] if values.get("psnr") is not None else []
    return ", ".join(told) or "none"
