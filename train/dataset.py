"""The paper's data set (Section III-C), written out: every photograph in every blur group."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ufafuse.runtime.artefact import write_json
from ufafuse.runtime.errors import OutputError
from ufafuse.runtime.images import write_image
from ufafuse.train.data import focus_map
from ufafuse.train.degrade import PAPER_SIZES, paper_pair, paper_size
from ufafuse.train.photos import Photos


def write_dataset(
    images: Path,
    masks: Path,
    out: Path,
    *,
    seed: int = 0,
    skip_bad: bool = False,
    force: bool = False,
    done: Callable[[int, int], None] = lambda _count, _total: None,
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
    if out.is_dir() and any(out.iterdir()) and not force:
        raise OutputError(f"{out} is not empty: choose another folder, or add --force to replace what is in it.")
    photos = Photos(images, masks, skip_bad=skip_bad)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made: {error.strerror}.") from error
    sizes: dict[str, int] = {}
    for index, files in enumerate(photos.files):
        picture, label = photos[index]
        rng = np.random.default_rng((seed, index))
        for group in range(len(PAPER_SIZES)):
            name = f"{files.name}-g{group + 1}"
            sizes[name] = paper_size(rng, group)
            pair = paper_pair(picture, focus_map(label), sizes[name])
            for suffix, frame in (("A", pair.near), ("B", pair.far), ("GT", pair.truth)):
                write_image(out / f"{name}_{suffix}.png", frame, force=force)
        done(index + 1, len(photos))
    result = {
        "ok": True,
        "out": str(out),
        "photographs": len(photos),
        "pairs": len(sizes),
        "skipped": photos.skipped,
    }
    write_json(out / "dataset.json", {**result, "seed": seed, "filter_sizes": sizes})
    return result
