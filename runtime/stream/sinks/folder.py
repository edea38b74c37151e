"""Fused pictures as image files."""

from __future__ import annotations

from pathlib import Path

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import OutputError
from ufafuse.runtime.images import write_image
from ufafuse.runtime.pairs import IMAGE_SUFFIXES
from ufafuse.runtime.pictures.write import WriteOptions
from ufafuse.runtime.stream.growing import Home
from ufafuse.runtime.stream.messages import FusedPair
from ufafuse.runtime.stream.sinks.base import Sink
from ufafuse.runtime.writing import make_folder, read_here

_MOST_REMEMBERED = 100_000  # numbers that came again


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
        self._home = Home(folder)
        self._suffix = suffix
        self._force = force
        self._store = WriteOptions(quality=quality)
        self._highest = -1
        self._again: dict[str, int] = {}  # what was put behind a number last
        self._came_again = 0

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
        self._put(path, item.fused)
        self._highest = max(self._highest, number)

    def _put(self, path: Path, picture: Array) -> None:
        """Write it; once more where the folder, or the file under way in it, was removed meanwhile."""
        for again in (True, False):
            self._home.restore(self._folder, self.tell)
            try:
                write_image(path, picture, force=self._force, options=self._store)
            except OutputError as error:
                removed = isinstance(error.__cause__, FileNotFoundError) or not self._folder.is_dir()
                if not (again and removed):
                    raise
            else:
                return

    def _free(self, path: Path) -> Path:
        """A name for a number that came before. Cameras go round in theirs for days: what is taken is not tried again."""
        again = self._again.get(path.stem, 1)
        free = path if again == 1 else path.with_stem(f"{path.stem}-{again}")
        while free.exists():
            again += 1
            free = path.with_stem(f"{path.stem}-{again}")
        if free != path:
            if len(self._again) >= _MOST_REMEMBERED:
                self._again.clear()
            self._again[path.stem] = again
            self._came_again += 1
            if self._came_again & (self._came_again - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: a log for days
                more = f" ({self._came_again} such until now)" if self._came_again > 1 else ""
                self.tell(f"number {int(path.stem)} came again: its picture is {free.name}{more}")
        return free
