"""Photographs: alone, or with the label of their salient object in the layout of DUTS, two folders whose files share stems."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.images import read_image
from ufafuse.runtime.levels import mean_level, white_as_bright, white_of
from ufafuse.runtime.pairs import is_image

MEMORY_MIB = 2048  # decoded photographs are kept while they fit into this
_READERS = 2  # files that are read at a time
_SHOWN = 3  # problems in an error
THRESHOLD = 127  # labels above it are the near object

File = TypeVar("File")
Loaded = TypeVar("Loaded", bound=tuple[Array, ...])


@dataclass(frozen=True)
class PhotoFiles:
    """The files of one photograph and of its label."""

    name: str
    image: Path
    mask: Path


def find_photos(images: Path, masks: Path) -> tuple[list[PhotoFiles], list[str]]:
    """List the photographs below `images` that have a label in `masks`, sorted by name.

    Returns:
        The photographs, and what is wrong with the others (one line each).

    Raises:
        InputError: A folder is missing, both are the same, or `images` holds no picture.
    """
    by_stem: dict[str, dict[str, Path]] = {}
    problems: list[str] = []
    if Path(masks).is_dir() and os.path.realpath(images) == os.path.realpath(masks):  # each photograph would be its own label
        raise InputError(f"`masks={masks}` is the folder of the photographs: give that of their labels.")
    for role, folder in (("image", Path(images)), ("mask", Path(masks))):
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder: give the one that holds the {role}s.")
        for path in sorted(filter(is_image, folder.iterdir())):
            first = by_stem.setdefault(path.stem, {}).setdefault(role, path)
            if first != path:
                problems.append(f"{path} and {first} are both the {role} called {path.stem}: rename or remove one")
    with_image = {stem: files for stem, files in sorted(by_stem.items()) if "image" in files}
    if not with_image:
        raise InputError(f"{images} holds no pictures: give a folder of photographs (JPEG, PNG, ...).")
    found = [PhotoFiles(stem, f["image"], f["mask"]) for stem, f in with_image.items() if "mask" in f]
    problems += [f"{f['image']} has no label in {masks}" for f in with_image.values() if "mask" not in f]
    return found, problems


def load_photo(files: PhotoFiles, told: dict[str, None] | None = None) -> tuple[Array, Array]:
    """Read a photograph (uint8 H x W x 3, BGR) and its label (uint8 H x W); `told` as `read_image` takes it.

    Raises:
        InputError: A file cannot be read, the two sizes differ, or what the label marks is nowhere bright.
    """
    picture, label = colour(read_image(files.image, told=told)), eight_bit(read_image(files.mask, told=told))
    if picture.shape[:2] != label.shape[:2]:
        sizes = " and ".join(f"{image.shape[0]} x {image.shape[1]}" for image in (picture, label))
        raise InputError(f"{files.image} and its label {files.mask} differ in size: {sizes}.")
    if label.ndim == 3:
        hidden = label[..., 3] <= THRESHOLD if label.shape[2] == 4 else np.zeros(label.shape[:2], np.bool_)
        label = cv2.cvtColor(label[..., :3], cv2.COLOR_BGR2GRAY)
        label[hidden] = 0  # an object cut out, whatever colour its surroundings have beneath
    brightest = int(label.max())
    if 0 < brightest <= THRESHOLD:
        # Labels of 0 and 1, of numbers of classes or in dark colours would all say that there is no object anywhere.
        raise InputError(
            f"{files.mask} is a label with nothing bright in it: what is not black is {brightest} of 255 at most, and objects "
            f"are what is above {THRESHOLD}. Write them as white (255)."
        )
    return picture, label


def eight_bit(image: Array, white: float | None = None) -> Array:
    """Return a picture's levels as bytes, scaled from its level of white.

    Args:
        image: H x W [x C], uint8, uint16 or float32.
        white: Its level of white where others share it (`in_one`); None: as `white_of` finds it in the picture itself.
    """
    if image.dtype == np.uint8:
        return image
    levels = np.nan_to_num(image) if image.dtype.kind == "f" else image
    white = white_of([levels]) if white is None else white
    return np.asarray(np.rint(np.clip(levels * (255 / white), 0, 255)), np.uint8)


def colour(image: Array, white: float | None = None) -> Array:
    """Return a picture as uint8 H x W x 3, BGR, whatever it was read as; alpha is dropped. For ``white`` see `eight_bit`."""
    image = eight_bit(image, white)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else np.ascontiguousarray(image[..., :3])


def in_one(pictures: Sequence[Array]) -> list[Array]:
    """Return pictures of one scene as `colour` does, those of one sample type by one level of white.

    Of several types that of the most pictures says how bright the scene is: 16 bits beside frames of 8 may be 12 bits, or dark.
    """
    kinds = Counter(picture.dtype for picture in pictures).most_common()
    leading = [np.nan_to_num(picture) for picture in pictures if picture.dtype == kinds[0][0]]
    whites = {kinds[0][0]: white_of(leading)}
    share = float(np.mean([mean_level(picture) for picture in leading])) / whites[kinds[0][0]]
    for dtype, _ in kinds[1:]:
        others = [np.nan_to_num(picture) for picture in pictures if picture.dtype == dtype]
        whites[dtype] = white_as_bright(others[0], share) or white_of(others)
    return [colour(picture, whites[picture.dtype]) for picture in pictures]


class Photos:
    """A set of photographs with labels, each checked once; decoded ones stay in memory while they fit."""

    def __init__(self, images: Path, masks: Path, *, skip_bad: bool = False, memory_mib: float = MEMORY_MIB) -> None:
        """Read every photograph once.

        Args:
            images: The folder of photographs.
            masks: The folder of labels, with the same stems.
            skip_bad: Leave out what cannot be used; `skipped` says what that was. What there is to tell of the others, as
                damage that decoders pass over, is in `warnings`.
            memory_mib: How much memory decoded photographs may take; the rest is read again when it is drawn.

        Raises:
            InputError: Without `skip_bad`: a label is missing, a file cannot be read or sizes differ (the first few are
                named, all are counted). Or nothing is left.
        """
        found, problems = find_photos(images, masks)
        self._kept: dict[str, tuple[Array, Array]] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        usable: list[PhotoFiles] = []
        told: dict[str, None] = {}
        for files, loaded, fits in _looked_at(found, load_photo, memory_mib, told):
            if isinstance(loaded, InputError):
                problems.append(str(loaded))
                continue
            usable.append(files)
            self._sizes[files.name] = loaded[0].shape[:2]
            if fits:
                self._kept[files.name] = loaded
        if problems and not skip_bad:
            raise InputError(_summary(problems, len(found) + sum("has no label" in p for p in problems)))
        if not usable:
            raise InputError(f"{images}: no photograph with a label can be used ({problems[0] if problems else ''}).")
        self.files: Sequence[PhotoFiles] = usable
        self.skipped, self.warnings = problems, list(told)

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        """Return photograph and label number `index`."""
        files = self.files[index]
        return self._kept.get(files.name) or load_photo(files)

    def name(self, index: int) -> str:
        """Return the name of photograph number `index`."""
        return self.files[index].name

    def split(self, share: float, seed: int) -> tuple["Photos", "Photos"]:
        """Return all but a `share` of the photographs, and that share (at least one), drawn from `seed`."""
        if len(self) < 2:
            raise InputError("one photograph cannot be split into training and validation: give more, or `val_pairs`.")
        trained, held_out = _drawn_apart(len(self), share, seed)
        return self._part(trained), self._part(held_out)

    def _part(self, indices: Iterable[int]) -> "Photos":
        part = object.__new__(Photos)
        part.files, part.skipped, part.warnings = [self.files[index] for index in indices], [], []
        part._kept, part._sizes = self._kept, self._sizes
        return part

    def check_crops(self, side: int, name: str = "crop") -> str:
        """What to tell of crops with this `side`: that some photographs are smaller, and mirrored; empty where none is.

        Args:
            side: In pixels.
            name: The parameter that it was given as.

        Raises:
            InputError: All are smaller, so that every crop would be one photograph and its mirror images.
        """
        sizes = [self._sizes[files.name] for files in self.files]
        largest = max(sizes, key=min)
        if min(largest) < side:
            raise InputError(
                f"crops of {side} x {side} are larger than any of the photographs, of which the largest is {largest[0]} x "
                f"{largest[1]}: give `{name}={min(largest)}` or less, or larger photographs."
            )
        smaller = sum(min(size) < side for size in sizes)
        if not smaller:
            return ""
        count = f"{smaller} of {len(sizes)} photographs are"
        return f"{count} smaller than crops of {side} x {side}: they are mirrored at their edges."


class Pictures(Sequence[Array]):
    """The photographs of a folder, each checked once; decoded ones stay in memory while they fit."""

    def __init__(self, folder: Path, *, skip_bad: bool = False, memory_mib: float = MEMORY_MIB) -> None:
        """Read every photograph directly in `folder` once; see `Photos` for the arguments and errors."""
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder: give the one that holds the photographs.")
        self._kept: dict[Path, Array] = {}
        self._paths: list[Path] = []
        self.skipped: list[str] = []
        paths, told = sorted(filter(is_image, folder.iterdir())), dict[str, None]()

        def read(path: Path, told: dict[str, None]) -> tuple[Array]:
            return (colour(read_image(path, told=told)),)

        for path, loaded, fits in _looked_at(paths, read, memory_mib, told):
            if isinstance(loaded, InputError):
                self.skipped.append(str(loaded))
                continue
            self._paths.append(path)
            if fits:
                self._kept[path] = loaded[0]
        self.warnings = list(told)
        if not paths:
            raise InputError(f"{folder} holds no pictures: give a folder of photographs (JPEG, PNG, ...).")
        if self.skipped and not (skip_bad and self._paths):
            raise InputError(_summary(self.skipped, len(paths)))

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - one picture; a sequence's signature has slices too
        """Return photograph number `index`, uint8 H x W x 3, BGR."""
        path = self._paths[index]
        return self._kept[path] if path in self._kept else colour(read_image(path))

    @property
    def names(self) -> list[str]:
        """The names of their files."""
        return [path.name for path in self._paths]

    def split(self, share: float, seed: int) -> tuple["Pictures", "Pictures"]:
        """Return all but a `share` of the photographs, and that share, drawn from `seed`; a single one is not held out."""
        trained, held_out = _drawn_apart(len(self), share, seed)
        return self._part(trained), self._part(held_out)

    def _part(self, indices: Iterable[int]) -> "Pictures":
        part = object.__new__(Pictures)
        part._kept, part._paths = self._kept, [self._paths[index] for index in indices]
        part.skipped, part.warnings = [], []
        return part


def _looked_at(
    files: Sequence[File], read: Callable[[File, dict[str, None]], Loaded], memory_mib: float, told: dict[str, None]
) -> Iterator[tuple[File, Loaded | InputError, bool]]:
    """Read each file once: it, its pictures or why they cannot be used, and whether memory holds them beside the others.

    `told` takes what there is to tell of those that can be used, in the order of the files.
    """

    def tried(file: File) -> tuple[Loaded | InputError, dict[str, None]]:
        own: dict[str, None] = {}
        try:
            return read(file, own), own
        except InputError as error:
            return error, {}

    room = memory_mib * 2**20
    with ThreadPoolExecutor(_READERS) as pool:
        for file, (loaded, own) in zip(files, pool.map(tried, files), strict=True):
            told.update(own)
            room -= 0 if isinstance(loaded, InputError) else sum(image.nbytes for image in loaded)
            yield file, loaded, room >= 0


def _drawn_apart(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """The numbers of all but a share, and of that share: at least one, but not the only one."""
    held_out = min(count - 1, max(1, round(share * count)))
    order = np.random.default_rng(seed).permutation(count).tolist()
    return sorted(order[held_out:]), sorted(order[:held_out])


def _summary(problems: Sequence[str], total: int) -> str:
    shown = "; ".join(problem.rstrip(".") for problem in problems[:_SHOWN]) + ("; ..." if len(problems) > _SHOWN else "")
    return f"{len(problems)} of {total} photographs cannot be used: {shown}. Mend them, or omit them with `skip_bad=True`."
