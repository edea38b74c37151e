"""Model files whose sizes are fixed (``ufa export --static``, ``--batch``), and a sentence for what they do not take.

`Manifest.extra` has ``static``, [height, width], where frames must have that size, and ``batch`` where so many pairs must go
in at once. Engines say the same by their profiles.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.artefact import Manifest
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.parameters import Size


def fixed_size(manifest: Manifest) -> Size | None:
    """The one (height, width) that a file takes; None: any."""
    size = manifest.extra.get("static")
    return None if size is None else (size[0], size[1])


def fixed_batch(manifest: Manifest) -> int | None:
    """How many pairs must go in at once; None: any number."""
    batch: int | None = manifest.extra.get("batch")
    return batch


def not_the_whole(model: Path, manifest: Manifest) -> str:
    """Why a file fuses no frames by itself, in words: it is a companion of the one that does. Empty where it is that one."""
    if manifest.role == "whole":
        return ""
    whole = model.name.replace(f".{manifest.role}.", ".", 1)
    name = f"{whole}, the file beside which it lies" if whole != model.name else "that"
    return f"{model.name} is a step of a model ({manifest.role}) and fuses nothing by itself: give {name}."


def not_one_at_a_time(model: Path, manifest: Manifest) -> str:
    """Why pairs cannot be fused one by one, in words: the file takes several at once. Empty where they can."""
    batch = fixed_batch(manifest)
    if batch in (None, 1):
        return ""
    return f"{model.name} takes {batch} pairs at once, pairs are fused one by one: export it again with `ufa export --batch 1`."


def check_size(model: Path, manifest: Manifest, size: tuple[int, ...]) -> None:
    """Refuse frames of a (height, width) that a file does not take. Raises: InputError."""
    only = fixed_size(manifest)
    if only not in (None, tuple(size)):
        raise InputError(
            f"{model.name} takes frames of {only[0]}x{only[1]} only, these are {size[0]}x{size[1]}: bring them to that size, "
            "or take a model file of free sizes, exported without `static`."
        )


def check_batch(model: Path, manifest: Manifest, batch: int) -> None:
    """Refuse another number of pairs than a file takes at once. Raises: InputError."""
    only = fixed_batch(manifest)
    if only not in (None, batch):
        raise InputError(f"{model.name} takes {only} pairs at once, not {batch}: give `batch={only}`.")


def filled_up(inputs: dict[str, NDArray[Any]], batch: int | None) -> dict[str, NDArray[Any]]:
    """Inputs of one item each, as the last of a batch whose others are zero: what is not black shows where batches mix."""
    if batch in (None, 1):
        return inputs
    return {name: np.concatenate([*[np.zeros_like(value)] * (batch - 1), value]) for name, value in inputs.items()}
