"""Fused pictures as image files."""

from __future__ import annotations

import itertools
from pathlib import Path

from ufafuse.runtime.errors import OutputError
from ufafuse.runtime.images import write_image
from ufafuse.runtime.pairs import IMAGE_SUFFIXES
from ufafuse.runtime.pictures.write import WriteOptions
from ufafuse.runtime.stream.messages import FusedPair
from ufafuse.runtime.stream.sinks.base import Sink
from ufafuse.runtime.writing import make_folder, read_here


class FolderSink(Sink):
    """``00000123.png``: one file a picture, named by the near frame's number; whole or not at all, and synced to disk.

    Args:
        folder: Made when it is not there.
        suffix: ``.png`` keeps every level, also 16-bit ones; ``.jpg`` is smaller.
        force: Replace files that exist.
        quality: Of ``.jpg`` and ``.webp``, 1 to 100; None: as `WriteOptions` has it.
    """

    def __init__(self, folder: Path, suffix: str = ".png", *, force: bool = False, quality: int | None = None) -> None:
        super().__init__()
        if suffix not in IMAGE_SUFFIXES:
            raise OutputError(
                f"`out={folder}/*{suffix}` has an unknown suffix: choose one of {', '.join(sorted(IMAGE_SUFFIXES))}."
            )
        self.name = str(folder)
        self.outputs = [folder]
        self._folder = folder
        self._suffix = suffix
        self._force = force
        self._store = WriteOptions(quality=quality)
        self._highest = -1

    def places(self) -> list[Path]:
        """The first picture."""
        return [self._folder / f"{0:08d}{self._suffix}"]

    def open(self) -> None:
        """Make the folder. Raises: OutputError when that fails."""
        make_folder(self._folder)

    def write(self, item: FusedPair) -> None:
        """Write one file. A number that comes again in one run gets a name of its own: no result replaces another."""
        number = item.pair.near.index
        path = self._folder / f"{number:08d}{self._suffix}"
        if number <= self._highest:
            path = self._free(path)
        if self.spares(path):  # of a pattern that takes some numbers only
            raise OutputError(read_here(path))
        write_image(path, item.fused, force=self._force, options=self._store)
        self._highest = max(self._highest, number)

    def _free(self, path: Path) -> Path:
        free = path
        for again in itertools.count(2):
            if not free.exists():
                break
            free = path.with_stem(f"{path.stem}-{again}")
        if free != path:
            self.tell(f"number {int(path.stem)} came again: its picture is {free.name}")
        return free
