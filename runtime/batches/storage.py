"""Files behind URLs (``s3://bucket/key``), by fsspec: brought here to be fused, and results taken there.

fsspec comes with the extra ``remote``; each kind of storage has a package of its own (``s3fs``, ``gcsfs``, ``adlfs``), which
its error names. Credentials and endpoints are those of that package, from the environment (``AWS_ENDPOINT_URL``, ...).
"""

from __future__ import annotations

import posixpath
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ufafuse.runtime.errors import InputError, OutputError, UfaError

_LONGEST = 1024  # characters of a name below a URL
_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):(?:/{1,2}|(?<=file:)/{3})(?!/)(.+)", re.DOTALL)
_HERE = re.compile(r"file:(?://(?:localhost)?)?(/(?!/).+)", re.DOTALL)


def url_of(place: str | Path) -> str | None:
    """The URL that a name is, also where a `Path` has made one slash of its two; None for a file of this machine."""
    found = _URL.fullmatch(str(place))
    if found is None or Path(place).exists():
        return None
    return f"{found[1]}:{'///' if found[1] == 'file' else '//'}{found[2]}"


def shown(place: str | Path) -> str:
    """A name as the user gave it: a URL with both of its slashes."""
    return url_of(place) or str(place)


def here(place: str | Path) -> str:
    """A name without the ``file://`` that other programs put before those of this machine, so that each file has one name."""
    found = _HERE.fullmatch(str(place))
    return found[1] if found and not Path(place).exists() else str(place)


def joined(folder: str | Path, name: str) -> str:
    """``name`` below a folder, or below a URL."""
    folder = here(folder)
    url = url_of(folder)
    return str(Path(folder) / name) if url is None else f"{url.rstrip('/')}/{name}"


@contextmanager
def mirrored(url: str) -> Iterator[Path]:
    """A folder of this machine with an empty file for each that lies below a URL, so that names are read by one set of rules.

    Raises:
        InputError: Nothing lies there, or storage does not answer.
    """
    try:
        system, path = _system(url)
        system.invalidate_cache()
        found = [str(name) for name in system.find(path)]
    except Exception as error:
        raise _told(url, "listed", error, InputError) from error
    if not found:
        raise InputError(f"{url} holds no files: give a folder of pairs or stacks, or a manifest.")
    with tempfile.TemporaryDirectory(prefix="ufafuse-") as folder:
        for name in found:
            inner = posixpath.relpath(name, path)
            if inner.startswith("..") or len(inner) > _LONGEST or "\0" in inner:
                continue  # such a name is no picture's
            file = Path(folder) / inner
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
            except OSError as error:  # keys of storage may be what names of files cannot
                raise InputError(f"{url} holds {inner[:80]!r}, which cannot be a file here: {error.strerror}.") from error
        yield Path(folder)


def fetch(url: str, folder: Path) -> Path:
    """Copy what lies behind a URL into ``folder``, under its own name. Raises: InputError."""
    target = folder / (posixpath.basename(url.rstrip("/")) or "file")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        system, path = _system(url)
        system.get_file(path, str(target))
    except Exception as error:
        raise _told(url, "read", error, InputError) from error
    return target


def head(place: str, count: int) -> bytes:
    """The first ``count`` bytes of a file or of what lies behind a URL; fewer, or none, where it cannot be read."""
    try:
        url = url_of(place)
        if url is None:
            with Path(place).open("rb") as file:
                return file.read(count)
        system, path = _system(url)
        return bytes(system.cat_file(path, start=0, end=count))
    except Exception:  # noqa: BLE001 - as `_told`; it is told when the file itself is fetched
        return b""


def put(path: Path, url: str) -> None:
    """Store a file under a URL. Raises: OutputError."""
    try:
        system, target = _system(url)
        system.put_file(str(path), target)
    except Exception as error:
        raise _told(url, "written", error, OutputError) from error


def remove(url: str) -> None:
    """Remove what lies behind a URL, if anything does. Raises: OutputError."""
    try:
        system, path = _system(url)
        if system.exists(path):
            system.rm_file(path)
    except Exception as error:
        raise _told(url, "removed", error, OutputError) from error


def present(places: Iterable[str]) -> set[str]:
    """Those of the places that are there; storage is asked once for each folder. Raises: InputError."""
    listed: dict[str, set[str]] = {}
    found = set()
    for place in places:
        url = url_of(place)
        if url is None:
            if Path(place).exists():
                found.add(place)
            continue
        folder, name = posixpath.split(url)
        if folder not in listed:
            listed[folder] = _names_in(folder)
        if name in listed[folder]:
            found.add(place)
    return found


def _names_in(folder: str) -> set[str]:
    try:
        system, path = _system(folder)
        system.invalidate_cache()
        return {posixpath.basename(str(name).rstrip("/")) for name in system.ls(path, detail=False)}
    except FileNotFoundError:
        return set()
    except Exception as error:
        raise _told(folder, "listed", error, InputError) from error


def _system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError as error:
        raise InputError(f"{url} needs fsspec: run pip install 'ufafuse[remote]', and the package of your storage.") from error
    system, path = url_to_fs(url)
    return system, str(path)


def _told(url: str, what: str, error: Exception, kind: type[UfaError]) -> UfaError:
    """What storage's libraries raise has no base class: whatever it is concerns this file alone."""
    if isinstance(error, UfaError):
        return error
    reason = "there is no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split()) or repr(error)
    return kind(f"{url} cannot be {what}: {reason.rstrip('.')}.")
