"""Files that have no name yet: beside what they will be, locked while their process lives, swept once it was killed."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

MARK = ".ufafuse-"  # what files under way begin with: short, for a name may have 255 bytes in all
_MODE = 0o666  # less what the umask takes, which only the kernel can ask without changing it for other threads
_LONGEST_SUFFIX = 32


@dataclass(frozen=True)
class _Waiting:
    """A finished file that waits for its name."""

    temporary: Path
    path: Path
    force: bool


class Together:
    """Files of one run: written into hidden folders beside their places, and given their names all at the end.

    One folder is locked for all files in it, since a stack's registered frames may be more than a process may hold open.
    """

    def __init__(self) -> None:
        self._rooms: dict[Path, tuple[Path, int]] = {}
        self._waiting: list[_Waiting] = []
        self._made: list[Path] = []

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """What is written within belongs to this run, in whatever thread."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    def place(self, path: Path) -> Path:
        """A new empty file that is to become ``path``. Raises: OSError."""
        folder = path.parent
        if folder not in self._rooms:
            sweep_once(str(folder))
            self._rooms[folder] = locked_folder(folder)
        temporary = self._rooms[folder][0] / f"{secrets.token_hex(8)}{_short_suffix(path)}"
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE))
        return temporary

    def add(self, temporary: Path, path: Path, *, force: bool) -> None:
        """The file is finished, and becomes ``path`` with the others."""
        self._waiting.append(_Waiting(temporary, path, force))

    def now_at(self, path: Path) -> Path:
        """Where a file lies until it has its name."""
        return next((each.temporary for each in self._waiting if each.path == path), path)

    def made(self, folders: Iterable[Path]) -> None:
        """Folders were made for the files, the outer ones first: they go again if the files do not come."""
        self._made.extend(folders)

    def name_all(self) -> None:
        """Give every file its name; where one cannot have it, none has, and what was there before is there again.

        Raises:
            OSError: With the name in ``filename``.
        """
        named: list[tuple[_Waiting, Path | None, os.stat_result]] = []
        try:
            for each in self._waiting:
                before = _kept(each) if each.force else None
                named.append((each, before, each.temporary.stat()))
                try:
                    put(each.temporary, each.path, force=each.force)
                except OSError as error:
                    error.filename = str(each.path)
                    raise
        except BaseException:
            for each, before, ours in reversed(named):
                _take_back(each.path, before, ours)
            raise
        self._made.clear()

    def clear(self) -> None:
        """Remove what has no name, and the folders that were made for it."""
        for room, handle in self._rooms.values():
            shutil.rmtree(room, ignore_errors=True)
            os.close(handle)
        self._rooms.clear()
        for folder in reversed(self._made):
            with contextlib.suppress(OSError):  # somebody else put something in
                folder.rmdir()


_CURRENT: ContextVar[Together | None] = ContextVar("ufafuse_together", default=None)


def current() -> Together | None:
    """The run that this thread writes files of; None: each is named by itself."""
    return _CURRENT.get()


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """What is written within is no result of the run: it is named at once, and stays whatever becomes of the others."""
    token = _CURRENT.set(None)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def _kept(each: _Waiting) -> Path | None:
    """A second name of the file that is to be replaced; None where there is none, or the file system has no hard links."""
    kept = each.temporary.with_name(f"{each.temporary.name}.before")
    try:
        os.link(each.path, kept, follow_symlinks=False)
    except (OSError, NotImplementedError):
        return None
    return kept


def _take_back(path: Path, before: Path | None, ours: os.stat_result) -> None:
    with contextlib.suppress(OSError):
        if before is not None:
            before.replace(path)
        elif os.path.samestat(path.lstat(), ours):
            path.unlink()


def _short_suffix(path: Path) -> str:
    return path.suffix if len(os.fsencode(path.suffix)) <= _LONGEST_SUFFIX else ""


def _lock(handle: int) -> None:
    with contextlib.suppress(OSError):  # a file system without locks: nobody sweeps there either
        fcntl.flock(handle, fcntl.LOCK_EX)


def created(path: Path) -> tuple[int, Path]:
    """A new file beside ``path``, empty and locked: its descriptor and its path. Raises: OSError."""
    while True:
        temporary = path.parent / f"{MARK}{secrets.token_hex(8)}{_short_suffix(path)}"
        with contextlib.suppress(FileExistsError):
            handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
            _lock(handle)
            if temporary.exists():
                return handle, temporary
            os.close(handle)  # swept away before it was locked


def locked_folder(folder: Path) -> tuple[Path, int]:
    """A new folder in ``folder``, empty and locked: its path and its descriptor. Raises: OSError."""
    while True:
        made = folder / f"{MARK}{secrets.token_hex(8)}"
        made.mkdir()
        with contextlib.suppress(FileNotFoundError):  # swept away before it was locked
            handle = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            _lock(handle)
            if made.exists():
                return made, handle
            os.close(handle)


def sync(path: Path) -> None:
    """Wait until a file is on the disk. Raises: OSError."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def put(temporary: Path, path: Path, *, force: bool) -> None:
    """Give the file its name; without ``force`` only if nobody else took it meanwhile. Raises: FileExistsError."""
    if force:
        temporary.replace(path)
        return
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: the name is taken first, and then filled
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE))
        temporary.replace(path)


def sweep(folder: Path) -> None:
    """Remove what processes that were killed left half-written in ``folder``: what nobody holds locked."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(MARK):
                with contextlib.suppress(OSError):
                    _remove_if_left(entry)


def _remove_if_left(entry: os.DirEntry[str]) -> None:
    is_folder = entry.is_dir(follow_symlinks=False)
    how = os.O_RDONLY | os.O_DIRECTORY if is_folder else os.O_RDWR
    handle = os.open(entry.path, how | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError while its process lives, on any machine
        if is_folder:
            shutil.rmtree(entry.path)
        else:
            Path(entry.path).unlink(missing_ok=True)
    finally:
        os.close(handle)


@functools.lru_cache(maxsize=256)
def sweep_once(folder: str) -> None:
    """As `sweep`, the first time that this process writes there."""
    sweep(Path(folder))
