"""Tables that fit the terminal."""

from collections.abc import Sequence

from ufafuse.runtime import console


def print_table(heads: Sequence[str], rows: Sequence[tuple[list[str], bool]], drop: Sequence[str]) -> None:
    """Print rows, red where they are not ok.

    Args:
        heads: The columns' names.
        rows: The texts of each row, and whether it is ok.
        drop: The columns that may be left out where there is no room, the first one first.
    """
    from rich.table import Table

    from ufafuse.runtime.tables import kept_columns

    # The lines of the table take as much as the gaps that are counted, and two more for each column.
    texts = [texts for texts, _ in rows]
    kept = kept_columns(heads, texts, drop=drop, width=console.out.width - 2 * len(heads) - 1)
    table = Table()
    for number in kept:
        table.add_column(heads[number], no_wrap=True, overflow="ellipsis")
    for row, ok in rows:
        table.add_row(*(console.escape(row[number]) for number in kept), style="" if ok else "red")
    console.out.print(table)
