"""Small networks and pictures for the tests of training."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ufafuse.train.spec import Spec  # noqa: E402 - after the check for torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


TINY = {
    "reconstruct": Spec("tiny", widths=(8,), fold=1, encoder_blocks=(2,), decoder_blocks=(1,), head="reconstruct"),
    "select": Spec(
        "tiny-select",
        widths=(8, 12, 16),
        fold=2,
        encoder_blocks=(2, 1, 2),
        decoder_blocks=(1, 2, 0),
        head="select",
        symmetric=True,
    ),
    "plain-select": Spec(
        "tiny-plain", widths=(5, 7), fold=3, encoder_blocks=(1, 2), decoder_blocks=(1, 1), head="select", residual=False
    ),
    "select-only": Spec(
        "tiny-only",
        widths=(4, 6),
        fold=1,
        encoder_blocks=(1, 1),
        decoder_blocks=(1, 0),
        head="select",
        symmetric=True,
        residual=False,
    ),
    "deep-reconstruct": Spec(
        "tiny-deep", widths=(4, 6), fold=2, encoder_blocks=(1, 2), decoder_blocks=(1, 1), head="reconstruct"
    ),
}
TINY["detail"] = dataclasses.replace(TINY["select-only"], name="tiny-detail", fold=2, detail=True)


@pytest.fixture(params=TINY.values(), ids=TINY.keys())
def tiny_spec(request: pytest.FixtureRequest) -> Spec:
    spec: Spec = request.param
    return spec


def photograph(height: int, width: int, seed: int) -> np.ndarray:
    """A picture with fine and coarse detail, uint8 H x W x 3."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.integers(30, 220, (height // 8 + 1, width // 8 + 1, 3), np.uint8), (width, height))
    return cv2.add(coarse, rng.integers(0, 35, (height, width, 3), np.uint8))


def label(height: int, width: int) -> np.ndarray:
    """An ellipse in the middle, white on black."""
    drawn = np.zeros((height, width), np.uint8)
    return cv2.ellipse(drawn, (width // 2, height // 2), (width // 4, height // 3), 0, 0, 360, 255, -1)


@pytest.fixture
def picture() -> np.ndarray:
    return photograph(90, 120, 0)


@pytest.fixture(scope="session")
def photo_folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Six photographs with labels in DUTS's layout: the image folder and the mask folder."""
    root = tmp_path_factory.mktemp("photos")
    images, masks = root / "image", root / "mask"
    images.mkdir()
    masks.mkdir()
    for index in range(6):
        height, width = (64, 80) if index % 2 else (72, 56)
        cv2.imwrite(str(images / f"p{index}.jpg"), photograph(height, width, index), [cv2.IMWRITE_JPEG_QUALITY, 98])
        cv2.imwrite(str(masks / f"p{index}.png"), label(height, width))
    return images, masks
