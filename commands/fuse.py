"""`ufa fuse` and `ufa info`."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ufafuse.runtime import console
from ufafuse.runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ufafuse.runtime.frames import Frame
    from ufafuse.runtime.fuser import Fuser
    from ufafuse.runtime.jobs import Outcome
    from ufafuse.runtime.stack import StackOptions


class Backend(str, Enum):
    """Inference engines."""

    auto = "auto"
    tensorrt = "tensorrt"
    onnxruntime = "onnxruntime"
    openvino = "openvino"


class Precision(str, Enum):
    """Arithmetic of the network."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"
    int8 = "int8"


class Provider(str, Enum):
    """ONNX Runtime's execution providers."""

    cpu = "cpu"
    cuda = "cuda"
    tensorrt = "tensorrt"


class Align(str, Enum):
    """How the frames may have moved."""

    off = "off"
    translation = "translation"
    euclidean = "euclidean"
    affine = "affine"
    homography = "homography"


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Model = Annotated[str | None, typer.Option(help="A bundled network's name, or a .onnx or .engine file that you trust.")]
BackendOption = Annotated[Backend, typer.Option(help="Inference engine.")]
PrecisionOption = Annotated[Precision | None, typer.Option(help="Arithmetic [default: the backend chooses].")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads [default: the backend chooses].")]
Pin = Annotated[bool, typer.Option("--pin", help="Bind each thread to a core.")]
ProviderOption = Annotated[Provider, typer.Option(help="With --backend onnxruntime: what it runs on.")]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE", help="Most memory this process may take, such as 800MB or 2GB: larger frames are fused in tiles."
    ),
]
TileOption = Annotated[str, typer.Option(metavar="auto|off|N", help="Tiles where memory asks for them, never, or of N pixels.")]
AlignOption = Annotated[
    Align,
    typer.Option(
        help="Register the frames: a pair to its first, a stack to the one that the others cover best; affine undoes "
        "focus breathing."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace existing results.")]


def register(app: typer.Typer) -> None:
    """Add this folder's commands to ``app``."""
    app.command("fuse")(fuse)
    app.command("info")(info)


def fuse(
    images: Annotated[
        list[Path] | None, typer.Argument(metavar="[NEAR FAR [MORE...]]", help="Images of one scene, in the order of focus.")
    ] = None,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="The fused image, or with --pairs a folder.")] = Path("fused.png"),
    pairs: Annotated[Path | None, typer.Option(help="A folder of pairs: NAME_A.* + NAME_B.*, or near/ + far/.")] = None,
    model: Model = None,
    backend: BackendOption = Backend.auto,
    precision: PrecisionOption = None,
    threads: Threads = None,
    pin: Pin = False,
    provider: ProviderOption = Provider.cpu,
    max_memory: MaxMemory = None,
    tile: TileOption = "auto",
    align: AlignOption = Align.off,
    match_gain: Annotated[bool, typer.Option("--match-gain", help="Undo a jump of exposure or white balance.")] = False,
    crop: Annotated[bool, typer.Option("--crop", help="With --align: cut to what all frames show.")] = False,
    map_out: Annotated[Path | None, typer.Option("--map", help="Also write which frame won (white: the first).")] = None,
    confidence: Annotated[Path | None, typer.Option(help="Also write where any frame is sharp (white: surely).")] = None,
    white: Annotated[float | None, typer.Option(help="Level of white, such as 4095 for 12 bits in 16.")] = None,
    bayer: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="The images are raw: rggb, bggr, grbg, gbrg, or a name like BayerRG8.")
    ] = None,
    self_test: Annotated[bool, typer.Option("--self-test", help="First check the model on a packed pair.")] = False,
    force: Force = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="With --pairs: go on where an earlier run stopped.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fuse frames at different focus into one that is sharp everywhere: a pair, a focus stack, or a folder of pairs."""
    with console.run(as_json):
        from ufafuse.commands.quantities import megabytes_from
        from ufafuse.runtime.bayer import pattern_from
        from ufafuse.runtime.fuser import Fuser
        from ufafuse.runtime.jobs import reading
        from ufafuse.runtime.precision import quick_precision
        from ufafuse.runtime.stack import StackOptions

        images = _checked_images(images, pairs)
        options = StackOptions(
            white=white, bayer=bayer and pattern_from(bayer), align=align.value, match_gain=match_gain, crop=crop
        )
        results = (out, map_out, confidence)
        limits: dict[str, Any] = {
            "threads": threads,
            "pin": pin,
            "provider": provider.value,
            "max_memory": megabytes_from("--max-memory", max_memory),
            "tile": _parsed_tile(tile),
            "self_test": self_test,
        }
        many, asked = len(images) > 2, precision and precision.value
        with (
            reading(images, threads) as frames,
            Fuser(
                model,
                backend=backend.value,
                precision=quick_precision(model, backend=backend.value, asked=asked) if many else asked,
                **limits,
            ) as fuser,
        ):
            if pairs is None:
                outcomes = [_fuse_one(fuser, images, frames, results, options, force=force)]
            else:
                outcomes = _fuse_many(fuser, pairs, results, options, force=force, skip_existing=skip_existing)
            _report(fuser, outcomes, as_json=as_json, table=pairs is not None)
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(1)


def _checked_images(images: list[Path] | None, pairs: Path | None) -> list[Path]:
    images = images or []
    if pairs is not None and images:
        raise InputError("both images and --pairs were given: give one of them.")
    if pairs is None and len(images) < 2:
        raise InputError(f"{len(images)} images were given: give two or more, NEAR FAR [MORE...], or --pairs DIR.")
    return images


def _parsed_tile(text: str) -> Any:  # noqa: ANN401 - a `Tile`, or a word that `Budget` refuses
    return int(text) if text.isdecimal() else text


Results = tuple[Path, Path | None, Path | None]


def _fuse_one(
    fuser: "Fuser", images: list[Path], frames: "Iterable[Frame]", results: Results, options: "StackOptions", *, force: bool
) -> "Outcome":
    from ufafuse.runtime.jobs import Outputs, fuse_files

    with console.progress() as bar:
        task = bar.add_task("fusing", total=None, visible=False)

        def on_tile(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        return fuse_files(fuser, images, Outputs(*results), options, frames=frames, force=force, on_tile=on_tile)


def _fuse_many(
    fuser: "Fuser", pairs: Path, results: Results, options: "StackOptions", *, force: bool, skip_existing: bool
) -> "list[Outcome]":
    from ufafuse.runtime.jobs import fuse_folder
    from ufafuse.runtime.pairs import find_pairs

    found = find_pairs(pairs)
    out, maps, confidences = results
    with console.progress() as bar:
        task = bar.add_task("fusing", total=len(found))
        return fuse_folder(
            fuser,
            found,
            out,
            options,
            maps=maps,
            confidences=confidences,
            force=force,
            skip_existing=skip_existing,
            done=lambda _: bar.advance(task),
        )


def _report(fuser: "Fuser", outcomes: "list[Outcome]", *, as_json: bool, table: bool) -> None:
    failed = [outcome for outcome in outcomes if outcome.error]
    result: dict[str, Any] = {
        "ok": not failed,
        "backend": fuser.backend,
        "why": fuser.session.why,
        "precision": fuser.precision,
        "model": str(fuser.model),
        "outputs": [outcome.to_json() for outcome in outcomes],
        "failed": len(failed),
    }
    console.emit(result, as_json=as_json)
    if table and not as_json:
        console.out.print(_table(outcomes))
    for outcome in outcomes:
        for warning in outcome.warnings:
            console.warn(f"{outcome.fused.name}: {warning}")
    for outcome in failed:
        console.fail(outcome.error)
    if not as_json:
        console.out.print(f"{fuser.backend} ({fuser.session.why}), {fuser.precision}, {fuser.model.name}")
    for outcome in outcomes:
        if not outcome.error and not table:
            for path in (
                outcome.fused,
                *(Path(outcome.details[key]) for key in ("map", "confidence") if key in outcome.details),
            ):
                console.wrote(path, as_json=as_json)
    if table:
        console.err.print(f"{len(outcomes) - len(failed)} of {len(outcomes)} pairs fused")


def _table(outcomes: "list[Outcome]") -> Any:  # noqa: ANN401 - rich is imported here only
    from rich.table import Table

    table = Table("pair", "size", "ms", "result")
    for outcome in outcomes:
        size = "x".join(map(str, outcome.size)) if outcome.size else ""
        ms = f"{outcome.ms:.0f}" if outcome.ms is not None else ""
        table.add_row(outcome.fused.stem, size, ms, "[red]failed[/red]" if outcome.error else str(outcome.fused))
    return table


def info(
    artefact: Annotated[Path | None, typer.Argument(help="A .safetensors, .onnx or .engine file.")] = None,
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Run the model (the default one, or ARTEFACT) on a packed pair.")
    ] = False,
    backend: BackendOption = Backend.auto,
    as_json: Json = False,
) -> None:
    """Show this machine and what it can run; or a model file's manifest. Check a model on this machine."""
    with console.run(as_json):
        from dataclasses import asdict

        from ufafuse.runtime import opencv
        from ufafuse.runtime.artefact import read_manifest, tool_versions
        from ufafuse.runtime.checks.runnable import why_not_here
        from ufafuse.runtime.machine import backends, machine

        result: dict[str, Any] = {
            "ok": True,
            "version": tool_versions()["ufafuse"],
            "machine": machine(),
            "opencv": opencv.state(),
            "backends": backends(),
        }
        if artefact is not None:
            manifest = read_manifest(artefact)
            why_not = why_not_here(artefact, manifest)
            result["artefact"] = {
                "path": str(artefact), **asdict(manifest), "runs_here": why_not is None, "why_not": why_not,
            }  # fmt: skip
        if self_test:
            result["self_test"] = _tested(artefact, backend.value)
            result["ok"] = result["self_test"]["ok"]
        console.emit(result, as_json=as_json)
        if not as_json:
            _print_info(result)
        if self_test and not result["ok"]:
            raise typer.Exit(1)


def _tested(artefact: Path | None, backend: str) -> dict[str, Any]:
    from ufafuse.runtime.checks.selftest import self_test
    from ufafuse.runtime.fuser import Fuser

    with Fuser(artefact, backend=backend) as fuser:
        return self_test(fuser.session, fuser.model).report


def _print_info(result: dict[str, Any]) -> None:
    if "artefact" in result:
        artefact = result["artefact"]
        console.out.print_json(data=artefact)
        console.out.print(
            "[green]runs here[/green]" if artefact["runs_here"] else f"does not run here: {console.escape(artefact['why_not'])}"
        )
    else:
        _print_machine(result)
    if "self_test" in result:
        test = result["self_test"]
        verdict = "[green]passed[/green]" if test["ok"] else "[red]failed[/red]"
        console.out.print(
            f"self-test {verdict}: {console.escape(test['artefact'])} on {test['backend']}, {test['precision']}: "
            f"{test['worst']['psnr']:.1f} dB, {test['worst']['max_abs']:.3g} levels at most"
        )


def _print_machine(result: dict[str, Any]) -> None:
    from rich.table import Table

    machine = result["machine"]
    table = Table(show_header=False, title=f"ufafuse {result['version']}")
    for key in ("system", "architecture", "python", "cpu", "cores", "memory_mib"):
        table.add_row(key, str(machine[key]))
    table.add_row("features", " ".join(name if has else f"[dim]no {name}[/dim]" for name, has in machine["features"].items()))
    table.add_row("gpus", ", ".join(gpu["name"] for gpu in machine["gpus"]) or "none")
    table.add_row("opencv", _opencv_text(result["opencv"]))
    for name, state in result["backends"].items():
        text = state["version"] if state["available"] else f"[yellow]{console.escape(state['why_not'])}[/yellow]"
        table.add_row(name, text)
    console.out.print(table)


def _opencv_text(state: dict[str, Any]) -> str:
    if not state["available"]:
        return f"[yellow]{console.escape(state['why_not'])}[/yellow]"
    came = " and ".join(f"{name} {version}" for name, version in state["builds"].items()) or "not from pip"
    warning = f"; [yellow]{console.escape(state['warning'])}[/yellow]" if "warning" in state else ""
    return f"{state['version']} ({came}){warning}"
