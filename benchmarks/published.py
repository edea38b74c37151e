"""The paper's tables as data: what others printed, and what their released pictures give when scored here."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ufafuse.runtime.errors import InputError

PAPER_MS = 260.0
PAPER_SIZE = (520, 520)
"""The paper's own time for one 520 x 520 pair, on a GTX 2070 Super, as it reports it (0.26 s)."""

PAPER_MACHINE = "GTX 2070 Super, the paper's own measure"

MEASURED = "measured"
LYTRO_PAIRS = 20

_FILE = Path(__file__).with_name("published.json")


@dataclass(frozen=True)
class TableRow:
    """One row of a table of methods.

    Args:
        method: Its name in that table.
        source: ``"published"`` (as printed), ``"recomputed"`` (released pictures, scored by the same conventions) or
            ``"measured"`` (here, in this run).
        metrics: Name to mean value; without those that the source does not give.
        time_s: Seconds per pair, on whatever machine the source used; None where it gives none.
        note: What a reader has to know of this row.
    """

    method: str
    source: str
    metrics: Mapping[str, float]
    time_s: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Table:
    """One of the paper's tables: its title, the metrics that it has, a note, and its rows."""

    title: str
    metrics: tuple[str, ...]
    note: str
    rows: tuple[TableRow, ...]


@lru_cache(maxsize=1)
def _tables() -> dict[str, dict[str, Any]]:
    return dict(json.loads(_FILE.read_text(encoding="utf-8"))["tables"])


def published_table(number: str) -> Table:
    """Table ``"V"`` (multi-focus), ``"VI"`` (infrared and visible) or ``"VII"`` (CT and MR). Raises: InputError."""
    tables = _tables()
    if number.upper() not in tables:
        raise InputError(f"`table={number}` is not one of the paper's: choose {', '.join(tables)}.")
    table = tables[number.upper()]
    metrics = tuple(table["metrics"])
    return Table(table["title"], metrics, table["note"], tuple(_row(metrics, row) for row in table["rows"]))


def other_pairs(number: str, names: Collection[str]) -> str:
    """What to say where the pairs at hand are not the ones that a table of the paper is of; empty where they are.

    Args:
        number: As `published_table` takes it.
        names: The names of the pairs that were scored.
    """
    if number.upper() != "V":
        return f"Table {number.upper()} is of the paper's own pairs: its rows compare with yours only if these are the same."
    lytro = {name for name in names if re.search(r"lytro[-_ ]?\d+$", name, re.IGNORECASE)}
    if len(lytro) == len(names) == LYTRO_PAIRS:
        return ""
    found = f"{len(lytro)} of them" if lytro else "other pairs"
    return f"Table V is of the {LYTRO_PAIRS} Lytro pairs and yours are {found}: its rows do not compare with these means."


def _row(metrics: tuple[str, ...], row: Mapping[str, Any]) -> TableRow:
    values = {name: value for name, value in zip(metrics, row["values"], strict=True) if value is not None}
    return TableRow(row["method"], row["source"], values, row.get("time_s"), row.get("note", ""))
