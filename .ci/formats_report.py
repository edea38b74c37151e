"""The reports behind the table of formats: every file of every bundled network made, checked, run in its runtime, and timed.

python .ci/formats_report.py WORK --pairs DIR   make what WORK lacks (`ufa export --all`), check it, and time it
python .ci/formats_report.py WORK               only time (`ufa bench`) what lies there
python .ci/formats_table.py --write             then put it into the page

It wants an environment with every converter (pip install '.[export,cpu,rtx,bench,ncnn,mnn,litert,executorch,coreml]').
Cut off, it goes on. Names behind the folder choose networks.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from formats_table import NETWORKS, REPORTS, Report

from ufafuse.runtime.artefact import write_json
from ufafuse.runtime.models import FOLDER

SIZE = "96x128"
NOT_TIMED = ("engine", "coreml")  # they do not run here


def make(name: str, work: Path, pairs: Path) -> None:
    """`ufa export --all` of one network, in a folder to which the bundled ONNX files, int8 too, are copied first."""
    folder = work / name
    folder.mkdir(parents=True, exist_ok=True)
    for path in [each for mark in ("", "-int8") for each in FOLDER.glob(f"{name}{mark}.*onnx*")]:
        if not (folder / path.name).exists():
            shutil.copy(path, folder / path.name)
    run(["export", "--weights", name, "--all", "-o", name, "--size", SIZE, "--pairs", str(pairs.resolve())], work)
    report = json.loads((folder / "report.json").read_text())
    write_json(REPORTS / f"{name}.json", report | {"weights": Path(report["weights"]).name})


def measure(name: str, work: Path) -> None:
    """`ufa bench` of all files of one network in turn, on one thread, each in its own precision, float32 in bfloat16 too."""
    report: Report = json.loads((REPORTS / f"{name}.json").read_text())
    files = [f"{name}/{row['artefact']}" for row in report["rows"] if row["format"] not in NOT_TIMED]
    how = ["--threads", "1", "--seconds", "2", "--no-cold", "--no-peers", "--methods", "none", "--json"]
    write_json(REPORTS / f"{name}.bench.json", json.loads(run(["bench", *files, "--size", SIZE, *how], work)))


def run(words: list[str], work: Path) -> str:
    """The command's standard output."""
    done = subprocess.run([sys.executable, "-m", "ufafuse", *words], cwd=work, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def main() -> None:
    """Make, measure, or both."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("work", type=Path)
    given.add_argument("networks", nargs="*", default=NETWORKS)
    given.add_argument("--pairs", type=Path)
    words = given.parse_args()
    for name in words.networks:
        if words.pairs is not None:
            make(name, words.work, words.pairs)
        measure(name, words.work)


if __name__ == "__main__":
    main()
