"""Results of many that would be one file, or one of the frames: refused before anything runs."""

from __future__ import annotations

import functools
import os
import posixpath
import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from ufafuse.runtime.batches.storage import shown, url_of
from ufafuse.runtime.errors import InputError, OutputError

Piece = TypeVar("Piece")


class Wanted(NamedTuple):
    """What one of many reads and writes.

    Args:
        name: Of its results, without a suffix.
        files: Names or URLs of what is read.
        results: Names or URLs of what is written.
    """

    name: str
    files: Sequence[str]
    results: Sequence[str]

    @property
    def known_as(self) -> str:
        """Where a user finds it: the folder of a stack that is called like it, else its first file."""
        first = shown(self.files[0])
        folder = posixpath.dirname(first)
        return folder if len(self.files) > 1 and posixpath.basename(folder) == self.name else first


def check_results(many: Sequence[Piece], wanted: Callable[[Piece], Wanted], *, links: bool = False) -> None:
    """Refuse results of two that would be one file, and those that would replace what is read, for whichever of them.

    Args:
        many: All of them.
        wanted: What one reads and writes; asked again and again, for of a million not all of it is to be held.
        links: Each file is looked at, whether it is a link to another; otherwise folders only, of which there are few.

    Raises:
        InputError: Naming both of the two.
        OutputError: Naming the frame.
    """
    identity = _by_its_own_name if links else _by_folder()
    read = {identity(place) for each in many for place in wanted(each).files}
    taken: dict[str, int] = {}
    for number, each in enumerate(many):
        for place in wanted(each).results:
            known = identity(place)
            if known in read:
                raise OutputError(f"{place} is one of the frames that are read: name another folder for the results.")
            if known in taken:
                raise _one_file(wanted(many[taken[known]]), wanted(each), place)
            taken[known] = number
    del read
    if within := _in_a_file(taken, identity):
        first, second = (wanted(many[taken[known]]) for known in within)
        names = f"{first.known_as} and {second.known_as}"
        raise InputError(f"{names} would be fused into {within[0]} and {within[1]}, a file in a file: rename one of them.")
    if alike := _but_for_case(taken):
        first, second = (wanted(many[taken[known]]) for known in alike)
        raise _one_file(first, second, alike[1])


def _in_a_file(taken: dict[str, int], identity: Callable[[str], str]) -> tuple[str, str] | None:
    """A result and another that would lie in it as if it were a folder; None where there are no such two."""
    above: set[str] = set()
    for known in taken:
        folder = known
        while url_of(known) is None and (folder := os.path.split(folder)[0]) not in above:
            above.add(folder)
            if identity(folder) in taken:
                return identity(folder), known
    return None


def _but_for_case(taken: dict[str, int]) -> tuple[str, str] | None:
    """Two names that differ in their case alone, or in how accents are coded, where the file system takes no notice."""
    if len(set(map(_folded, taken))) == len(taken):
        return None
    first: dict[str, str] = {}
    for known in taken:
        other = first.setdefault(_folded(known), known)
        if other != known and url_of(known) is None and ignores_case(Path(known).parent):
            return other, known
    return None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


def _one_file(first: Wanted, second: Wanted, place: str) -> InputError:
    if first == second:
        return InputError(f"two results of {first.known_as} would be written to {place}: give each a folder of its own.")
    names = f"{first.known_as} and {second.known_as}"
    return InputError(f"{names} would both be fused into {place}: rename one of them, or do them into different folders.")


def ignores_case(folder: Path) -> bool:
    """Whether names in ``folder``, or where it will be, are the same in capitals. Asked of the file system itself."""
    there = next((each for each in (folder, *folder.parents) if each.is_dir()), Path())
    try:
        with tempfile.NamedTemporaryFile(prefix=".ufafuse-", suffix=".case", dir=there) as file:
            path = Path(file.name)
            return path.with_suffix(".CASE").exists()
    except OSError:  # nothing can be written there, which will be told
        return False


def _by_its_own_name(place: str) -> str:
    return url_of(place) or os.path.realpath(place)


def _by_folder() -> Callable[[str], str]:
    resolved = functools.cache(os.path.realpath)

    def identity(place: str) -> str:
        folder, name = os.path.split(place)
        return url_of(place) or os.path.join(resolved(folder), name)  # noqa: PTH118 - a million times

    return identity
