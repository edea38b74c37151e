"""How to calibrate."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from ufafuse.calibration.crops import CropOptions, PairCrop, Told, crops_from_images, crops_from_pairs, hard_crops
from ufafuse.calibration.quantizers import QuantizerOptions
from ufafuse.calibration.ranges import RangeMethod
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.memory.room import check_room
from ufafuse.runtime.values import check_fields, check_some

_TO_DRAW, _OF_A_WINDOW = 200, 6  # bytes a pixel: of a drawn scene, measured; of its two frames


@dataclass(frozen=True)
class CalibrationOptions:
    """Of what, by which method, and how good the result must be.

    Args:
        pairs: A folder of real pairs; or, instead, ``images`` and ``masks`` to draw pairs from.
        images, masks: Photographs and their labels.
        crops: How many windows of which size.
        method: How ranges are drawn.
        ranges: A file of an earlier run, instead of measuring; ``method`` and ``equalise`` are then its own.
        quantizers: How quantisers are placed.
        equalise: Bring the channels between convolutions to like sizes first; changes no value of the float graph.
        min_psnr: Worst PSNR in dB against the source file that the held-out windows must keep.
        keep: Layers to leave in high precision.
        only_faster: Leave parts of the network in high precision too where the file is then faster, as measured here.
        threads: CPU threads.

    Raises:
        InputError: Neither or both sources of pairs, a PSNR that is no number, or an option of measuring beside ``ranges``.
    """

    pairs: Path | None = None
    images: Path | None = None
    masks: Path | None = None
    crops: CropOptions = field(default_factory=CropOptions)
    method: RangeMethod = field(default_factory=RangeMethod)
    ranges: Path | None = None
    quantizers: QuantizerOptions = field(default_factory=QuantizerOptions)
    equalise: bool = True
    min_psnr: float = 45.0
    keep: tuple[str, ...] = ()
    only_faster: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        drawn = self.images is not None and self.masks is not None
        if (self.images is None) != (self.masks is None) or (self.pairs is None) != drawn:
            raise InputError("give either `pairs`, or `images` and `masks` to draw pairs from.")
        check_some("threads", self.threads)
        if not math.isfinite(self.min_psnr):
            raise InputError(f"`min_psnr={self.min_psnr}` is no number that a result could be held to: give decibels.")
        measuring = {"method": self.method != RangeMethod(), "equalise=False": not self.equalise}
        given = [name for name, differs in measuring.items() if differs and self.ranges is not None]
        if given:
            raise InputError(f"`{given[0]}` is about measuring, and `ranges={self.ranges}` are measured: omit one of both.")

    def load(self, told: Told | None = None) -> tuple[list[PairCrop], list[PairCrop]]:
        """(to calibrate, to judge); ``told`` takes what there is to tell of the files."""
        count, side = 2 * self.crops.hard, self.crops.size  # of the drawn ones: real frames may be smaller than a window
        check_room(f"crop={side}", f"drawing {count} windows of that side", side**2 * max(_TO_DRAW, _OF_A_WINDOW * count))
        if self.images is not None and self.masks is not None:
            given = crops_from_images(self.images, self.masks, self.crops, told)
        else:
            assert self.pairs is not None  # __post_init__ saw to it
            given = crops_from_pairs(self.pairs, self.crops, told)
        hard = hard_crops(self.crops)
        return given[0] + hard[0], given[1] + hard[1]
