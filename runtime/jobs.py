"""Fusing files: one pair or stack, or a folder of pairs of which one bad file must not stop the others."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.errors import InputError, ModelError, OutputError, UfaError
from ufafuse.runtime.frames import Frame
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.images import check_output, read_image, write_image
from ufafuse.runtime.machine import usable_cores
from ufafuse.runtime.memory.tiled import OnTile
from ufafuse.runtime.pairs import PairPaths
from ufafuse.runtime.stack import Stacked, StackOptions, fuse_stack


@dataclass(frozen=True)
class Outputs:
    """Where the results of one fusion go; ``map`` and ``confidence`` only where they are wanted."""

    fused: Path
    map: Path | None = None
    confidence: Path | None = None

    def __post_init__(self) -> None:
        """Refuse two results in one file (`InputError`)."""
        paths = [path.resolve() for path in self.all()]
        if len(set(paths)) < len(paths):
            raise InputError(f"two results would be written to {self.fused}: give each a name of its own.")

    def all(self) -> list[Path]:
        """Those that are wanted."""
        return [path for path in (self.fused, self.map, self.confidence) if path is not None]


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

    def to_json(self) -> dict[str, Any]:
        """The entry of ``outputs`` in the command's JSON."""
        entry: dict[str, Any] = {
            "near": str(self.near),
            "far": str(self.far),
            "fused": str(self.fused),
            "size": self.size,
            "ms": self.ms,
        }
        entry |= self.details
        if self.warnings:
            entry["warnings"] = self.warnings
        return entry | ({"error": self.error} if self.error else {})


@contextmanager
def reading(images: Sequence[Path], threads: int | None = None) -> Iterator[Iterable[Frame]]:
    """Read image files side by side in the background, in their order: a model can be opened meanwhile.

    Args:
        images: The files; one that cannot be read raises its `InputError` when its turn comes.
        threads: How many are read at once; nothing takes the cores at hand.
    """
    pool = ThreadPoolExecutor(threads or usable_cores())
    try:
        yield pool.map(read_image, images)
    finally:
        pool.shutdown(cancel_futures=True)


def fuse_files(
    fuser: Fuser,
    images: Sequence[Path],
    outputs: Outputs,
    options: StackOptions | None = None,
    *,
    frames: Iterable[Frame] | None = None,
    force: bool = False,
    on_tile: OnTile = lambda _done, _total: None,
) -> Outcome:
    """Fuse two or more image files.

    Args:
        fuser: With a loaded model.
        images: Near, far, and more, in the order of focus.
        outputs: Where the results go; nothing is written before all of them are there.
        options: What is done to the frames; the map and the confidence follow from ``outputs``.
        frames: What `reading` gives for the images, where that was begun before.
        force: Replace existing files.
        on_tile: As `fuse_stack`.

    Raises:
        InputError: A file or the frames cannot be used; the text names the file.
        OutputError: A result cannot be written.
        ModelError: The model gives no map and one is wanted; or as `Fuser.fuse`.
    """
    for path in outputs.all():
        check_output(path, force=force)
    with reading(images, fuser.threads) if frames is None else nullcontext(frames) as found:
        frames = list(found)
    check_output(outputs.fused, force=force, image=frames[0])
    wanted = {"want_map": outputs.map is not None, "want_confidence": outputs.confidence is not None}
    chosen = StackOptions(**{**vars(options or StackOptions()), **wanted})
    try:
        result = fuse_stack(fuser, frames, chosen, on_tile)
    except InputError as error:
        raise InputError(f"{' and '.join(map(str, images))} cannot be fused: {error}") from error
    frames.clear()  # their memory is worth more to the encoder
    if outputs.map is not None and result.map is None:
        raise ModelError(f"{fuser.model.name} gives no map: leave --map away, or export the model again with `ufa export`.")
    write_image(outputs.fused, result.fused, force=force)
    for into, plane in ((outputs.map, result.map), (outputs.confidence, result.confidence)):
        if into is not None and plane is not None:
            write_image(into, as_levels(plane), force=force)
    size, ms = list(result.fused.shape[:2]), round(result.ms, 3)
    details = _details(images, outputs, result, chosen)
    return Outcome(images[0], images[1], outputs.fused, size, ms, details=details, warnings=result.warnings)


def as_levels(plane: NDArray[np.float32]) -> NDArray[np.uint8]:
    """H x W float32 in [0, 1] as a grey picture of 8 bits."""
    return np.rint(plane * np.float32(255)).astype(np.uint8)


def _details(images: Sequence[Path], outputs: Outputs, result: Stacked, options: StackOptions) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if len(images) > 2:
        details["more"] = [str(path) for path in images[2:]]
    for name, path in (("map", outputs.map), ("confidence", outputs.confidence)):
        if path is not None:
            details[name] = str(path)
    if options.align != "off":
        details["alignment"] = [alignment.to_json() for alignment in result.alignments]
        details["crop"] = list(result.crop)
        details["reference"] = str(images[result.reference])
    if options.match_gain:
        details["gain"] = [[round(factor, 4) for factor in factors] for factors in result.gains]
    if result.grid is not None:
        details["tiles"] = {"count": len(result.grid), "window": list(result.grid.window), "work": round(result.grid.work, 3)}
    return details


def fuse_folder(
    fuser: Fuser,
    pairs: list[PairPaths],
    folder: Path,
    options: StackOptions | None = None,
    *,
    maps: Path | None = None,
    confidences: Path | None = None,
    suffix: str = ".png",
    force: bool = False,
    skip_existing: bool = False,
    done: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Fuse every pair into ``folder/NAME.suffix``; a pair that fails is an `Outcome` with an error, and the next is taken.

    Args:
        fuser: With a loaded model.
        pairs: As `find_pairs` gives them.
        folder: Made if need be.
        options: As `fuse_files`.
        maps, confidences: Folders for those results, if wanted.
        suffix: The format of the results.
        force: Replace existing files.
        skip_existing: Leave out the pairs whose result is there already: goes on where an earlier run stopped.
        done: Called after each pair.

    Raises:
        OutputError: A folder cannot be made.
    """
    outcomes = []
    for pair in pairs:
        name = f"{pair.name}{suffix}"
        outputs = Outputs(folder / name, maps and maps / name, confidences and confidences / name)
        if skip_existing and outputs.fused.exists():
            continue
        for path in outputs.all():
            make_folder(path.parent)
        try:
            outcome = fuse_files(fuser, (pair.near, pair.far), outputs, options, force=force)
        except UfaError as error:
            outcome = Outcome(pair.near, pair.far, outputs.fused, error=str(error))
        outcomes.append(outcome)
        done(outcome)
    return outcomes


def make_folder(folder: Path) -> None:
    """Make ``folder`` and its parents. Raises: OutputError when that is refused."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}.") from error
