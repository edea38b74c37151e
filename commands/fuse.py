"""`ufa fuse`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ufafuse.runtime import console
from ufafuse.runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ufafuse.runtime.fuser import Fuser
    from ufafuse.runtime.jobs import FileOptions, Outcome
    from ufafuse.runtime.pictures.source import FrameSource
    from ufafuse.runtime.stack import StackOptions


Backend = Literal["auto", "tensorrt", "onnxruntime", "openvino"]  # inference engines
Precision = Literal["fp32", "bf16", "fp16", "int8"]  # arithmetic of the network
Prefer = Literal["quality", "speed"]  # what the choice of an arithmetic is to serve
Provider = Literal["cpu", "cuda", "tensorrt"]  # ONNX Runtime's execution providers
Compression = Literal["none", "fast", "small", "lzw", "zstd"]  # how results are packed
Align = Literal["off", "translation", "euclidean", "affine", "homography"]  # how the frames may have moved
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
        list[Path] | None,
        typer.Argument(
            metavar="[NEAR FAR [MORE...] | DIR | STACK]",
            help="Images of one scene, in the order of focus; or their folder, a quoted pattern, a TIFF with pages, a video.",
        ),
    ] = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="The fused image [default: fused.png]; with --pairs or --stacks a folder, or 'DIR/*.tif'."
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A folder of pairs: NAME_A.* + NAME_B.* (or _1, _2), or near/ + far/ (or A/ + B/)."),
    ] = None,
    stacks: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder of stacks: folders of images, TIFFs of several pages, videos.")
    ] = None,
    gap: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="With --stacks: cut the images in DIR itself where such a time (3s) lies between."),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(min=2, metavar="N", help="With --stacks: cut the images in DIR itself into stacks of N; see --watch."),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="With --stacks: fuse each folder that appears: when it is quiet, or has --every images."),
    ] = False,
    quiet: Annotated[str, typer.Option(metavar="TIME", help="With --watch: how long a folder has to stay as it is.")] = "5s",
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="With --watch: end after N stacks.")] = None,
    model: Model = None,
    backend: BackendOption = "auto",
    precision: PrecisionOption = None,
    prefer: PreferOption = "quality",
    threads: Threads = None,
    pin: Pin = False,
    provider: ProviderOption = "cpu",
    max_memory: MaxMemory = None,
    tile: TileOption = "auto",
    align: AlignOption = "off",
    match_gain: Annotated[bool, typer.Option("--match-gain", help="Undo a jump of exposure or white balance.")] = False,
    crop: Annotated[bool, typer.Option("--crop", help="With --align: cut to what all frames show.")] = False,
    map_out: Annotated[Path | None, typer.Option("--map", help="Also write which frame won (white: the first).")] = None,
    confidence: Annotated[Path | None, typer.Option(help="Also write where any frame is sharp (white: surely).")] = None,
    white: Annotated[
        float | None, typer.Option(help="Level of white, such as 4095 for 12 bits in 16 [default: found in the images].")
    ] = None,
    bayer: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="The images are raw: rggb, bggr, grbg, gbrg, or a name like BayerRG8.")
    ] = None,
    convert_profile: Annotated[
        bool, typer.Option("--convert-profile", help="Convert images with another colour profile to the first one's.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse images that are damaged inside; otherwise that is a warning.")
    ] = False,
    quality: Annotated[
        int | None, typer.Option(min=1, max=100, help="Of a .jpg (default 97) or .webp result (default: no loss).")
    ] = None,
    compression: Annotated[Compression | None, typer.Option(help="Of a .png or .tif result.")] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="PAGE.html", help="Also write a page to look at; with --pairs or --stacks a folder of them."),
    ] = None,
    self_test: Annotated[bool, typer.Option("--self-test", help="First check the model on a packed pair.")] = False,
    force: Force = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="With --pairs or --stacks: go on where an earlier run stopped.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fuse frames at different focus into one that is sharp everywhere: a pair, a focus stack, or a folder of pairs."""
    with console.run(as_json):
        from ufafuse.commands.many import Many, fuse_many
        from ufafuse.commands.quantities import megabytes_from
        from ufafuse.runtime.bayer import pattern_from
        from ufafuse.runtime.fuser import Fuser
        from ufafuse.runtime.jobs import FileOptions, reading
        from ufafuse.runtime.pictures.inputs import expanded
        from ufafuse.runtime.pictures.write import WriteOptions
        from ufafuse.runtime.stack import StackOptions

        named = _checked_names(images or [], pairs, stacks)
        many = Many.checked(pairs, stacks, gap=gap, every=every, watch=watch, quiet=quiet, limit=limit)
        target, suffix = _checked_out(out, many is not None)
        paths, order = ([], "") if many else expanded(named)
        options = StackOptions(white=white, bayer=bayer and pattern_from(bayer), align=align, match_gain=match_gain, crop=crop)
        store = WriteOptions(quality, compression)
        files = FileOptions(strict, convert_profile, store, report)
        results = (target, map_out, confidence)
        _check_results(results, paths, files, force=force, many=many is not None)
        limits: dict[str, Any] = {
            "threads": threads,
            "pin": pin,
            "provider": provider,
            "max_memory": megabytes_from("--max-memory", max_memory),
            "tile": _parsed_tile(tile),
            "self_test": self_test,
        }
        skipped = 0
        with (
            reading(paths, threads) as frames,
            Fuser(
                model,
                backend=backend,
                precision=precision,
                prefer=prefer,
                **limits,
            ) as fuser,
        ):
            if many is None:
                outcomes = [_fuse_one(fuser, paths, frames, results, options, files, force=force)]
                outcomes[0].details |= {"order": order} if order else {}
            else:
                outcomes, skipped = fuse_many(
                    fuser, many, (*results, suffix), options, files, force=force, skip_existing=skip_existing
                )
            _report(fuser, outcomes, as_json=as_json, many=many is not None, skipped=skipped)
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(1)


def _checked_names(images: list[Path], pairs: Path | None, stacks: Path | None) -> list[Path]:
    given = [name for name, value in (("images", images), ("--pairs", pairs), ("--stacks", stacks)) if value]
    if len(given) > 1:
        raise InputError(f"both {given[0]} and {given[1]} were given: give one of them.")
    if not given:
        raise InputError("no images were given: give two or more, NEAR FAR [MORE...], a folder, --pairs DIR or --stacks DIR.")
    return images


def _checked_out(out: Path | None, many: bool) -> tuple[Path, str]:
    """Where results go, and for many of them their suffix."""
    if not many:
        return out or Path("fused.png"), ""
    if out is None:
        raise InputError("--pairs and --stacks write many pictures: name a folder for them with -o OUTDIR.")
    if out.stem == "*":
        return out.parent, out.suffix.lower()
    if out.suffix and not out.is_dir():
        raise InputError(f"--out {out} looks like a file, and many are written: give a folder, or 'DIR/*{out.suffix}'.")
    return out, ".png"


def _check_results(results: "Results", images: "Sequence[Path]", files: "FileOptions", *, force: bool, many: bool) -> None:
    """Refuse results that cannot be written before a model is opened."""
    from ufafuse.runtime.page import check_page
    from ufafuse.runtime.pictures.write import check_output

    if many:
        return
    for path in results:
        if path is not None:
            check_output(path, force=force, inputs=images, options=files.store if path == results[0] else None)
    if files.report is not None:
        check_page(files.report, force=force)


def _parsed_tile(text: str) -> Any:  # noqa: ANN401 - a `Tile`, or a word that `Budget` refuses
    return int(text) if text.isdecimal() else text


Results = tuple[Path, Path | None, Path | None]


def _fuse_one(
    fuser: "Fuser",
    images: list[Path],
    frames: "list[FrameSource]",
    results: Results,
    options: "StackOptions",
    files: "FileOptions",
    *,
    force: bool,
) -> "Outcome":
    from ufafuse.runtime.jobs import Outputs, fuse_files

    with console.progress() as bar:
        task = bar.add_task(f"fusing {len(images)} frames", total=None)

        def on_tile(done: int, total: int) -> None:
            bar.update(task, description="fusing, tile", completed=done, total=total)

        outputs = Outputs(*results)
        return fuse_files(fuser, images, outputs, options, files=files, frames=frames, force=force, on_tile=on_tile)


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
