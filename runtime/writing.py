"""Files that are written whole or not at all, beside others that do the same."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ufafuse.runtime.errors import ModelError, OutputError
from ufafuse.runtime.filebytes import same_file
from ufafuse.runtime.kinds import SUFFIXES
from ufafuse.runtime.texts import as_utf8, json_text
from ufafuse.runtime.underway import Together, created, current, locked_folder, put, sweep_once, sync
from ufafuse.runtime.values import check_value, is_switch

EXISTS = "exists already"  # what commands know such an error by
_LONGEST_NAME = 255
# What files are called, and folders of results hardly ever: who gives such a name for a folder expects one file.
OF_FILES = frozenset(f".{part}" for name in SUFFIXES for part in name.split(".") if part) | {
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".ply", ".mkv", ".mp4", ".avi"),
    *(".json", ".jsonl", ".csv", ".parquet", ".html", ".md", ".txt", ".pdf", ".npz"),
}
_STREAMS = ("a named pipe", "a device")
_NO_FILES = {
    stat.S_ISFIFO: _STREAMS[0],
    stat.S_ISCHR: _STREAMS[1],
    stat.S_ISBLK: "a disk",
    stat.S_ISSOCK: "a socket",
}


@contextlib.contextmanager
def together() -> Iterator[Together]:
    """Let the files that are written within appear together, when the block ends well; otherwise none of them does.

    What they would replace (``force``) stays as it is until then. Within another such block they belong to that one.

    Raises:
        OutputError: One of them cannot have its name.
    """
    outer = current()
    if outer is not None:
        yield outer
        return
    files = Together()
    try:
        with files.entered():
            yield files
        try:
            files.name_all()
        except FileExistsError as error:
            raise OutputError(already_there(error.filename)) from error
        except OSError as error:
            raise OutputError(f"{error.filename} cannot be written: {error.strerror or error}.") from error
    finally:
        files.clear()


@contextlib.contextmanager
def atomic_write(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Write a file whole or not at all.

    Yields a temporary path in the same folder with the same suffix; when the block ends well it is synced and renamed
    to ``path``, otherwise removed. What a killed process left behind in that folder is removed the first time. Within
    `together` the renaming is left to that.

    Raises:
        OutputError: ``path`` exists, or came while the block ran, and ``force`` is not given; its name is too long; the folder
            is missing or not writable, or the disk is full.
    """
    path = Path(path)
    check_new(path, force=force)
    files = current()
    handle, temporary = -1, None
    try:
        if files is not None:
            temporary = files.place(path)
            yield temporary
            sync(temporary)
            files.add(temporary, path, force=force)
            return
        sweep_once(str(path.parent))
        handle, temporary = created(path)
        yield temporary
        sync(temporary)
        put(temporary, path, force=force)
    except FileExistsError as error:
        raise OutputError(already_there(path)) from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        if temporary is not None and handle >= 0:
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
    beside, handle = None, -1
    try:
        beside, handle = locked_folder(out.parent)
        shutil.copytree(made, beside, dirs_exist_ok=True)
        if out.is_dir():
            shutil.rmtree(out)
        beside.rename(out)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror or error}.") from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
            os.close(handle)


def make_folder(folder: Path) -> None:
    """Make ``folder`` and its parents. Raises: OutputError when that is refused."""
    files = current()
    missing = [] if files is None else [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{folder} is there, and is no folder: choose another name.") from error
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}.") from error
    if files is not None:
        files.made(reversed(missing))


def check_folder(folder: Path) -> None:
    """Refuse, before any work is spent on it, what cannot be a folder of results, or is called like a file.

    Raises:
        OutputError: It is a file, its name is longer than names may be, or it is not there and its suffix is one of files.
    """
    check_name(folder)
    if folder.is_dir():
        return
    if os.path.lexists(folder):
        raise OutputError(f"{folder} is a file, and several are written: give a folder.")
    if folder.suffix.lower() in OF_FILES:
        raise OutputError(f"{folder} looks like a file, and several are written: give a folder.")


def check_new(path: Path, *, force: bool, beside: str = "", streams: bool = False) -> None:
    """Refuse, before any work is spent on it, a file that could not be written.

    Args:
        path: The file to be.
        force: Whether it may exist.
        beside: As `check_name`.
        streams: As `check_is_file`.

    Raises:
        InputError: ``force`` is neither True nor False: a text such as "no" would replace the file.
        OutputError: It exists, or its name is longer than names may be; or it is a pipe, a socket or a device, with ``force``
            or without.
    """
    check_value("force", force, is_switch)
    check_name(path, beside=beside)
    check_is_file(path, streams=streams)
    if not force and os.path.lexists(path):
        raise OutputError(already_there(path))


def check_is_file(path: Path, *, streams: bool = False) -> None:
    """Refuse what has the name already and is no file: a file in its place would cut off whoever waits at its other end.

    Args:
        path: The file to be; what a link leads to counts.
        streams: What is written goes out piece by piece: pipes and devices do as well.

    Raises:
        OutputError: It says what is there.
    """
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode
        kind = next((name for is_one, name in _NO_FILES.items() if is_one(mode)), None)
        if kind is not None and not (streams and kind in _STREAMS):
            raise OutputError(f"{path} is {kind}, and a file is written: choose another name.")


def check_apart(outputs: Iterable[Path | None], sources: Iterable[Path | None]) -> None:
    """Refuse a result that would be written to what is read, before any work is spent on it.

    Args:
        outputs: Files and folders to be; None is none.
        sources: What is read, likewise: never replaced, with ``force`` or without, by whatever name or link.

    Raises:
        OutputError: One of the outputs is one of the sources.
    """
    read = [source for source in sources if source is not None]
    for path in outputs:
        if path is not None and any(same_file(path, source) for source in read):
            raise OutputError(read_here(path))


def read_here(path: Path) -> str:
    """The error's text for a result that would be written to what is read."""
    return f"{path} belongs to what is read: give the results a place of their own."


def check_parent(path: Path) -> None:
    """Refuse a file in a folder that is not there or not to be written to, before any work is spent on it (`OutputError`)."""
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent} is not a folder: make it first (mkdir -p {path.parent}).")
    check_can_lie(path.parent)


def check_can_lie(folder: Path) -> None:
    """Refuse a folder in which nothing can be written, or made where it is not there yet, before any work is spent on it.

    Raises:
        OutputError: What is there of it is no folder, or may not be written to.
    """
    there = next(each for each in (folder, *folder.parents) if os.path.lexists(each) or each == each.parent)
    if not there.is_dir():
        raise OutputError(f"{there} is no folder, and results are to lie in it: name another folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"{there} may not be written to: name another folder, or change its permissions.")


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


def already_there(path: object) -> str:
    """The error's text for a file that may not be replaced."""
    return f"{path} {EXISTS}: choose another name, or replace it with `force=True`."
