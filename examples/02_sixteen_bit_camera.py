"""Fuse frames of a 12-bit camera: uint16 arrays whose white is 4095, grey, no files in between.

python examples/02_sixteen_bit_camera.py
"""

from pathlib import Path

import cv2
import numpy as np

from ufafuse.runtime import Fuser

FOLDER = Path(__file__).parent
WHITE = 4095


def camera_frame(side: str) -> np.ndarray:
    """Stand in for a camera: the sample as 12-bit grey levels in uint16."""
    grey = cv2.imread(str(FOLDER / f"sample_{side}.png"), cv2.IMREAD_GRAYSCALE)
    return np.rint(grey * (WHITE / 255)).astype(np.uint16)


def main() -> None:
    """The fused frame has the type and the levels of the frames that came in."""
    with Fuser() as fuser:
        fused = fuser.fuse(camera_frame("A"), camera_frame("B"), white=WHITE)
    print(fused.dtype, fused.shape, f"levels {fused.min()} to {fused.max()} of {WHITE}")


if __name__ == "__main__":
    main()
