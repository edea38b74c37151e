"""Pairs written out: the paper's data set (Section III-C), or pairs as real lenses make them, to validate on and keep."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ufafuse.runtime.artefact import write_json
from ufafuse.runtime.callbacks import OnCount, ignored
from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.images import write_image
from ufafuse.runtime.texts import examples
from ufafuse.runtime.writing import check_apart, check_folder, make_folder
from ufafuse.train.data import PairDataset, PairOptions, focus_map
from ufafuse.train.degrade import PAPER_SIZES, LensOptions, TrainingPair, paper_pair, paper_size
from ufafuse.train.photos import Photos

LENS_SIZE = 320  # pixels
SET_FILE = "dataset.json"
SUFFIXES = ("A", "B", "GT")


@dataclass(frozen=True)
class LensPlan:
    """Which lens pairs are written.

    Attributes:
        count: how many pairs; 0 for one of every photograph.
        size: side of the square frames in pixels.
        options: what the pairs show.
    """

    count: int = 0
    size: int = LENS_SIZE
    options: LensOptions = field(default_factory=LensOptions)

    def __post_init__(self) -> None:
        """Refuse a negative count (`InputError`)."""
        if self.count < 0:
            raise InputError(f"the number of pairs must be at least 0 (one of every photograph), got {self.count}.")


def write_dataset(
    images: Path,
    masks: Path,
    out: Path,
    *,
    seed: int = 0,
    skip_bad: bool = False,
    force: bool = False,
    done: OnCount = ignored,
) -> dict[str, Any]:
    """Write a pair for every photograph and blur group: `NAME-gN_A.png`, `_B.png` and the truth, `_GT.png`.

    The filter's size is drawn from the group (Eq. 11); the near frame (A) has the object in focus.

    Args:
        images: folder of photographs.
        masks: folder of their labels.
        out: folder to write, new or empty (with `force`: files are replaced).
        seed: draws the sizes.
        skip_bad: leave out photographs that cannot be used.
        force: write into a folder that is not empty.
        done: called with the number of photographs written and their total.

    Returns:
        {"ok", "out", "photographs", "pairs", "skipped"}, which `dataset.json` in `out` holds as well, with every size; and
        "warnings", where there are any.

    Raises:
        InputError: The photographs cannot be used.
        OutputError: The folder is not empty, or cannot be written.
    """
    photos = _begun(images, masks, out, skip_bad=skip_bad, force=force)
    sizes: dict[str, int] = {}
    written: list[Path] = []
    for index, files in enumerate(photos.files):
        picture, label = photos[index]
        rng = np.random.default_rng((seed, index))
        for group in range(len(PAPER_SIZES)):
            name = f"{files.name}-g{group + 1}"
            sizes[name] = paper_size(rng, group)
            pair = paper_pair(picture, focus_map(label), sizes[name])
            written += _write(out / name, pair, force=force)
        done(index + 1, len(photos))
    return _finished(out, photos, written, {"seed": seed, "filter_sizes": sizes})


def write_lens_dataset(
    images: Path,
    masks: Path,
    out: Path,
    plan: LensPlan,
    *,
    seed: int = 0,
    skip_bad: bool = False,
    force: bool = False,
    done: OnCount = ignored,
) -> dict[str, Any]:
    """Write pairs as `ufafuse.train.degrade.lens_pair` draws them: `NNNN-NAME_A.png`, `_B.png` and the truth, `_GT.png`.

    The same photographs, plan and seed give the same files, so a set that is validated on need not be kept as pictures.

    Args:
        images, masks, out, seed, skip_bad, force, done: as `write_dataset`; `done` counts pairs.
        plan: how many, how large, and what they show.

    Returns:
        As `write_dataset`; `dataset.json` holds the plan as well. "warnings" may tell of photographs smaller than the frames.

    Raises:
        InputError: The photographs cannot be used.
        OutputError: The folder is not empty, or cannot be written.
    """
    photos = _begun(images, masks, out, skip_bad=skip_bad, force=force, side=plan.size)
    told = photos.check_crops(plan.size, "size")
    drawn = PairDataset(photos, PairOptions(plan.size, lens=1.0, options=plan.options), seed=seed)
    count = plan.count or len(photos)
    written: list[Path] = []
    for index in range(count):
        written += _write(out / f"{index:04d}-{drawn.name(index)}", drawn.pair(index), force=force)
        done(index + 1, count)
    return _finished(out, photos, written, {"seed": seed, "lens": asdict(plan)}, told)


def _begun(images: Path, masks: Path, out: Path, *, skip_bad: bool, force: bool, side: int = 0) -> Photos:
    """Make the folder; returns the photographs, one of which has frames of this `side`."""
    check_apart([out], [images, masks])
    check_empty(out, force=force)
    photos = Photos(images, masks, skip_bad=skip_bad)
    photos.check_crops(side, "size")
    make_set_folder(out, force=force)
    return photos


def check_empty(out: Path, *, force: bool) -> None:
    """Refuse a folder that holds something, unless it is forced, and what is none (`OutputError`)."""
    check_folder(out)
    if out.is_dir() and any(out.iterdir()) and not force:
        raise OutputError(f"{out} is not empty: choose another folder, or replace what is in it with `force=True`.")


def make_set_folder(out: Path, *, force: bool) -> None:
    """Make a folder to write a set into; `OutputError` where it is not empty (unless forced) or cannot be made."""
    check_empty(out, force=force)
    make_folder(out)


def left_from_before(out: Path, written: Iterable[Path]) -> list[str]:
    """What to tell of a folder that was written into with `force`: what lies in it and is no part of the set; often nothing."""
    others = sorted({path.name for path in out.iterdir()} - {path.name for path in written} - {SET_FILE})
    if not others:
        return []
    return [f"{out} also holds {len(others)} that were there before and are no part of this set: {examples(others)}."]


def _write(stem: Path, pair: TrainingPair, *, force: bool) -> list[Path]:
    """Write the three pictures of a pair; returns their files."""
    frames = zip(SUFFIXES, (pair.near, pair.far, pair.truth), strict=True)
    pictures = {stem.with_name(f"{stem.name}_{suffix}.png"): frame for suffix, frame in frames}
    for path, frame in pictures.items():
        write_image(path, frame, force=force)
    return list(pictures)


def _finished(out: Path, photos: Photos, written: list[Path], made: dict[str, Any], told: str = "") -> dict[str, Any]:
    """Write `dataset.json`; returns what the functions here return."""
    pairs = len(written) // len(SUFFIXES)
    result = {"ok": True, "out": str(out), "photographs": len(photos), "pairs": pairs, "skipped": photos.skipped}
    if warnings := [*photos.warnings, *([told] if told else []), *left_from_before(out, written)]:
        result["warnings"] = warnings
    write_json(out / SET_FILE, {**result, **made})
    return result
