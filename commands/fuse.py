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
    from ufafuse.runtime.stacks.files import StackOutputs


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


class Method(str, Enum):
    """How a stack is fused."""

    network = "network"
    pyramid = "pyramid"


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
    method: Annotated[
        Method, typer.Option(help="network, or the classical choice of the strongest detail in every octave.")
    ] = Method.network,
    reference: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="With --align: the frame, from 1, that the others are registered to.")
    ] = None,
    keep_unregistered: Annotated[
        bool, typer.Option("--keep-unregistered", help="Fuse frames of a stack that cannot be registered all the same.")
    ] = False,
    save_aligned: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write a stack's registered frames; alpha: what they cover.")
    ] = None,
    depth: Annotated[Path | None, typer.Option(help="Also write a stack's height map: 16-bit .png or float .tif.")] = None,
    depth_view: Annotated[Path | None, typer.Option(help="Also write a shaded view of the heights.")] = None,
    depth_fill: Annotated[
        bool, typer.Option("--depth-fill", help="Fill in heights where no frame is sharp, along the picture's edges.")
    ] = False,
    mesh: Annotated[Path | None, typer.Option(help="Also write the relief as a coloured mesh, .ply.")] = None,
    z_step: Annotated[float | None, typer.Option(help="What lies between two frames: heights are then in this unit.")] = None,
    z_unit: Annotated[str, typer.Option(help="The name of that unit, such as mm.")] = "",
    pixel_size: Annotated[float | None, typer.Option(help="The side of a pixel in that unit, for the mesh.")] = None,
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
        from ufafuse.runtime.models import STACKS
        from ufafuse.runtime.stack import StackOptions
        from ufafuse.runtime.stacks.files import StackOutputs, by_one_rule
        from ufafuse.runtime.stacks.relief import HeightOptions

        images = _checked_images(images, pairs)
        options = StackOptions(
            white=white,
            bayer=bayer and pattern_from(bayer),
            align=align.value,
            match_gain=match_gain,
            crop=crop,
            method=method.value,
            reference=None if reference is None else reference - 1,
            keep_unregistered=keep_unregistered,
        )
        heights = HeightOptions(fill=depth_fill, z_step=z_step, z_unit=z_unit, pixel_size=pixel_size)
        stacked = StackOutputs(
            out or Path("fused.png"), map_out, confidence, depth, depth_view, mesh, save_aligned, height=heights
        )
        as_stack = _is_stack(images, pairs, options, stacked)
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
            reading([] if as_stack else images, threads) as frames,
            Fuser(
                model or (STACKS if as_stack else None),
                backend=backend.value,
                precision=precision and precision.value,
                prefer=prefer.value,
                **limits,
            ) as fuser,
        ):
            if as_stack and by_one_rule(fuser, len(images), options, stacked):
                outcomes = [_fuse_stack(fuser, images, stacked, options, force=force)]
            elif pairs is None:
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


def _is_stack(images: list[Path], pairs: Path | None, options: "StackOptions", outputs: "StackOutputs") -> bool:
    """Whether the images are to be fused as a stack; refuses what only a stack has where there is none."""
    stack = pairs is None and (len(images) > 2 or options.method != "network" or outputs.wants_more)
    if not stack and options.reference is not None and options.reference >= 2:
        raise InputError(f"--reference {options.reference + 1}: there are two frames, counted from 1.")
    if pairs is not None and (outputs.wants_more or options.method != "network"):
        raise InputError("--pairs fuses pairs: heights, aligned frames and --method are for one stack.")
    return stack


def _fuse_stack(
    fuser: "Fuser", images: list[Path], outputs: "StackOutputs", options: "StackOptions", *, force: bool
) -> "Outcome":
    from ufafuse.runtime.pictures.source import stack_of
    from ufafuse.runtime.stacks.files import fuse_stack_files

    with console.progress() as bar, stack_of(images) as sources:
        task = bar.add_task("fusing", total=2 * len(sources))
        return fuse_stack_files(
            fuser,
            sources,
            outputs,
            options,
            force=force,
            on_step=lambda done, total: bar.update(task, completed=done, total=total),
        )


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
