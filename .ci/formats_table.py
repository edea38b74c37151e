"""The table of formats in docs/howto/formats.md, made from the committed reports of `ufa export --all`: never typed.

python .ci/formats_table.py          exit code 1 when the page says something else than reports/formats
python .ci/formats_table.py --write  put the reports' figures into the page
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE, REPORTS = ROOT / "docs" / "howto" / "formats.md", ROOT / "reports" / "formats"
BEGIN, END = "<!-- formats -->\n", "<!-- /formats -->"
NETWORKS = ("ufa-edge", "ufa-nano", "ufa-stack", "ufa")

Report = dict[str, Any]


def reports() -> list[Report]:
    """Those that are committed, in the order of the networks."""
    found = [REPORTS / f"{name}.json" for name in NETWORKS]
    return [json.loads(path.read_text()) for path in found if path.is_file()]


def lines(report: Report) -> list[str]:
    """A row for each file, and for each engine that ran it."""
    text = []
    for row in report["rows"]:
        head = [row["format"], f"`{row['argument']}`" if row["argument"] else "", row["artefact"], f"{row['bytes'] / 1e6:.2f}"]
        for engine, check in row["checks"].items():
            parity = f"{check['worst_psnr']:.1f} dB, {check['max_abs']:.2g} levels"
            parity = parity if check["ok"] else f"**{parity}: too far**"
            text.append([*head, parity, f"{check['ms']:.1f} ms in {engine}", row["runs_on"]])
        if not row["checks"]:
            text.append([*head, row["note"] or "not run here", "", row["runs_on"]])
    return [f"| {' | '.join(cells)} |" for cells in text]


def table() -> str:
    """The block of the page."""
    found = reports()
    text = ["| format | argument | file | MB | agrees with PyTorch | time | runs on |", "|---|---|---|---:|---|---:|---|"]
    text += [line for report in found for line in lines(report)]
    if found:
        size, machine = found[0]["size"], found[0]["machine"]
        tools = ", ".join(f"{name} {version}" for name, version in found[0]["tools"].items() if name != "ufafuse")
        text += [
            "",
            f"Worst of the pairs checked; 200 dB means equal. Times: medians of three runs at {size[0]} x {size[1]} on "
            f"{machine['usable_cores']} cores of {machine['cpu']} that did other work too: only to see that nothing is wrong; "
            f"`ufa bench` measures. With {tools}. Reports: `reports/formats/`.",
        ]
    left_out = dict.fromkeys(line for report in found for line in report["left_out"])
    if left_out:
        text += ["", "What could not be had:", "", *(f"- {line}" for line in left_out)]
    return "\n".join(text) + "\n"


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
