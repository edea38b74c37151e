"""What PyTorch made of pairs, kept for every engine that is held against it, without all of it in memory."""

import tempfile
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import IO, Any, overload

import numpy as np

from ufafuse.runtime.checks.cases import Case
from ufafuse.runtime.errors import OutputError

MEMORY_BYTES = 256 << 20  # 22 bytes a pixel: pairs of 12 million pixels in all
_ARRAYS = ("near", "far", "reference", "weight")


class KeptCases(Sequence[Case]):
    """Cases, read again each time they are asked for where they do not fit into memory.

    Args:
        cases: Taken one by one.
        memory: Bytes of them that stay in memory; the others lie in a file of the system's temporary folder, without a name.

    Raises:
        OutputError: That folder has no room for them.
    """

    def __init__(self, cases: Iterable[Case], *, memory: int = MEMORY_BYTES) -> None:
        self._kept: list[tuple[Case, int | None]] = []
        self._file: IO[bytes] | None = None
        for case in cases:
            memory -= sum(array.nbytes for array in _arrays_of(case).values())
            self._kept.append((case, None) if memory >= 0 else self._written(case))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._kept)

    @overload
    def __getitem__(self, index: int, /) -> Case: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Case]: ...
    def __getitem__(self, index: int | slice, /) -> Case | list[Case]:
        """One of them, or several."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        case, place = self._kept[index]
        if place is None:
            return case
        assert self._file is not None
        self._file.seek(place)
        return replace(case, **{name: np.load(self._file) for name in _arrays_of(case)})

    def _written(self, case: Case) -> tuple[Case, int]:
        """The case without its arrays' contents, and where these lie."""
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="ufafuse-")  # noqa: SIM115 - closed with this object
                weakref.finalize(self, self._file.close)
            place = self._file.seek(0, 2)
            for array in _arrays_of(case).values():
                np.save(self._file, array)
            self._file.flush()
        except OSError as error:
            raise OutputError(
                f"PyTorch's results cannot be kept in {tempfile.gettempdir()}: {error.strerror}. Take fewer pairs "
                "(`max_pairs`), or name a folder with more room in TMPDIR."
            ) from error
        return replace(case, **{name: array[:0] for name, array in _arrays_of(case).items()}), place


def _arrays_of(case: Case) -> dict[str, Any]:
    return {name: array for name in _ARRAYS if (array := getattr(case, name)) is not None}
