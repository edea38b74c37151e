"""Folders of frame pairs, in the layouts that people keep them."""

from collections.abc import Iterator
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

    Three layouts are known: ``NAME_A.* + NAME_B.*``, ``NAME-A.* + NAME-B.*`` (both at any depth), and the folders ``near/``
    and ``far/`` whose files share their stems.

    Raises:
        InputError: The folder is missing, holds no pair, or one half of a pair is missing (the first few are named).
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give one that holds pairs as {LAYOUTS}.")
    if (folder / "near").is_dir() and (folder / "far").is_dir():
        halves = dict(_by_folder(folder))
    else:
        halves = dict(_by_suffix(folder))
    lonely = sorted(name for name, sides in halves.items() if not {"A", "B"} <= sides.keys())
    if lonely:
        shown = ", ".join(lonely[:3]) + (", ..." if len(lonely) > 3 else "")
        raise InputError(f"{folder}: the other half is missing for {len(lonely)} of {len(halves)} pairs ({shown}).")
    if not halves:
        raise InputError(f"{folder} holds no pairs: name them {LAYOUTS}.")
    return [PairPaths(name, sides["A"], sides["B"], sides.get("GT")) for name, sides in sorted(halves.items())]


def _by_suffix(folder: Path) -> Iterator[tuple[str, dict[str, Path]]]:
    halves: dict[str, dict[str, Path]] = {}
    for path in sorted(filter(is_image, folder.rglob("*"))):
        for side in ("A", "B", "GT"):
            for mark in ("_", "-"):
                if path.stem.endswith(mark + side) and len(path.stem) > len(mark + side):
                    stem = path.stem[: -len(mark + side)]
                    _add(halves, (path.parent / stem).relative_to(folder).as_posix(), side, path)
    yield from ((name, sides) for name, sides in halves.items() if sides.keys() != {"GT"})


def _by_folder(folder: Path) -> Iterator[tuple[str, dict[str, Path]]]:
    halves: dict[str, dict[str, Path]] = {}
    for name, side in (("near", "A"), ("far", "B"), ("gt", "GT")):
        for path in sorted(filter(is_image, (folder / name).glob("*"))):
            _add(halves, path.stem, side, path)
    yield from ((name, sides) for name, sides in halves.items() if sides.keys() != {"GT"})


def _add(halves: dict[str, dict[str, Path]], name: str, side: str, path: Path) -> None:
    sides = halves.setdefault(name, {})
    if side in sides:
        raise InputError(f"{path} and {sides[side]} are both the same half of pair {name}: remove one.")
    sides[side] = path
