"""Where the results of many go: what could not be written there is refused before the first of them is fused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ufafuse.runtime.batches.storage import url_of
from ufafuse.runtime.pictures.write import WriteOptions, check_format, check_no_folder
from ufafuse.runtime.writing import check_can_lie, check_name


def check_places(many: Iterable[Sequence[str]], store: WriteOptions) -> None:
    """Refuse results that could not be written, whichever of them.

    Folders need not be there. Files that are there are another matter: whether they are left or replaced is asked of each.

    Args:
        many: Of each pair or stack the names or URLs of all results, the picture first.
        store: How pictures are stored.

    Raises:
        OutputError: A suffix of no format, an option that the format does not have, a name that is too long or a folder's, or
            a folder that cannot be made or written to.
    """
    folders = dict[Path, None]()
    for results in many:
        check_format(Path(results[0]))
        store.check_for(Path(results[0]))
        for place in results:
            path = Path(place)
            check_name(path)
            if url_of(place) is None:
                check_no_folder(path)
                folders[path.parent] = None
    for folder in folders:
        check_can_lie(folder)
