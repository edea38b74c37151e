"""`ufa build`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ufafuse.commands.limits import MOST
from ufafuse.commands.options import Force, Json, Triton
from ufafuse.commands.request import as_command
from ufafuse.runtime import console
from ufafuse.runtime.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

Flavor = Literal["tensorrt", "tensorrt-rtx"]  # TensorRT's two kinds
Hardware = Literal["none", "ampere+", "same-cc"]  # which other GPUs may load a classic engine


def register(app: typer.Typer) -> None:
    """Add this file's command to ``app``."""
    app.command("build")(as_command(build, BuildRequest))


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """Build a TensorRT or TensorRT-RTX engine from ONNX (the latter without a GPU)."""

    onnx: Annotated[Path, typer.Argument(help="An .onnx file, or a bundled name; its precision is the engine's.")]
    out: Annotated[Path, typer.Option("-o", "--out", help="The .engine file.")]
    minima: Annotated[list[str] | None, typer.Option("--min", help="HxW; --min, --opt, --max make a profile; repeatable.")] = (
        None
    )
    optima: Annotated[list[str] | None, typer.Option("--opt", help="HxW the engine is fastest at.")] = None
    maxima: Annotated[list[str] | None, typer.Option("--max", help="HxW. A wide range makes a slower engine.")] = None
    statics: Annotated[
        list[str] | None, typer.Option("--static", help="HxW: a profile of one size, the fastest; repeatable.")
    ] = None
    batch: Annotated[str | None, typer.Option(help="Pairs at once: N, or MIN,OPT,MAX [default: 1].")] = None
    flavor: Annotated[Flavor | None, typer.Option(help="TensorRT's kind [default: the installed one].")] = None
    targets: Annotated[str, typer.Option("--target", help="sm75,sm86,...: GPUs to build for, with tensorrt-rtx only.")] = ""
    workspace_mib: Annotated[
        int | None, typer.Option("--workspace", max=MOST, help="MiB of scratch memory a layer may use.")
    ] = None
    optimization_level: Annotated[int | None, typer.Option("--level", max=MOST, help="0 (fast build) to 5 (fast engine).")] = (
        None
    )
    timing_cache: Annotated[Path | None, typer.Option(help="File that keeps tactic timings; with tensorrt only.")] = None
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="Newer releases can load it; with tensorrt only.")
    ] = False
    hardware: Annotated[Hardware, typer.Option(help="Other GPUs that can load it; with tensorrt only.")] = "none"
    triton: Triton = None
    force: Force = False
    as_json: Json = False


def build(asked: BuildRequest) -> None:
    """Run `ufa build`."""
    with console.run(asked.as_json):
        from ufafuse.export.build_options import BuildOptions
        from ufafuse.export.engine import engine_from_onnx
        from ufafuse.export.profiles import profiles_from_options, profiles_of
        from ufafuse.export.triton import check_repository, repository_from
        from ufafuse.runtime.artefact import made_at
        from ufafuse.runtime.models import file_named

        made_at()  # what it would refuse at the end is refused now
        onnx = file_named(asked.onnx)
        targets = tuple(dict.fromkeys(part.strip() for part in asked.targets.split(",") if part.strip()))
        if asked.targets and not targets:
            raise InputError(f"`targets={asked.targets}` names no GPU: give such as sm75,sm86, or omit it.")
        own = (
            profiles_of(onnx)
            if not (asked.minima or asked.optima or asked.maxima or asked.statics) and asked.batch is None
            else ()
        )
        options = BuildOptions(
            own
            or profiles_from_options(
                asked.minima or [], asked.optima or [], asked.maxima or [], asked.statics or [], asked.batch or "1"
            ),
            flavor=asked.flavor,
            targets=targets,
            workspace_mib=asked.workspace_mib,
            optimization_level=asked.optimization_level,
            timing_cache=asked.timing_cache,
            version_compatible=asked.version_compatible,
            hardware=asked.hardware,
        )
        if asked.triton is not None:
            check_repository(onnx, asked.triton, profiles=[each.to_dict() for each in options.profiles])
        with console.progress() as bar:
            report = engine_from_onnx(onnx, asked.out, options, force=asked.force, on_phase=_phases(bar))
        if asked.triton is not None:
            report["triton"] = [str(path) for path in repository_from(onnx, asked.triton, engine=asked.out)]
        console.emit(report, as_json=asked.as_json)
        if not asked.as_json:
            _print_build(report)
        for name in report.get("triton", ()):
            console.wrote(Path(name), as_json=asked.as_json)
        console.wrote(asked.out, as_json=asked.as_json)
        console.wrote(Path(report["report"]), as_json=asked.as_json)
        engine = console.word(asked.out)
        console.hint(f"ufa verify {engine} --reference X.npz  (on the machine that will run it)", as_json=asked.as_json)


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
