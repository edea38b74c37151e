"""Draw which frame each pixel came from: near in orange, far in blue, undecided in grey.

python examples/01_which_frame_won.py [OUT.png]
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from ufafuse.runtime import Fuser

FOLDER = Path(__file__).parent
NEAR, FAR = np.array([40, 150, 255.0]), np.array([220, 120, 40.0])  # BGR


def main() -> None:
    """Fuse with the map and tint the fused picture by it."""
    near, far = (cv2.imread(str(FOLDER / f"sample_{side}.png")) for side in ("A", "B"))
    with Fuser() as fuser:
        fused, weight = fuser.fuse_with_map(near, far)
    assert weight is not None, "the bundled networks give a map"
    colour = weight[..., np.newaxis] * NEAR + (1 - weight[..., np.newaxis]) * FAR
    grey = cv2.cvtColor(fused, cv2.COLOR_BGR2GRAY)[..., np.newaxis] / 255
    out = sys.argv[1] if len(sys.argv) > 1 else "map.png"
    cv2.imwrite(out, (colour * (0.25 + 0.75 * grey)).astype(np.uint8))
    print(f"near frame's share {weight.mean():.2f}: {out}")


if __name__ == "__main__":
    main()
