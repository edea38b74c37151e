"""The table of formats in docs/howto/formats.md, made from the committed reports of `ufa export --all`: never typed.

The reports are made by formats_report.py.

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
NETWORKS = ("ufa-edge", "ufa-nano", "ufa-free", "ufa-stack", "ufa")
HEADS = ("| format | argument | file | MB | agrees with PyTorch | time | runs on |", "|---|---|---|---:|---|---|---|")
_QUIET = 0.5  # of each core
Timed = dict[tuple[str, str, str], float]  # least ms by file, engine and arithmetic

Report = dict[str, Any]


def reports() -> list[Report]:
    """Those that are committed, in the order of the networks."""
    found = [REPORTS / f"{name}.json" for name in NETWORKS]
    return [json.loads(path.read_text()) for path in found if path.is_file()]


def times(name: str) -> Timed:
    """Of `ufa bench` on the same files, all in turn."""
    path = REPORTS / f"{name}.bench.json"
    rows = json.loads(path.read_text())["rows"] if path.is_file() else []
    return {(row["artefact"], row["backend"], row["precision"]): row["min_ms"] for row in rows}


def told_time(name: str, row: Report, engine: str, precision: str, measured: Timed) -> str:
    """Milliseconds, and how many times the ONNX file's in ONNX Runtime, of the same run."""
    took, ours = (measured.get(key) for key in ((row["artefact"], engine, precision), (f"{name}.onnx", "onnxruntime", "fp32")))
    if took is None:
        return engine
    return f"{took:.2f} ms in {engine}{'' if ours is None else f' (x {took / ours:.2f})'}"


def busy() -> str:
    """What else the machine did while it was measured, in words."""
    machines = [json.loads(path.read_text())["machine"] for path in REPORTS.glob("*.bench.json")]
    load = max(machine["load_average"][0] for machine in machines)
    cores: int = machines[0]["cores"]
    if load < _QUIET * cores:
        return ""
    return f" The machine had other work meanwhile (load up to {load:.1f} on {cores} cores): the ratios say more than times."


def lines(report: Report, measured: Timed) -> list[str]:
    """A row for each file, and for each engine that ran it; of one that is not OpenVINO's own in OpenVINO none."""
    name, text = Path(report["weights"]).stem, []
    for row in report["rows"]:
        argument = f"`{row['argument']}`" if row["argument"] else "(default)"
        head = [row["format"], argument, row["artefact"], f"{row['bytes'] / 1e6:.2f}"]
        for engine, check in row["checks"].items():
            parity = f"{check['worst_psnr']:.1f} dB, {check['max_abs']:.2g} levels"
            parity = parity if check["ok"] else f"**{parity}: too far**"
            time = told_time(name, row, engine, check["precision"], measured)
            where = "" if check["precision"] in (row["precision"], "fp32") else f" ({check['precision']})"
            text.append([*head, parity + where, time, row["runs_on"]])
        if not row["checks"]:
            text.append([*head, row["note"] or "not run here", "", row["runs_on"]])
    return [f"| {' | '.join(cells)} |" for cells in text]


def table() -> str:
    """The block of the page."""
    found = reports()
    text: list[str] = []
    for report in found:
        name = Path(report["weights"]).stem
        text += [f"**`{name}`**", "", *HEADS, *lines(report, times(name)), ""]
    if found:
        (height, width), machine = found[0]["size"], found[0]["machine"]
        tools = ", ".join(f"{name} {version}" for name, version in found[0]["tools"].items() if name != "ufafuse")
        text += [
            "The worst of the pairs checked; 200 dB means equal. Times: `ufa bench --threads 1`, all of a network in turn, the "
            f"least of the runs, for a pair of {height} x {width} on {machine['cpu']}; in brackets: times what the ONNX "
            f"file takes in ONNX Runtime.{busy()} With {tools}. Reports: `reports/formats/`, made by `.ci/formats_report.py`.",
        ]
    return "\n".join([*text, "", *not_had()]) + "\n"


def not_had() -> list[str]:
    """What the reports leave out, and what was not tried, and why."""
    lines = [*(line for report in reports() for line in report["left_out"]), *NOT_HAD]
    last = {line.split(":")[0]: line for line in lines}  # in today's words
    return ["What could not be had:", "", *(f"- {line}" for line in last.values())]


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
