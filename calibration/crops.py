"""The frames that ranges are measured on, and others that the result is judged on."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ufafuse.export.verify import read_frames
from ufafuse.runtime.arrays import Bytes
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pairs import PairPaths, find_pairs
from ufafuse.runtime.values import check_fields

_HELD_OUT = 4  # every fourth pair or photograph is kept from calibration, to judge on
_A_DOZEN = 12  # pairs from which on a quarter of them says something
# What is drawn beside the given pairs: its name, what its scenes have (`SceneOptions`), and whether its colours are pure ones.
_HARD: tuple[tuple[str, dict[str, float], bool], ...] = (
    ("deep", {}, False),
    ("lights", {"lights": 1, "slides": 0.3}, False),
    ("inked", {"faint": 0, "plain": 0, "noise": 0.2, "dark": 0, "lights": 0.2}, True),
)


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
        hard: Drawn windows with wide defocus, added to the windows of either kind: deep scenes to calibrate on; deep scenes,
            clipped lights, and pure black, white and saturated colours in turn to judge on. Real pairs of that sort are rare,
            and int8 networks that were not judged on them fell to 30 dB (deep scenes), 36 dB (lights), 25 dB (pure colours).
        size: Side of each in pixels; smaller frames are taken whole.
        seed: Draws their places.
    """

    calibrate: int = 32
    judge: int = 6
    hard: int = 24
    size: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises: InputError for sizes and numbers out of range, and what is none."""
        check_fields(self)
        if self.hard < 0:
            raise InputError(f"`hard={self.hard}`: a number of windows, 0 for none.")
        if self.calibrate < 1 or self.judge < 1 or self.size < 16:
            raise InputError(
                f"{self.calibrate} and {self.judge} windows of {self.size} pixels cannot calibrate: give at least one of each "
                "and 16 pixels."
            )


@dataclass(frozen=True)
class Told:
    """What there is to tell of the files that windows are of.

    Args:
        warnings: Sentences, each once: damage, what was left out of a file, that the pairs are few.
        passed_over: What the folder holds that is no pair.
    """

    warnings: dict[str, None] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)

    def entries(self) -> dict[str, list[str]]:
        """Those of a report."""
        return {"warnings": list(self.warnings)} | ({"passed_over": self.passed_over} if self.passed_over else {})


def crops_from_pairs(folder: Path, options: CropOptions, told: Told | None = None) -> tuple[list[PairCrop], list[PairCrop]]:
    """(to calibrate, to judge) from a folder of real pairs; no pair is in both.

    Each is read for its window alone: what memory that takes does not grow with the folder. ``told`` takes what there is to
    tell.

    Raises:
        InputError: Fewer than two pairs, or one that is no 8-bit colour pair among those of which there is a window.
    """
    told = Told() if told is None else told
    pairs = find_pairs(folder, passed=told.passed_over)
    if len(pairs) < 2:
        raise InputError(f"{folder} holds {len(pairs)} pair: two are needed, one to calibrate with and one to judge on.")
    held_out = [pair for index, pair in enumerate(pairs) if index % _HELD_OUT == 1]
    others = [pair for index, pair in enumerate(pairs) if index % _HELD_OUT != 1]
    if len(pairs) < _A_DOZEN:
        few = (
            f"{len(pairs)} pairs say little of a camera's pictures, {len(held_out)} of them to judge on: give a dozen or more."
        )
        told.warnings[few] = None
    draw = np.random.default_rng(options.seed)
    return (
        list(_windows(others, options.calibrate, options.size, draw, told)),
        list(_windows(held_out, options.judge, options.size, draw, told)),
    )


def crops_from_images(
    images: Path, masks: Path, options: CropOptions, told: Told | None = None
) -> tuple[list[PairCrop], list[PairCrop]]:
    """(to calibrate, to judge) drawn from photographs with labels, half as the paper makes pairs and half as lenses do.

    No photograph is in both. ``told`` takes what there is to tell of them.

    Raises:
        InputError: As `ufafuse.train.photos.find_photos`; or there is one photograph alone.
    """
    from ufafuse.train.data import PairDataset, PairOptions
    from ufafuse.train.photos import Photos

    photos = Photos(images, masks)
    if len(photos) < 2:
        raise InputError(f"{images} holds one photograph: two are needed, one to calibrate with and one to judge on.")
    if told is not None:
        told.warnings.update(dict.fromkeys(photos.warnings))

    def drawn(part: Photos, first: int, count: int) -> list[PairCrop]:
        dataset = PairDataset(part, PairOptions(options.size, lens=0.5), seed=options.seed)
        return [PairCrop(f"drawn {number}", *dataset[number][:2]) for number in range(first, first + count)]

    to_calibrate, to_judge = photos.split(1 / _HELD_OUT, options.seed)
    return drawn(to_calibrate, 0, options.calibrate), drawn(to_judge, options.calibrate, options.judge)


def hard_crops(options: CropOptions) -> tuple[list[PairCrop], list[PairCrop]]:
    """(to calibrate, to judge): pairs drawn as a lens sees deep scenes and what int8 finds hard, `CropOptions.hard` of each.

    Ranges are measured on deep scenes alone: lights and pure colours widen them, so that of ufa-edge 26 % of the work can be
    int8 at 46.5 dB, and without them 43 % at 46.3 dB.
    """
    wide = {"min_radius": 5.0, "max_radius": max(6.0, 0.375 * options.size)}
    drawn = []
    for index in range(2 * options.hard):
        kind, scene, inked = _HARD[max(0, index - options.hard) % len(_HARD)]
        draw = np.random.default_rng((options.seed, index))
        near, far = drawn_frames(draw, options.size, 2, inked=inked, **wide, **scene)
        drawn.append(PairCrop(f"drawn {kind} {index}", near, far))
    return drawn[: options.hard], drawn[options.hard :]


def drawn_frames(draw: np.random.Generator, side: int, count: int, *, inked: bool = False, **scene: float) -> Bytes:
    """The frames of a drawn stack without margins, ``count`` x side x side x 3, BGR.

    Args:
        draw: Decides everything.
        side: In pixels.
        count: Of frames.
        inked: Its surfaces have every channel at 0 or 255, as print, screens and masks do.
        scene: As `SceneOptions` has it.
    """
    from ufafuse.train import drawing
    from ufafuse.train.scenes import SceneOptions
    from ufafuse.train.stacks import draw_stack

    def texture(rng: np.random.Generator) -> Bytes:
        picture = drawing.picture(2 * side, rng)
        return _inked(picture, rng) if inked else picture

    options = SceneOptions(margins=0, **scene)  # type: ignore[arg-type]
    return draw_stack(draw, side, options, texture, frames=count).frames


def _inked(picture: Bytes, rng: np.random.Generator) -> Bytes:
    """A picture whose channels, or whose grey, are cut to 0 and 255 at a level of their own."""
    values = picture if rng.random() < 0.5 else np.repeat(picture.mean(2, keepdims=True), 3, 2)
    return np.where(values > np.quantile(values, rng.uniform(0.2, 0.8), axis=(0, 1)), 255, 0).astype(np.uint8)


def _windows(pairs: Sequence[PairPaths], count: int, size: int, draw: np.random.Generator, told: Told) -> Iterator[PairCrop]:
    for pair in itertools.islice(itertools.cycle(pairs), count):
        frames = read_frames(pair, told.warnings)
        top, left = (int(draw.integers(max(0, side - size) + 1)) for side in frames[0].shape[:2])
        near, far = (frame[top : top + size, left : left + size].copy() for frame in frames)
        yield PairCrop(f"{pair.name} at {top}, {left}", near, far)
