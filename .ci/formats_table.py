"""The table of formats in docs/howto/formats.md, made from the committed reports of `ufa export --all`: never typed.

python .ci/formats_table.py          exit code 1 when the page says something else than reports/formats
python .ci/formats_table.py --write  put the reports' figures into the page
"""

import json
import sys
from pathlib import Path
from typing import Any

from ufafuse.export.formats.known import NOT_HAD

ROOT = Path(__file__).resolve().parents[1]
PAGE, REPORTS = ROOT / "docs" / "howto" / "formats.md", ROOT / "reports" / "formats"
BEGIN, END = "<!-- formats -->\n", "<!-- /formats -->"
NETWORKS = ("ufa-edge", "ufa-nano", "ufa-stack", "ufa")
# What could be made, and was not for this table.
NOT_RUN = (
    "ufa.tflite, ufa-stack.tflite: LiteRT's converter takes many minutes on this machine and was run on the other two only",
)

Report = dict[str, Any]


def reports() -> list[Report]:
    """Those that are committed, in the order of the networks."""
    found = [REPORTS / f"{name}.json" for name in NETWORKS]
    return [json.loads(path.read_text()) for path in found if path.is_file()]


def times(name: str) -> dict[tuple[str, str], float]:
    """Least ms by file and engine, of `ufa bench` on the same files; in float32 where an engine has it."""
    path = REPORTS / f"{name}.bench.json"
    rows = json.loads(path.read_text())["rows"] if path.is_file() else []
    return {(row["artefact"], row["backend"]): row["min_ms"] for row in rows}


def lines(report: Report, measured: dict[tuple[str, str], float]) -> list[str]:
    """A row for each file, and for each engine that ran it; of one that is not OpenVINO's own in OpenVINO none."""
    text = []
    for row in report["rows"]:
        head = [row["format"], f"`{row['argument']}`" if row["argument"] else "", row["artefact"], f"{row['bytes'] / 1e6:.2f}"]
        for engine, check in row["checks"].items():
            parity = f"{check['worst_psnr']:.1f} dB, {check['max_abs']:.2g} levels"
            parity = parity if check["ok"] else f"**{parity}: too far**"
            took = measured.get((row["artefact"], engine))
            time = engine if took is None else f"{took:.2f} ms in {engine}"
            where = "" if check["precision"] in (row["precision"], "fp32") else f" ({check['precision']})"
            text.append([*head, parity + where, time, row["runs_on"]])
        if not row["checks"]:
            text.append([*head, row["note"] or "not run here", "", row["runs_on"]])
    return [f"| {' | '.join(cells)} |" for cells in text]


def table() -> str:
    """The block of the page."""
    found = reports()
    text = ["| format | argument | file | MB | agrees with PyTorch | time | runs on |", "|---|---|---|---:|---|---|---|"]
    for report in found:
        text += lines(report, times(Path(report["weights"]).stem))
    if found:
        (height, width), machine = found[0]["size"], found[0]["machine"]
        tools = ", ".join(f"{name} {version}" for name, version in found[0]["tools"].items() if name != "ufafuse")
        text += [
            "",
            "The worst of the pairs checked; 200 dB means equal. Times: `ufa bench --threads 1`, all files in turn, the least "
            f"of the runs, for a pair of {height} x {width} on {machine['cpu']}, float32; "
            f"a row without a time was not timed. With {tools}. Reports: "
            "`reports/formats/`.",
        ]
    return "\n".join([*text, "", *not_had()]) + "\n"


def not_had() -> list[str]:
    """What the reports leave out, and what was not tried, and why."""
    left_out = dict.fromkeys(line for report in reports() for line in report["left_out"])
    return ["What could not be had:", "", *(f"- {line}" for line in [*left_out, *NOT_RUN, *NOT_HAD])]


def with_table(page: str) -> str:
    """The page with its block made anew."""
    start, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    return page[:start] + table() + page[end:]


def main() -> None:
    """Check the page, or write it."""
    page = PAGE.read_text()
    wanted = with_table(page)
    if "--write" in sys.argv:
        PAGE.write_text(wanted)
    elif page != wanted:
        sys.exit("docs/howto/formats.md says something else than reports/formats: run `python .ci/formats_table.py --write`.")


if __name__ == "__main__":
    main()
