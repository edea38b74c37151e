"""The paper's tables as data: what others printed, and what their released pictures give when scored here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ufafuse.runtime.errors import InputError

PAPER_MS = 260.0
PAPER_SIZE = (520, 520)
"""The paper's own time for one 520 x 520 pair, on a GTX 2070 Super, as it reports it (0.26 s)."""

PAPER_MACHINE = "GTX 2070 Super, the paper's own measure"

MEASURED, OURS, AUTHORS, GIVEN = "measured", "ours", "authors", "given"
PRINTED, RELEASED, BOUND = "published", "recomputed", "bound"
HERE = frozenset({MEASURED, OURS, AUTHORS, GIVEN})
"""What was scored in this run."""

KINDS = {
    PRINTED: ("printed", "as the paper prints it"),
    RELEASED: ("released", "fused pictures that were released, scored by us before"),
    MEASURED: ("run here", "run in this evaluation"),
    OURS: ("our training", "run in this evaluation with weights that we trained, which are not the authors'"),
    AUTHORS: ("authors' weights", "run in this evaluation with a weights file, as authors publish them"),
    GIVEN: ("given", "fused pictures that were given, scored in this evaluation"),
    BOUND: ("upper bound", "what could be had at best"),
}
"""Of each source of a row: the word in the table, and what it means."""

OTHER_PAIRS = ", other pairs"

_FILE = Path(__file__).with_name("published.json")


@dataclass(frozen=True)
class TableRow:
    """One row of a table of methods.

    Args:
        method: Its name in that table.
        source: A key of `KINDS`.
        metrics: Name to mean value; without those that the source does not give.
        time_s: Seconds per pair, on whatever machine the source used; None where it gives none.
        note: What a reader has to know of this row.
        other_pairs: Whether its means are over other pairs than those of the rows scored here.
        short: Metrics whose means are over fewer pairs or stacks than other rows': they are compared with nothing.
    """

    method: str
    source: str
    metrics: Mapping[str, float]
    time_s: float | None = None
    note: str = ""
    other_pairs: bool = False
    short: frozenset[str] = frozenset()

    @property
    def what(self) -> str:
        """The word for what this row is."""
        return KINDS[self.source][0] + (OTHER_PAIRS if self.other_pairs else "")

    def to_json(self) -> dict[str, Any]:
        """An entry of the command's ``table``."""
        entry: dict[str, Any] = {"method": self.method, "source": self.source, "what": self.what, "metrics": dict(self.metrics)}
        entry |= {} if self.time_s is None else {"time_s": round(self.time_s, 4)}
        return entry | ({"note": self.note} if self.note else {})


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


def _row(metrics: tuple[str, ...], row: Mapping[str, Any]) -> TableRow:
    values = {name: value for name, value in zip(metrics, row["values"], strict=True) if value is not None}
    return TableRow(row["method"], row["source"], values, row.get("time_s"), row.get("note", ""))
