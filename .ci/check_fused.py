"""In an environment without torch: the sample that README's first command fused is at least 3 dB better than either input."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
GAIN_DB = 3.0


def psnr(path: Path, truth: np.ndarray) -> float:
    """PSNR in dB of an 8-bit picture against the truth."""
    error = np.mean((cv2.imread(str(path)).astype(float) - truth) ** 2)
    return float(10 * np.log10(255**2 / error))


def main() -> int:
    """Exit code 1 when torch is installed, the heavy modules are imported, or the fused picture is not good enough."""
    if importlib.util.find_spec("torch"):
        print("torch is installed in an environment that must work without it")
        return 1
    loaded = "import sys, ufafuse.runtime; print([m for m in ('torch', 'onnx', 'openvino', 'matplotlib') if m in sys.modules])"
    heavy = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout.strip()
    truth = cv2.imread(str(EXAMPLES / "sample_GT.png")).astype(float)
    inputs = max(psnr(EXAMPLES / f"sample_{side}.png", truth) for side in "AB")
    fused = psnr(Path(sys.argv[1]), truth)
    print(f"better input {inputs:.2f} dB, fused {fused:.2f} dB; heavy modules imported: {heavy}")
    return 0 if fused >= inputs + GAIN_DB and heavy == "[]" else 1


if __name__ == "__main__":
    sys.exit(main())
