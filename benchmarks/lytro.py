"""Whether pairs are those of the paper's tables, told by what they show and not by their names."""

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.benchmarks.metrics.planes import as_levels
from ufafuse.runtime.errors import UfaError
from ufafuse.runtime.images import read_image
from ufafuse.runtime.pairs import PairPaths

LYTRO_PAIRS = 20
_FILE = Path(__file__).with_name("lytro.json")
_SIZE = (520, 520)
_GRID = 4
_CLOSE = 2


class Fingerprint(NamedTuple):
    """What a frame is known by: the mean levels of 4 x 4 fields of each channel, and the CRC-32 of its pixels."""

    fields: tuple[int, ...]
    crc: int


@dataclass(frozen=True)
class TableComparison:
    """How means over some pairs stand to a table of the paper.

    Args:
        same: Whether the pairs are the table's, so that the means compare.
        warning: What to say of the difference; empty where there is none.
    """

    same: bool
    warning: str = ""


def beside_table(number: str, pairs: Iterable[PairPaths]) -> TableComparison:
    """Whether the pairs at hand are those that a table of the paper is of, by their pixels.

    Args:
        number: As `published_table` takes it. Tables VI and VII are of pairs that nobody lists: they never count as the same.
        pairs: The pairs that were scored.
    """
    if number.upper() != "V":
        warning = f"Table {number.upper()} is of the paper's own pairs: its rows compare with yours only if these are the same."
        return TableComparison(same=False, warning=warning)
    pairs = list(pairs)
    found = [known for pair in pairs if (known := _known(pair))]
    distinct = len({index for index, _ in found})
    if distinct == len(pairs) == LYTRO_PAIRS:
        decoded = sum(not exact for _, exact in found)
        warning = (
            f"{decoded} of the Lytro pairs differ from what their JPEG files give, as PNG copies of another decoder do: that "
            "moves Qabf by up to 0.02."
        )
        return TableComparison(same=True, warning=warning if decoded else "")
    what = f"{distinct} of them" if distinct else "other pairs"
    what += f" and {len(pairs) - distinct} others" if 0 < distinct < len(pairs) else ""
    text = f"Table V is of the {LYTRO_PAIRS} Lytro pairs and yours are {what}: its rows do not compare with these means."
    return TableComparison(same=False, warning=text)


def _known(pair: PairPaths) -> tuple[int, bool] | None:
    """Which Lytro pair this is, from 0, and whether to the last bit; None where it is none."""
    try:
        frames = [as_levels(read_image(path)) for path in (pair.near, pair.far)]
    except UfaError:
        return None
    if any(frame.shape != (*_SIZE, 3) for frame in frames):
        return None
    seen = [described(frame) for frame in frames]
    for index, known in enumerate(_lytro()):
        for order in (known, known[::-1]):
            if all(_alike(one, other) for one, other in zip(seen, order, strict=True)):
                return index, [frame.crc for frame in seen] == [frame.crc for frame in order]
    return None


def described(levels: NDArray[np.uint8]) -> Fingerprint:
    """What a frame (H x W x 3, BGR) is known by."""
    fields: Any = cv2.resize(levels.astype(np.float32), (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    return Fingerprint(tuple(np.rint(fields).astype(int).ravel().tolist()), zlib.crc32(levels.tobytes()))


def _alike(one: Fingerprint, other: Fingerprint) -> bool:
    return max(abs(a - b) for a, b in zip(one.fields, other.fields, strict=True)) <= _CLOSE


@lru_cache(maxsize=1)
def _lytro() -> list[tuple[Fingerprint, Fingerprint]]:
    pairs = json.loads(_FILE.read_text(encoding="utf-8"))["pairs"]
    return [tuple(Fingerprint(tuple(frame["fields"]), frame["crc"]) for frame in pair) for pair in pairs]  # type: ignore[misc]
