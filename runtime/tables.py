"""Tables that fit a terminal: columns are left out, rows are never broken."""

from __future__ import annotations

from collections.abc import Sequence

_GAP = 1  # between columns


def kept_columns(heads: Sequence[str], rows: Sequence[Sequence[str]], *, drop: Sequence[str], width: int) -> list[int]:
    """The numbers of the columns that are shown.

    Args:
        heads: The columns' heads.
        rows: Cells as text, as many as heads each.
        drop: Heads that may be left out, the first of them first.
        width: Of the terminal, in characters.
    """
    wide = [max(map(len, (head, *(row[number] for row in rows)))) + _GAP for number, head in enumerate(heads)]
    kept = list(range(len(heads)))
    for head in drop:
        if sum(wide[number] for number in kept) <= width:
            break
        kept = [number for number in kept if heads[number] != head]
    return kept


def left_out(heads: Sequence[str], kept: Sequence[int]) -> str:
    """What to say below the table of the columns that were left out; empty where all are shown."""
    names = [head for number, head in enumerate(heads) if number not in kept]
    return f"not shown for want of width: {', '.join(names)}" if names else ""
