"""`ufa verify`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ufafuse.commands.export import PairsDir
from ufafuse.commands.fuse import Backend, Json, Provider
from ufafuse.runtime import console
from ufafuse.runtime.errors import InputError

if TYPE_CHECKING:
    from ufafuse.runtime.checks.cases import Findings
    from ufafuse.runtime.session import SessionOptions


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    app.command("verify")(verify)


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
        from ufafuse.runtime.parameters import size_from
        from ufafuse.runtime.session import SessionOptions
        from ufafuse.runtime.writing import make_folder

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
