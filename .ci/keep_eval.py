"""Keep an evaluation of pairs as a report that is committed: rounded, a row a line.

python .ci/keep_eval.py OUT reports/methods/lytro.json --table V   with report.md and close-ups, of `ufa eval --table V -o OUT`
python .ci/keep_eval.py OUT reports/methods/pairs.json --figures   the figures alone

The table in report.md is that of the rounded figures, so that it is known to be theirs (tests/benchmarks/test_reports.py).
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from ufafuse.benchmarks.evaluate import Evaluation
from ufafuse.benchmarks.published import TableRow, published_table
from ufafuse.benchmarks.tables import markdown_table, measured_rows, with_published
from ufafuse.runtime.texts import json_text

DIGITS = 6


def rounded(number: str) -> float:
    """A float of a JSON file, with few digits."""
    return round(float(number), DIGITS)


def table_of(report: dict[str, Any], number: str | None) -> str:
    """The table of an evaluation's means, beside one of the paper's over the same pairs."""
    rows: list[TableRow] = measured_rows(Evaluation.from_json(report))
    return markdown_table(with_published(rows, published_table(number) if number else None, same=True))


def main() -> None:
    """Keep what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="what `ufa eval` wrote")
    parser.add_argument("report", type=Path, help="the JSON file to write; report.md and closeups/ come beside it")
    parser.add_argument("--table", help="the paper's table that stands beside it, of the same pairs")
    parser.add_argument("--figures", action="store_true", help="write the JSON file alone")
    asked = parser.parse_args()
    figures = (asked.out / "eval.json").read_text(encoding="utf-8")
    exact, kept = json.loads(figures), json.loads(figures, parse_float=rounded)
    known = Evaluation([]).to_json()  # the rest tells of this run: its files, what there was to tell of them
    kept = {key: value for key, value in kept.items() if key in known}
    asked.report.write_text(json_text(kept, lines=True) + "\n", encoding="utf-8")
    if asked.figures:
        return
    text, table = (asked.out / "report.md").read_text(encoding="utf-8"), table_of(exact, asked.table)
    if table not in text:
        parser.error(f"{asked.out / 'report.md'} has another table than its figures give: was it made with --table?")
    folder = asked.report.parent
    (folder / "report.md").write_text(text.replace(table, table_of(kept, asked.table)), encoding="utf-8")
    shutil.rmtree(folder / "closeups", ignore_errors=True)
    shutil.copytree(asked.out / "closeups", folder / "closeups")


if __name__ == "__main__":
    main()
