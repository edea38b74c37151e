"""Fusing the files of one pair or stack; see `ufafuse.runtime.folders` for many."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.atonce import InThisThread
from ufafuse.runtime.batches.storage import shown
from ufafuse.runtime.callbacks import OnCount, ignored
from ufafuse.runtime.cores import usable_cores
from ufafuse.runtime.details import details_of
from ufafuse.runtime.errors import InputError, ModelError, UfaError, shortage_told
from ufafuse.runtime.filebytes import identity_of
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.levels import kind_with_levels
from ufafuse.runtime.lights import Lights, lights_of
from ufafuse.runtime.looking import Looking
from ufafuse.runtime.maker import engine_text, maker
from ufafuse.runtime.outputs import Outputs, aligned_saver, left_among_aligned, software, write_beside
from ufafuse.runtime.pictures.conform import ConformedFrame, common_kind
from ufafuse.runtime.pictures.exif import SOFTWARE, parse_exif
from ufafuse.runtime.pictures.frames_among import uncounted
from ufafuse.runtime.pictures.lostrows import lost_rows
from ufafuse.runtime.pictures.metadata import OURS, Metadata
from ufafuse.runtime.pictures.source import AheadFrame, FrameSource, stack_of
from ufafuse.runtime.pictures.write import WriteOptions, check_holds, lost_samples, write_image
from ufafuse.runtime.stack import Stacked, StackOptions, fuse_stack
from ufafuse.runtime.stacks.rule import by_one_rule
from ufafuse.runtime.texts import examples
from ufafuse.runtime.values import check_fields, check_instance, check_value, is_path, type_in_text
from ufafuse.runtime.writing import together

_READ_AHEAD = 2  # frames: a pair
_NAMED = 12  # frames, in the note of a result's file


@dataclass
class Outcome:
    """What became of one pair or stack; ``error`` is empty when ``fused`` was written.

    ``ms`` is the time of the fusion alone, without files, registration and gain; ``size`` is [height, width]; ``details``
    are further entries of the report; ``warnings`` are for the user.
    """

    near: Path
    far: Path
    fused: Path
    size: list[int] | None = None
    ms: float | None = None
    error: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Say with the order what was decided of the files before they were read; nothing where ``text`` is empty."""
        known = self.details.get("order")
        if text:
            self.details["order"] = f"{known}; {text}" if known else text

    def to_json(self) -> dict[str, Any]:
        """The entry of ``outputs`` in the command's JSON."""
        entry: dict[str, Any] = {
            "near": shown(self.near),
            "far": shown(self.far),
            "fused": shown(self.fused),
            "size": self.size,
            "ms": self.ms,
        }
        entry |= self.details
        if self.warnings:
            entry["warnings"] = self.warnings
        return entry | ({"error": self.error} if self.error else {})


@dataclass(frozen=True)
class FileOptions:
    """How files are read and written.

    Args:
        strict: Damage inside a file is an error and no warning.
        convert_profile: Frames with another colour profile are converted to the first one's.
        store: Quality and compression of the results.
        report: Where a page about each result goes, see `ufafuse.runtime.page`; None: nowhere.
        ahead: Frames are read in threads of their own, while others are compared; not where several pairs are under way.
    """

    strict: bool = False
    convert_profile: bool = False
    store: WriteOptions = field(default_factory=WriteOptions)
    report: Path | None = None
    ahead: bool = True

    def __post_init__(self) -> None:
        """Refuse what is of another type (`InputError`)."""
        check_fields(self)


@contextmanager
def reading(
    images: Sequence[Path], threads: int | None = None, *, most: int | None = None, strict: bool = False, look: bool = False
) -> Iterator[list[FrameSource]]:
    """The frames of image files, in their order; the first two are read in the background, while a model is opened.

    Args:
        images: Pictures, TIFFs of several pages, videos; what is wrong inside them shows when they are read.
        threads: How many are read at once; None: as many as there are cores; 0: they are read in this thread.
        most: Pixels that a frame may declare.
        strict: Damage inside is looked for as thoroughly as that goes; otherwise quickly, see `read_picture`.
        look: What is looked at quickly is looked at thoroughly while it is fused, or after that (`Looking`).

    Raises:
        InputError: A file is missing or cannot be opened.
    """
    pool = InThisThread() if threads == 0 else ThreadPoolExecutor(threads or usable_cores())
    with stack_of(images, most=most, inside="thoroughly" if strict else "quickly") as frames:
        try:
            begun = [AheadFrame(frame, pool) if index < _READ_AHEAD else frame for index, frame in enumerate(frames)]
            for frame in begun if look and not strict else ():
                frame.looker = pool
            yield begun
        finally:
            pool.shutdown(cancel_futures=True)  # before the files are closed, in which it may be reading


def lights_in(frames: Sequence[FrameSource], options: StackOptions) -> Lights:
    """What clipped levels do in a pair; nothing where that is not known yet.

    Args:
        frames: As `reading` gives them; what is wrong with them shows when they are fused.
        options: How they are read.
    """
    if len(frames) != 2 or options.bayer is not None:
        return Lights()
    try:
        near, far = (frame.peek() if isinstance(frame, AheadFrame) else frame.read() for frame in frames)
        return lights_of(near, far, kind_with_levels([near, far], order=options.order, white=options.white)[0])
    except UfaError:
        return Lights()


def fuse_files(
    fuser: Fuser,
    images: Sequence[Path],
    outputs: Outputs,
    options: StackOptions | None = None,
    *,
    files: FileOptions | None = None,
    frames: Sequence[FrameSource] | None = None,
    force: bool = False,
    on_tile: OnCount = ignored,
) -> Outcome:
    """Fuse two or more frames from image files.

    Args:
        fuser: With a loaded model.
        images: Near, far, and more, in the order of focus; or one file with all of them.
        outputs: Where the results go; all of them appear together, or none of them does.
        options: What is done to the frames; the map and the confidence follow from ``outputs``.
        files: How files are read and written.
        frames: What `reading` gives for the images, where that was begun before.
        force: Replace existing files (never one of ``images``).
        on_tile: As `fuse_stack`.

    Raises:
        InputError: A file or the frames cannot be used, or an argument is of another type; the text names it.
        OutputError: A result cannot be written.
        ModelError: The model gives no map and one is wanted; or as `Fuser.fuse`.
    """
    images = _checked(images, outputs, options, files)
    options, files = options or StackOptions(), files or FileOptions()
    outputs.check(force=force, inputs=images, store=files.store)
    if files.report is not None:
        from ufafuse.runtime.page import check_page

        check_page(files.report, force=force)
    with shortage_told(str(images[0])), together(), _opened(fuser, images, files, frames) as found:
        if len(found) < 2:
            known = "; ".join(found[0].picture().warnings)  # of an animation the first picture is read
            raise InputError(f"{images[0]} holds one frame{known and f' ({known})'}: fusing takes two or more.")
        if options.reference is not None and options.reference >= len(found):
            number = options.reference + 1
            which = f"the stack that begins with {images[0]} has {len(found)}"
            raise InputError(f"`reference` asks for frame {number}, counted from 1, and {which}.")
        return _made(fuser, images, found, outputs, options, files, on_tile, force=force)


def _checked(images: object, outputs: object, options: object, files: object) -> list[Path]:
    """The images of `fuse_files` as paths, where its arguments are what they should be. Raises: InputError."""
    check_instance("outputs", outputs, Outputs)
    check_instance("options", options, StackOptions, optional=True)
    check_instance("files", files, FileOptions, optional=True)
    if is_path(images) or not isinstance(images, Iterable):
        raise InputError(f"`images` is {type_in_text(images)}: give a list of paths.")
    listed = list(images)
    for image in listed:
        check_value("images", image, is_path)
    if not listed:
        raise InputError("`images` is empty: give the paths of two frames or more, or of one file with all of them.")
    return [Path(image) for image in listed]


def _opened(
    fuser: Fuser, images: Sequence[Path], files: FileOptions, frames: Sequence[FrameSource] | None
) -> AbstractContextManager[Sequence[FrameSource]]:
    if frames is not None:
        return nullcontext(frames)
    return reading(images, fuser.threads if files.ahead else 0, strict=files.strict)


def _made(
    fuser: Fuser,
    images: Sequence[Path],
    found: Sequence[FrameSource],
    outputs: Outputs,
    options: StackOptions,
    files: FileOptions,
    on_tile: OnCount,
    *,
    force: bool,
) -> Outcome:
    common = common_kind(found, scale=options.align != "off", convert=files.convert_profile)
    check_holds(outputs.fused, common.shape, common.dtype)
    told = dict.fromkeys(f"{note}." for note in common.notes) | _no_frames(found) | _twice(images)
    taken = [ConformedFrame(frame, common, strict=files.strict, told=told) for frame in found]
    looking = Looking(found, fuser.memory_limit)
    result, chosen = _fused(fuser, taken, outputs, options, on_tile, want_all=files.report is not None, force=force)
    metadata = metadata_of_result(fuser, taken, result, told, method=chosen.method)
    told.update(looking.found(told))
    told.update(dict.fromkeys(lost_rows([frame.name for frame in taken], [frame.zeros for frame in taken])))
    told.update(_lost(outputs.fused, result.fused, metadata, taken[result.reference]))
    if outputs.map is not None and result.map is None:
        raise ModelError(f"{fuser.model.name} gives no map: omit the map, or export the model again with `ufa export`.")
    beside = write_beside(result, outputs, order=chosen.order, force=force, inputs=images, dpi=metadata.dpi)
    near, far = (frame.path if len(images) > 1 and frame.path else Path(frame.name) for frame in taken[:2])
    outcome = Outcome(near, far, outputs.fused, list(result.fused.shape[:2]), round(result.ms, 3))
    outcome.details = details_of(taken, result, chosen) | beside
    outcome.warnings = [*told, *result.warnings]
    if files.report is not None:
        outcome.details["report"] = str(files.report)
        made = maker(fuser, chosen.method)
        engine = f"{engine_text(fuser, chosen.method)} on {made.backend}"
        _write_page(files.report, outcome, taken, result, engine=engine, force=force)
    # The picture gets its name last: where it is, all of its run is.
    write_image(outputs.fused, result.fused, force=force, metadata=metadata, inputs=images, options=files.store)
    return outcome


def _write_page(
    path: Path, outcome: Outcome, taken: Sequence[FrameSource], result: Stacked, *, engine: str, force: bool
) -> None:
    from ufafuse.runtime.page import write_page  # a page is rare, and what it needs takes time to import

    write_page(
        path,
        {"near": taken[0].read(), "far": taken[-1].read(), "fused": result.fused},
        title=outcome.fused.name,
        engine=engine,
        unit=result.levels.unit if result.levels is not None else 255.0,
        names=[frame.name for frame in taken],
        details=outcome.details,
        warnings=outcome.warnings,
        ms=result.ms,
        won=result.map,
        sharp=result.confidence,
        force=force,
    )


def _fused(
    fuser: Fuser,
    frames: Sequence[ConformedFrame],
    outputs: Outputs,
    options: StackOptions,
    on_tile: OnCount,
    *,
    want_all: bool,
    force: bool,
) -> tuple[Stacked, StackOptions]:
    chosen = replace(
        options,
        want_map=outputs.map is not None or (want_all and options.method != "pyramid"),  # which has none
        want_confidence=outputs.confidence is not None or want_all,
        want_conflicts=outputs.conflicts is not None,
        want_height=outputs.wants_height,
    )
    written: list[Path] = []
    saver = aligned_saver(outputs, frames, written, force=force) if outputs.aligned else None
    if by_one_rule(fuser, len(frames), chosen, aligned=saver is not None):
        from ufafuse.runtime.stacks.fusing import fuse_sources  # a pair does without, and starts faster

        result = fuse_sources(fuser, frames, chosen, on_tile, on_placed=saver)
        if outputs.aligned is not None:
            result.warnings += left_among_aligned(outputs.aligned, written, frames)
        return result, chosen
    arrays = [frame.read() for frame in frames]
    known = {frame.white for frame in frames}
    if chosen.white is None and len(known) == 1:
        chosen = replace(chosen, white=known.pop())  # all files say it
    try:
        return fuse_stack(fuser, arrays, chosen, on_tile), chosen
    except InputError as error:
        names = [frame.name for frame in frames]
        shown = " and ".join(names) if len(names) < 4 else f"{names[0]} to {names[-1]} ({len(names)} frames)"
        raise InputError(f"{shown} cannot be fused: {error}") from error


def metadata_of_result(
    fuser: Fuser, frames: Sequence[FrameSource], result: Stacked, told: dict[str, None], *, method: str = "network"
) -> Metadata:
    """What is stored beside a result's pixels: the reference's, with where the result comes from.

    Args:
        fuser: That it was fused with.
        frames: That it was made of.
        result: What was made.
        told: Takes what the user should know.
        method: By which it was made (`StackOptions.method`).
    """
    frame = frames[result.reference]
    metadata = frame.metadata
    colour = result.fused.ndim == 3 and result.fused.shape[2] >= 3
    if not metadata.profile_fits(colour=colour):
        made = "in colour" if colour else "grey"
        told[f"{frame.name}: its profile {metadata.profile_name!r} is left out, the result is {made}."] = None
        metadata = replace(metadata, icc=None)
    if metadata.left_out:
        told[f"{frame.name}: {metadata.left_out} are left out: they lie too far inside of it to keep their place."] = None
    size = result.fused.shape[0], result.fused.shape[1]
    return metadata.of_result(size, software(), _history(engine_text(fuser, method), [frame.name for frame in frames]))


def _lost(path: Path, fused: Array, metadata: Metadata, frame: FrameSource) -> dict[str, None]:
    """What a result's format cannot hold of it, and of what the reference says, for the user."""
    suffix = path.suffix.lower()
    said = frame.metadata if suffix in (".bmp", ".dib") else metadata  # notes of ours alone are no loss
    lost = said.lost_in(suffix)
    better = ".png" if metadata.colour_space or any("text" in each for each in lost) else ".png or .tif"
    told = [f"{path} cannot hold {' and '.join(lost)} of {frame.name}: end it in {better}."] if lost else []
    hidden = lost_samples(path, fused)
    told += [f"{path} cannot hold {hidden}: end it in .png or .tif."] if hidden else []
    return dict.fromkeys(told)


def _twice(images: Sequence[Path]) -> dict[str, None]:
    """Which files are frames more than once: a slip in a manifest, or in a list of names."""
    files = [identity_of(path) for path in images]
    seen = Counter(files)
    several = list(dict.fromkeys(str(path) for path, file in zip(images, files, strict=True) if seen[file] > 1))
    if not several:
        return {}
    return {f"{examples(several)}: the same file is given more than once, and counts as often.": None}


def _no_frames(frames: Sequence[FrameSource]) -> dict[str, None]:
    """Which frames were made of frames, by ufafuse or, as their names say, by other programs: that is seldom meant."""
    made = [frame.name for frame in frames if parse_exif(frame.metadata.exif or b"").text(SOFTWARE).startswith(OURS)]
    several = "is a result of ufafuse and takes" if len(made) == 1 else "are results of ufafuse and take"
    text = f"{examples(made)} {several} part as a frame: name only the camera's frames, if that is not meant."
    told: dict[str, None] = {text: None} if 0 < len(made) < len(frames) else {}
    if strange := [name for name in uncounted([Path(frame.name).name for frame in frames]) if name not in made]:
        several = "is not called like the others and takes" if len(strange) == 1 else "are not called like the others and take"
        told[f"{examples(strange)} {several} part: name only the camera's frames, if that is another program's result."] = None
    return told


def _history(engine: str, names: Sequence[str]) -> str:
    """Where a result comes from, for its file."""
    return f"Fused from {len(names)} frames ({examples([Path(name).name for name in names], _NAMED)}) with {engine}"
