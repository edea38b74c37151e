"""Results of many that would be one file, or one of the frames: refused before anything runs."""

from __future__ import annotations

import functools
import os
import posixpath
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ufafuse.runtime.batches.storage import shown, url_of
from ufafuse.runtime.errors import InputError, OutputError


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


def check_results(many: Sequence[Wanted], *, links: bool = False) -> None:
    """Refuse results of two that would be one file, and those that would replace what is read, for whichever of them.

    Args:
        many: All of them.
        links: Each file is looked at, whether it is a link to another; otherwise folders only, of which there are few.

    Raises:
        InputError: Naming both of the two.
        OutputError: Naming the frame.
    """
    identity = _by_its_own_name if links else _by_folder()
    read = {identity(place) for each in many for place in each.files}
    taken: dict[str, Wanted] = {}
    for each in many:
        for place in each.results:
            known = identity(place)
            if known in read:
                raise OutputError(f"{place} is one of the frames that are read: name another folder for the results.")
            if known in taken:
                raise _one_file(taken[known], each, place)
            taken[known] = each
    _check_case(taken)


def _check_case(taken: dict[str, Wanted]) -> None:
    """Names that differ in their case alone are one where the file system takes no notice of it."""
    folded: dict[str, str] = {}
    for known, each in taken.items():
        other = folded.setdefault(known.casefold(), known)
        if other != known and ignores_case(Path(known).parent):
            raise _one_file(taken[other], each, known)


def _one_file(first: Wanted, second: Wanted, place: str) -> InputError:
    if first is second:
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
