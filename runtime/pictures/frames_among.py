"""Which of the pictures in a folder are frames: no raw file's JPEG, nothing that was made of frames, by whatever program."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures import exif as ex
from ufafuse.runtime.pictures.decode import opened
from ufafuse.runtime.pictures.kinds import RAW_SUFFIXES, SNIFFED, kind_of
from ufafuse.runtime.pictures.metadata import OURS, metadata_of

REGISTERED = "Registered frame"  # what the history of a frame that ufafuse moved begins with
_HEAD = 1 << 18  # bytes in which a file says what made it
_TIFF = (b"II*\0", b"MM\0*")
# What Zerene Stacker and Helicon Focus call their results: "2011-04-23-15.37.40 ZS PMax", "1-9 (B,Radius8,Smoothing4)".
_OF_OTHERS = re.compile(r" ZS (PMax|DMap|retouched)|\([ABC],(R(adius)?\d+,)?S(moothing)?\d+\)", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
_SERIES = 3  # frames that are counted make what has no number stand out


def without_doubles(paths: Sequence[Path]) -> list[Path]:
    """Cameras write a raw file and a JPEG of one shot: where both are there, the raw file counts."""
    raw = {path.with_suffix("") for path in paths if path.suffix.lower() in RAW_SUFFIXES}
    return [path for path in paths if path.suffix.lower() in RAW_SUFFIXES or path.with_suffix("") not in raw]


def without_results(paths: Sequence[Path]) -> list[Path]:
    """Pictures without those that were made of them; all of them where fewer than two others are there.

    That is what ufafuse made, as the files say, and what other programs seem to have made, as the names say (`uncounted`).
    """
    found = [path for path in paths if not is_result(path)]
    return without_uncounted(found if len(found) > 1 else list(paths))


def without_uncounted(paths: Sequence[Path]) -> list[Path]:
    """Pictures of one folder without those whose names stand out (`uncounted`)."""
    made = set(uncounted([path.name for path in paths]))
    return [path for path in paths if path.name not in made]


def uncounted(names: Sequence[str]) -> list[str]:
    """Names that stand out among frames: those of other programs' results, and those without a number in a counted series.

    ``focus-stack.jpg`` among ``pcb_001.jpg`` to ``pcb_007.jpg``. None where fewer than two names are left.

    Args:
        names: Of files, without folders.
    """
    others = [name for name in names if _OF_OTHERS.search(Path(name).stem)]
    rest = [name for name in names if name not in others]
    around = [tuple(_NUMBER.split(Path(name).stem.casefold())) for name in rest]
    counted = [parts for parts in around if len(parts) > 1]
    if len(counted) >= _SERIES and len(set(counted)) == 1:
        others += [name for name, parts in zip(rest, around, strict=True) if len(parts) == 1]
    return others if len(names) - len(others) > 1 else []


def is_result(path: Path) -> bool:
    """Whether ufafuse wrote a file, as its software tag says; what cannot be read is none."""
    return _notes(path) is not None


def is_fused(path: Path) -> bool:
    """Whether ufafuse wrote a file that is no registered frame: of such frames a stack may well be fused again."""
    notes = _notes(path)
    return notes is not None and not notes.text(ex.IMAGE_HISTORY).startswith(REGISTERED)


def _notes(path: Path) -> ex.Exif | None:
    """What a file's notes say, where they say that ufafuse wrote it."""
    with contextlib.suppress(InputError, OSError), opened(path) as stream:
        head = stream.read(_HEAD)
        found = None
        if head.startswith(_TIFF):
            found = ex.parse_exif(ex.FileBytes(stream))
        else:
            if kind_of(head[:SNIFFED]) == "WebP":  # whose notes stand at its end
                head += stream.read()
            if OURS.encode() in head:
                found = ex.parse_exif(metadata_of(head).exif or b"")
        if found is not None and found.text(ex.SOFTWARE).startswith(OURS):
            return found
    return None
