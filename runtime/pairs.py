"""Folders of frame pairs, in the layouts that people keep them."""

import re
from dataclasses import dataclass
from pathlib import Path

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.frames_among import without_doubles
from ufafuse.runtime.pictures.inputs import NO_FOLDERS
from ufafuse.runtime.pictures.kinds import is_picture
from ufafuse.runtime.pictures.write import WRITTEN

IMAGE_SUFFIXES = WRITTEN
LAYOUTS = "NAME_A.* with NAME_B.* (or -A/-B, _1/_2), or the folders near/ and far/ (or A/ and B/) with equal names"
_FOLDERS = (("near", "far"), ("A", "B"), ("a", "b"), ("Near", "Far"))
_NUMBERED = re.compile(r"(.+?)[_-]0*([1-9]\d*)")


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


def find_pairs(folder: Path) -> list[PairPaths]:
    """The pairs below ``folder``, sorted by name.

    These layouts are known: ``NAME_A.* + NAME_B.*``, ``NAME-A.* + NAME-B.*`` (both at any depth), the folders ``near/`` and
    ``far/``, or ``A/`` and ``B/``, whose files share their stems, and ``NAME_1.* + NAME_2.*`` where none of the others is
    there. A pair with one half is listed too, with the name that the missing file would have, so that the others can be worked
    on and this one is reported.

    Raises:
        InputError: The folder is missing or holds no whole pair, two files claim to be the same half, or the numbers go on
            (``NAME_3.*``): that is a stack.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give one that holds pairs as {LAYOUTS}.")
    sides = next((pair for pair in _FOLDERS if all((folder / side).is_dir() for side in pair)), None)
    halves = _by_suffix(folder) if sides is None else _by_folder(folder, sides)
    if not _whole(halves):
        halves = _by_number(folder)
    if not _whole(halves):
        raise InputError(f"{folder} holds no pairs: name them {LAYOUTS}.")
    return [_pair(name, files) for name, files in sorted(halves.items()) if files.keys() & {"A", "B"}]


def _whole(halves: dict[str, dict[str, Path]]) -> bool:
    return any({"A", "B"} <= sides.keys() for sides in halves.values())


def _pair(name: str, sides: dict[str, Path]) -> PairPaths:
    near, far = sides.get("A"), sides.get("B")
    return PairPaths(name, near or _other_half(sides["B"], "A"), far or _other_half(sides["A"], "B"), sides.get("GT"))


def _other_half(path: Path, side: str) -> Path:
    """The name that the missing half of a pair would have: reading it then says that this very file is not there."""
    for near, far in _FOLDERS:
        if path.parent.name in (near, far) and path.parent.with_name(near).is_dir() and path.parent.with_name(far).is_dir():
            return path.parent.with_name(near if side == "A" else far) / path.name
    if path.stem[-1:].isdecimal():
        return path.with_name(path.stem[:-1] + ("1" if side == "A" else "2") + path.suffix)
    return path.with_name(path.stem[:-1] + side + path.suffix)


def _by_suffix(folder: Path) -> dict[str, dict[str, Path]]:
    halves: dict[str, dict[str, Path]] = {}
    for path in sorted(filter(is_image, folder.rglob("*"))):
        for side in ("A", "B", "GT"):
            for mark in ("_", "-"):
                if path.stem.endswith(mark + side) and len(path.stem) > len(mark + side):
                    stem = path.stem[: -len(mark + side)]
                    _add(halves, (path.parent / stem).relative_to(folder).as_posix(), side, path)
    return halves


def _by_number(folder: Path) -> dict[str, dict[str, Path]]:
    halves: dict[str, dict[str, Path]] = {}
    for path in sorted(filter(is_image, folder.rglob("*"))):
        match = _NUMBERED.fullmatch(path.stem)
        if match is None:
            continue
        number = int(match[2])
        if number > 2:
            raise InputError(f"{path} goes on after _1 and _2: that is a stack; give the folder itself, or many with `stacks`.")
        _add(halves, (path.parent / match[1]).relative_to(folder).as_posix(), "AB"[number - 1], path)
    return halves


def _by_folder(folder: Path, sides: tuple[str, str]) -> dict[str, dict[str, Path]]:
    halves: dict[str, dict[str, Path]] = {}
    for name, side in ((sides[0], "A"), (sides[1], "B"), ("gt", "GT")):
        for path in sorted(filter(is_image, (folder / name).glob("*"))):
            _add(halves, path.stem, side, path)
    return halves


def _add(halves: dict[str, dict[str, Path]], name: str, side: str, path: Path) -> None:
    sides = halves.setdefault(name, {})
    if side in sides and len(without_doubles((path, sides[side]))) < 2:  # a raw file and its JPEG
        path = without_doubles((path, sides[side]))[0]
    elif side in sides:
        raise InputError(f"{path} and {sides[side]} are both the same half of pair {name}: remove one.")
    sides[side] = path
