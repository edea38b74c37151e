"""A folder in which image files appear."""

from __future__ import annotations

import contextlib
import fnmatch
import math
import os
import time
from collections import deque
from pathlib import Path

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.filebytes import NoFile, bytes_of, same_file
from ufafuse.runtime.images import decode_image
from ufafuse.runtime.pairs import is_image
from ufafuse.runtime.pictures.arrived import has_gap
from ufafuse.runtime.pictures.conform import same_profile
from ufafuse.runtime.pictures.decode import decode_picture
from ufafuse.runtime.pictures.lostrows import Rows, lost_rows, zero_rows
from ufafuse.runtime.pictures.picture import Picture
from ufafuse.runtime.pictures.quick import reads_jpeg
from ufafuse.runtime.pixels import most_bytes, most_pixels
from ufafuse.runtime.stream.messages import Frame
from ufafuse.runtime.stream.sources.base import BrokenFrame, Source
from ufafuse.runtime.stream.sources.numbers import Numbers
from ufafuse.runtime.stream.sources.taken import TakenFiles

_POLL = 0.1
_WRITING = 2.0  # seconds that a file may be half written before it counts as broken
_CLOCK_STEP = 1.0  # seconds within which a folder may change twice and show one time
_LOOK_ANYWAY = 5.0  # for network folders that show a change late
_LAST_BYTES = 0.5  # seconds that such a one stands still when none of it is missing any more: less than a block leaves no gap
_IN_VAIN = 3  # files that stand still while they are waited for, after which the like of them are not
_FOR_ANOTHER = 2.0  # seconds that a name with several numbers may wait for another one, which shows the part that changes


class FolderSource(Source):
    """Image files of a folder in the order of their numbers: those that are there, then those that appear.

    The number in a file's name is the part that changes from file to file (``frame_000123_A.png``: 123; `Numbers`) and says
    which files belong together; where it is a time stamp, they are paired by time. The folder is watched for ever; the
    run's own limits end it.

    Args:
        folder: Where the files appear.
        pattern: Which of them to take, such as ``*_A.png``.
        most: Pixels that a file may declare; None: as `most_pixels` says for this machine.
    """

    live = False
    numbered = True
    clock = "the times of its files"

    def __init__(self, folder: Path, pattern: str = "*", *, most: int | None = None) -> None:
        self.name = str(folder / pattern) if pattern != "*" else str(folder)
        self._folder = folder
        self._pattern = pattern
        self._most = most_pixels() if most is None else most
        self._numbers = Numbers()
        self._names: dict[int, str] = {}
        self._seen = TakenFiles(folder)
        self._coming: deque[_Coming] = deque()
        self._rest = _Rest()
        self._first_look = True
        self._changed, self._changed_at = -1.0, 0.0
        self._looked, self._looked_late = -math.inf, False
        self.numbered = not self._has_time_stamps()

    def _has_time_stamps(self) -> bool:
        """Whether the names that are there already are told apart by time stamps."""
        try:
            stems = [path.stem for path in self._folder.iterdir() if self._is_meant(path)]
        except OSError:
            return False
        self._numbers.learn(stems)
        found = [number for number in map(self._numbers.of, stems) if number is not None]
        return bool(found) and all(number.seconds is not None for number in found)

    def _is_meant(self, path: Path) -> bool:
        return is_image(path) and fnmatch.fnmatch(path.name, self._pattern)

    def reads(self, path: Path) -> bool:
        """Whether it would be a frame here, or is one, by whatever name."""
        if same_file(path.parent, self._folder) and self._is_meant(path):
            return True
        try:
            status = path.stat()
        except OSError:
            return False
        if status.st_nlink < 2 and not path.is_symlink():  # no other name: a long folder need not be looked through
            return False
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            return any(same_file(path, Path(entry.path)) for entry in entries if self._is_meant(Path(entry.path)))
        return False

    def example(self) -> Array | None:
        """The first file that is there, if it can be read."""
        with contextlib.suppress(OSError, InputError):
            first = min((path for path in self._folder.iterdir() if self._is_meant(path)), default=None)
            if first is not None:
                return decode_image(bytes_of(first, most_bytes(self._most)), first.name, most=self._most)
        return None

    def open(self) -> None:
        """Raises: InputError when there is no such folder, or two of its files have one number."""
        if not self._folder.is_dir():
            raise InputError(f"{self._folder} is not a folder: make it first (mkdir -p {self._folder}).")
        if self._first_look:
            self._look(strict=True)

    def read(self, timeout: float) -> Frame | None:
        """The file with the lowest number that was not taken yet; a half-written one is waited for."""
        until = time.monotonic() + timeout
        while True:
            if not self._coming:
                self._look()
            if self._coming:
                frame = self._decoded(self._coming[0])
                if frame is not None:
                    return frame
            if time.monotonic() + _POLL > until:
                time.sleep(max(0.0, until - time.monotonic()))
                return None
            time.sleep(_POLL)

    def _look(self, *, strict: bool = False) -> None:
        """Queue the files that are new, and those that were replaced by others of their names.

        Raises:
            InputError: ``strict``, and two files have one number.
        """
        try:
            if not self._unchanged():
                self._list(strict=strict)
        except OSError:  # unmounted or removed: it may come back
            return
        self._coming.extend(_Coming(self._folder / name, was_there=False) for name in self._seen.replaced())

    def _list(self, *, strict: bool) -> None:
        """Queue the files that are new: what is known already costs as good as nothing, however much there is of it."""
        names = set(os.listdir(self._folder))  # noqa: PTH208 - as `TakenFiles`
        new = [path for path in map(self._folder.joinpath, self._seen.new(names)) if self._is_meant(path)]
        self._numbers.learn(path.stem for path in new)
        ordered = sorted(new, key=lambda path: (self._number_of(path) or 0, path.name))
        for path in ordered if strict else []:
            if other := self._same_number(path):
                raise InputError(
                    f"{path} and {other} beside it have the same number, {self._number_of(path)}: name one otherwise, or "
                    "give a pattern, such as 'dir/*_A.png', that one of them does not match."
                )
        self._coming.extend(_Coming(path, was_there=self._first_look) for path in ordered)
        if self._seen.keep(names):
            self._names = {number: name for number, name in self._names.items() if name in names}
        self._first_look = False

    def _number_of(self, path: Path) -> int | None:
        found = self._numbers.of(path.stem)
        return None if found is None else found.number

    def _same_number(self, path: Path) -> str:
        """Another file that has this one's number and is still there; where there is none, this one is remembered for it."""
        number = self._number_of(path)
        if number is None:
            return ""
        other = self._names.setdefault(number, path.name)
        return other if other != path.name else ""

    def _unchanged(self) -> bool:
        """Whether listing a folder, which may hold a hundred thousand files, would show nothing new.

        Its time only has to be another one after a change: whose clock set it, and what that shows, does not matter.
        """
        changed, now = self._folder.stat().st_mtime, time.monotonic()
        if changed != self._changed:
            self._changed, self._changed_at = changed, now
        settled = self._looked_late and self._looked >= self._changed_at and now - self._looked < _LOOK_ANYWAY
        if not settled:
            self._looked = now
            self._looked_late = now - self._changed_at > _CLOCK_STEP or time.time() - changed > _CLOCK_STEP
        return settled

    def _decoded(self, coming: _Coming) -> Frame | None:
        """The file as a frame, or None while it is being written."""
        path = coming.path
        if not self._numbers.sure(path.stem) and coming.waited() < _FOR_ANOTHER and len(self._coming) < 2:
            self._look()
            return None
        found = self._numbers.of(path.stem)
        if found is None:
            self._pass_over(path)
            raise BrokenFrame(f"{path.name} has no number in its name, so nothing says which file belongs to it")
        if other := self._same_number(path):
            self._pass_over(path)
            raise BrokenFrame(f"{path.name} has the number of {other}, {found.number}: nothing says which of them is meant")
        try:
            status = path.stat()
            data = bytes_of(path, most_bytes(self._most))
            picture = decode_picture(data, path.name, most=self._most, inside="quickly" if reads_jpeg() else None)
        except NoFile as error:
            self._pass_over(path)
            raise BrokenFrame(str(error)) from error
        except (InputError, OSError) as error:
            if coming.is_being_written():
                return None
            self._pass_over(path)
            raise BrokenFrame(str(error)) from error
        if self._rest.is_waited_for(coming, picture):
            return None
        self._coming.popleft()
        if not self._seen.take(path.name, status, data):  # touched, and no other picture
            return None
        self.remark = self._remark_on(picture)
        moment = status.st_mtime if found.seconds is None else found.seconds
        return Frame(picture.array, found.number, moment, time.monotonic())

    def _pass_over(self, path: Path) -> None:
        self._coming.popleft()
        self._seen.pass_over(path.name)

    def _remark_on(self, picture: Picture) -> str:
        metadata = picture.metadata
        found = [f"{self.name}: {warning}" for warning in picture.warnings]
        if not same_profile(metadata.icc, None):
            found.append(
                f"the frames of {self.name} have the colour profile {metadata.profile_name!r}, which results do not say"
            )
        elif metadata.colour_space:
            found.append(f"the frames of {self.name} have the colour space {metadata.colour_space}, which results do not say")
        if picture.damage:
            found.append(f"frames of {self.name} are damaged inside: parts of them are wrong")
        found += [f"{self.name}: {text.rstrip('.')}" for text in self._rest.told]
        return "; ".join(found)


class _Coming:
    """A file in the queue, and since when it has not grown.

    Args:
        path: The file.
        was_there: It lay there when the run began: nobody may be writing it any more.
    """

    def __init__(self, path: Path, *, was_there: bool) -> None:
        self.path = path
        self.changed = False  # while it was waited for
        self.came_late = False  # some of it, behind its size
        self._was_there = was_there
        self._state: tuple[int, int] | None = None
        self._since = 0.0
        self._came = time.monotonic()

    @property
    def waited_for(self) -> bool:
        """Whether it was looked at more than once, for it was not whole."""
        return self._state is not None

    def waited(self) -> float:
        """Seconds since it was seen first; infinite where it lay there when the run began."""
        return math.inf if self._was_there else time.monotonic() - self._came

    def is_being_written(self, *, settled: bool = False) -> bool:
        """Whether the file, which cannot be read as a whole, changed lately, or since the first look: within two seconds.

        Half of one where ``settled``: none of it is known to be missing.
        """
        try:
            status = self.path.stat()
        except OSError:  # taken away again
            return False
        if self._was_there and time.time() - status.st_mtime > _WRITING:
            return False
        state, now = (status.st_size, status.st_mtime_ns), time.monotonic()
        if state != self._state:
            self.changed = self._state is not None
            self._state, self._since = state, now
        return now - self._since < (_LAST_BYTES if settled else _WRITING)


class _Rest:
    """Whether the rest of a file that can be read may be on its way, for a program may set its size before it writes.

    Pictures that always have a gap or rows of 0 (a mask before the lens, a file system that stores no zeros) are waited for in
    vain, and after a few no more, until one is seen to change.
    """

    def __init__(self) -> None:
        self._usual: Rows | None = None
        self._in_vain = 0
        self.told: list[str] = []  # of the picture that was taken last: rows of 0 that those before it did not have

    def is_waited_for(self, coming: _Coming, picture: Picture) -> bool:
        """Whether a file is to be read again, for it may not be whole; otherwise it is taken as it is."""
        rows = zero_rows(picture.array)
        before = self._usual or Rows(0, 0, rows.height)
        least = Rows(min(rows.first, before.first), min(rows.last, before.last), rows.height)
        lost = lost_rows([coming.path.name, ""], [rows, least])
        suspected = bool(lost) or has_gap(coming.path)
        if suspected and self._in_vain < _IN_VAIN and coming.is_being_written():
            coming.came_late = True
            return True
        if not suspected and coming.came_late and coming.is_being_written(settled=True):
            return True
        if coming.changed:
            self._in_vain = 0
        elif suspected and coming.waited_for:
            self._in_vain += 1
        self.told = lost if self._usual is not None else []  # the first may have a margin, as all may
        self._usual = rows if self._usual is None else least
        return False
