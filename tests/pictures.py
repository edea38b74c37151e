"""Pictures that tests draw."""

from pathlib import Path

import cv2
import numpy as np


def photograph(height: int, width: int, seed: int) -> np.ndarray:
    """A picture with fine and coarse detail, uint8 H x W x 3."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.integers(30, 220, (height // 8 + 1, width // 8 + 1, 3), np.uint8), (width, height))
    return cv2.add(coarse, rng.integers(0, 35, (height, width, 3), np.uint8))


def label(height: int, width: int) -> np.ndarray:
    """An ellipse in the middle, white on black."""
    drawn = np.zeros((height, width), np.uint8)
    return cv2.ellipse(drawn, (width // 2, height // 2), (width // 4, height // 3), 0, 0, 360, 255, -1)


def damaged_jpeg(path: Path, picture: np.ndarray) -> Path:
    """A JPEG with bytes before its end that mean nothing, as a decoder passes over and may warn of."""
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 98])
    assert done
    path.write_bytes(data.tobytes()[:-2] + bytes(40) + data.tobytes()[-2:])
    return path


def put(folder: Path, *names: str) -> list[Path]:
    """Small black pictures of these names in ``folder``, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        cv2.imwrite(str(folder / name), np.zeros((4, 5, 3), np.uint8))
    return [folder / name for name in names]
