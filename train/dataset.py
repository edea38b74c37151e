"""Pairs written out: the paper's data set (Section III-C), or pairs as real lenses make them, to validate on and keep."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ufafuse.runtime.artefact import write_json
from ufafuse.runtime.callbacks import OnCount, ignored
from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.images import write_image
from ufafuse.runtime.writing import check_apart, make_folder
from ufafuse.train.data import PairDataset, PairOptions, focus_map
from ufafuse.train.degrade import PAPER_SIZES, LensOptions, TrainingPair, paper_pair, paper_size
from ufafuse.train.photos import Photos

LENS_SIZE = 320  # pixels


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
        {"ok", "out", "photographs", "pairs", "skipped"}, which `dataset.json` in `out` holds as well, with every size.

    Raises:
        InputError: The photographs cannot be used.
        OutputError: The folder is not empty, or cannot be written.
    """
    photos = _begun(images, masks, out, skip_bad=skip_bad, force=force)
    sizes: dict[str, int] = {}
    for index, files in enumerate(photos.files):
        picture, label = photos[index]
        rng = np.random.default_rng((seed, index))
        for group in range(len(PAPER_SIZES)):
            name = f"{files.name}-g{group + 1}"
            sizes[name] = paper_size(rng, group)
            pair = paper_pair(picture, focus_map(label), sizes[name])
            _write(out / name, pair, force=force)
        done(index + 1, len(photos))
    return _finished(out, photos, len(sizes), {"seed": seed, "filter_sizes": sizes})


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
        As `write_dataset`; `dataset.json` holds the plan as well.

    Raises:
        InputError: The photographs cannot be used.
        OutputError: The folder is not empty, or cannot be written.
    """
    photos = _begun(images, masks, out, skip_bad=skip_bad, force=force)
    drawn = PairDataset(photos, PairOptions(plan.size, lens=1.0, options=plan.options), seed=seed)
    count = plan.count or len(photos)
    for index in range(count):
        _write(out / f"{index:04d}-{drawn.name(index)}", drawn.pair(index), force=force)
        done(index + 1, count)
    return _finished(out, photos, count, {"seed": seed, "lens": asdict(plan)})


def _begun(images: Path, masks: Path, out: Path, *, skip_bad: bool, force: bool) -> Photos:
    """Make the folder; returns the photographs."""
    check_apart([out], [images, masks])
    check_empty(out, force=force)
    photos = Photos(images, masks, skip_bad=skip_bad)
    make_set_folder(out, force=force)
    return photos


def check_empty(out: Path, *, force: bool) -> None:
    """Refuse a folder that holds something, unless it is forced (`OutputError`)."""
    if out.is_dir() and any(out.iterdir()) and not force:
        raise OutputError(f"{out} is not empty: choose another folder, or replace what is in it with `force=True`.")


def make_set_folder(out: Path, *, force: bool) -> None:
    """Make a folder to write a set into; `OutputError` where it is not empty (unless forced) or cannot be made."""
    check_empty(out, force=force)
    make_folder(out)


def _write(stem: Path, pair: TrainingPair, *, force: bool) -> None:
    for suffix, frame in (("A", pair.near), ("B", pair.far), ("GT", pair.truth)):
        write_image(stem.with_name(f"{stem.name}_{suffix}.png"), frame, force=force)


def _finished(out: Path, photos: Photos, pairs: int, made: dict[str, Any]) -> dict[str, Any]:
    """Write `dataset.json`; returns what the functions here return."""
    result = {"ok": True, "out": str(out), "photographs": len(photos), "pairs": pairs, "skipped": photos.skipped}
    write_json(out / "dataset.json", {**result, **made})
    return result
