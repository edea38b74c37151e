"""Which parts of a stack's pictures to look at, 1:1: where the pictures differ most, the corners and the middle."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from ufafuse.benchmarks.metrics.planes import as_levels
from ufafuse.benchmarks.page import Region
from ufafuse.benchmarks.stacks.levels import luma
from ufafuse.runtime.arrays import Bytes, Floats
from ufafuse.runtime.registration.covering import Crop

SIDE = 160
_TELLING = 3
_LEAST_SIDE = 16
_CAPTION = 20
_GAP = 4


def chosen_regions(pictures: Sequence[Bytes], sharpest: Bytes, crop: Crop) -> dict[str, Region]:
    """Squares of at most `SIDE` pixels, by what they are.

    Args:
        pictures: The fused ones.
        sharpest: What a single one is compared with.
        crop: What all of them show.
    """
    height, width = crop.bottom - crop.top, crop.right - crop.left
    side = min(SIDE, max(_LEAST_SIDE, min(height, width) // 3), height, width)
    down, right = crop.bottom - side, crop.right - side
    middle = (crop.top + down) // 2, (crop.left + right) // 2
    fixed = {
        "top left": (crop.top, crop.left),
        "top right": (crop.top, right),
        "middle": middle,
        "bottom left": (down, crop.left),
        "bottom right": (down, right),
    }
    compared = pictures if len(pictures) > 1 else [*pictures, sharpest]
    telling = _where_they_differ(compared, crop, side, list(fixed.values()))
    places = {f"difference {number}": place for number, place in enumerate(telling, 1)} | fixed
    size = sharpest.shape[:2]
    return {name: Region(top, left, side, *size) for name, (top, left) in places.items()}


def _where_they_differ(
    pictures: Sequence[Bytes], crop: Crop, side: int, shown: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The corners of the squares where the pictures differ most, apart from one another and mostly from those shown anyway."""
    planes = np.stack([luma(picture)[crop.slices] for picture in pictures])
    # Quantiles, so that one picture that is blurred everywhere does not decide alone.
    spread = np.subtract(*np.quantile(planes, (0.8, 0.2) if len(planes) > 2 else (1.0, 0.0), axis=0))
    mean = cv2.boxFilter(spread.astype(np.float32), -1, (side, side), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    score = np.array(mean[: spread.shape[0] - side + 1, : spread.shape[1] - side + 1])
    for top, left in shown:
        _take(score, top - crop.top, left - crop.left, side // 2)
    found: list[tuple[int, int]] = []
    while len(found) < _TELLING and score.max() > 0:
        top, left = (int(place) for place in np.unravel_index(int(score.argmax()), score.shape))
        found.append((crop.top + top, crop.left + left))
        _take(score, top, left, side)
    return found


def _take(score: Floats, top: int, left: int, apart: int) -> None:
    """Let no square be chosen nearer than that."""
    score[max(0, top - apart + 1) : top + apart, max(0, left - apart + 1) : left + apart] = 0


def strip(pictures: Mapping[str, Bytes], regions: Mapping[str, Region]) -> Bytes:
    """The regions as rows, the pictures as columns with their names above, 1:1: H x W x 3, BGR."""
    side = next(iter(regions.values())).side
    width = max(side, 88)
    sheet = np.full((_CAPTION + len(regions) * (side + _GAP), len(pictures) * (width + _GAP), 3), 255, np.uint8)
    for column, (name, picture) in enumerate(pictures.items()):
        left = column * (width + _GAP)
        label = np.ascontiguousarray(sheet[:_CAPTION, left : left + width])
        cv2.putText(label, name[: width // 8], (2, _CAPTION - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
        sheet[:_CAPTION, left : left + width] = label
        for row, region in enumerate(regions.values()):
            top = _CAPTION + row * (side + _GAP)
            cut = as_levels(region.cut(picture))
            sheet[top : top + side, left : left + side] = cut if cut.ndim == 3 else cut[..., None]
    return sheet
