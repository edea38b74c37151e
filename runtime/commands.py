"""`ufa fuse` and `ufa info`."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ufafuse.runtime import console
from ufafuse.runtime.errors import InputError

if TYPE_CHECKING:
    from ufafuse.runtime.fuser import Fuser
    from ufafuse.runtime.jobs import Outcome


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


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Model = Annotated[str | None, typer.Option(help="A bundled network's name, or a .onnx or .engine file.")]
BackendOption = Annotated[Backend, typer.Option(help="Inference engine.")]
PrecisionOption = Annotated[Precision | None, typer.Option(help="Arithmetic; left away, the backend chooses.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; left away, the backend chooses.")]
Force = Annotated[bool, typer.Option("--force", help="Replace existing results.")]


def register(app: typer.Typer) -> None:
    """Add this folder's commands to ``app``."""
    app.command("fuse")(fuse)
    app.command("info")(info)


def fuse(
    images: Annotated[list[Path] | None, typer.Argument(metavar="[NEAR FAR]", help="Two images of one scene.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="The fused image, or with --pairs a folder.")] = Path("fused.png"),
    pairs: Annotated[Path | None, typer.Option(help="A folder of pairs: NAME_A.* + NAME_B.*, or near/ + far/.")] = None,
    model: Model = None,
    backend: BackendOption = Backend.auto,
    precision: PrecisionOption = None,
    threads: Threads = None,
    force: Force = False,
    skip_existing: Annotated[bool, typer.Option(help="With --pairs: go on where an earlier run stopped.")] = False,
    as_json: Json = False,
) -> None:
    """Fuse two frames at different focus into one that is sharp everywhere, or a whole folder of such pairs."""
    with console.run(as_json):
        from ufafuse.runtime.fuser import Fuser

        images = _checked_images(images, pairs)
        chosen = precision.value if precision else None
        with Fuser(model, backend=backend.value, precision=chosen, threads=threads) as fuser:
            if pairs is None:
                outcomes = [_fuse_one(fuser, images, out, force=force)]
            else:
                outcomes = _fuse_many(fuser, pairs, out, force=force, skip_existing=skip_existing)
            _report(fuser, outcomes, as_json=as_json, table=pairs is not None)
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(1)


def _checked_images(images: list[Path] | None, pairs: Path | None) -> list[Path]:
    images = images or []
    if pairs is not None and images:
        raise InputError("both images and --pairs were given: give one of them.")
    if pairs is None and len(images) != 2:
        raise InputError(f"{len(images)} images were given: give two, NEAR and FAR, or --pairs DIR.")
    return images


def _fuse_one(fuser: "Fuser", images: list[Path], out: Path, *, force: bool) -> "Outcome":
    from ufafuse.runtime.jobs import fuse_files

    return fuse_files(fuser, images[0], images[1], out, force=force)


def _fuse_many(fuser: "Fuser", pairs: Path, out: Path, *, force: bool, skip_existing: bool) -> "list[Outcome]":
    from ufafuse.runtime.jobs import fuse_folder
    from ufafuse.runtime.pairs import find_pairs

    found = find_pairs(pairs)
    with console.progress() as bar:
        task = bar.add_task("fusing", total=len(found))
        return fuse_folder(fuser, found, out, force=force, skip_existing=skip_existing, done=lambda _: bar.advance(task))


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
    for outcome in failed:
        console.fail(outcome.error)
    if not as_json:
        console.out.print(f"{fuser.backend} ({fuser.session.why}), {fuser.precision}, {fuser.model.name}")
    for outcome in outcomes:
        if not outcome.error and not table:
            console.wrote(outcome.fused, as_json=as_json)
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
    as_json: Json = False,
) -> None:
    """Show this machine and what it can run; or a model file's manifest."""
    with console.run(as_json):
        from dataclasses import asdict

        from ufafuse.runtime.artefact import read_manifest, tool_versions
        from ufafuse.runtime.machine import backends, machine

        result: dict[str, Any] = {
            "ok": True,
            "version": tool_versions()["ufafuse"],
            "machine": machine(),
            "backends": backends(),
        }
        if artefact is not None:
            result["artefact"] = {"path": str(artefact), **asdict(read_manifest(artefact))}
        console.emit(result, as_json=as_json)
        if not as_json:
            _print_info(result)


def _print_info(result: dict[str, Any]) -> None:
    from rich.table import Table

    if "artefact" in result:
        console.out.print_json(data=result["artefact"])
        return
    machine = result["machine"]
    table = Table(show_header=False, title=f"ufafuse {result['version']}")
    for key in ("system", "architecture", "python", "cpu", "cores", "memory_mib"):
        table.add_row(key, str(machine[key]))
    table.add_row("features", " ".join(name if has else f"[dim]no {name}[/dim]" for name, has in machine["features"].items()))
    table.add_row("gpus", ", ".join(gpu["name"] for gpu in machine["gpus"]) or "none")
    for name, state in result["backends"].items():
        text = state["version"] if state["available"] else f"[yellow]{console.escape(state['why_not'])}[/yellow]"
        table.add_row(name, text)
    console.out.print(table)
