"""How the sample pair was made: Eq. 11 of the paper on a photograph that scikit-image ships.

The photograph is ``skimage.data.coffee()``: Rachel Michetti, courtesy of Pikolo Espresso Bar, CC0 (no copyright
restrictions). Needs scikit-image; run from the repository's root.
"""

from pathlib import Path

import cv2
import numpy as np
from skimage import data

FOLDER = Path(__file__).parent
CROP = np.s_[0:392, 70:490]
BLUR = (9, 9)  # the strongest of the paper's four groups: mean filters of 8 to 10


def subject(shape: tuple[int, ...]) -> np.ndarray:
    """The focus map M: 1 on the cup and its saucer, 0 on the table."""
    mask = np.zeros(shape[:2], np.uint8)
    cv2.ellipse(mask, (278, 228), (203, 158), 6, 0, 360, 1, cv2.FILLED)
    cv2.ellipse(mask, (290, 112), (118, 95), 3, 0, 360, 1, cv2.FILLED)
    return mask[..., np.newaxis]


def main() -> None:
    """Write sample_A.png (near in focus), sample_B.png (far in focus) and sample_GT.png (the photograph)."""
    photograph = cv2.cvtColor(data.coffee(), cv2.COLOR_RGB2BGR)
    blurred, mask = cv2.blur(photograph, BLUR), subject(photograph.shape)
    pictures = {
        "A": photograph * mask + blurred * (1 - mask),
        "B": blurred * mask + photograph * (1 - mask),
        "GT": photograph,
    }
    for side, picture in pictures.items():
        path = FOLDER / f"sample_{side}.png"
        cv2.imwrite(str(path), picture[CROP], [cv2.IMWRITE_PNG_COMPRESSION, 9])
        print(path)


if __name__ == "__main__":
    main()
