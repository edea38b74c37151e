"""Tables: in Markdown, and for a terminal, which they fit: columns are left out, rows are never broken."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rich.console
    import rich.table

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


def terminal(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    console: rich.console.Console,
    title: str,
    left: Collection[int],
    drop: Sequence[str] = (),
    styles: Sequence[str] = (),
) -> rich.table.Table:
    """A table without lines, as wide as it is: never half a number.

    Args:
        heads, rows, drop: As `kept_columns`; cells may have rich's markup.
        console: Which it is to fit.
        title: What stands above it.
        left: The numbers of the columns that begin at the left; the others end at the right.
        styles: Of each row, as rich names them; empty: none.
    """
    from rich.table import Table
    from rich.text import Text

    plain = [[Text.from_markup(text).plain for text in row] for row in rows]
    kept = kept_columns(heads, plain, drop=drop, width=console.width)
    table = Table(title=title, box=None, padding=(0, 1, 0, 0), caption=left_out(heads, kept) or None)
    for number in kept:
        table.add_column(heads[number], justify="left" if number in left else "right", no_wrap=True)
    for row, style in zip(rows, styles or [""] * len(rows), strict=True):
        table.add_row(*(row[number] for number in kept), style=style)
    table.width = console.measure(table, options=console.options.update(max_width=1000)).maximum
    return table


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]], *, left: Collection[int]) -> str:
    """A table in Markdown; columns whose numbers are in ``left`` begin at the left, the others end at the right."""
    rule = "|".join("---" if number in left else "---:" for number in range(len(heads)))
    lines = (f"| {' | '.join(text.replace('|', chr(92) + '|') for text in row)} |" for row in rows)
    return "\n".join([f"| {' | '.join(heads)} |", f"|{rule}|", *lines])
