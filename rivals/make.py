"""Train every rival and pack its weights, float16, into ufafuse_rivals/.

`python rivals/make.py --images drawn:photos` takes about an hour of one core.

A run that was cut off goes on where it was; `--only rival-sesf` makes one; `--pack` packs the runs as they are.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from ufafuse.network.rivals.places import weights_name
from ufafuse.network.weights import load_weights, save_weights
from ufafuse.runtime.artefact import read_manifest

FOLDER = Path(__file__).resolve().parent / "ufafuse_rivals"
# Minutes of one core, and what each was trained with; both DenseFuse share their weights. Networks that learn from the truth
# alone get the paper's pairs, whose truth is sharp everywhere.
OPTIONS = {
    "rival-cnn": (8, "--batch 4 --lens 0 --lr 5e-4"),
    "rival-pcnn": (4, "--batch 6 --lens 0"),
    "rival-deepfuse": (6, "--batch 8 --crop 64 --lens 0.2 --lr 5e-4"),
    "rival-densefuse-l1": (7, "--batch 4 --lens 0"),
    "rival-ifcnn": (11, "--batch 4 --lens 0.2"),
    "rival-sesf": (6, "--batch 4 --lens 0"),
    "rival-drpl": (14, "--batch 4 --lens 0.2"),
    "rival-mffgan": (8, "--batch 4 --lens 0.2 --lr 5e-4"),
}
SHARED = "--average 0.99 --validations 8 --checkpoint-minutes 2"


def train(name: str, run: Path, images: str, minutes: float) -> None:
    """Train one, or go on with it."""
    command = [sys.executable, "-m", "ufafuse", "train", "--out", str(run)]
    if (run / "options.json").is_file():
        command.append("--resume")
    else:
        command += ["--images", images, "--variant", name, "--hours", f"{minutes / 60:.4f}"]
        command += [*SHARED.split(), *OPTIONS[name][1].split()]
    subprocess.run(command, check=True)


def pack(name: str, run: Path) -> None:
    """Store a run's last weights, with what they learnt from, as float16."""
    path = run / "last.safetensors"
    extra = read_manifest(path).extra
    seconds = json.loads((run / "report.json").read_text())["seconds"]
    save_weights(load_weights(path), FOLDER / weights_name(name), extra=extra | {"seconds": seconds}, half=True, force=True)
    print(f"wrote {FOLDER / weights_name(name)}")


def main() -> None:
    """Make what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", default="drawn:", help="as of `ufa train`")
    parser.add_argument("--minutes", type=float, help="for each [default: what ours had, 4 to 14]")
    parser.add_argument("--runs", type=Path, default=Path("rival-runs"), help="folder of the runs")
    parser.add_argument("--only", choices=OPTIONS, action="append", help="repeatable")
    parser.add_argument("--pack", action="store_true", help="train nothing")
    asked = parser.parse_args()
    for name in asked.only or OPTIONS:
        if not asked.pack:
            train(name, asked.runs / name, asked.images, asked.minutes or OPTIONS[name][0])
        pack(name, asked.runs / name)


if __name__ == "__main__":
    main()
