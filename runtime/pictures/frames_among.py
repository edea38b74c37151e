"""Which of the pictures in a folder are frames: no raw file's JPEG, no result of an earlier fusion."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures import exif as ex
from ufafuse.runtime.pictures.decode import opened
from ufafuse.runtime.pictures.kinds import RAW_SUFFIXES
from ufafuse.runtime.pictures.metadata import OURS, metadata_of

_HEAD = 1 << 18  # bytes in which a file says what made it
_TIFF = (b"II*\0", b"MM\0*")


def without_doubles(paths: Sequence[Path]) -> list[Path]:
    """Cameras write a raw file and a JPEG of one shot: where both are there, the raw file counts."""
    raw = {path.with_suffix("") for path in paths if path.suffix.lower() in RAW_SUFFIXES}
    return [path for path in paths if path.suffix.lower() in RAW_SUFFIXES or path.with_suffix("") not in raw]


def without_results(paths: Sequence[Path]) -> list[Path]:
    """Pictures without those that ufafuse made; all of them where fewer than two others are there."""
    found = [path for path in paths if not is_result(path)]
    return found if len(found) > 1 else list(paths)


def is_result(path: Path) -> bool:
    """Whether ufafuse wrote a file, as its software tag says; what cannot be read is none."""
    with contextlib.suppress(InputError, OSError), opened(path) as stream:
        head = stream.read(_HEAD)
        if head.startswith(_TIFF):
            return ex.parse_exif(ex.FileBytes(stream)).text(ex.SOFTWARE).startswith(OURS)
        if head.startswith(b"RIFF"):  # whose notes stand at its end
            head += stream.read()
        if OURS.encode() in head:
            return ex.parse_exif(metadata_of(head).exif or b"").text(ex.SOFTWARE).startswith(OURS)
    return False
