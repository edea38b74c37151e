"""The tables of measured figures in README and rivals/README, made from the committed reports: never typed.

python .ci/readme_figures.py          exit code 1 when one of them says something else than the reports
python .ci/readme_figures.py --write  put the reports' figures into them

The reports: speed/bench.json of `ufa bench --report`, and eval.json of `ufa eval` on pairs with truth (pairs.json), on pairs of
wide defocus with truth (lens.json, may be missing) and on Lytro (lytro.json). For the table of methods: methods/lytro.json, and
what methods/ and rivals/ have of the two sets with truth. For the table in rivals/README: rivals/.
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from ufafuse.network.rivals.places import PACKAGE, weights_name
from ufafuse.network.spec import RIVALS
from ufafuse.runtime.artefact import read_manifest

ROOT = Path(__file__).resolve().parents[1]
README, REPORTS = ROOT / "README.md", ROOT / "reports"
RIVALS_README = ROOT / "rivals" / "README.md"
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->\n"
BEGIN_METHODS, END_METHODS = "<!-- methods -->\n", "<!-- /methods -->\n"
BEGIN_RIVALS, END_RIVALS = "<!-- rivals -->\n", "<!-- /rivals -->\n"
KINDS = {"measured": "no training", "ours": "our training", "authors": "authors' weights"}
SIZE = [520, 520]
CLASSICAL = ("gff", "dsift")
PUBLISHED = ROOT / "benchmarks" / "published.json"

Report = dict[str, Any]


def load(name: str) -> Report | None:
    """A report; None where it is missing."""
    path = REPORTS / name
    return json.loads(path.read_text()) if path.is_file() else None


def columns() -> list[tuple[str, Report, str, str]]:
    """Head, report, metric and format of each column of quality."""
    truth = (("pairs.json", "PSNR"), ("lens.json", "PSNR, wide blur"))
    found = [(head, report, "PSNR", ".1f") for name, head in truth if (report := load(name))]
    lytro = load("lytro.json")
    assert lytro is not None, f"{REPORTS / 'lytro.json'} is missing"
    return found + [(f"Lytro {key}" if key == "Qabf" else key, lytro, key, ".4f") for key in ("Qabf", "AVG", "VIFF")]


def quality(method: str, shown: list[tuple[str, Report, str, str]]) -> list[str]:
    """Cells of one method."""
    values = [(report["mean"].get(method, {}).get(metric), form) for _, report, metric, form in shown]
    return ["" if value is None else format(value, form) for value, form in values]


def fastest(speed: Report) -> list[Report]:
    """The fastest of our engines for each network file and precision, as the report orders them; then classical methods."""
    best: dict[tuple[str, str], Report] = {}
    for row in speed["rows"]:
        wanted = row["group"] == "ours" or row["artefact"] in CLASSICAL
        key = (row["artefact"], row["precision"])
        if wanted and row["size"] == SIZE and (key not in best or row["p50_ms"] < best[key]["p50_ms"]):
            best[key] = row
    return sorted(best.values(), key=lambda row: row["group"] != "ours")


def judged_in(name: str, shown: list[tuple[str, Report, str, str]]) -> str | None:
    """The precision that a network's quality was judged in, where the evaluations say so."""
    found = [report.get("networks", {}).get(name, {}).get("precision") for _, report, _, _ in shown]
    return next((precision for precision in found if precision), None)


def shown_rows(speed: Report, shown: list[tuple[str, Report, str, str]]) -> list[Report]:
    """One row for each file or method: in the precision that its quality was judged in, else the fastest."""
    files: dict[str, list[Report]] = {}
    for row in fastest(speed):
        files.setdefault(row["artefact"], []).append(row)
    chosen = []
    for name, rows in files.items():
        place = judged_in(Path(name).stem, shown)
        best = min(rows, key=lambda row: row["p50_ms"])
        chosen.append(next((row for row in rows if row["precision"] == place), best))
    return chosen


def lines(speed: Report, shown: list[tuple[str, Report, str, str]]) -> list[str]:
    """The table: no cell of it is empty where the reports know what belongs there."""
    text = ["| what | arithmetic | 520 x 520 | x paper | " + " | ".join(head for head, *_ in shown) + " |"]
    text.append("|---|---|---:|---:|" + "---:|" * len(shown))
    for row in shown_rows(speed, shown):
        ours = row["group"] == "ours"
        name = Path(row["artefact"]).stem if ours else row["artefact"]
        what = f"`{name}`" if ours else f"{name} (classical)"
        way = f"{row['precision']}, {row['backend']}" if ours else "float"
        cells = [cell or "-" for cell in quality(name, shown)]
        text.append("| " + " | ".join([what, way, _ms(row), f"{row['vs_paper']:.2f}", *cells]) + " |")
    return text


def _ms(row: Report) -> str:
    return "{:.{}f} ms".format(row["p50_ms"], 0 if row["p50_ms"] >= 100 else 1)


def float_text(speed: Report, shown: list[tuple[str, Report, str, str]]) -> str:
    """The times in fp32 of the networks that the table has in another arithmetic."""
    inside = [(row["artefact"], row["precision"]) for row in shown_rows(speed, shown)]
    rows = [row for row in fastest(speed) if row["precision"] == "fp32" and (row["artefact"], "fp32") not in inside]
    return "In fp32: " + ", ".join(f"`{Path(row['artefact']).stem}` {_ms(row)}" for row in rows) + "." if rows else ""


def machine_text(machine: Report) -> str:
    """Cores, CPU and the instruction sets that it has and lacks."""
    has = [name for name, present in machine["features"].items() if present]
    lacks = [name for name, present in machine["features"].items() if not present]
    text = f"{machine['usable_cores']} cores of {machine['cpu']}"
    text += f" with {_and(has)}" if has else ""
    return text + (f"{', ' if has else ' '}without {_and(lacks, 'or')}" if lacks else "")


def _and(names: list[str], word: str = "and") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


def source_text(speed: Report, shown: list[tuple[str, Report, str, str]]) -> str:
    """The lines below the table: how and on what each figure was measured."""
    table = json.loads(PUBLISHED.read_text())["tables"]["V"]
    row = next(row for row in table["rows"] if row["method"] == "UFA-FUSE" and row["source"] == "recomputed")
    authors = dict(zip(table["metrics"], row["values"], strict=True))
    theirs = ", ".join(f"{key} {authors[key]:.4f}" for key in ("Qabf", "AVG", "VIFF"))
    count = {head: len({entry["name"] for entry in report["rows"]}) for head, report, *_ in shown}
    parts = [
        f"Times: `ufa bench`, the fastest engine for each arithmetic, p50, on {machine_text(speed['machine'])}; *x paper*: "
        "times the speed of the paper's 0.26 s, its own measure on a GTX 2070 Super.",
    ]
    parts += [text] if (text := float_text(speed, shown)) else []
    if "PSNR" in count:
        parts.append(
            f"PSNR, in dB: {count['PSNR']} pairs made by the paper's Eq. 11 from other photographs than those trained on."
        )
    if "PSNR, wide blur" in count:
        parts.append(f"Wide blur: PSNR on {count['PSNR, wide blur']} pairs with the wide defocus of a lens at close range.")
    parts.append(
        f"Lytro: {count['Lytro Qabf']} pairs, the metrics as the paper's Table V computes them (there the authors' own "
        f"pictures have {theirs}). Reports: [reports/](reports)."
    )
    return " ".join(parts)


def table() -> str:
    """The table and the lines that say where it comes from."""
    speed, shown = load("speed/bench.json"), columns()
    assert speed is not None, f"{REPORTS / 'speed/bench.json'} is missing"
    return "\n".join(lines(speed, shown)) + f"\n\n{source_text(speed, shown)}\n"


def known_truth(name: str) -> dict[str, float]:
    """PSNR of each method on pairs with truth, from every run on them."""
    means = [report["mean"] for folder in ("", "methods/", "rivals/") if (report := load(f"{folder}{name}.json"))]
    return {method: values["PSNR"] for mean in means for method, values in mean.items() if "PSNR" in values}


def methods_table() -> str:
    """Every method of the run on Lytro: what it is, its size and time, and how near the truth it comes; the best first."""
    run = load("methods/lytro.json")
    assert run is not None, f"{REPORTS / 'methods/lytro.json'} is missing"
    pairs, wide = known_truth("pairs"), known_truth("lens")
    speed = load("speed/bench.json")
    timed = {Path(row["artefact"]).stem for row in speed["rows"]} if speed else set()
    times: dict[str, list[float]] = {}
    for row in [row for report in (run, load("rivals/lytro.json")) if report for row in report["rows"]]:
        times.setdefault(row["method"], []).append(row["ms"])
    text = ["| method | what it is | parameters | time, s | PSNR | PSNR, wide blur | Lytro Qabf |"]
    text.append("|---|---|---:|---:|---:|---:|---:|")
    for name in sorted(run["mean"], key=lambda name: -pairs.get(name, 0)):
        count = RIVALS[name][0].parameters if name in RIVALS else run["networks"].get(name, {}).get("parameters")
        truth = [f"{found[name]:.1f}" if name in found else "-" for found in (pairs, wide)]
        cells = [f"`{name}`", KINDS[run["kinds"][name]], "-" if count is None else f"{count:,}"]
        cells += ["above" if name in timed else f"{min(times[name]) / 1e3:.2f}", *truth, f"{run['mean'][name]['Qabf']:.4f}"]
        text.append("| " + " | ".join(cells) + " |")
    return "\n".join(text) + "\n"


def rivals_table() -> str:
    """Each rival network with the weights we ship: what it had, and what it reached on all three sets."""
    lytro, pairs, wide = (load(f"rivals/{name}.json") for name in ("lytro", "pairs", "lens"))
    assert lytro and pairs and wide, f"{REPORTS / 'rivals'} lacks a report"
    heads = ["method", "parameters", "trained", "520 x 520, one core", "PSNR", "SSIM", "wide blur", "Lytro Qabf", "AVG", "VIFF"]
    text = ["| " + " | ".join(heads) + " |", "|---|---:|---|" + "---:|" * (len(heads) - 3)]
    for name, judged in lytro["mean"].items():
        size, had = "", ""
        if name in RIVALS:
            extra = read_manifest(ROOT / "rivals" / PACKAGE / weights_name(name)).extra
            size = f"{RIVALS[name][0].parameters:,}"
            had = f"{extra['step']:,} batches, {extra['seconds'] / 60:.0f} min"
        took = statistics.median(row["ms"] for row in lytro["rows"] if row["method"] == name) / 1e3
        truth = pairs["mean"][name]
        cells = [f"`{name}`", size, had, f"{took:.2f} s", f"{truth['PSNR']:.1f}", f"{truth['SSIM']:.3f}"]
        cells += [f"{wide['mean'][name]['PSNR']:.1f}", *(f"{judged[key]:.4f}" for key in ("Qabf", "AVG", "VIFF"))]
        text.append("| " + " | ".join(cells) + " |")
    return "\n".join(text) + "\n"


def replaced(text: str, begin: str, end: str, inner: str) -> str:
    """``text`` with what stands between the two marks replaced."""
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}{inner}{end}{after}"


def main() -> int:
    """Compare, or with --write replace."""
    wanted = {README: replaced(README.read_text(), BEGIN, END, table())}
    wanted[README] = replaced(wanted[README], BEGIN_METHODS, END_METHODS, methods_table())
    wanted[RIVALS_README] = replaced(RIVALS_README.read_text(), BEGIN_RIVALS, END_RIVALS, rivals_table())
    old = [path for path, text in wanted.items() if text != path.read_text()]
    for path in old:
        if "--write" in sys.argv:
            path.write_text(wanted[path])
        else:
            print(f"{path}: the figures are not those of reports/: run python .ci/readme_figures.py --write")
    return int(bool(old) and "--write" not in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
