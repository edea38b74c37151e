"""Fusing files: one pair, or a folder of pairs of which one bad file must not stop the others."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ufafuse.runtime.errors import InputError, OutputError, UfaError
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.images import check_output, read_image, write_image
from ufafuse.runtime.pairs import PairPaths


@dataclass
class Outcome:
    """What became of one pair; ``error`` is empty when ``fused`` was written.

    ``ms`` is the time of the fusion alone, without reading and writing the files; ``size`` is [height, width].
    """

    near: Path
    far: Path
    fused: Path
    size: list[int] | None = None
    ms: float | None = None
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """The entry of ``outputs`` in the command's JSON."""
        entry = {"near": str(self.near), "far": str(self.far), "fused": str(self.fused), "size": self.size, "ms": self.ms}
        return entry | ({"error": self.error} if self.error else {})


def fuse_files(fuser: Fuser, near: Path, far: Path, out: Path, *, force: bool = False) -> Outcome:
    """Fuse two image files into ``out``.

    Raises:
        InputError: A file or the pair cannot be used; the text names the file.
        OutputError: ``out`` cannot be written.
    """
    check_output(out, force=force)
    frames = read_image(near), read_image(far)
    check_output(out, force=force, image=frames[0])
    start = time.perf_counter()
    try:
        fused = fuser.fuse(*frames)
    except InputError as error:
        raise InputError(f"{near} and {far} cannot be fused: {error}") from error
    ms = (time.perf_counter() - start) * 1e3
    write_image(out, fused, force=force)
    return Outcome(near, far, out, size=list(fused.shape[:2]), ms=round(ms, 3))


def fuse_folder(
    fuser: Fuser,
    pairs: list[PairPaths],
    folder: Path,
    *,
    suffix: str = ".png",
    force: bool = False,
    skip_existing: bool = False,
    done: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Fuse every pair into ``folder/NAME.suffix``; a pair that fails is an `Outcome` with an error, and the next is taken.

    Args:
        suffix: The format of the results.
        skip_existing: Leave out the pairs whose result is there already: goes on where an earlier run stopped.
        done: Called after each pair.

    Raises:
        OutputError: ``folder`` cannot be made.
    """
    outcomes = []
    for pair in pairs:
        out = folder / f"{pair.name}{suffix}"
        if skip_existing and out.exists():
            continue
        make_folder(out.parent)
        try:
            outcome = fuse_files(fuser, pair.near, pair.far, out, force=force)
        except UfaError as error:
            outcome = Outcome(pair.near, pair.far, out, error=str(error))
        outcomes.append(outcome)
        done(outcome)
    return outcomes


def make_folder(folder: Path) -> None:
    """Make ``folder`` and its parents. Raises: OutputError when that is refused."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}.") from error
