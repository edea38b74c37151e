"""`ufa eval` and `ufa bench`."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ufafuse.commands.apart import telling_files_apart
from ufafuse.commands.effects import check_bench
from ufafuse.commands.evalpairs import Shown, evaluate_pairs
from ufafuse.commands.evalstacks import checked_align, evaluate_stacks, refuse_with_stacks
from ufafuse.commands.limits import MOST, MOST_THREADS
from ufafuse.commands.options import Provider
from ufafuse.commands.quantities import listed
from ufafuse.commands.request import as_command
from ufafuse.runtime import console
from ufafuse.runtime.errors import BackendError, InputError, OutputError
from ufafuse.runtime.texts import few_of_a_kind
from ufafuse.runtime.writing import check_apart, check_folder

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
    app.command("eval")(as_command(evaluate, EvalRequest))
    app.command("bench")(as_command(bench, BenchRequest))


@dataclass(frozen=True, kw_only=True)
class EvalRequest:
    """Score fused pictures of pairs or stacks (with PSNR and SSIM where the truth is known).

    Pairs by the paper's seven metrics, stacks by the share of their frames' detail that is kept. The pictures come from
    folders, networks or classical methods; with none of them named, from the bundled network.
    """

    pairs: Annotated[
        Path | None, typer.Option(help="A folder of pairs: NAME_A.* + NAME_B.* [+ NAME_GT.*], or near/ + far/ [+ gt/].")
    ] = None
    stacks: Annotated[
        Path | None, typer.Option(help="A folder of stacks: one folder of frames each [+ truth.*] [+ depth.tif].")
    ] = None
    fused: Annotated[list[Path] | None, typer.Option(help="A folder of fused pictures, or of such. Repeatable.")] = None
    model: Annotated[list[str] | None, typer.Option(help="A network: a bundled name or a file. Repeatable.")] = None
    weights: Annotated[
        Path | None,
        typer.Option(help="Of --model rival-...: its authors' weights (.pth, .npz, .mat), or a training's (.safetensors)."),
    ] = None
    methods: Annotated[
        list[str] | None,
        typer.Option(help=f"Methods (classical, or rival-...), bundled networks, pyramid (of stacks), or all; {_LISTED}."),
    ] = None
    align: Annotated[
        str | None,
        typer.Option(
            help="How a stack's frames are registered: off, translation, euclidean, affine, homography [default: affine; off "
            "where there is a truth]."
        ),
    ] = None
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write a page, CSV, JSON and the pictures here.")] = None
    table: Annotated[str | None, typer.Option(help="Set the paper's table beside it: V, VI or VII.")] = None
    only: Annotated[str | None, typer.Option(help="Only pairs or stacks whose name matches, such as 'lytro_0*'.")] = None
    show: Annotated[
        list[str] | None,
        typer.Option(help=f"With -o: show only pairs whose name matches a pattern, {_LISTED} [default: all]."),
    ] = None
    join: Annotated[
        list[Path] | None, typer.Option(help="eval.json of an earlier run on the same pairs: its rows join. Repeatable.")
    ] = None
    lpips: Annotated[
        str | None, typer.Option(help="Where the truth is known also LPIPS: alex, vgg or squeeze (extra lpips).")
    ] = None
    backend: Backend = "auto"
    precision: Precision = None
    threads: Threads = None
    jobs: Annotated[int | None, typer.Option(min=1, max=MOST_THREADS, help="Processes, for pairs [default: one a core].")] = (
        None
    )
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")] = False
    as_json: Json = False


def evaluate(asked: EvalRequest) -> None:
    """Run `ufa eval`."""
    with console.run(asked.as_json):
        require_extra("ufa eval")
        if asked.pairs is None and asked.stacks is None:
            raise InputError("--pairs is missing: see `ufa eval --help`. For focus stacks: --stacks DIR.")
        if asked.pairs is not None and asked.stacks is not None:
            raise InputError("both --pairs and --stacks were given: give one of them.")
        named = {"fused": asked.fused or [], "models": asked.model or [], "method_names": list(listed(asked.methods))}
        limits = {"backend": asked.backend, "precision": asked.precision, "threads": asked.threads}
        _checked_folder(asked.out, [asked.pairs, asked.stacks, *(asked.fused or [])], force=asked.force)
        if asked.stacks is not None:
            refuse_with_stacks(
                table=asked.table,
                jobs=asked.jobs,
                weights=asked.weights,
                show=asked.show or None,
                lpips=asked.lpips,
                join=asked.join or None,
            )
            evaluation = _evaluated_stacks(asked.stacks, named | limits, asked)
        else:
            assert asked.pairs is not None
            if asked.align is not None:
                raise InputError("--align is for stacks: register pairs with `ufa fuse --align` first.")
            chosen = named | limits | {"weights": asked.weights}
            shown = Shown(asked.out, asked.only, listed(asked.show), asked.join or [])
            evaluation = evaluate_pairs(
                asked.pairs, chosen, table=asked.table, shown=shown, jobs=asked.jobs, lpips=asked.lpips, as_json=asked.as_json
            )
    if evaluation.failed:
        raise typer.Exit(1)


def _evaluated_stacks(stacks: Path, chosen: dict[str, Any], asked: EvalRequest) -> "Evaluation":
    from ufafuse.benchmarks.stacks.contestants import stack_contestants
    from ufafuse.benchmarks.stacks.folders import find_stacks

    motion = checked_align(asked.align)
    find_stacks(stacks, asked.only)  # before models are loaded
    compared = stack_contestants(**chosen, names=[stack.name for stack in find_stacks(stacks)])
    return evaluate_stacks(stacks, compared, align=motion, out=asked.out, only=asked.only, as_json=asked.as_json)


def require_extra(command: str) -> None:
    """Raises: BackendError, naming what is missing of the packages that every measurement needs."""
    missing = [module for module in _NEEDED if find_spec(module) is None]
    if missing:
        raise BackendError(f"{command} needs {', '.join(missing)}: pip install 'ufafuse[bench]'.")


def _checked_folder(out: Path | None, read: "list[Path | None]", *, force: bool) -> None:
    if out is None:
        return
    check_apart([out, out / "fused"], read)
    check_folder(out)
    if out.is_dir() and any(out.iterdir()) and not force:
        raise OutputError(f"{out} is not empty: choose another folder, or add --force to write into it.")


@dataclass(frozen=True, kw_only=True)
class BenchRequest:
    """Time one fusion: against the paper's 0.26 s, this machine's own limit, and other ways to run the network."""

    artefacts: Annotated[
        list[Path] | None, typer.Argument(help="Model files, or bundled names [default: all bundled ones].")
    ] = None
    size: Annotated[
        list[str] | None, typer.Option(help=f"HxW, {_LISTED} [default: the files' own, or three common sizes].")
    ] = None
    backend: Annotated[list[str] | None, typer.Option(help=f"Engines, {_LISTED} [default: every one installed].")] = None
    precision: Annotated[
        list[str] | None, typer.Option(help=f"Arithmetic, {_LISTED} [default: each file's own, and bf16 beside fp32].")
    ] = None
    threads: Threads = None
    provider: Annotated[Provider, typer.Option(help="What ONNX Runtime's sessions run on.")] = "cpu"
    device: Annotated[
        Device | None,
        typer.Option(
            help="Where PyTorch and ONNX Runtime also run as well as they can: half precision, channels last, compiled with "
            "CUDA graphs, bound [default: cuda where PyTorch sees a GPU, else nowhere]."
        ),
    ] = None
    batch: Annotated[
        list[str] | None, typer.Option(metavar="N", help=f"Pairs in a run, {_LISTED} [default: the file's own number, or 1].")
    ] = None
    profile: Annotated[
        bool, typer.Option("--profile", help="Also where the time goes: layer by layer, grouped by kind, beside the limit.")
    ] = False
    streams: Annotated[
        list[str] | None,
        typer.Option(metavar="N", help=f"Also pairs a second with N in flight, and the latency beside it; {_LISTED}."),
    ] = None
    peers: Annotated[
        bool | None,
        typer.Option(
            "--peers/--no-peers", help="Also time PyTorch and the engines' default settings [default: unless --profile]."
        ),
    ] = None
    methods: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Classical methods, at the first size, {_LISTED}; or all, none [default: lap,gff,dsift; none with --profile]."
        ),
    ] = None
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for each at each size; three runs at least.")] = 10.0
    runs: Annotated[int, typer.Option(min=3, max=MOST, help="At most so many runs of each.")] = 50
    cold: Annotated[
        bool | None,
        typer.Option("--cold/--no-cold", help="Also start each in a process of its own [default: unless --profile]."),
    ] = None
    report: Annotated[Path | None, typer.Option(help="Write Markdown, plots and JSON into this folder.")] = None
    quality: Annotated[
        list[Path] | None, typer.Option(help="eval.json of `ufa eval`, for time against quality. Repeatable.")
    ] = None
    again: Annotated[
        Path | None, typer.Option("--from", help="Measure nothing: take the times of this bench.json of an earlier report.")
    ] = None
    as_json: Json = False


def bench(asked: BenchRequest) -> None:
    """Run `ufa bench`."""
    with console.run(asked.as_json):
        require_extra("ufa bench")
        from ufafuse.benchmarks.speed.report import read_result, write_report
        from ufafuse.benchmarks.speed.tradeoff import read_qualities, tradeoff_rows

        _check_bench(asked)
        with telling_files_apart():
            plan = _bench_plan(asked)
            plan.check()
        if asked.again is None:
            _tell_first(plan)
        scores = read_qualities(asked.quality or [])
        result = _benched(plan) if asked.again is None else read_result(asked.again)
        if scores:
            result["tradeoff"] = tradeoff_rows(result, scores)
            told = [text for quality in scores for text in quality.warnings]
            result["warnings"] = list(dict.fromkeys([*result["warnings"], *told]))
        if asked.report is not None:
            result["files"] = [str(path) for path in write_report(asked.report, result)]
        console.emit(result, as_json=asked.as_json)
        if not asked.as_json:
            _print_bench(result)
        for path in result.get("files", []):
            console.wrote(path, as_json=asked.as_json)
        if not result["ok"]:  # why stands in what was not measured
            raise typer.Exit(1)
        console.hint("ufa eval --pairs DIR -o OUT", as_json=asked.as_json)


def _bench_plan(asked: BenchRequest) -> "Plan":
    """What is timed, and how. Raises: InputError."""
    from ufafuse.benchmarks.methods import methods as known
    from ufafuse.benchmarks.speed.plan import Plan, sizes_for
    from ufafuse.commands.quantities import count_from
    from ufafuse.runtime.models import file_named
    from ufafuse.runtime.parameters import size_from

    asked_for = listed(asked.methods) or listed(["none" if asked.profile else _METHODS])
    named = [name for name in asked_for if name != "none"]
    artefacts = [file_named(path) for path in asked.artefacts or ()] or _bundled_files()
    return Plan(
        artefacts=artefacts,
        sizes=[size_from(text) for text in listed(asked.size)] or sizes_for(artefacts),
        backends=listed(asked.backend) or ("auto",),
        precisions=listed(asked.precision),
        threads=asked.threads,
        peers=not asked.profile if asked.peers is None else asked.peers,
        methods=tuple(known()) if named == ["all"] else tuple(named),
        seconds=asked.seconds,
        most_runs=asked.runs,
        cold=not asked.profile if asked.cold is None else asked.cold,
        profile=asked.profile,
        provider=asked.provider,
        streams=tuple(count_from("--streams", text) for text in listed(asked.streams)),
        device=asked.device,
        batches=tuple(count_from("--batch", text) for text in listed(asked.batch)),
    )


def _check_bench(asked: BenchRequest) -> None:
    """Before minutes of measuring. Raises: InputError, OutputError."""
    check_bench(asked)
    if asked.report is not None:
        check_folder(asked.report)


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


def _tell_first(plan: "Plan") -> None:
    """What will not be measured, before it is waited for."""
    hindered = plan.hindered().items()
    told = [_told(spec.artefact, spec.kind if spec.device else spec.backend, spec.precision, why) for spec, why in hindered]
    for text in few_of_a_kind(told):
        console.err.print(f"will not be measured: {text}", markup=False)


def _told(artefact: str, engine: str, precision: str | None, reason: str) -> str:
    where = f"{Path(artefact).name} on {engine} {precision or ''}".strip()
    return f"{where}: {reason}"


def _not_measured(entry: "dict[str, Any]") -> str:
    return "not measured: " + _told(entry["artefact"], entry["backend"], entry["precision"], entry["reason"])


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
    for text in dict.fromkeys(map(_not_measured, result["skipped"])):  # one line for all sizes
        console.err.print(text, markup=False)
    for text in few_of_a_kind(result["warnings"]):
        console.err.print(f"warning: {text}", markup=False)
