"""`ufa fuse`."""

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


class Prefer(str, Enum):
    """What the choice of an arithmetic is to serve."""

    quality = "quality"
    speed = "speed"


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
PreferOption = Annotated[
    Prefer, typer.Option(help="quality: the machine's float arithmetic; speed: int8 where the network has it and it gains.")
]
PrecisionOption = Annotated[Precision | None, typer.Option(help="Arithmetic [default: as --prefer has it].")]
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
    """Add the command to ``app``."""
    app.command("fuse")(fuse)


def fuse(
    images: Annotated[
        list[Path] | None, typer.Argument(metavar="[NEAR FAR [MORE...]]", help="Images of one scene, in the order of focus.")
    ] = None,
    *,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The fused image, or with --pairs a folder [default: fused.png].")
    ] = None,
    pairs: Annotated[Path | None, typer.Option(help="A folder of pairs: NAME_A.* + NAME_B.*, or near/ + far/.")] = None,
    model: Model = None,
    backend: BackendOption = Backend.auto,
    precision: PrecisionOption = None,
    prefer: PreferOption = Prefer.quality,
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
        from ufafuse.runtime.stack import StackOptions

        images = _checked_images(images, pairs)
        options = StackOptions(
            white=white, bayer=bayer and pattern_from(bayer), align=align.value, match_gain=match_gain, crop=crop
        )
        results = (_checked_out(out, pairs), map_out, confidence)
        limits: dict[str, Any] = {
            "threads": threads,
            "pin": pin,
            "provider": provider.value,
            "max_memory": megabytes_from("--max-memory", max_memory),
            "tile": _parsed_tile(tile),
            "self_test": self_test,
        }
        skipped = 0
        with (
            reading(images, threads) as frames,
            Fuser(
                model,
                backend=backend.value,
                precision=precision and precision.value,
                prefer=prefer.value,
                **limits,
            ) as fuser,
        ):
            if pairs is None:
                outcomes = [_fuse_one(fuser, images, frames, results, options, force=force)]
            else:
                outcomes, skipped = _fuse_many(fuser, pairs, results, options, force=force, skip_existing=skip_existing)
            _report(fuser, outcomes, as_json=as_json, many=pairs is not None, skipped=skipped)
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(1)


def _checked_images(images: list[Path] | None, pairs: Path | None) -> list[Path]:
    images = images or []
    if pairs is not None and images:
        raise InputError("both images and --pairs were given: give one of them.")
    if pairs is None and len(images) < 2:
        raise InputError(f"{len(images)} images were given: give two or more, NEAR FAR [MORE...], or --pairs DIR.")
    return images


def _checked_out(out: Path | None, pairs: Path | None) -> Path:
    if out is None and pairs is not None:
        raise InputError("--pairs writes many pictures: name a folder for them with -o OUTDIR.")
    return out or Path("fused.png")


def _parsed_tile(text: str) -> Any:  # noqa: ANN401 - a `Tile`, or a word that `Budget` refuses
    return int(text) if text.isdecimal() else text


Results = tuple[Path, Path | None, Path | None]


def _fuse_one(
    fuser: "Fuser", images: list[Path], frames: "Iterable[Frame]", results: Results, options: "StackOptions", *, force: bool
) -> "Outcome":
    from ufafuse.runtime.jobs import Outputs, fuse_files

    with console.progress() as bar:
        task = bar.add_task(f"fusing {len(images)} frames", total=None)

        def on_tile(done: int, total: int) -> None:
            bar.update(task, description="fusing, tile", completed=done, total=total)

        return fuse_files(fuser, images, Outputs(*results), options, frames=frames, force=force, on_tile=on_tile)


def _fuse_many(
    fuser: "Fuser", pairs: Path, results: Results, options: "StackOptions", *, force: bool, skip_existing: bool
) -> "tuple[list[Outcome], int]":
    """What became of the pairs, and how many results were there already."""
    from ufafuse.runtime.jobs import fuse_folder
    from ufafuse.runtime.pairs import find_pairs

    found = find_pairs(pairs)
    out, maps, confidences = results
    with console.progress() as bar:
        task = bar.add_task("fusing pairs", total=len(found))
        outcomes = fuse_folder(
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
    return outcomes, len(found) - len(outcomes)


def _report(fuser: "Fuser", outcomes: "list[Outcome]", *, as_json: bool, many: bool, skipped: int) -> None:
    from ufafuse.commands import telling

    failed = [outcome for outcome in outcomes if outcome.error]
    result: dict[str, Any] = {
        "ok": not failed,
        "backend": fuser.backend,
        "why": fuser.why,
        "precision": fuser.precision,
        "model": str(fuser.model),
        "outputs": [outcome.to_json() for outcome in outcomes],
        "failed": len(failed),
        "skipped": skipped,
    }
    console.emit(result, as_json=as_json)
    if as_json:
        for path in (path for outcome in outcomes if not many for path in telling.written(outcome)):
            console.wrote(path, as_json=True)
    elif many:
        telling.tell_many(fuser, outcomes, skipped=skipped)
    else:
        telling.tell_one(fuser, outcomes[0])
    telling.warn_and_fail(outcomes)
