"""Manifests: tables of pairs, one a row, as CSV or Parquet with the columns ``near``, ``far`` and, if you like, ``out``."""

from __future__ import annotations

import csv
import os
import posixpath
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ufafuse.runtime.batches.storage import fetch, here, joined, url_of
from ufafuse.runtime.batches.task import Task
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.filebytes import check_file

SUFFIXES = (".csv", ".parquet")
_COLUMNS = ("near", "far", "out")
_SHOWN = 60  # characters of a cell


def is_manifest(place: str | Path) -> bool:
    """Whether a name is that of a manifest."""
    return Path(str(place)).suffix.lower() in SUFFIXES


def read_manifest(place: str | Path, out: str | Path, *, suffix: str = ".png") -> list[Task]:
    """The pairs of a manifest.

    Args:
        place: A ``.csv`` with a header, or a ``.parquet``; a file or a URL. Relative names in it are taken from its own folder.
        out: The folder (or URL) for results: relative names in the column ``out`` are taken from there; without that column
            results are called as the near frame.
        suffix: Of results whose name has none.

    Raises:
        InputError: It cannot be read, lacks a column or a cell, or two rows have one result; the text names the row.
    """
    url = url_of(place)
    if url is None:
        return _tasks(_rows(Path(place)), str(Path(place).parent), str(place), out, suffix)
    with tempfile.TemporaryDirectory(prefix="ufafuse-") as folder:
        rows = _rows(fetch(url, Path(folder)), name=url)
        return _tasks(rows, posixpath.dirname(url), url, out, suffix)


def _tasks(rows: Iterable[tuple[int, dict[str, str]]], home: str, name: str, out: str | Path, suffix: str) -> list[Task]:
    tasks: list[Task] = []
    taken: dict[str, int] = {}
    for number, row in rows:
        where = f"{name}, row {number}"
        near, far = (_found_from(home, _cell(row, column, where)) for column in ("near", "far"))
        own, result = _result(row.get("out", ""), near, out, suffix, where)
        if result in taken:
            raise InputError(f"{where}: the result {result} is that of row {taken[result]} too: name another `out`.")
        taken[result] = number
        tasks.append(Task(own, (near, far), result))
    if not tasks:
        raise InputError(f"{name} holds no pairs: give a header near,far,out and a row for each pair.")
    return tasks


def _cell(row: dict[str, str], column: str, where: str) -> str:
    text = here(row[column].strip())
    if not text or "\0" in text:
        raise InputError(f"{where}: {column} is empty or no name: give the file's name or URL.")
    return text


def _found_from(home: str, name: str) -> str:
    """A name in a manifest, seen from where this process runs."""
    return name if url_of(name) or Path(name).is_absolute() else joined(home, name)


def _result(name: str, near: str, out: str | Path, suffix: str, where: str) -> tuple[str, str]:
    """What results beside the picture are called, with its folders below ``out`` as those have them; and its name or URL."""
    name = here(name.strip())
    ending = posixpath.splitext(name)[1]
    if not ending or ending[1:].isdecimal():  # of ``board.0001`` the number is no format
        name = (name or _stem(near)) + suffix
    if url_of(name) or Path(name).is_absolute():
        return _name_below(name, out), name
    name = posixpath.normpath(name)
    if name.split("/")[0] == "..":
        raise InputError(f"{where}: out is {name[:_SHOWN]!r}, which leaves the folder of the results: give an absolute name.")
    return posixpath.splitext(name)[0], joined(out, name)


def _name_below(place: str, out: str | Path) -> str:
    """As the relative name would give it, where an absolute one lies below ``out`` (those of the failed do); else its stem."""
    home, full = (url_of(each) or os.path.abspath(each) for each in map(here, (out, place)))  # noqa: PTH100 - links stay as they are
    home = home.rstrip("/") + "/"
    return posixpath.splitext(full.removeprefix(home))[0] if full.startswith(home) else _stem(place)


def _stem(place: str) -> str:
    return posixpath.splitext(posixpath.basename(place))[0]


def _rows(path: Path, *, name: str = "") -> Iterator[tuple[int, dict[str, str]]]:
    """Number (from 1, without the header) and cells of each row. Raises: InputError."""
    name = name or str(path)
    reader = _parquet if path.suffix.lower() == ".parquet" else _csv
    try:
        check_file(path, give="a manifest, .csv or .parquet")
        yield from reader(path, name)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {' '.join((error.strerror or str(error)).split())}.") from error


def _csv(path: Path, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.reader(stream, strict=True)
            header = [cell.strip().lower() for cell in next(table, [])]
            _check_columns(header, name)
            for number, cells in enumerate(table, start=1):
                if cells and len(cells) != len(header):
                    raise InputError(f"{name}, row {number}: {len(cells)} cells under {len(header)} columns.")
                if cells:
                    yield number, dict(zip(header, cells, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{name} is no CSV in UTF-8 that can be read ({error}): save it as one.") from error


def _parquet(path: Path, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise InputError(f"{name} needs pyarrow: run pip install 'ufafuse[remote]', or give a .csv.") from error
    try:
        with pq.ParquetFile(path) as table:
            _check_columns(table.schema_arrow.names, name)
            columns = [column for column in _COLUMNS if column in table.schema_arrow.names]
            number = 0
            for batch in table.iter_batches(columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {column: _text(row[column]) for column in columns}
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"{name} is no Parquet file that can be read: {' '.join(str(error).split())}.") from error


def _text(value: Any) -> str:  # noqa: ANN401 - whatever a column holds
    return "" if value is None else str(value)


def _check_columns(names: list[str], name: str) -> None:
    for column in ("near", "far"):
        if names.count(column) != 1:
            found = ",".join(names)[:_SHOWN]
            commas = ", separated by commas" if any(mark in found for mark in ";\t|") else ""
            raise InputError(f"{name} has no one column {column!r} but {found!r}: begin it with near,far,out{commas}.")


def write_failed(path: Path, failed: Iterable[tuple[Task, str]]) -> None:
    """A manifest of the pairs that failed, with the reasons, which does them again when it is given as one.

    Args:
        path: A ``.csv``, replaced if it exists.
        failed: Pairs, and what went wrong with each.

    Raises:
        OutputError: It cannot be written.
    """
    from ufafuse.runtime.writing import atomic_write

    with (
        atomic_write(path, force=True) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        table = csv.writer(stream)
        table.writerow((*_COLUMNS, "error"))
        for task, error in failed:
            table.writerow((*map(_anywhere, (*task.files[:2], task.out)), " ".join(error.split())))


def _anywhere(place: str) -> str:
    """A name that means the same in another folder."""
    return place if url_of(place) else os.path.abspath(place)  # noqa: PTH100 - links stay as they are
