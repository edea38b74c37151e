"""`ufa export`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ufafuse.commands.effects import refuse_idle
from ufafuse.commands.fitting import print_table
from ufafuse.commands.limits import MOST
from ufafuse.commands.options import Force, Json, Triton
from ufafuse.commands.quantities import listed
from ufafuse.commands.request import as_command, changed
from ufafuse.runtime import console
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.texts import few_of_a_kind

if TYPE_CHECKING:
    from ufafuse.export.form import Form
    from ufafuse.export.formats.base import Format
    from ufafuse.runtime.parameters import Size

ExportPrecision = Literal["fp32", "fp16"]  # types of an exported graph's tensors
_OPSET = "20"  # `ufafuse.export.form.OPSET`, which it would take torch to ask
Io = Literal["float", "uint8"]  # layouts of a graph's inputs and outputs
Weights = Annotated[str, typer.Option(help="A .safetensors file, a bundled network's name, or rival-...")]
PairsDir = Annotated[Path | None, typer.Option(help="A folder of real pairs [default: synthetic ones].")]


def register(app: typer.Typer) -> None:
    """Add this file's command to ``app``."""
    app.command("export")(as_command(export, ExportRequest))


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """Export weights to ONNX, verified against PyTorch; with --all to everything that can be made here."""

    weights: Weights
    out: Annotated[Path, typer.Option("-o", "--out", help="The .onnx file, or another format's; with --all a folder.")]
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="onnx, openvino, ncnn, mnn, litert, torchscript, executorch, coreml, rknn [default: by the suffix of "
            "--out]; with --all several, by comma, and engine [default: all].",
        ),
    ] = None
    precision: Annotated[ExportPrecision, typer.Option(help="Types of the graph's tensors.")] = "fp32"
    io: Annotated[Io, typer.Option(help="float: N x 3 x H x W, RGB, [0, 1]; uint8: N x H x W x 3, BGR.")] = "float"
    opset: Annotated[str, typer.Option(help="Of the operators: 13 to 23, or latest. TensorRT 8.5 reads 17.")] = _OPSET
    static: Annotated[str | None, typer.Option(help="HxW: frames of this size only, as NPUs and phones want it.")] = None
    batch: Annotated[int | None, typer.Option(max=MOST, help="Pairs at once [default: free; 1 with --static].")] = None
    opencv: Annotated[bool, typer.Option("--opencv", help="A graph for OpenCV's dnn, and run there; with --static.")] = False
    triton: Triton = None
    tiles: Annotated[bool, typer.Option("--tiles", help="Also X.means.onnx and X.tile.onnx, for exact tiling.")] = False
    reference: Annotated[Path | None, typer.Option(help="Also pack PyTorch's results into this .npz, for the device.")] = None
    reference_size: Annotated[list[str] | None, typer.Option(help="HxW of a packed pair [default: small]; repeatable.")] = None
    pairs: PairsDir = None
    everything: Annotated[
        bool, typer.Option("--all", help="All that this machine can make, and a report; goes on after a cut.")
    ] = False
    size: Annotated[
        str | None, typer.Option(help="With --all: HxW to check and time at, and the engines' size. [default: 256x256]")
    ] = None
    force: Force = False
    as_json: Json = False


def export(asked: ExportRequest) -> None:
    """Run `ufa export`."""
    with console.run(asked.as_json):
        from ufafuse.commands.telling import unpaired_in, warn_of_passed
        from ufafuse.export.form import Form, opset_from
        from ufafuse.export.verify import check_packed
        from ufafuse.runtime.artefact import made_at
        from ufafuse.runtime.parameters import size_from
        from ufafuse.runtime.writing import check_apart

        made_at()  # what it would refuse at the end is refused now
        refuse_idle(
            ("--reference-size", asked.reference_size, asked.reference, "is of packed pairs: add --reference X.npz"),
            ("--pairs", asked.pairs, asked.reference or asked.everything, "are for --reference and --all: add one of them"),
            ("--size", asked.size is not None, asked.everything, "is for --all; one size only: --static HxW"),
            *((f"--{name}", name in changed(asked), not asked.everything, _MADE_BY_ALL) for name in _OF_ONE_FILE),
        )
        source = _weights_file(asked.weights)
        check_apart([asked.out, asked.reference, asked.triton], [source, asked.pairs])
        form = Form(
            opset_from(asked.opset),
            None if asked.static is None else size_from(asked.static, "static"),
            asked.batch,
            opencv=asked.opencv,
        )
        sizes = _packed_sizes([size_from(text, "reference_size") for text in asked.reference_size or []], form)
        if asked.reference is not None:
            check_packed(asked.reference, source, sizes, force=asked.force, pairs=asked.pairs)
        names = listed(asked.formats)
        if asked.everything:
            _only_alone(form, asked.triton)
            report = _export_all(source, asked.out, asked.pairs, size_from(asked.size or "256x256"), names, force=asked.force)
            told = _pack(source, asked, sizes)
        else:
            report, told = _export_one(source, asked, form, names, sizes)
        if asked.reference is not None:
            report["reference"] = str(asked.reference)
        told = list(dict.fromkeys([*report.get("warnings", ()), *told]))
        report |= ({"warnings": told} if told else {}) | (unpaired := unpaired_in(asked.pairs))
        console.emit(report, as_json=asked.as_json)
        for warning in few_of_a_kind(told):
            console.warn(warning)
        warn_of_passed(unpaired.get("passed_over", ()))
        _tell_export(report, asked.out, asked.weights, as_json=asked.as_json)


def _export_one(
    source: Path, asked: ExportRequest, form: "Form", names: tuple[str, ...], sizes: "Sequence[Size]"
) -> tuple[dict[str, Any], list[str]]:
    """One file with its reference and Triton's repository, or nothing: the report, and what there is to tell of the pairs."""
    from ufafuse.export.formats.exporting import format_from_weights
    from ufafuse.export.onnx_export import onnx_from_weights
    from ufafuse.export.triton import check_repository, repository_from
    from ufafuse.runtime.writing import together

    chosen = _format_of(asked.out, names, tiles=asked.tiles, triton=asked.triton, opset=asked.opset)
    if asked.triton is not None:
        check_repository(asked.out, asked.triton)
    with console.progress() as bar, together():
        task = bar.add_task("loading", total=None)

        def on_step(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        given: dict[str, Any] = {
            "precision": asked.precision,
            "io": asked.io,
            "form": form,
            "force": asked.force,
            "on_step": on_step,
        }
        if chosen is None:
            report = onnx_from_weights(source, asked.out, tiles=asked.tiles, **given)
        else:
            report = format_from_weights(source, asked.out, chosen, **given)
        told = _pack(source, asked, sizes)
        if asked.triton is not None:
            files = [asked.out.with_name(name) for name in report["files"]]
            report["triton"] = [str(path) for onnx in files for path in repository_from(onnx, asked.triton)]
    return report, told


_MADE_BY_ALL = "is of one file, and --all makes each kind: omit one of both"
_OF_ONE_FILE = ("precision", "io", "tiles")  # options that say how one file is to be


def _packed_sizes(asked: list["Size"], form: "Form") -> "Sequence[Size]":
    """The sizes of packed pairs. Raises: InputError for those that a file of one size could not be held to."""
    from ufafuse.export.verify import REFERENCE_SIZES

    if form.size is None:
        return asked or REFERENCE_SIZES
    if asked and form.size not in asked:
        raise InputError("`reference_size`: none is that of `static`, and the file runs no other: add it, or omit this.")
    return asked or [form.size]


def _pack(source: Path, asked: ExportRequest, sizes: "Sequence[Size]") -> list[str]:
    """Pack what was asked for; returns what there is to tell of the pairs' files."""
    from ufafuse.export.verify import pack_reference

    told: dict[str, None] = {}
    if asked.reference is not None:
        pack_reference(source, asked.reference, pairs=asked.pairs, sizes=sizes, force=asked.force, told=told)
    return list(told)


def _weights_file(weights: str) -> Path:
    """The file behind a bundled network's name, a rival's, or a path."""
    from ufafuse.network.rivals.places import rival_weights
    from ufafuse.network.spec import RIVALS
    from ufafuse.runtime.models import weights_path

    return rival_weights(weights) if weights in RIVALS else weights_path(weights)


def _format_of(out: Path, names: tuple[str, ...], *, tiles: bool, triton: Path | None, opset: str) -> "Format | None":
    """The format that one file is asked for in; None: ONNX. Raises: InputError."""
    from ufafuse.export.formats.known import format_named, format_of

    if len(names) > 1:
        raise InputError(f"`formats={','.join(names)}`: one file has one format: give one, or add `everything`.")
    name = names[0] if names else format_of(out)
    if name == "onnx":
        return None
    chosen = format_named(name)
    given = "tiles" if tiles else "triton" if triton is not None else "opset" if opset != _OPSET else ""
    if given:
        raise InputError(f"`{given}` is for ONNX files: omit it, or `formats={name}`.")
    return chosen


def _only_alone(form: "Form", triton: Path | None) -> None:
    """Refuse options of one file where all are made. Raises: InputError."""
    from ufafuse.export.form import FREE

    if form != FREE:
        raise InputError("`everything` makes files of free sizes: omit `opset`, `static`, `batch` and `opencv`.")
    if triton is not None:
        raise InputError("`triton` takes one network in one precision: omit `everything`.")


def _export_all(
    source: Path, out: Path, pairs: Path | None, size: tuple[int, int], names: tuple[str, ...], *, force: bool
) -> dict[str, Any]:
    from ufafuse.commands.everything import export_all

    with console.progress() as bar:
        task = bar.add_task("exporting", total=None)
        return export_all(
            source,
            out,
            pairs=pairs,
            size=size,
            formats=names,
            force=force,
            on_step=lambda what: bar.update(task, description=what),
            done=lambda name: bar.update(task, description=f"made {name}", advance=1),
        )


def _tell_export(report: dict[str, Any], out: Path, weights: str, *, as_json: bool) -> None:
    if report["precision"] == "all":
        if not as_json:
            _print_everything(report)
        for name in ("report.json", "report.md"):
            console.wrote(out / name, as_json=as_json)
        return
    if not as_json:
        _print_checks(report)
    for name in report["files"]:
        console.wrote(out.with_name(name), as_json=as_json)
    console.wrote(Path(report["report"]), as_json=as_json)
    if "reference" in report:
        console.wrote(Path(report["reference"]), as_json=as_json)
    for name in report.get("triton", ()):
        console.wrote(Path(name), as_json=as_json)
    hint = report.get("next") or f"ufa verify {console.word(out)} --against {console.word(weights)}"
    console.hint(hint, as_json=as_json)


def _print_checks(report: dict[str, Any]) -> None:
    console.out.print(_told_form(report))
    if "not_run" in report:
        console.out.print(f"not run here: {console.escape(report['not_run'])}")
    for name, check in (report["verified"] or {}).items():
        console.out.print(f"{name}: as PyTorch on {len(check['pairs'])} frames, worst {_measured(check['worst'])}")
        if "opencv" in check:
            console.out.print(f"{name} in OpenCV's dnn: the same frames, worst {_measured(check['opencv']['worst'])}")


_HEADS = ("format", "artefact", "precision", "io", "GPUs", "MB", "on", "PSNR (dB)", "max (levels)", "ms", "")


def _print_everything(report: dict[str, Any]) -> None:
    """The table of `ufa export --all`, as wide as the terminal; all of it is in report.md."""
    rows: list[tuple[list[str], bool]] = []
    for row in report["rows"]:
        head = [row["format"], row["artefact"], row["precision"], row["io"], row["targets"], f"{row['bytes'] / 1e6:.2f}"]
        last = "kept" if row["kept"] else "made"
        for backend, check in row["checks"].items():
            figures = [f"{check['worst_psnr']:.1f}", f"{check['max_abs']:.2g}", f"{check['ms']:.1f}"]
            rows.append(([*head, f"{backend}, {check['precision']}", *figures, last], check["ok"]))
        if not row["checks"]:
            rows.append(([*head, "not run here", "", "", "", last], True))
    print_table(_HEADS, rows, drop=("io", "GPUs", "max (levels)", "format", "MB", "precision", ""))
    for line in report["left_out"]:
        console.out.print(f"left out: {console.escape(line)}")


def _told_form(report: dict[str, Any]) -> str:
    """Of an export's report the precision, the opset and the sizes, in a line."""
    size, batch = report.get("static"), report.get("batch")
    sizes = "any size" if size is None else f"{size[0]}x{size[1]} only"
    pairs = "any number of pairs" if batch is None else "one pair" if batch == 1 else f"{batch} pairs"
    kind = f"opset {report['opset']}" if "opset" in report else report["format"]
    return f"{report['precision']}, {report['io']} io, {kind}, {sizes}, {pairs} at once"


def _measured(worst: dict[str, Any]) -> str:
    if "relative" in worst:
        return f"{worst['relative']:.1e} relative"
    return f"{worst['psnr']:.1f} dB, {worst['max_abs']:.2g} levels ({worst['name']})"
