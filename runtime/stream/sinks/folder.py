"""Fused pictures as image files."""

from __future__ import annotations

from pathlib import Path

from ufafuse.runtime.errors import OutputError
from ufafuse.runtime.images import write_image
from ufafuse.runtime.pairs import IMAGE_SUFFIXES
from ufafuse.runtime.stream.frames import FusedPair
from ufafuse.runtime.stream.sinks.base import Sink


class FolderSink(Sink):
    """``00000123.png``: one file a picture, named by the near frame's number; whole or not at all, and synced to disk.

    Args:
        folder: Made when it is not there.
        suffix: ``.png`` keeps every level, also 16-bit ones; ``.jpg`` is smaller.
        force: Replace files that exist.
    """

    def __init__(self, folder: Path, suffix: str = ".png", *, force: bool = False) -> None:
        super().__init__()
        if suffix not in IMAGE_SUFFIXES:
            raise OutputError(
                f"--out {folder}/*{suffix} has an unknown suffix: choose one of {', '.join(sorted(IMAGE_SUFFIXES))}."
            )
        self.name = str(folder)
        self.outputs = [folder]
        self._folder = folder
        self._suffix = suffix
        self._force = force

    def open(self) -> None:
        """Make the folder. Raises: OutputError when that fails."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"the folder {self._folder} cannot be made: {error.strerror}.") from error

    def write(self, item: FusedPair) -> None:
        """Write one file."""
        write_image(self._folder / f"{item.pair.near.index:08d}{self._suffix}", item.fused, force=self._force)
