"""`ufa fuse`."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ufafuse.commands.ending import endable
from ufafuse.commands.engine import EngineRequest, fuser_arguments
from ufafuse.commands.limits import MOST
from ufafuse.commands.options import MANY, AlignOption, Compression, Force, Json, Model, Pin, StackMethod
from ufafuse.commands.request import as_command
from ufafuse.runtime import console
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.starting import unswept

if TYPE_CHECKING:
    from ufafuse.commands.many import Done
    from ufafuse.runtime.files import FileOptions, Outcome
    from ufafuse.runtime.fuser import Fuser
    from ufafuse.runtime.lights import Lights
    from ufafuse.runtime.outputs import Outputs
    from ufafuse.runtime.pictures.source import FrameSource
    from ufafuse.runtime.stack import StackOptions


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("fuse")(as_command(fuse, FuseRequest))


@dataclass(frozen=True, kw_only=True)
class FuseRequest(EngineRequest):
    """Fuse frames at different focus into one that is sharp everywhere: a pair, a focus stack, or a folder of pairs."""

    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[NEAR FAR [MORE...] | DIR | STACK]",
            help="Images of one scene, in the order of focus; or their folder, a quoted pattern, a TIFF with pages, a video.",
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="The fused image [default: fused.png]; with --pairs or --stacks a folder, or 'DIR/*.tif'."
        ),
    ] = None
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|MANIFEST",
            help="A folder of pairs: NAME_A.* + NAME_B.* (or _near, _far, _1, _2), or near/ + far/ (or A/ + B/); or a table "
            "near,far,out: .csv or .parquet.",
            rich_help_panel=MANY,
        ),
    ] = None
    stacks: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="A folder of stacks: folders of images, TIFFs of several pages, videos.", rich_help_panel=MANY
        ),
    ] = None
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="With --pairs or --stacks: on a Ray cluster; without an address on one that this machine starts.",
            rich_help_panel=MANY,
        ),
    ] = None
    gap: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="With --stacks: cut the images in DIR itself where such a time (3s) lies between.",
            rich_help_panel=MANY,
        ),
    ] = None
    every: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=MOST,
            metavar="N",
            help="With --stacks: cut the images in DIR itself into stacks of N; see --watch.",
            rich_help_panel=MANY,
        ),
    ] = None
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="With --stacks: fuse each folder that appears: when it is quiet, or has --every images.",
            rich_help_panel=MANY,
        ),
    ] = False
    quiet: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="With --watch: how long a folder has to stay as it is. [default: 5s]", rich_help_panel=MANY
        ),
    ] = None
    limit: Annotated[
        int | None, typer.Option(min=1, max=MOST, metavar="N", help="With --watch: end after N stacks.", rich_help_panel=MANY)
    ] = None
    model: Model = None
    pin: Pin = False
    align: AlignOption = "off"
    match_gain: Annotated[
        bool | None,
        typer.Option(
            "--match-gain/--no-match-gain",
            help="Undo a jump of exposure or white balance [default: in stacks that show one].",
        ),
    ] = None
    crop: Annotated[bool, typer.Option("--crop", help="With --align: cut to what all frames show.")] = False
    map_out: Annotated[Path | None, typer.Option("--map", help="Also write which frame won (white: the first).")] = None
    confidence: Annotated[Path | None, typer.Option(help="Also write where any frame is sharp (white: surely).")] = None
    conflicts: Annotated[
        Path | None, typer.Option(help="Also write where frames show different things, as if something moved (white: surely).")
    ] = None
    method: Annotated[
        StackMethod,
        typer.Option(help="Of a stack: the network, or the classical choice of the strongest detail in every octave."),
    ] = "network"
    smoothing: Annotated[
        float | None,
        typer.Option(
            help="Of a stack, 1 to 10: average more where frames show the same: less noise, softer grain; 1: no more than was "
            "learnt [default: as the noise of three frames or more asks for].",
        ),
    ] = None
    restore: Annotated[
        float,
        typer.Option(help="Of a stack, 1 to 2.2: raise detail between two planes of focus by up to this factor; 1: nowhere."),
    ] = 2.2
    reference: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=MOST,
            help="With --align or --match-gain: the frame, from 1, that the others are brought to.",
        ),
    ] = None
    keep_unregistered: Annotated[
        bool, typer.Option("--keep-unregistered", help="Frames of a stack that cannot be registered take part all the same.")
    ] = False
    save_aligned: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write a stack's registered frames; alpha: what they cover.")
    ] = None
    depth: Annotated[Path | None, typer.Option(help="Also write a stack's height map: 16-bit .png or float .tif.")] = None
    depth_view: Annotated[Path | None, typer.Option(help="Also write a shaded view of the heights.")] = None
    depth_fill: Annotated[
        bool, typer.Option("--depth-fill", help="Fill in heights where no frame is sharp, along the picture's edges.")
    ] = False
    mesh: Annotated[Path | None, typer.Option(help="Also write the relief as a coloured mesh, .ply.")] = None
    z_step: Annotated[float | None, typer.Option(help="What lies between two frames: heights are then in this unit.")] = None
    z_unit: Annotated[str, typer.Option(help="The name of that unit, such as mm.")] = ""
    pixel_size: Annotated[float | None, typer.Option(help="The side of a pixel in that unit, for the mesh.")] = None
    white: Annotated[
        float | None, typer.Option(help="Level of white, such as 4095 for 12 bits in 16 [default: found in the images].")
    ] = None
    bayer: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="The images are raw: rggb, bggr, grbg, gbrg, or a name like BayerRG8.")
    ] = None
    convert_profile: Annotated[
        bool, typer.Option("--convert-profile", help="Convert images with another colour profile to the first one's.")
    ] = False
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse images that are damaged inside; otherwise that is a warning.")
    ] = False
    quality: Annotated[
        int | None, typer.Option(min=1, max=100, help="Of a .jpg (default 97) or .webp result (default: no loss).")
    ] = None
    compression: Annotated[Compression | None, typer.Option(help="Of a .png or .tif result.")] = None
    report: Annotated[
        Path | None,
        typer.Option(metavar="PAGE.html", help="Also write a page to look at; with --pairs or --stacks a folder of them."),
    ] = None
    force: Force = False
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing", help="With --pairs or --stacks: go on where an earlier run stopped.", rich_help_panel=MANY
        ),
    ] = False
    as_json: Json = False


def fuse(asked: FuseRequest) -> None:
    """Run `ufa fuse`."""
    with console.run(asked.as_json):
        with unswept(), endable():
            from ufafuse.commands.effects import check_effects
            from ufafuse.commands.many import Many, fuse_many
            from ufafuse.runtime.files import reading
            from ufafuse.runtime.fuser import Fuser
            from ufafuse.runtime.opencv import within_quota
            from ufafuse.runtime.pictures.inputs import expanded
            from ufafuse.runtime.pixels import most_pixels
        within_quota()
        check_effects(asked)
        named = _checked_names(asked.images or [], asked.pairs, asked.stacks)
        if named:
            _refuse_urls(*named, asked.out)
        many = Many.checked(
            asked.pairs,
            asked.stacks,
            gap=asked.gap,
            every=asked.every,
            watch=asked.watch,
            quiet=asked.quiet or "5s",
            limit=asked.limit,
            ray=asked.ray,
        )
        target, suffix = _checked_out(asked.out, many is not None)
        paths, order = ([], "") if many else expanded(named)
        options, files = _stack_options(asked), _file_options(asked)
        engine: dict[str, Any] = {**fuser_arguments(asked), "pin": asked.pin}
        outputs = _checked_outputs(asked, target, None if many else paths, files)
        done: Done | None = None
        with (
            reading(paths, asked.threads, most=most_pixels(engine["max_memory"]), strict=asked.strict, look=True) as frames,
            ExitStack() as opened,
        ):
            of_stack = outputs.of_stack or asked.smoothing not in (None, 1)
            name, lights = _network(asked, None if many else frames, options, of_stack)
            fuser = opened.enter_context(Fuser(name, **engine))
            if many is None:
                outcomes = [_fuse_one(fuser, paths, frames, outputs, options, files, force=asked.force)]
                outcomes[0].note(order)
                outcomes[0].details |= {key: round(share, 4) for key, share in lights.told().items()}
            else:
                results = (target, asked.map_out, asked.confidence, asked.conflicts), suffix
                again = {"force": asked.force, "skip_existing": asked.skip_existing}
                done = fuse_many(fuser, many, results, options, files, **again, limits=engine)
                outcomes = done.outcomes
            _report(fuser, outcomes, asked.method, as_json=asked.as_json, done=done, watched=asked.watch)
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(1)


def _stack_options(asked: FuseRequest) -> "StackOptions":
    from ufafuse.runtime.bayer import pattern_from
    from ufafuse.runtime.stack import StackOptions

    return StackOptions(
        white=asked.white,
        bayer=asked.bayer and pattern_from(asked.bayer),
        align=asked.align,
        match_gain=asked.match_gain,
        crop=asked.crop,
        method=asked.method,
        smoothing=asked.smoothing,
        restore=asked.restore,
        reference=None if asked.reference is None else asked.reference - 1,
        keep_unregistered=asked.keep_unregistered,
    )


def _file_options(asked: FuseRequest) -> "FileOptions":
    from ufafuse.runtime.files import FileOptions
    from ufafuse.runtime.pictures.write import WriteOptions

    return FileOptions(asked.strict, asked.convert_profile, WriteOptions(asked.quality, asked.compression), asked.report)


def _checked_outputs(asked: FuseRequest, target: Path, paths: list[Path] | None, files: "FileOptions") -> "Outputs":
    """What is to be written of one pair or stack (``paths``; None: of many). Raises: OutputError, InputError."""
    from ufafuse.runtime.outputs import Outputs
    from ufafuse.runtime.stacks.relief import HeightOptions

    heights = HeightOptions(fill=asked.depth_fill, z_step=asked.z_step, z_unit=asked.z_unit, pixel_size=asked.pixel_size)
    maps = asked.map_out, asked.confidence, asked.conflicts
    outputs = Outputs(target, *maps, asked.depth, asked.depth_view, asked.mesh, asked.save_aligned, height=heights)
    if paths is not None:
        outputs.check(force=asked.force, inputs=paths, store=files.store)
        if asked.report is not None:
            from ufafuse.runtime.page import check_page

            check_page(asked.report, force=asked.force)
    elif outputs.of_stack:
        raise InputError("heights and aligned frames are for one stack: omit them with --pairs and --stacks.")
    return outputs


def _network(
    asked: FuseRequest, frames: "list[FrameSource] | None", options: "StackOptions", of_stack: bool
) -> tuple[str, "Lights"]:
    """The network that is named, or else the bundled one, and what clipped levels do in a pair if that decided.

    Without `frames` it is for many groups.
    """
    from ufafuse.runtime.files import lights_in
    from ufafuse.runtime.lights import Lights
    from ufafuse.runtime.models import default_for

    if asked.model or frames is None:
        return asked.model or default_for(2 if asked.pairs else 3), Lights()
    lights = Lights() if of_stack or options.method == "pyramid" else lights_in(frames, options)
    return default_for(len(frames), of_stack=of_stack, lights=bool(lights.why)), lights


def _checked_names(images: list[Path], pairs: Path | None, stacks: Path | None) -> list[Path]:
    given = [name for name, value in (("images", images), ("--pairs", pairs), ("--stacks", stacks)) if value]
    if len(given) > 1:
        raise InputError(f"both {given[0]} and {given[1]} were given: give one of them.")
    if not given:
        raise InputError("no images were given: give two or more, NEAR FAR [MORE...], a folder, --pairs DIR or --stacks DIR.")
    return images


def _refuse_urls(*places: Path | None) -> None:
    from ufafuse.runtime.batches.storage import url_of

    for place in places:
        if place is not None and (url := url_of(place)) and not place.exists():
            raise InputError(
                f"{url} is a URL: give its folder as --pairs or --stacks, a table of such as --pairs, or copy it here."
            )


def _checked_out(out: Path | None, many: bool) -> tuple[Path, str]:
    """Where results go, and for many of them their suffix."""
    from ufafuse.runtime.writing import OF_FILES

    if not many:
        return out or Path("fused.png"), ""
    if out is None:
        raise InputError("--pairs and --stacks write many pictures: name a folder for them with -o OUTDIR.")
    if out.stem == "*":
        return out.parent, out.suffix.lower()
    if out.suffix.lower() in OF_FILES and not out.is_dir():  # ``v1.2`` is a folder's name
        raise InputError(f"--out {out} looks like a file, and many are written: give a folder, or 'DIR/*{out.suffix}'.")
    return out, ".png"


def _fuse_one(
    fuser: "Fuser",
    images: list[Path],
    frames: "list[FrameSource]",
    outputs: "Outputs",
    options: "StackOptions",
    files: "FileOptions",
    *,
    force: bool,
) -> "Outcome":
    from ufafuse.runtime.files import fuse_files

    options.check_reference(len(frames), first=1)
    with console.progress() as bar:
        task = bar.add_task(f"fusing {len(images)} frames", total=None)

        stack = fuser.gathers and len(frames) > 2

        def on_tile(done: int, total: int) -> None:
            bar.update(task, description="fusing, frame" if stack else "fusing, tile", completed=done, total=total)

        return fuse_files(fuser, images, outputs, options, files=files, frames=frames, force=force, on_tile=on_tile)


def _report(
    fuser: "Fuser", outcomes: "list[Outcome]", method: str, *, as_json: bool, done: "Done | None", watched: bool
) -> None:
    from ufafuse.commands import telling
    from ufafuse.runtime.maker import maker

    made = maker(fuser, method)
    failed = [outcome for outcome in outcomes if outcome.error]
    result: dict[str, Any] = {
        "ok": not failed,
        "backend": made.backend,
        "why": made.why,
        "precision": made.precision,
        "model": made.model,
        "outputs": [outcome.to_json() for outcome in outcomes],
        "failed": len(failed),
        "skipped": done.skipped if done else 0,
        **(done.speed() if done else {}),
        **({"passed_over": list(done.passed)} if done and done.passed else {}),
    }
    console.emit(result, as_json=as_json)
    if as_json:
        for path in (path for outcome in outcomes if done is None for path in telling.written(outcome)):
            console.wrote(path, as_json=True)
    elif done is not None:
        telling.tell_many(fuser, done, made)
    else:
        telling.tell_one(fuser, outcomes[0], made)
    telling.warn_and_fail(outcomes, done.passed if done else (), errors=not watched)
