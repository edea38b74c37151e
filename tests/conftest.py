"""What the tests of all folders share."""

import os
from pathlib import Path

import cv2
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture(scope="session")
def data_folder():
    """The folder of pictures that are not part of the project, named by UFAFUSE_DATA; without it the test is skipped."""
    named = os.environ.get("UFAFUSE_DATA")
    if not named or not Path(named).is_dir():
        pytest.skip("needs pictures: set UFAFUSE_DATA to a folder with pairs_val/, lytro/ and pcb/")
    return Path(named)


@pytest.fixture(scope="session")
def sample_pair():
    """The near frame, the far frame and the truth of the pair that comes with the examples: H x W x 3 uint8, BGR."""
    return tuple(cv2.imread(str(EXAMPLES / f"sample_{side}.png")) for side in ("A", "B", "GT"))
