"""Folders of frame pairs, in the layouts that people keep them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.frames_among import is_result, without_doubles
from ufafuse.runtime.pictures.inputs import EVALUATION, NO_FOLDERS
from ufafuse.runtime.pictures.kinds import is_picture
from ufafuse.runtime.pictures.write import WRITTEN

IMAGE_SUFFIXES = WRITTEN
LAYOUTS = (
    "NAME_A.* with NAME_B.* (or _near/_far, _1/_2; - for _, small letters too), or the folders near/ and far/ (or A/ and B/) "
    "with equal names"
)
_FOLDERS = (("near", "far"), ("A", "B"), ("a", "b"), ("Near", "Far"), ("NEAR", "FAR"))
_TRUTHS = ("gt", "GT")
_LETTERS = (("a", "b"), ("near", "far"))
_ENDING = re.compile(r"(.+?)[_-](a|b|near|far|gt|[0-9]+)", re.IGNORECASE | re.DOTALL)
_SERIES = 3  # pictures that are counted on are a stack

Sides = dict[str, list[Path]]  # "A", "B", each with the files that claim to be this half
Halves = dict[str, Sides]  # by the pair's name


@dataclass(frozen=True)
class PairPaths:
    """The files of one pair; ``truth`` is its all-in-focus picture where the folder has one (``NAME_GT.*`` or ``gt/``)."""

    name: str
    near: Path
    far: Path
    truth: Path | None = None

    @property
    def files(self) -> tuple[Path, Path]:
        """Near and far."""
        return self.near, self.far

    @property
    def note(self) -> str:
        """Nothing is left out of a pair."""
        return ""

    @property
    def refused(self) -> str:
        """What is wrong with one shows when it is read."""
        return ""


def is_image(path: Path) -> bool:
    """Whether the suffix is one that we read, and no program's preview."""
    return is_picture(path) and NO_FOLDERS.isdisjoint(path.parts)


def find_pairs(folder: Path, *, passed: list[str] | None = None) -> list[PairPaths]:
    """The pairs below ``folder``, sorted by name.

    These layouts are known: ``NAME_A.* + NAME_B.*``, ``NAME_near.* + NAME_far.*``, ``NAME_1.* + NAME_2.*`` (at any depth, with
    - for _, in small letters or capitals), and the folders ``near/`` and ``far/``, or ``A/`` and ``B/``, whose files share
    their stems. Where a folder mixes them, all whole pairs are found. Half a pair is listed too, with the name that the
    missing file would have, where whole pairs of its layout are there, so that the others can be worked on and this one is
    reported. What `ufa eval -o` wrote below the folder is not looked at.

    Args:
        folder: Where they are.
        passed: Takes what belongs to no pair that is listed, each with the reason.

    Raises:
        InputError: The folder is missing or holds no whole pair, two files claim to be the same half, or all that there is are
            numbers that go on (``NAME_3.*``): that is a stack.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give one that holds pairs as {LAYOUTS}.")
    return _Search(folder).pairs([] if passed is None else passed)


class _Search:
    """What one folder holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truths: dict[str, list[Path]] = {}
        self.layouts = self._by_folders()
        placed = {path for halves in self.layouts for sides in halves.values() for path in _all(sides)}
        placed |= {path for paths in self.truths.values() for path in paths}
        below = sorted(folder.rglob("*"))
        scored = {path.parent for path in below if path.name == EVALUATION} - {folder}
        images = without_doubles([path for path in below if is_image(path) and scored.isdisjoint(path.parents)])
        self.images = [*images, *sorted(placed.difference(images))]  # which a link to a folder may hold
        self.series: list[list[Path]] = []
        self.layouts += self._by_endings([path for path in images if path not in placed])

    def pairs(self, passed: list[str]) -> list[PairPaths]:
        """As `find_pairs`."""
        whole = [halves for halves in self.layouts if any(map(_is_whole, halves.values()))]
        if not whole:
            self._refuse()
        entries = [(name, sides) for halves in whole for name, sides in sorted(halves.items())]
        found: dict[str, PairPaths] = {}
        told: set[Path] = set()
        for name, sides in sorted(entries, key=lambda entry: not _is_whole(entry[1])):  # half a pair stands back
            if name not in found:
                found[name] = self._pair(name, sides)
                told.update(_all(sides), self.truths.get(name, ()))
            elif _is_whole(sides):
                told.update(_all(sides))
                taken = " with ".join(self._named(found[name].files))
                passed.append(f"{' with '.join(self._named(_all(sides)))} would be another pair {name}, beside {taken}")
        self._tell_others([path for path in self.images if path not in told], passed)
        return [found[name] for name in sorted(found)]

    def _refuse(self) -> NoReturn:
        if self.series:
            last = self.series[0][-1]
            raise InputError(f"{last} goes on after _1 and _2: that is a stack; give the folder itself, or many with `stacks`.")
        raise InputError(f"{self.folder} holds no pairs: name them {LAYOUTS}.")

    def _pair(self, name: str, sides: Sides) -> PairPaths:
        for paths in (*sides.values(), self.truths.get(name, [])):
            if len(paths) > 1:
                raise InputError(f"{paths[1]} and {paths[0]} are both the same half of pair {name}: remove one.")
        near, far = (sides[side][0] if side in sides else _other_half(_all(sides)[0], name) for side in "AB")
        return PairPaths(name, near, far, next(iter(self.truths.get(name, ())), None))

    def _tell_others(self, paths: Sequence[Path], passed: list[str]) -> None:
        """Say of each picture that is in no pair why."""
        for series in self.series:
            first, *_, last = self._named(series)
            passed.append(f"{first} to {last} are a stack of {len(series)}, and no pair")
        counted = {path for series in self.series for path in series}
        halves = {path for layout in self.layouts for sides in layout.values() for path in _all(sides)}
        truths = {path for paths in self.truths.values() for path in paths}
        for path, name in zip(paths, self._named(paths), strict=True):
            if path in truths:
                passed.append(f"{name} is the truth of no pair")
            elif path not in counted and not is_result(path):  # of what was made of pairs that lie there nobody wants to hear
                passed.append(f"{name} {'has no other half' if path in halves else 'is no half of a pair'}")

    def _named(self, paths: Iterable[Path]) -> list[str]:
        return [path.relative_to(self.folder).as_posix() for path in paths]

    def _by_folders(self) -> list[Halves]:
        """The folders of near and far frames, where they hold a whole pair."""
        names = {path.name for path in self.folder.iterdir() if path.is_dir()}
        layouts: list[Halves] = []
        for pair in _FOLDERS:
            halves: Halves = {}
            for name, side in zip(pair, "AB", strict=True):
                for path in self._in(name) if names.issuperset(pair) else ():
                    halves.setdefault(path.stem, {}).setdefault(side, []).append(path)
            if any(map(_is_whole, halves.values())):
                layouts.append(halves)
        for name in names.intersection(_TRUTHS) if layouts else ():
            for path in self._in(name):
                self.truths.setdefault(path.stem, []).append(path)
        return layouts

    def _in(self, name: str) -> list[Path]:
        return without_doubles(sorted(filter(is_image, (self.folder / name).glob("*"))))

    def _by_endings(self, paths: Iterable[Path]) -> list[Halves]:
        """The layouts that tell the halves by the ends of their names; truths and series are noted beside."""
        lettered: list[Halves] = [{} for _ in _LETTERS]
        numbered: dict[str, dict[int, list[Path]]] = {}
        for path in paths:
            match = _ENDING.fullmatch(path.stem)
            if match is None:
                continue
            name, ending = (path.parent / match[1]).relative_to(self.folder).as_posix(), match[2].casefold()
            if ending == "gt":
                self.truths.setdefault(name, []).append(path)
            elif ending.isdecimal():
                numbered.setdefault(name, {}).setdefault(int(ending), []).append(path)
            for letters, halves in zip(_LETTERS, lettered, strict=True):
                if ending in letters:
                    halves.setdefault(name, {}).setdefault("AB"[letters.index(ending)], []).append(path)
        counted: Halves = {}
        for name, numbers in sorted(numbered.items()):
            if numbers.keys() <= {1, 2}:
                counted[name] = {"AB"[number - 1]: files for number, files in sorted(numbers.items())}
            elif len(numbers) >= _SERIES:
                self.series.append([path for number in sorted(numbers) for path in numbers[number]])
        return [*lettered, counted]


def _all(sides: Sides) -> list[Path]:
    return [path for side in sorted(sides) for path in sides[side]]


def _is_whole(sides: Sides) -> bool:
    return len(sides) == len("AB")


def _other_half(path: Path, name: str) -> Path:
    """The name that the missing half of a pair would have: reading it then says that this very file is not there."""
    if path.stem == name:  # else the name is without the ending
        pair = next(folders for folders in _FOLDERS if path.parent.name in folders)
        return path.parent.with_name(pair[1 - pair.index(path.parent.name)]) / path.name
    match = _ENDING.fullmatch(path.stem)
    assert match is not None, "it was found by its ending"
    ending = match[2]
    if ending.isdecimal():
        other = str(3 - int(ending)).zfill(len(ending))
    else:
        pair = next(letters for letters in _LETTERS if ending.casefold() in letters)
        other = pair[1 - pair.index(ending.casefold())]
        other = other.upper() if ending.isupper() else other.title() if ending.istitle() else other
    return path.with_name(path.stem.removesuffix(ending) + other + path.suffix)
