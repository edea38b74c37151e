"""`ufa train`, `ufa train ablation`, `ufa train every` and `ufa train loader`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ufafuse.commands.apart import USAGE_ERROR
from ufafuse.commands.effects import DRAWN, check_training
from ufafuse.commands.limits import MOST, MOST_CROPS, MOST_HOURS, MOST_SEED, MOST_SIDE, MOST_THREADS
from ufafuse.commands.quantities import listed
from ufafuse.commands.request import as_command, given
from ufafuse.runtime import console
from ufafuse.runtime.parameters import options_of
from ufafuse.runtime.texts import few_of_a_kind

RecipeName = Literal["fast", "paper", "stack", "rival"]  # recipes of `ufa train`
AttentionName = Literal["both", "none", "no_spatial", "no_channel"]  # parts of the unity fusion attention, Table IV
InitName = Literal["auto", "xavier", "image", "identity", "focus", "select"]  # how the weights start
PartName = Literal["all", "selection"]  # parts of a network that can be trained
Device = Literal["auto", "cpu", "cuda"]  # kinds of devices
Over = Literal["lambda", "attention"]  # the paper's ablations: Table III, Table IV
Precision = Literal["auto", "fp32", "bf16"]  # arithmetic of the training
_IMAGES = "Folder of photographs; drawn: for drawn scenes, drawn:FOLDER to have photographs among their surfaces."
Images = Annotated[Path | None, typer.Option(metavar="PATH|drawn:[PATH]", help=_IMAGES)]
Masks = Annotated[Path | None, typer.Option(help="Folder of their labels: same stems, bright where the object is.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the run. [required]")]
NeededOut = Annotated[Path, typer.Option(help="Folder of the runs.")]  # without commands below it, the parser can ask for it
RecipeOption = Annotated[
    RecipeName | None, typer.Option(help="What is not given below. [default: fast; ufa-stack: stack; rival-...: rival]")
]
Variant = Annotated[
    str | None, typer.Option(help="ufa (the paper's), ufa-edge, -nano, -free, -stack, rival-... [default: ufa]")
]
AttentionOption = Annotated[AttentionName | None, typer.Option(help="Leave out parts of the attention.")]
Init = Annotated[InitName | None, typer.Option(help="How the weights start.")]
InitFrom = Annotated[
    Path | None, typer.Option(metavar="PATH|NAME", help="Weights (.safetensors) to start from, or a bundled network's.")
]
PartOption = Annotated[PartName | None, typer.Option(help="all, or (ufa) only the selection: the picture's path is kept.")]
Steps = Annotated[int | None, typer.Option(min=1, max=MOST, help="Batches to train on.")]
Hours = Annotated[float | None, typer.Option(min=0.001, max=MOST_HOURS, help="Time to train for.")]
Epochs = Annotated[float | None, typer.Option(min=0.001, max=MOST_HOURS, help="Runs through the photographs.")]
CropSide = Annotated[int | None, typer.Option(min=16, max=MOST_SIDE, help="Side of the frames in pixels.")]
Batch = Annotated[
    int | None, typer.Option(min=1, max=MOST_CROPS, help="Pairs in a batch, over all devices; of stacks, twice as many frames.")
]
LearningRate = Annotated[float | None, typer.Option("--lr", min=0, help="Learning rate (the peak of a one-cycle run).")]
Lambda = Annotated[float | None, typer.Option("--lambda", min=0, max=1, help="Share of the L1 term in the loss.")]
Square = Annotated[float | None, typer.Option(min=0, help="Weight of the squared error, beside the paper's two terms.")]
Gradient = Annotated[float | None, typer.Option(min=0, help="Weight of the difference of gradients, likewise.")]
Grain = Annotated[float | None, typer.Option(min=0, help="Weight of the difference of the grain's strength, likewise.")]
Doubt = Annotated[float | None, typer.Option(min=0, help="Of ufa-stack: weight of how undecided it is, likewise.")]
Selection = Annotated[
    float | None,
    typer.Option(min=0, help="Of ufa-stack: how decidedly it chooses as it trains: 1, then 3 to 6; 0: as in use. [default: 1]"),
]
Lens = Annotated[float | None, typer.Option(min=0, max=1, help="Share of pairs degraded as by real lenses and cameras.")]
LensSet = Annotated[
    list[str] | None, typer.Option(help="Change what they show: KEY=VALUE, such as noise=0; repeatable or by comma.")
]
PhotoShare = Annotated[
    float | None, typer.Option(min=0, max=1, help="Of a drawn scene's surfaces: photographs. [default: 0.45]")
]
PairsAScene = Annotated[
    int | None, typer.Option(min=1, max=MOST, help="Pairs of each drawn scene, one after the other. [default: 1]")
]
PairShare = Annotated[float | None, typer.Option(min=0, max=1, help="Of ufa-stack's batches: pairs, not stacks. [default: 0]")]
StackSet = Annotated[
    list[str] | None, typer.Option(help="Change what drawn stacks show: KEY=VALUE, as lights=0; repeatable or by comma.")
]
ClipNorm = Annotated[float | None, typer.Option("--clip", min=0, help="Largest norm of the gradient; 0: any.")]
AverageOption = Annotated[float | None, typer.Option(min=0, max=0.99999, help="Decay of the averaged weights; 0: none.")]
PrecisionOption = Annotated[Precision | None, typer.Option(help="auto: bf16 where the device computes in it.")]
ValPairs = Annotated[Path | None, typer.Option(help="Pairs with truth (*_A, *_B, *_GT) to validate on.")]
ValStacks = Annotated[Path | None, typer.Option(help="Stacks with truth (a folder each, truth.*) to validate on.")]
Validations = Annotated[int | None, typer.Option(min=1, max=MOST, help="How often to validate over the run. [default: 20]")]
Seed = Annotated[int | None, typer.Option(min=0, max=MOST_SEED, help="Of the pairs or stacks, and the weights. [default: 0]")]
Threads = Annotated[int | None, typer.Option(min=1, max=MOST_THREADS, help="CPU threads. [default: torch's choice]")]
Workers = Annotated[int | None, typer.Option(min=0, max=MOST_THREADS, help="Processes that draw. [default: 0, in between]")]
DeviceOption = Annotated[Device | None, typer.Option(help="Where to train. [default: auto]")]
Devices = Annotated[int | None, typer.Option(min=1, max=MOST_THREADS, help="How many GPUs (or CPU processes). [default: 1]")]
Nodes = Annotated[int | None, typer.Option(min=1, max=MOST, help="On how many machines. [default: 1]")]
Minutes = Annotated[float | None, typer.Option(min=0, help="Between checkpoints. [default: 10]")]
SkipBad = Annotated[bool | None, typer.Option("--skip-bad", help="Leave out photographs that cannot be used.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    group = typer.Typer(invoke_without_command=True, no_args_is_help=True)
    group.callback()(as_command(train, TrainRequest, context=typer.Context))
    group.command("ablation")(as_command(ablation, AblationRequest))
    group.command("every")(as_command(every, EveryRequest))
    group.command("loader")(as_command(loader, LoaderRequest))
    app.add_typer(group, name="train")


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """Train a network: on pairs of photographs with labels (the layout of DUTS), or on drawn scenes.

    --images drawn: needs no photograph and no label. ufa-stack learns from drawn focus stacks.

    A run can be stopped at any time (Ctrl-C, SIGTERM) and goes on with --resume.
    """

    images: Images = None
    masks: Masks = None
    out: Out = None
    resume: Resume = False
    recipe: RecipeOption = None
    variant: Variant = None
    attention: AttentionOption = None
    init: Init = None
    init_from: InitFrom = None
    part: PartOption = None
    steps: Steps = None
    hours: Hours = None
    epochs: Epochs = None
    crop: CropSide = None
    batch: Batch = None
    lr: LearningRate = None
    weight: Lambda = None
    square: Square = None
    gradient: Gradient = None
    grain: Grain = None
    doubt: Doubt = None
    selection: Selection = None
    lens: Lens = None
    lens_set: LensSet = None
    photo_share: PhotoShare = None
    pairs_a_scene: PairsAScene = None
    stack_set: StackSet = None
    pair_share: PairShare = None
    clip: ClipNorm = None
    average: AverageOption = None
    precision: PrecisionOption = None
    val_pairs: ValPairs = None
    val_stacks: ValStacks = None
    validations: Validations = None
    seed: Seed = None
    threads: Threads = None
    workers: Workers = None
    device: DeviceOption = None
    devices: Devices = None
    nodes: Nodes = None
    checkpoint_minutes: Minutes = None
    skip_bad: SkipBad = None
    as_json: Json = False


def train(asked: TrainRequest, context: typer.Context) -> None:
    """Run `ufa train`, unless a command below it was given."""
    options = given(asked)
    resume, as_json = options.pop("resume"), options.pop("as_json")
    if context.invoked_subcommand is None:
        for key in ("lens_set", "stack_set"):
            if key in options:
                options[key] = list(listed(options[key]))
        _train(options, resume=resume, as_json=as_json)
    elif options or resume or as_json:
        key = next(iter(options), "resume" if resume else "as_json")
        option = options_of(context.command)[key]
        told = f"{option} stands before {context.invoked_subcommand}, whose options stand behind it"
        raise USAGE_ERROR(told, ctx=context)


def _train(options_given: dict[str, Any], *, resume: bool, as_json: bool) -> None:
    with console.run(as_json):
        from ufafuse.runtime.artefact import made_at
        from ufafuse.runtime.errors import InputError
        from ufafuse.train.devices import is_first_process
        from ufafuse.train.loop import train as train_network
        from ufafuse.train.recipe import options_from
        from ufafuse.train.resuming import resumed_options

        made_at()  # what it would refuse at the first checkpoint is refused now
        if resume and "out" not in options_given:
            raise InputError("--resume needs the folder of the run: --out RUN.")
        options = resumed_options(options_given["out"], options_given) if resume else options_from(options_given)
        check_training({} if resume else options_given, options)
        result = train_network(options, resume=resume)
        if not is_first_process():
            return
        console.emit(result, as_json=as_json)
        if not as_json and result["best"]:
            best = result["best"]
            console.out.print(f"best: PSNR {best['psnr']:.2f} dB, SSIM {best['ssim']:.5f} after {best['step']} steps")
        console.wrote(Path(result["weights"]), as_json=as_json)
        if result["finished"]:
            console.hint(f"ufa export --weights {console.word(result['weights'])} -o {options.variant}.onnx", as_json=as_json)
        else:
            console.hint(f"ufa train --resume --out {console.word(result['run'])}", as_json=as_json)


@dataclass(frozen=True, kw_only=True)
class AblationRequest:
    """Train once per setting of one of the paper's ablations, and set our table beside the paper's.

    --steps, --hours and --epochs are what each setting gets. Interrupted, the same command goes on where it was.
    """

    images: Images = None
    masks: Masks = None
    out: NeededOut
    over: Annotated[Over, typer.Option(help="What to vary: lambda (Table III) or attention (Table IV).")]
    pairs: Annotated[Path | None, typer.Option(help="Pairs for the table's metrics (the paper's: Lytro).")] = None
    recipe: RecipeOption = None
    variant: Variant = None
    init: Init = None
    steps: Steps = None
    hours: Hours = None
    epochs: Epochs = None
    crop: CropSide = None
    batch: Batch = None
    lr: LearningRate = None
    lens: Lens = None
    val_pairs: ValPairs = None
    validations: Validations = None
    seed: Seed = None
    threads: Threads = None
    workers: Workers = None
    device: DeviceOption = None
    skip_bad: SkipBad = None
    as_json: Json = False


def ablation(asked: AblationRequest) -> None:
    """Run `ufa train ablation`."""
    settings = {key: value for key, value in given(asked).items() if key not in ("over", "pairs", "as_json")}
    over, pairs, as_json = asked.over, asked.pairs, asked.as_json
    with console.run(as_json):
        from ufafuse.commands.bench import require_extra
        from ufafuse.commands.telling import unpaired_in, warn_of_passed
        from ufafuse.train.ablation import run_ablation
        from ufafuse.train.recipe import options_from

        asked_for = dict(settings)
        if pairs is not None:
            require_extra("scoring --pairs")  # before the first hour is spent
        if over == "attention":
            # Every setting starts alike: the network's own best start would measure focus by its spatial attention.
            settings.setdefault("init", "image" if settings.get("variant", "ufa") == "ufa" else "auto")
        unpaired, options = unpaired_in(pairs), options_from(settings)
        check_training(asked_for, options)
        result = run_ablation(options, over, pairs=pairs, begin=lambda name: console.err.print(f"{over} {name}"))
        result |= unpaired
        console.emit(result, as_json=as_json)
        for warning in few_of_a_kind(result.get("warnings", ())):
            console.warn(warning)
        warn_of_passed(unpaired.get("passed_over", ()))
        for path in result["files"]:
            console.wrote(Path(path), as_json=as_json)
        if not as_json and result["finished"]:
            _tell_ablation(result)
        if not result["finished"]:
            console.hint("the same command again goes on where it was", as_json=as_json)
        if not result["ok"]:
            console.fail(result["note"])
            raise typer.Exit(1)


def _tell_ablation(result: dict[str, Any]) -> None:
    """The table, as wide as the terminal; all of it is in table.md."""
    from ufafuse.commands.fitting import print_table
    from ufafuse.train.ablation import SWEEPS, table_cells

    sweep = SWEEPS[result["over"]]
    heads, *rows = table_cells(sweep, result["rows"])
    console.out.print(f"Table {sweep.table}: ours (the paper's)")
    print_table(heads, [(row, True) for row in rows], drop=("loss", "SSIM", *reversed(sweep.metrics)))
    if result["note"] and result["ok"]:
        console.out.print(console.escape(result["note"]))


@dataclass(frozen=True, kw_only=True)
class EveryRequest:
    """Train every bundled network within one budget, judge each beside the bundled weights, and export what was made.

    One run after the other, on drawn scenes unless --images and --masks name photographs and their labels. The same command
    again goes on where it was.
    """

    out: NeededOut
    minutes: Annotated[float, typer.Option(min=0.01, max=60 * MOST_HOURS, help="For all of it, validations included.")] = 10.0
    variants: Annotated[list[str] | None, typer.Option(help="Some of them only; repeatable or by comma.")] = None
    anew: Annotated[bool, typer.Option("--anew", help="From drawn weights, not from the bundled ones.")] = False
    images: Images = None
    masks: Masks = None
    photo_share: PhotoShare = None
    pairs_a_scene: Annotated[
        int | None,
        typer.Option(min=1, max=MOST, help="Pairs of each drawn scene, one after the other. [default: 1; on a GPU 4]"),
    ] = None
    crop: CropSide = None
    batch: Annotated[
        int | None, typer.Option(min=1, max=MOST_CROPS, help="Pairs in a batch. [default: the recipe's; on a GPU four times]")
    ] = None
    lr: LearningRate = None
    precision: PrecisionOption = None
    validations: Validations = None
    seed: Seed = None
    threads: Threads = None
    workers: Workers = None
    device: DeviceOption = None
    no_export: Annotated[bool, typer.Option("--no-export", help="Leave it at the weights.")] = False
    as_json: Json = False


def every(asked: EveryRequest) -> None:
    """Run `ufa train every`."""
    shared = {key: value for key, value in given(asked).items() if key not in _OF_EVERY}
    with console.run(asked.as_json):
        from ufafuse.runtime.errors import InputError
        from ufafuse.train.every import SHARES, Every, train_every

        if "photo_share" in shared and (not shared.get("images") or str(shared["images"]) == DRAWN):
            raise InputError("--photo-share is about photographs among drawn surfaces: name them by --images drawn:FOLDER.")
        wanted = Every(asked.out, asked.minutes, shared, listed(asked.variants) or tuple(SHARES), asked.anew)
        result = train_every(wanted, begin=lambda name: console.err.print(f"training {name}"))
        if not asked.no_export and result["finished"]:
            for name, entry in result["networks"].items():
                entry["exported"] = _exported(Path(entry["weights"]), asked.out / f"{name}.onnx")
        console.emit(result, as_json=asked.as_json)
        if not asked.as_json:
            _tell_every(result)
        for entry in result["networks"].values():
            console.wrote(Path(entry["weights"]), as_json=asked.as_json)
        if not result["finished"]:
            console.hint("the same command again goes on where it was", as_json=asked.as_json)


_OF_EVERY = frozenset({"out", "minutes", "variants", "anew", "no_export", "as_json"})


def _exported(weights: Path, out: Path) -> dict[str, Any]:
    """The file, checked against PyTorch before it has its name."""
    from ufafuse.export.onnx_export import onnx_from_weights

    report = onnx_from_weights(weights, out, force=True)
    return {"artefact": report["artefact"], "ok": report["ok"]}


def _tell_every(result: dict[str, Any]) -> None:
    for name, entry in result["networks"].items():
        if "psnr" not in entry:
            console.out.print(f"{name}: stopped after {entry['steps']} steps")
            continue
        drawn = f" of {entry['loader']['images_per_second']} that are drawn" if "loader" in entry else ""  # it was done before
        console.out.print(
            f"{name}: PSNR {entry['psnr']:.2f} dB, bundled {entry['bundled']['psnr']:.2f}, "
            f"{'better' if entry['better'] else 'not better'}; {entry['steps']} steps of {entry['batch']}, "
            f"{entry['images_per_second']} images a second{drawn}, {100 * (entry['waiting_share'] or 0):.0f} % of the time "
            "waiting for them"
        )


@dataclass(frozen=True, kw_only=True)
class LoaderRequest:
    """Measure how many images a second are drawn for a training, with nobody training on them."""

    images: Images = None
    masks: Masks = None
    variant: Variant = None
    crop: CropSide = None
    batch: Batch = None
    pairs_a_scene: PairsAScene = None
    workers: Workers = None
    seconds: Annotated[float, typer.Option(min=0.1, help="To count for.")] = 5.0
    as_json: Json = False


def loader(asked: LoaderRequest) -> None:
    """Run `ufa train loader`."""
    values = {key: value for key, value in given(asked).items() if key not in ("seconds", "as_json")}
    with console.run(asked.as_json):
        from ufafuse.train.every import loader_rate
        from ufafuse.train.loop import feed_for
        from ufafuse.train.recipe import options_from

        values.setdefault("images", Path("drawn:"))
        options = options_from({**values, "out": Path("unused"), "steps": 1})
        feed = feed_for(options)
        result = {"ok": True, "variant": options.variant} | loader_rate(feed, options.workers, seconds=asked.seconds)
        result |= {"warnings": feed.warnings} if feed.warnings else {}
        console.emit(result, as_json=asked.as_json)
        for warning in few_of_a_kind(feed.warnings):
            console.warn(warning)
        if not asked.as_json:
            count = options.workers or "no"
            console.out.print(f"{result['images_per_second']} {result['unit']} a second for {options.variant}, {count} workers")
