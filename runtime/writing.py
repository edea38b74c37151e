"""Files that are written whole or not at all, beside others that do the same."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ufafuse.runtime.errors import ModelError, OutputError
from ufafuse.runtime.texts import as_utf8, json_text

_MARK = ".ufafuse-"  # what files under way begin with: short, for a name may have 255 bytes in all
EXISTS = "exists already"  # what commands know such an error by
_LONGEST_NAME = 255
_MODE = 0o666  # less what the umask takes, which only the kernel can ask without changing it for other threads


@contextlib.contextmanager
def atomic_write(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Write a file whole or not at all.

    Yields a temporary path in the same folder with the same suffix; when the block ends well it is synced and renamed
    to ``path``, otherwise removed. What a killed process left behind in that folder is removed the first time.

    Raises:
        OutputError: ``path`` exists, or came while the block ran, and ``force`` is not given; its name is too long; the folder
            is missing or not writable, or the disk is full.
    """
    path = Path(path)
    check_new(path, force=force)
    handle, temporary = -1, None
    try:
        _sweep_once(str(path.parent))
        handle, temporary = _created(path)
        yield temporary
        _sync(temporary)
        _put(temporary, path, force=force)
    except FileExistsError as error:
        raise OutputError(already_there(path)) from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
            os.close(handle)


def put_folder(made: Path, out: Path, *, force: bool = False) -> None:
    """Copy a finished folder to where it is to lie, whole or not at all.

    Args:
        made: The folder.
        out: Its new name.
        force: Replace a folder that is there.

    Raises:
        OutputError: ``out`` exists and ``force`` is not given, or it cannot be written.
    """
    check_new(out, force=force)
    beside = out.with_name(f"{_MARK}{secrets.token_hex(8)}")
    try:
        shutil.copytree(made, beside)
        if out.is_dir():
            shutil.rmtree(out)
        beside.rename(out)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make ``folder`` and its parents. Raises: OutputError when that is refused."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}.") from error


def check_new(path: Path, *, force: bool, beside: str = "") -> None:
    """Refuse, before any work is spent on it, a file that could not be written.

    Args:
        path: The file to be.
        force: Whether it may exist.
        beside: As `check_name`.

    Raises:
        OutputError: It exists, or its name is longer than names may be.
    """
    check_name(path, beside=beside)
    if not force and os.path.lexists(path):
        raise OutputError(already_there(path))


def check_parent(path: Path) -> None:
    """Refuse a file in a folder that is not there, before any work is spent on it (`OutputError`)."""
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent} is not a folder: make it first (mkdir -p {path.parent}).")


def check_name(path: Path, *, beside: str = "") -> None:
    """Refuse a name longer than names may be.

    Args:
        path: The file to be.
        beside: A suffix that another file's name will have behind this one's.

    Raises:
        OutputError: It is longer.
    """
    length = len(os.fsencode(path.name + beside))
    if length > _LONGEST_NAME:
        and_that = f" and {path.name[:12]}...{beside} beside it" if beside else ""
        raise OutputError(
            f"the name {path.name[:24]}...{and_that} has {length} bytes, and {_LONGEST_NAME} are possible: shorten it."
        )


def write_text(path: Path, text: str, *, force: bool = False) -> None:
    """Write a text by `as_utf8`, in any locale, whole or not at all. Raises: OutputError, as `atomic_write`."""
    with atomic_write(path, force=force) as temporary:
        temporary.write_bytes(as_utf8(text))


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote. Raises: ModelError where the file cannot be read, or holds something else."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read ({error}): remove it, and run the command that made it again.") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} holds no report: remove it, and run the command that made it again.")
    return values


def write_json(path: Path, values: Mapping[str, Any], *, force: bool = True) -> None:
    """Write ``values`` as JSON in lines (`json_text`), whole or not at all. Raises: OutputError, as `atomic_write`."""
    with atomic_write(path, force=force) as temporary:
        temporary.write_text(json_text(values, lines=True) + "\n", encoding="utf-8")


def sweep(folder: Path) -> None:
    """Remove what processes that were killed left half-written in ``folder``: what nobody holds locked."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_MARK):
                with contextlib.suppress(OSError):
                    _remove_if_left(entry)


def _remove_if_left(entry: os.DirEntry[str]) -> None:
    handle = os.open(entry.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError while its process lives, on any machine
        Path(entry.path).unlink(missing_ok=True)
    finally:
        os.close(handle)


@functools.lru_cache(maxsize=256)
def _sweep_once(folder: str) -> None:
    sweep(Path(folder))


def _created(path: Path) -> tuple[int, Path]:
    """A new file beside ``path``, empty and locked: its descriptor and its path."""
    while True:
        suffix = path.suffix if len(os.fsencode(path.suffix)) <= 32 else ""
        temporary = path.parent / f"{_MARK}{secrets.token_hex(8)}{suffix}"
        with contextlib.suppress(FileExistsError):
            handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
            with contextlib.suppress(OSError):  # a file system without locks: nobody sweeps there either
                fcntl.flock(handle, fcntl.LOCK_EX)
            if temporary.exists():
                return handle, temporary
            os.close(handle)  # swept away before it was locked


def _sync(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _put(temporary: Path, path: Path, *, force: bool) -> None:
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


def already_there(path: object) -> str:
    """The error's text for a file that may not be replaced."""
    return f"{path} {EXISTS}: choose another name, or replace it with `force=True`."
