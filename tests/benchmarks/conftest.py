"""Small pictures with known contents, and the folders of real ones where they are at hand."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def lytro():
    """The folder of the Lytro pairs, from UFAFUSE_DATA."""
    root = os.environ.get("UFAFUSE_DATA")
    if not root or not (Path(root) / "lytro").is_dir():
        pytest.skip("UFAFUSE_DATA names no folder with lytro/ in it")
    return Path(root) / "lytro"


@pytest.fixture(scope="session")
def reference_folder(lytro):
    """The folder with reference_metrics.csv and fused/, beside the data or inside it."""
    for folder in (lytro.parents[1] / "metrics", lytro.parent / "metrics"):
        if (folder / "reference_metrics.csv").is_file():
            return folder
    pytest.skip("no metrics/reference_metrics.csv beside UFAFUSE_DATA or in it")
    return None


def textured(height, width, channels, seed):
    """A picture of coarse and fine structure that covers the levels: uint8."""
    rng = np.random.default_rng(seed)
    planes = []
    for _ in range(channels):
        coarse = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 6) * 16
        planes.append(coarse + cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 1.0) * 1.5)
    picture = np.stack(planes, axis=-1)
    picture = 128 + 45 * (picture - picture.mean()) / picture.std()
    return np.clip(picture, 0, 255).round().astype(np.uint8).squeeze()


def defocus(picture, sigma=2.5):
    return cv2.GaussianBlur(picture, (0, 0), sigma)


@pytest.fixture(scope="session")
def synthetic():
    """(near, far, truth): 104 x 120 BGR, sharp left of a slanting edge in near and right of it in far."""
    truth = textured(104, 120, 3, seed=7)
    rows, columns = np.mgrid[:104, :120]
    left = (columns + 0.2 * rows < 70)[..., None]
    return np.where(left, truth, defocus(truth)), np.where(left, defocus(truth), truth), truth


@pytest.fixture
def pair_folder(tmp_path, synthetic):
    """A folder of two pairs with truth, in the NAME_A/NAME_B/NAME_GT layout."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    near, far, truth = synthetic
    for name, step in (("one", 1), ("two", -1)):
        for side, picture in (("A", near), ("B", far), ("GT", truth)):
            assert cv2.imwrite(str(folder / f"{name}_{side}.png"), picture[:, ::step])
    return folder
