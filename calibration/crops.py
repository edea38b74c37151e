"""The frames that ranges are measured on, and others that the result is judged on."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ufafuse.export.verify import load_pairs
from ufafuse.runtime.arrays import Bytes
from ufafuse.runtime.errors import InputError

_HELD_OUT = 4  # every fourth pair is kept from calibration, to judge on


@dataclass(frozen=True)
class PairCrop:
    """A square window of a pair: two H x W x 3 uint8 arrays, BGR."""

    name: str
    near: Bytes
    far: Bytes


@dataclass(frozen=True)
class CropOptions:
    """How many windows, and how large: the paper's network takes 1.1 MMAC a pixel, so whole frames would take minutes.

    Args:
        calibrate: Windows to measure ranges on.
        judge: Windows to judge on.
        hard: Drawn windows with wide defocus, hard light and dark parts, added to the windows of either kind. Real pairs of
            that sort are rare, and an int8 network that was calibrated without them fell to 30 dB on them.
        size: Side of each in pixels; smaller frames are taken whole.
        seed: Draws their places.
    """

    calibrate: int = 32
    judge: int = 6
    hard: int = 24
    size: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises: InputError for sizes and numbers out of range."""
        if self.hard < 0:
            raise InputError(f"`hard={self.hard}`: a number of windows, 0 for none.")
        if self.calibrate < 1 or self.judge < 1 or self.size < 16:
            raise InputError(
                f"{self.calibrate} and {self.judge} windows of {self.size} pixels cannot calibrate: give at least one of each "
                "and 16 pixels."
            )


def crops_from_pairs(folder: Path, options: CropOptions) -> tuple[list[PairCrop], list[PairCrop]]:
    """(to calibrate, to judge) from a folder of real pairs; no pair is in both.

    Raises:
        InputError: Fewer than two pairs, or one that is no 8-bit colour pair.
    """
    pairs = [PairCrop(*pair) for pair in load_pairs(folder)]
    if len(pairs) < 2:
        raise InputError(f"{folder} holds {len(pairs)} pair: two are needed, one to calibrate with and one to judge on.")
    held_out = [pair for index, pair in enumerate(pairs) if index % _HELD_OUT == 1]
    others = [pair for index, pair in enumerate(pairs) if index % _HELD_OUT != 1]
    draw = np.random.default_rng(options.seed)
    return (
        list(_windows(others, options.calibrate, options.size, draw)),
        list(_windows(held_out, options.judge, options.size, draw)),
    )


def crops_from_images(images: Path, masks: Path, options: CropOptions) -> tuple[list[PairCrop], list[PairCrop]]:
    """(to calibrate, to judge) drawn from photographs with labels, half as the paper makes pairs and half as lenses do.

    Raises:
        InputError: As `ufafuse.train.photos.find_photos`.
    """
    from ufafuse.train.data import PairDataset, PairOptions
    from ufafuse.train.photos import Photos

    dataset = PairDataset(Photos(images, masks), PairOptions(options.size, lens=0.5), seed=options.seed)
    drawn = [PairCrop(f"drawn {index}", *dataset[index][:2]) for index in range(options.calibrate + options.judge)]
    return drawn[: options.calibrate], drawn[options.calibrate :]


def hard_crops(options: CropOptions) -> tuple[list[PairCrop], list[PairCrop]]:
    """(to calibrate, to judge): pairs drawn as a lens sees deep scenes, `CropOptions.hard` of each."""
    deep = {"min_radius": 5.0, "max_radius": max(6.0, 0.375 * options.size)}
    drawn = []
    for index in range(2 * options.hard):
        near, far = drawn_frames(np.random.default_rng((options.seed, index)), options.size, 2, **deep)
        drawn.append(PairCrop(f"drawn wide {index}", near, far))
    return drawn[: options.hard], drawn[options.hard :]


def drawn_frames(draw: np.random.Generator, side: int, count: int, **scene: float) -> Bytes:
    """The frames of a drawn stack without margins, ``count`` x side x side x 3, BGR; ``scene`` as `SceneOptions` has it."""
    from ufafuse.train import drawing
    from ufafuse.train.scenes import SceneOptions
    from ufafuse.train.stacks import draw_stack

    options = SceneOptions(margins=0, **scene)  # type: ignore[arg-type]
    return draw_stack(draw, side, options, lambda rng: drawing.picture(2 * side, rng), frames=count).frames


def _windows(pairs: Sequence[PairCrop], count: int, size: int, draw: np.random.Generator) -> Iterator[PairCrop]:
    for pair in itertools.islice(itertools.cycle(pairs), count):
        height, width = pair.near.shape[:2]
        top, left = int(draw.integers(max(0, height - size) + 1)), int(draw.integers(max(0, width - size) + 1))
        near, far = (np.ascontiguousarray(frame[top : top + size, left : left + size]) for frame in (pair.near, pair.far))
        yield PairCrop(f"{pair.name} at {top}, {left}", near, far)
