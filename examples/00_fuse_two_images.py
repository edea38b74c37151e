"""Fuse the sample pair with the Python API and say how good the result is.

python examples/00_fuse_two_images.py [OUT.png]
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from ufafuse.runtime import Fuser

FOLDER = Path(__file__).parent


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """PSNR in dB of 8-bit pictures."""
    return float(10 * np.log10(255**2 / np.mean((image.astype(float) - truth) ** 2)))


def main() -> None:
    """Read, fuse, compare with the truth, write."""
    near, far, truth = (cv2.imread(str(FOLDER / f"sample_{side}.png")) for side in ("A", "B", "GT"))
    with Fuser() as fuser:
        fused = fuser.fuse(near, far)
    print(f"near {psnr(near, truth):.1f} dB, far {psnr(far, truth):.1f} dB, fused {psnr(fused, truth):.1f} dB")
    out = sys.argv[1] if len(sys.argv) > 1 else "fused.png"
    cv2.imwrite(out, fused)
    print(out)


if __name__ == "__main__":
    main()
