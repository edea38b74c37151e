"""README's table of measured figures, made from the committed reports: never typed.

python .ci/readme_figures.py          exit code 1 when README says something else than the reports
python .ci/readme_figures.py --write  put the reports' figures into README
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
README, REPORTS = ROOT / "README.md", ROOT / "reports"
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->\n"
SIZE = [520, 520]


def load(name: str) -> dict[str, Any]:
    """A report."""
    return json.loads((REPORTS / name).read_text())


def quality(method: str, lytro: dict[str, Any], pairs: dict[str, Any]) -> list[str]:
    """Cells of one method: PSNR and SSIM against the truth, Qabf, AVG and VIFF on Lytro."""
    truth, real = pairs["mean"].get(method, {}), lytro["mean"].get(method, {})
    cells = [f"{truth['PSNR']:.1f}" if "PSNR" in truth else "", f"{truth['SSIM']:.4f}" if "SSIM" in truth else ""]
    return cells + [f"{real[key]:.4f}" if key in real else "" for key in ("Qabf", "AVG", "VIFF")]


def table() -> str:
    """The table and the line that says where it comes from."""
    speed, lytro, pairs = load("speed/bench.json"), load("lytro.json"), load("pairs.json")
    lines = [
        "| what | precision | 520 x 520 pair | paper's speed (0.26 s) times | PSNR dB | SSIM | Lytro Qabf | AVG | VIFF |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in speed["rows"]:
        if row["size"] != SIZE or row.get("p50_ms") is None or row["backend"] not in ("openvino", "onnxruntime"):
            continue
        name = Path(row["artefact"]).stem.removesuffix("-int8")
        cells = quality(name, lytro, pairs) if row["precision"] == "fp32" and row["backend"] == "openvino" else [""] * 5
        time = [f"{row['p50_ms']:.0f} ms", f"{row['vs_paper']:.2f}"]
        lines.append("| " + " | ".join([f"`{name}`, {row['backend']}", row["precision"], *time, *cells]) + " |")
    classical = ("gff", "dsift")
    lines += ["| " + " | ".join([f"{name} (classical)", "", "", "", *quality(name, lytro, pairs)]) + " |" for name in classical]
    machine = speed["machine"]
    lines.append(
        f"\nTimes: `ufa bench` on {machine['cores']} cores of {machine['cpu']} without AVX-512, BF16 or VNNI; the paper's "
        "0.26 s is its own measure on a GTX 2070 Super. PSNR and SSIM: 20 pairs made by the paper's Eq. 11 from other "
        "photographs than those trained on. Lytro: its 20 pairs, the metrics as the paper's Table V computes them (there "
        "the authors' own pictures have Qabf 0.7372, AVG 8.2901, VIFF 0.9678). Reports: [reports/](reports)."
    )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Compare, or with --write replace."""
    text = README.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    wanted = f"{before}{BEGIN}{table()}{END}{after}"
    if "--write" in sys.argv:
        README.write_text(wanted)
    elif wanted != text:
        print("README's figures are not those of reports/: run python .ci/readme_figures.py --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
