"""`ufa eval` and `ufa bench`."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ufafuse.commands.evalpairs import Shown, evaluate_pairs
from ufafuse.commands.evalstacks import checked_align, evaluate_stacks, refuse_with_stacks
from ufafuse.commands.fuse import Provider
from ufafuse.commands.limits import MOST, MOST_THREADS
from ufafuse.commands.quantities import listed
from ufafuse.runtime import console
from ufafuse.runtime.errors import BackendError, InputError, OutputError

if TYPE_CHECKING:
    from ufafuse.benchmarks.evaluate import Evaluation
    from ufafuse.benchmarks.speed.plan import Plan

_NEEDED = ("scipy", "pywt", "psutil", "matplotlib")

_METHODS = "lap,gff,dsift"
_LISTED = "repeatable or by comma"

Device = Literal["cuda", "cpu"]  # where peers run

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Backend = Annotated[str, typer.Option(help="Engine of the models: auto, tensorrt, onnxruntime or openvino.")]
Precision = Annotated[str | None, typer.Option(help="Arithmetic of the models [default: the backend chooses].")]
Threads = Annotated[
    int | None, typer.Option(min=1, max=MOST_THREADS, help="CPU threads of a model [default: the backend chooses].")
]


def register(app: typer.Typer) -> None:
    """Add this folder's commands to ``app``."""
    app.command("eval")(evaluate)
    app.command("bench")(bench)


def evaluate(
    *,
    pairs: Annotated[
        Path | None, typer.Option(help="A folder of pairs: NAME_A.* + NAME_B.* [+ NAME_GT.*], or near/ + far/ [+ gt/].")
    ] = None,
    stacks: Annotated[
        Path | None, typer.Option(help="A folder of stacks: one folder of frames each [+ truth.*] [+ depth.tif].")
    ] = None,
    fused: Annotated[list[Path] | None, typer.Option(help="A folder of fused pictures, or of such. Repeatable.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A network: a bundled name or a file. Repeatable.")] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Of --model rival-...: its authors' weights (.pth, .npz, .mat), or a training's (.safetensors)."),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(help="Methods (classical, or rival-...), bundled networks, pyramid (of stacks), by comma; or all."),
    ] = "",
    align: Annotated[
        str | None,
        typer.Option(
            help="How a stack's frames are registered: off, translation, euclidean, affine, homography [default: affine; off "
            "where there is a truth]."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write a page, CSV, JSON and the pictures here.")] = None,
    table: Annotated[str | None, typer.Option(help="Set the paper's table beside it: V, VI or VII.")] = None,
    only: Annotated[str | None, typer.Option(help="Only pairs or stacks whose name matches, such as 'lytro_0*'.")] = None,
    show: Annotated[
        str | None,
        typer.Option(help="With -o: show only pairs whose name matches, patterns by comma [default: all]."),
    ] = None,
    join: Annotated[
        list[Path] | None, typer.Option(help="eval.json of an earlier run on the same pairs: its rows join. Repeatable.")
    ] = None,
    lpips: Annotated[
        str | None, typer.Option(help="Where the truth is known also LPIPS: alex, vgg or squeeze (extra lpips).")
    ] = None,
    backend: Backend = "auto",
    precision: Precision = None,
    threads: Threads = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=MOST_THREADS, help="Processes, for pairs [default: one a core].")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")] = False,
    as_json: Json = False,
) -> None:
    """Score fused pictures of pairs or stacks (with PSNR and SSIM where the truth is known).

    Pairs by the paper's seven metrics, stacks by the share of their frames' detail that is kept. The pictures come from
    folders, networks or classical methods; with none of them named, from the bundled network.
    """
    with console.run(as_json):
        require_extra("ufa eval")
        if pairs is None and stacks is None:
            raise InputError("--pairs is missing: see `ufa eval --help`. For focus stacks: --stacks DIR.")
        if pairs is not None and stacks is not None:
            raise InputError("both --pairs and --stacks were given: give one of them.")
        named = {"fused": fused or [], "models": model or [], "method_names": list(listed([methods]))}
        limits = {"backend": backend, "precision": precision, "threads": threads}
        _checked_folder(out, force=force)
        if stacks is not None:
            refuse_with_stacks(table=table, jobs=jobs, weights=weights, show=show, lpips=lpips, join=join or None)
            evaluation = _evaluated_stacks(stacks, named | limits, align=align, out=out, only=only, as_json=as_json)
        else:
            assert pairs is not None
            if align is not None:
                raise InputError("--align is for stacks: register pairs with `ufa fuse --align` first.")
            chosen = named | limits | {"weights": weights}
            shown = Shown(out, only, show, join or [])
            evaluation = evaluate_pairs(pairs, chosen, table=table, shown=shown, jobs=jobs, lpips=lpips, as_json=as_json)
    if evaluation.failed:
        raise typer.Exit(1)


def _evaluated_stacks(
    stacks: Path, chosen: dict[str, Any], *, align: str | None, out: Path | None, only: str | None, as_json: bool
) -> "Evaluation":
    from ufafuse.benchmarks.stacks.contestants import stack_contestants
    from ufafuse.benchmarks.stacks.folders import find_stacks

    motion = checked_align(align)
    find_stacks(stacks, only)  # before models are loaded
    return evaluate_stacks(stacks, stack_contestants(**chosen), align=motion, out=out, only=only, as_json=as_json)


def require_extra(command: str) -> None:
    """Raises: BackendError, naming what is missing of the packages that every measurement needs."""
    missing = [module for module in _NEEDED if find_spec(module) is None]
    if missing:
        raise BackendError(f"{command} needs {', '.join(missing)}: pip install 'ufafuse[bench]'.")


def _checked_folder(out: Path | None, *, force: bool) -> None:
    if out is None:
        return
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file: give -o a folder.")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise OutputError(f"{out} is not empty: choose another folder, or add --force to write into it.")


def bench(
    artefacts: Annotated[
        list[Path] | None, typer.Argument(help="Model files of any format [default: the bundled ones].")
    ] = None,
    *,
    size: Annotated[list[str] | None, typer.Option(help=f"HxW, {_LISTED} [default: three common sizes].")] = None,
    backend: Annotated[list[str] | None, typer.Option(help=f"Engines, {_LISTED} [default: every one installed].")] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help=f"Arithmetic, {_LISTED} [default: each file's own, and bf16 beside fp32].")
    ] = None,
    threads: Threads = None,
    provider: Annotated[Provider, typer.Option(help="What ONNX Runtime's sessions run on.")] = "cpu",
    device: Annotated[
        Device | None,
        typer.Option(
            help="Where PyTorch and ONNX Runtime also run as well as they can: half precision, channels last, compiled with "
            "CUDA graphs, bound [default: cuda where PyTorch sees a GPU, else nowhere]."
        ),
    ] = None,
    batch: Annotated[list[str] | None, typer.Option(metavar="N", help=f"Pairs in a run, {_LISTED} [default: 1].")] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also where the time goes: layer by layer, grouped by kind, beside the limit.")
    ] = False,
    streams: Annotated[
        list[str] | None,
        typer.Option(metavar="N", help=f"Also pairs a second with N in flight, and the latency beside it; {_LISTED}."),
    ] = None,
    peers: Annotated[
        bool | None,
        typer.Option(
            "--peers/--no-peers", help="Also time PyTorch and the engines' default settings [default: unless --profile]."
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Classical methods, at the first size, by comma; or all, none [default: lap,gff,dsift; none with --profile]."
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for each at each size; three runs at least.")] = 10.0,
    runs: Annotated[int, typer.Option(min=3, max=MOST, help="At most so many runs of each.")] = 50,
    cold: Annotated[
        bool | None,
        typer.Option("--cold/--no-cold", help="Also start each in a process of its own [default: unless --profile]."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write Markdown, plots and JSON into this folder.")] = None,
    quality: Annotated[
        list[Path] | None, typer.Option(help="eval.json of `ufa eval`, for time against quality. Repeatable.")
    ] = None,
    again: Annotated[
        Path | None, typer.Option("--from", help="Measure nothing: take the times of this bench.json of an earlier report.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Time one fusion: against the paper's 0.26 s, this machine's own limit, and other ways to run the network."""
    with console.run(as_json):
        require_extra("ufa bench")
        from ufafuse.benchmarks.methods import methods as known
        from ufafuse.benchmarks.speed.plan import DEFAULT_SIZES, Plan
        from ufafuse.benchmarks.speed.report import read_result, write_report
        from ufafuse.benchmarks.speed.tradeoff import read_qualities, tradeoff_rows
        from ufafuse.commands.quantities import count_from
        from ufafuse.runtime.parameters import size_from

        _check_bench(
            report, measured_before=again is not None, chosen=bool(artefacts or size or backend or precision or profile)
        )
        methods = methods or ("none" if profile else _METHODS)
        named = [name for name in listed([methods]) if name != "none"]
        plan = Plan(
            artefacts=artefacts or _bundled_files(),
            sizes=[size_from(text) for text in listed(size)] or list(DEFAULT_SIZES),
            backends=listed(backend) or ("auto",),
            precisions=listed(precision),
            threads=threads,
            peers=not profile if peers is None else peers,
            methods=tuple(known()) if named == ["all"] else tuple(named),
            seconds=seconds,
            most_runs=runs,
            cold=not profile if cold is None else cold,
            profile=profile,
            provider=provider,
            streams=tuple(count_from("--streams", text) for text in listed(streams)),
            device=device,
            batches=tuple(count_from("--batch", text) for text in listed(batch)) or (1,),
        )
        scores = read_qualities(quality or [])
        result = _benched(plan) if again is None else read_result(again)
        if scores:
            result["tradeoff"] = tradeoff_rows(result, scores)
        if report is not None:
            result["files"] = [str(path) for path in write_report(report, result)]
        console.emit(result, as_json=as_json)
        if not as_json:
            _print_bench(result)
        for path in result.get("files", []):
            console.wrote(path, as_json=as_json)
        console.hint("ufa eval --pairs DIR -o OUT", as_json=as_json)


def _check_bench(report: Path | None, *, measured_before: bool, chosen: bool) -> None:
    """Before minutes of measuring. Raises: InputError, OutputError."""
    if measured_before and chosen:
        raise InputError("--from measures nothing: omit the files, --size, --backend, --precision and --profile.")
    if report is not None and report.exists() and not report.is_dir():
        raise OutputError(f"{report} is a file: give --report a folder.")


def _bundled_files() -> list[Path]:
    """Every bundled network, the default one first, each with its int8 file where it has one."""
    from ufafuse.runtime.models import DEFAULT, bundled, has_int8, model_path

    names = sorted(bundled(), key=lambda name: name != DEFAULT)
    return [model_path(name, precision=kind) for name in names for kind in ("fp32", "int8") if kind == "fp32" or has_int8(name)]


def _benched(plan: "Plan") -> "dict[str, Any]":
    from ufafuse.benchmarks.speed.bench import bench as measure

    with console.progress() as bar:
        task = bar.add_task("measuring", total=None)
        return measure(
            plan, on_step=lambda what, done, total: bar.update(task, description=what, completed=done, total=total or None)
        )


def _print_bench(result: "dict[str, Any]") -> None:
    from ufafuse.benchmarks.speed import layer_tables, tradeoff
    from ufafuse.benchmarks.speed.report import headline, peaks_text, terminal_table, throughput_table

    for size in dict.fromkeys(tuple(row["size"]) for row in result["rows"]):
        console.out.print(terminal_table(result, list(size), console.out))
    if result.get("tradeoff"):
        console.out.print(tradeoff.terminal_table(result, console.out))
    if result.get("throughput"):
        console.out.print(throughput_table(result, console.out))
    for profile in result.get("profiles", []):
        console.out.print(layer_tables.terminal_table(profile, console.out))
        console.out.print(f"{layer_tables.summary(profile)}.\n", markup=False)
    console.out.print(headline(result))
    console.out.print(peaks_text(result))
    for entry in result["skipped"]:
        where = f"{Path(entry['artefact']).name} on {entry['backend']} {entry['precision'] or ''}".strip()
        console.err.print(f"not measured: {where}: {entry['reason']}", markup=False)
    for text in result["warnings"]:
        console.err.print(f"warning: {text}", markup=False)
