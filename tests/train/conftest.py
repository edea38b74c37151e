"""Pictures for the tests of training."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.networks import TINY
from tests.pictures import label, photograph
from ufafuse.network.spec import Spec

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=TINY.values(), ids=TINY.keys())
def tiny_spec(request: pytest.FixtureRequest) -> Spec:
    spec: Spec = request.param
    return spec


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
