"""Frame pairs to learn from: drawn without end from photographs with labels, or read from a folder to validate on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ufafuse.runtime.arrays import Array, Floats
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.images import read_image
from ufafuse.runtime.pairs import PairPaths, find_pairs
from ufafuse.runtime.pictures.masked import filled, hidden_parts, told_of_hidden
from ufafuse.runtime.values import check_fields
from ufafuse.train.degrade import LensOptions, TrainingPair, drawn_focus, lens_pair, paper_pair, paper_size
from ufafuse.train.photos import THRESHOLD, in_one

PAPER_MARGIN = 5  # reach of the paper's largest mean filter
TRIES = 4  # crops looked at to find one with both near and far in it
MIXED = (0.05, 0.95)


class Labelled(Protocol):
    """Pictures with the label of what stands near in them."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __getitem__(self, index: int, /) -> tuple[Array, Array]:
        """Return picture (uint8 H x W x 3, BGR) and label (uint8 H x W) number `index`."""
        ...

    def name(self, index: int, /) -> str:
        """Return the name of picture number `index`."""
        ...


@dataclass(frozen=True)
class PairOptions:
    """How pairs are drawn.

    Attributes:
        crop: side of the square frames in pixels.
        lens: share of pairs made as lenses and cameras do; the others are the paper's.
        flip: mirror and turn the frames.
        options: what lens pairs show.
    """

    crop: int
    lens: float = 0.0
    flip: bool = False
    options: LensOptions = field(default_factory=LensOptions)

    def __post_init__(self) -> None:
        """Refuse what no pair can be drawn with (`InputError`)."""
        check_fields(self)
        if not 0 <= self.lens <= 1:
            raise InputError(f"the share of lens pairs must lie in [0, 1], got {self.lens}.")
        if self.crop < 16:
            raise InputError(f"crops must be at least 16 pixels wide, got {self.crop}.")


class PairDataset(Dataset[tuple[Array, Array, Array]]):
    """An endless, repeatable sequence of pairs: pair `index` depends on the seed and the index alone.

    Each run through the photographs takes every one once, in an order of its own. Entries are uint8 H x W x 3 arrays,
    BGR: near, far, truth.
    """

    def __init__(self, photos: Labelled, options: PairOptions, *, seed: int) -> None:
        """Draw from `photos`; the same seed gives the same pairs, however many workers draw them."""
        self.photos, self.options, self.seed = photos, options, seed
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        """Return the number of photographs: how many pairs one run through them gives."""
        return len(self.photos)

    def __getitem__(self, index: int) -> tuple[Array, Array, Array]:
        """Return near, far and truth of pair `index` >= 0 (any: the sequence does not end with the photographs)."""
        pair = self.pair(index)
        return pair.near, pair.far, pair.truth

    def pair(self, index: int) -> TrainingPair:
        """Draw pair `index`."""
        rng = np.random.default_rng((self.seed, index))
        photo = self._photo(index)
        pair = self._lens(photo, rng) if rng.random() < self.options.lens else self._paper(photo, rng)
        near, far, truth = pair.near, pair.far, pair.truth
        if rng.random() < 0.5:
            near, far = far, near
        if self.options.flip:
            quarters, mirror = int(rng.integers(4)), rng.random() < 0.5
            near, far, truth = (_turned(frame, quarters, mirror=mirror) for frame in (near, far, truth))
        return TrainingPair(near, far, truth)

    def name(self, index: int) -> str:
        """Return the name of the photograph that pair `index` shows."""
        return self.photos.name(self._photo(index))

    def _photo(self, index: int) -> int:
        epoch, position = divmod(index, len(self.photos))
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng((self.seed, epoch, 1)).permutation(len(self.photos)))
        return int(self._order[1][position])

    def _paper(self, photo: int, rng: np.random.Generator) -> TrainingPair:
        picture, label = self.photos[photo]
        crop, size = self.options.crop, paper_size(rng)
        top, left = _corner(label, crop, rng)
        window = (top - PAPER_MARGIN, left - PAPER_MARGIN, crop + 2 * PAPER_MARGIN)
        pair = paper_pair(_window(picture, *window), focus_map(_window(label, *window)), size)
        inner = (slice(PAPER_MARGIN, -PAPER_MARGIN),) * 2
        return TrainingPair(pair.near[inner], pair.far[inner], pair.truth[inner])

    def _lens(self, photo: int, rng: np.random.Generator) -> TrainingPair:
        options, (picture, label) = self.options.options, self.photos[photo]
        zoom = 1.0
        if rng.random() < options.zoom:
            zoom = float(np.exp(rng.uniform(np.log(options.min_zoom), np.log(options.max_zoom))))
        size = self.options.crop + 2 * options.margin
        crop, whole = round(self.options.crop / zoom), round(size / zoom)
        reach = (whole - crop) // 2
        top, left = _mixed_corner(label, crop, rng)
        cut = _resized(_window(picture, top - reach, left - reach, whole), size)
        which = rng.random()
        if which < options.drawn_mask:
            focus = drawn_focus((size, size), rng)
        else:
            if which < options.drawn_mask + options.other_mask:
                label = self._other_label(rng)
                top, left = _mixed_corner(label, crop, rng)
            focus = focus_map(_resized(_window(label, top - reach, left - reach, whole), size))
        return lens_pair(cut, focus, rng, options)

    def _other_label(self, rng: np.random.Generator) -> Array:
        return self.photos[int(rng.integers(len(self.photos)))][1]


def focus_map(label: Array) -> Floats:
    """Turn a label (uint8 H x W) into the focus map: 1 where the object is, else 0."""
    return np.asarray(label > THRESHOLD, np.float32)


def _corner(label: Array, crop: int, rng: np.random.Generator) -> tuple[int, int]:
    """Draw the corner of a crop; more than half of them touch the photograph's border.

    What is fused are whole photographs, and many have a border like no other place in them (the dark line of a scan): on four
    of twenty validation pairs such lines, taken from the wrong frame, cost 5 to 10 dB. Even so a pixel of a crop lies at a
    border half as often as one of a photograph.
    """
    reach = crop // 2
    limits = (max(0, side - crop) for side in label.shape)
    top, left = (min(max(int(rng.integers(-reach, limit + reach + 1)), 0), limit) for limit in limits)
    return top, left


def _mixed_corner(label: Array, crop: int, rng: np.random.Generator) -> tuple[int, int]:
    """Draw the corner of a crop that shows near and far, if a few tries find one."""
    top, left = 0, 0
    for _ in range(TRIES):
        top, left = _corner(label, crop, rng)
        share = float((label[top : top + crop : 4, left : left + crop : 4] > THRESHOLD).mean())
        if MIXED[0] <= share <= MIXED[1]:
            break
    return top, left


def _window(picture: Array, top: int, left: int, size: int) -> Array:
    """Cut a square that may reach beyond the picture, which is mirrored there."""
    height, width = picture.shape[:2]
    bottom, right = top + size, left + size
    inside = picture[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    beyond = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
    return cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_REFLECT_101) if any(beyond) else inside


def _resized(picture: Array, size: int) -> Array:
    if picture.shape[0] == size:
        return picture
    shrink = picture.shape[0] > size
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC)


def _turned(frame: Array, quarters: int, *, mirror: bool) -> Array:
    if quarters:
        frame = cv2.rotate(frame, (cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_COUNTERCLOCKWISE)[quarters - 1])
    return cv2.flip(frame, 1) if mirror else frame


@dataclass(frozen=True)
class NamedPair:
    """A pair to validate on, uint8 H x W x 3, BGR."""

    name: str
    pair: TrainingPair


def read_pairs(folder: Path, *, warnings: list[str] | None = None) -> list[NamedPair]:
    """Read the pairs with their truth from a folder (`NAME_A.*`, `NAME_B.*`, `NAME_GT.*`); `warnings` takes what is none,
    and what there is to tell of the files.

    Raises:
        InputError: There are no pairs, one has no truth, a file cannot be read, or sizes differ.
    """
    pairs: list[NamedPair] = []
    passed: list[str] = []
    told: dict[str, None] = {}
    for paths in find_pairs(folder, passed=passed):
        if paths.truth is None:
            raise InputError(f"{folder}: pair {paths.name} has no truth ({paths.name}_GT.*), so it cannot validate.")
        pictures = [read_image(path, told=told) for path in (*paths.files, paths.truth)]
        near, far, truth = in_one(pictures)
        if not near.shape == far.shape == truth.shape:
            raise InputError(f"{folder}: the pictures of pair {paths.name} differ in size.")
        near, far = _without_hidden(paths, pictures, (near, far), told)
        pairs.append(NamedPair(paths.name, TrainingPair(near, far, truth)))
    if warnings is not None:
        warnings += [*told, *([f"{folder}, passed over: {'; '.join(passed)}."] if passed else [])]
    return pairs


def frames_of(paths: PairPaths, told: dict[str, None] | None = None) -> tuple[Array, Array]:
    """Read a pair's near and far frame as uint8 H x W x 3, BGR, whatever they are stored as; `told` as `read_image` takes it.

    Raises:
        InputError: A file cannot be read, or the two differ in size.
    """
    pictures = [read_image(path, told=told) for path in paths.files]
    near, far = in_one(pictures)
    if near.shape != far.shape:
        sizes = " and ".join(f"{frame.shape[0]} x {frame.shape[1]}" for frame in (near, far))
        raise InputError(f"{paths.near} and {paths.far} differ in size: {sizes}.")
    return _without_hidden(paths, pictures, (near, far), told)


def _without_hidden(
    paths: PairPaths, pictures: Sequence[Array], frames: tuple[Array, Array], told: dict[str, None] | None
) -> tuple[Array, Array]:
    """Give each of a pair's frames the other's pixels where alpha hides its own."""
    hidden = hidden_parts(*pictures[:2])
    if told is not None:
        told.update({f"{text}.": None for text in told_of_hidden([str(path) for path in paths.files], hidden)})
    return filled(frames, hidden)


def held_out_pairs(dataset: PairDataset, count: int) -> list[NamedPair]:
    """Draw the first `count` pairs of `dataset`, of pictures that are not trained on, to validate on."""
    return [NamedPair(f"held-out-{index:02d}", dataset.pair(index)) for index in range(count)]
