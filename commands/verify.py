"""`ufa verify`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ufafuse.commands.effects import refuse_idle
from ufafuse.commands.export import PairsDir
from ufafuse.commands.fitting import print_table
from ufafuse.commands.limits import MOST, MOST_THREADS
from ufafuse.commands.options import Backend, Json, Provider
from ufafuse.commands.request import as_command
from ufafuse.runtime import console
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.texts import few_of_a_kind

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from ufafuse.export.verify import References
    from ufafuse.runtime.checks.cases import Findings
    from ufafuse.runtime.session import SessionOptions

_SHOWN = 8  # tensors that lose most, in the table; all are in --json


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    app.command("verify")(as_command(verify, VerifyRequest))


@dataclass(frozen=True, kw_only=True)
class VerifyRequest:
    """Hold an artefact against PyTorch, or against packed results of it; exit code 1 when it falls short."""

    artefact: Annotated[Path, typer.Argument(help="A model file of any format, or a bundled name.")]
    against: Annotated[
        str | None,
        typer.Option(help="The weights it came from, or a bundled name; with --layers also another .onnx."),
    ] = None
    reference: Annotated[Path | None, typer.Option(help="Packed results instead of weights: needs no PyTorch.")] = None
    pairs: PairsDir = None
    size: Annotated[list[str] | None, typer.Option(help="HxW to cut from the middle of each pair; repeatable.")] = None
    max_pairs: Annotated[int | None, typer.Option(min=1, max=MOST, help="Take only so many pairs, spread over the folder.")] = (
        None
    )
    backend: Annotated[Backend, typer.Option(help="Inference engine; auto: every one that is installed.")] = "auto"
    provider: Annotated[Provider, typer.Option(help="ONNX Runtime's execution provider.")] = "cpu"
    precision: Annotated[str | None, typer.Option(help="Arithmetic [default: the file's own].")] = None
    threads: Annotated[int | None, typer.Option(min=1, max=MOST_THREADS, help="CPU threads.")] = None
    layers: Annotated[
        bool, typer.Option("--layers", help="Also compare every tensor inside, and show where the difference begins.")
    ] = False
    bisect: Annotated[
        bool, typer.Option("--bisect", help="Also find the fewest layers that break the tolerance; with --against weights.")
    ] = False
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for report and heat map.")] = None
    as_json: Json = False


def verify(asked: VerifyRequest) -> None:
    """Run `ufa verify`."""
    with console.run(asked.as_json):
        from ufafuse.commands.telling import unpaired_in, warn_of_passed
        from ufafuse.runtime.models import beside_or_here, file_named
        from ufafuse.runtime.parameters import size_from
        from ufafuse.runtime.session import SessionOptions
        from ufafuse.runtime.writing import check_folder, make_folder

        asked = replace(asked, artefact=file_named(asked.artefact))
        _check_asked(asked)
        if asked.out is not None:
            check_folder(asked.out)
        options = SessionOptions(precision=asked.precision, threads=asked.threads, provider=asked.provider)
        sizes = [size_from(text) for text in asked.size or []]
        if asked.against is not None and asked.against.endswith(".onnx"):
            report = _beside(asked, Path(asked.against), sizes, options)
            console.emit(report, as_json=asked.as_json)
            if not asked.as_json:
                _print_layers(report["layers"])
            _warn(report)
            return
        if asked.reference is not None:
            findings = _against_reference(asked.artefact, asked.reference, asked.backend, options)
        else:
            findings = _against_weights(asked, sizes, options)
            findings.report.update(unpaired_in(asked.pairs))
        companions = _companions(asked.artefact)
        findings.report.update({"companions": [str(path) for path in companions]} if companions else {})
        if asked.out is not None:
            make_folder(asked.out)
        written = findings.write(asked.out or beside_or_here(asked.artefact))
        console.emit(findings.report, as_json=asked.as_json)
        if not asked.as_json:
            _print_findings(findings.report)
        for path in written:
            console.wrote(path, as_json=asked.as_json)
        _warn(findings.report)
        warn_of_passed(findings.report.get("passed_over", ()))
        against = console.word(asked.against or "W")
        for path in companions:
            console.hint(
                f"ufa verify {console.word(path)} --against {against}  (it belongs to the model)", as_json=asked.as_json
            )
    if not findings.report["ok"]:
        console.fail(findings.verdict)
        raise typer.Exit(1)


def _warn(report: dict[str, Any]) -> None:
    """What there is to tell of the pairs' files."""
    for warning in few_of_a_kind(report.get("warnings", ())):
        console.warn(warning)


def _companions(artefact: Path) -> list[Path]:
    """The files beside a model that tiles and stacks go through: each is verified by itself."""
    from ufafuse.runtime.kinds import beside
    from ufafuse.runtime.manifest_entries import ROLES

    return [path for role in ROLES[1:] if (path := beside(artefact, role)).is_file()]


def _against_reference(artefact: Path, reference: Path, backend: str, options: "SessionOptions") -> "Findings":
    from ufafuse.runtime.artefact import read_manifest
    from ufafuse.runtime.checks.cases import verify_against_reference
    from ufafuse.runtime.checks.everywhere import verify_everywhere

    def verified(engine: str, how: "SessionOptions") -> "Findings":
        return verify_against_reference(artefact, reference, backend=engine, options=how)

    return verify_everywhere(read_manifest(artefact), backend, options, verified).told


def _against_weights(asked: VerifyRequest, sizes: "list[tuple[int, int]]", options: "SessionOptions") -> "Findings":
    from ufafuse.export.verify import prepared
    from ufafuse.runtime.artefact import read_manifest
    from ufafuse.runtime.checks.everywhere import verify_everywhere
    from ufafuse.runtime.models import weights_path

    with console.progress() as bar:
        task = bar.add_task("PyTorch", total=None)
        source = weights_path(asked.against)
        ready = prepared(asked.artefact, source, pairs=asked.pairs, sizes=sizes, max_pairs=asked.max_pairs)

        def verified(engine: str, how: "SessionOptions") -> "Findings":
            def done(row: dict[str, Any]) -> None:
                bar.update(task, description=f"{engine}: {row['name']}", advance=1)

            return ready.on(engine, how, done)

        findings = verify_everywhere(read_manifest(asked.artefact), asked.backend, options, verified).told
        if asked.layers:
            bar.update(task, description="tensors inside")
            findings.report["layers"] = _layers(ready, findings.report, asked.backend, options)
        if asked.bisect:
            findings.report["bisect"] = _bisect(ready, findings.report, bar, task)
        findings.report.update({"warnings": list(ready.told)} if ready.told else {})
    return findings


def _layers(ready: "References", report: dict[str, Any], backend: str, options: "SessionOptions") -> dict[str, Any]:
    """Compare the tensors on the pair that came out worst."""
    from ufafuse.export.layerwise import compare_layers

    case = _worst(ready, report)
    engine = "onnxruntime" if backend == "auto" else backend
    return compare_layers(ready.artefact, ready.net, case.near, case.far, backend=engine, precision=options.precision)


def _worst(ready: "References", report: dict[str, Any]) -> Any:  # noqa: ANN401 - a Case
    worst = report["worst"]
    same = (case for case in ready.cases if case.name == worst["name"] and list(case.near.shape[:2]) == worst["size"])
    return next(same)


def _bisect(ready: "References", report: dict[str, Any], bar: "Bar", task: Any) -> dict[str, Any]:  # noqa: ANN401 - rich's
    from ufafuse.export.bisect import bisect_layers

    def told(what: str) -> None:
        bar.update(task, description=what, advance=1)

    return bisect_layers(ready.artefact, ready.net, [_worst(ready, report)], run=ready.run, on_step=told)


def _beside(asked: VerifyRequest, other: Path, sizes: "list[tuple[int, int]]", options: "SessionOptions") -> dict[str, Any]:
    """Two artefacts, tensor by tensor. Raises: InputError unless that is what was asked."""
    from ufafuse.export.layerwise import compare_layers
    from ufafuse.export.verify import load_pairs

    one = "is not for --against X.onnx, which compares the tensors of one pair in the way the files say: omit it"
    refuse_idle(
        ("--out", asked.out, False, one),
        ("--max-pairs", asked.max_pairs, False, one),
        ("--provider", asked.provider != "cpu", False, one),
        ("--threads", asked.threads, False, one),
        ("--size", len(sizes) > 1, False, "is of one pair here: give one size"),
    )
    if not asked.layers or asked.bisect:
        raise InputError(f"`against={other}`: another artefact is compared by its tensors: add `layers`, and omit `bisect`.")
    read: dict[str, None] = {}
    name, near, far = next(load_pairs(asked.pairs, sizes=sizes[:1], told=read))
    engine = "onnxruntime" if asked.backend == "auto" else asked.backend
    found = compare_layers(asked.artefact, other, near, far, backend=engine, precision=options.precision)
    told = {"ok": True, "artefact": str(asked.artefact), "reference": str(other), "pairs": [], "worst": {}, "tolerance": {}}
    return {**told, "pair": name, "layers": found} | ({"warnings": list(read)} if read else {})


def _check_asked(asked: VerifyRequest) -> None:
    """Raises: InputError for options that do not go together."""
    if (asked.against is None) == (asked.reference is None):
        raise InputError("give either `against` WEIGHTS, or `reference` X.npz where PyTorch is not installed.")
    if (asked.layers or asked.bisect) and asked.against is None:
        raise InputError("`layers` and `bisect` look into the network: give its weights as `against`.")
    packed = "is about pairs that are fused here, and --reference has its own: omit it"
    refuse_idle(
        ("--pairs", asked.pairs, asked.against, packed),
        ("--size", asked.size, asked.against, packed),
        ("--max-pairs", asked.max_pairs, asked.against, packed),
    )


_HEADS = ("engine", "pair", "size", "PSNR (dB)", "SSIM", "max (levels)", "mean (levels)", "")


def _print_findings(report: dict[str, Any]) -> None:
    from ufafuse.runtime.checks.cases import in_words

    rows = [
        (
            [
                f"{engine}, {own['precision']}",
                row["name"],
                "x".join(map(str, row["size"])),
                f"{row['psnr']:.2f}",
                f"{row['ssim']:.5f}",
                f"{row['max_abs']:.3g}",
                f"{row['mean_abs']:.2g}",
                _word_on(row),
            ],
            row["ok"],
        )
        for engine, own in report["backends"].items()
        for row in own["pairs"]
    ]
    print_table(_HEADS, rows, drop=_HEADS[6:3:-1])
    for engine, own in report["backends"].items():
        console.out.print(f"{engine}, {own['precision']}; tolerance: {in_words(own['tolerance'])}")
    for engine, why in report["left_out"].items():
        console.out.print(f"{engine} was left out: {console.escape(why)}")
    if "layers" in report:
        _print_layers(report["layers"])
    if "bisect" in report:
        _print_bisect(report["bisect"])


def _word_on(row: dict[str, Any]) -> str:
    if row["ok"]:
        return "ok"
    if not row["finite"]:
        return "not finite"
    wrong = next((what for what in ("map", "averages") if not row.get(what, {"ok": True})["ok"]), "")
    return f"{wrong} too far".strip()


def _print_layers(found: dict[str, Any]) -> None:
    heads = ("tensor", "operator", "layer", "SNR (dB)", "lost (dB)", "max")
    worst = sorted(found["rows"], key=lambda row: -row["lost_db"])[:_SHOWN]
    shown = [row for row in found["rows"] if row in worst or row == found["first"]]
    rows = [
        (
            [
                row["tensor"],
                row["operator"],
                row["layer"],
                f"{row['snr_db']:.1f}",
                f"{row['lost_db']:.1f}",
                f"{row['max_abs']:.2g}",
            ],
            row["finite"] and row["snr_db"] >= found["floor_db"],
        )
        for row in shown
    ]
    print_table(heads, rows, drop=("max", "operator"))
    size, first = "x".join(map(str, found["size"])), found["first"]
    console.out.print(
        f"{found['compared']} tensors on {found['backend']} at {size}, those that lose most in the order of the computation."
    )
    if first is None:
        most = found["largest_loss"]
        lost = f"; most is lost at {_place(most)}: {most['lost_db']:.1f} dB, to {most['snr_db']:.1f}" if most else ""
        console.out.print(f"none is below {found['floor_db']:g} dB, which rounding may explain{lost}")
    else:
        level = f"{first['snr_db']:.1f} dB" if first["finite"] else "NaN or infinity"
        console.out.print(f"the difference begins at {_place(first)}: {level}")


def _place(row: dict[str, Any]) -> str:
    where = f", layer {row['layer']}" if row["layer"] else ""
    return f"{console.escape(row['tensor'])} ({row['operator']}{where})"


def _print_bisect(found: dict[str, Any]) -> None:
    if found["ok"]:
        console.out.print("no layer breaks the tolerance: with all of them as in the file it is met")
    elif found["elsewhere"]:
        console.out.print(
            f"with every convolution replaced by PyTorch's the result is {found['psnr_none']:.1f} dB and still misses: the "
            "difference is in no convolution; --layers shows where it begins"
        )
    else:
        names = ", ".join(map(console.escape, found["layers"]))
        console.out.print(
            f"the fewest layers that break the tolerance, all others replaced by PyTorch's: {names}: "
            f"{found['psnr_set']:.1f} dB ({found['psnr_none']:.1f} with none of the file's layers, "
            f"{found['psnr_all']:.1f} with all)"
        )
