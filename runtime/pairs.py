"""Folders of frame pairs, in the layouts that people keep them."""

from dataclasses import dataclass
from pathlib import Path

from ufafuse.runtime.errors import InputError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
LAYOUTS = "NAME_A.* with NAME_B.* (or -A/-B), or the folders near/ and far/ with equal names"


@dataclass(frozen=True)
class PairPaths:
    """The files of one pair; ``truth`` is its all-in-focus picture where the folder has one (``NAME_GT.*`` or ``gt/``)."""

    name: str
    near: Path
    far: Path
    truth: Path | None = None


def is_image(path: Path) -> bool:
    """Whether the suffix is one that we read."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def find_pairs(folder: Path) -> list[PairPaths]:
    """The pairs below ``folder``, sorted by name.

    Three layouts are known: ``NAME_A.* + NAME_B.*``, ``NAME-A.* + NAME-B.*`` (both at any depth), and the folders
    ``near/`` and ``far/`` whose files share their stems. A pair with one half is listed too, with the name that the
    missing file would have, so that the others can be worked on and this one is reported.

    Raises:
        InputError: The folder is missing or holds no whole pair, or two files claim to be the same half.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give one that holds pairs as {LAYOUTS}.")
    in_folders = (folder / "near").is_dir() and (folder / "far").is_dir()
    halves = _by_folder(folder) if in_folders else _by_suffix(folder)
    if not any({"A", "B"} <= sides.keys() for sides in halves.values()):
        raise InputError(f"{folder} holds no pairs: name them {LAYOUTS}.")
    return [_pair(name, sides) for name, sides in sorted(halves.items()) if sides.keys() & {"A", "B"}]


def _pair(name: str, sides: dict[str, Path]) -> PairPaths:
    near, far = sides.get("A"), sides.get("B")
    return PairPaths(name, near or _other_half(sides["B"], "A"), far or _other_half(sides["A"], "B"), sides.get("GT"))


def _other_half(path: Path, side: str) -> Path:
    """The name that the missing half of a pair would have: reading it then says that this very file is not there."""
    if path.parent.name in ("near", "far"):
        return path.parent.with_name("near" if side == "A" else "far") / path.name
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


def _by_folder(folder: Path) -> dict[str, dict[str, Path]]:
    halves: dict[str, dict[str, Path]] = {}
    for name, side in (("near", "A"), ("far", "B"), ("gt", "GT")):
        for path in sorted(filter(is_image, (folder / name).glob("*"))):
            _add(halves, path.stem, side, path)
    return halves


def _add(halves: dict[str, dict[str, Path]], name: str, side: str, path: Path) -> None:
    sides = halves.setdefault(name, {})
    if side in sides:
        raise InputError(f"{path} and {sides[side]} are both the same half of pair {name}: remove one.")
    sides[side] = path
