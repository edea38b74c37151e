"""Pairs on the disk and behind URLs, fused by a small network."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.fuser import Fuser


@pytest.fixture
def fuser(small_engine, write_model):
    with Fuser(write_model(), backend="onnxruntime") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path, rng):
    """A folder ``in`` with three pairs: p0_A.png, p0_B.png, ..."""
    made = tmp_path / "in"
    made.mkdir()
    for index in range(3):
        for side in "AB":
            cv2.imwrite(str(made / f"p{index}_{side}.png"), rng.integers(0, 256, (20, 24, 3), np.uint8))
    return made
