"""Pairs to calibrate with; the small network's exports are those of the tests of `export`."""

import importlib.util
from pathlib import Path

import cv2
import pytest

from ufafuse.calibration import speed
from ufafuse.export.synthetic import synthetic_pair


def _load(path):
    spec = importlib.util.spec_from_file_location("ufafuse_tests_export", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _short_races(monkeypatch):
    """How long files take is told after a few runs: which is quicker is not asked here."""
    monkeypatch.setattr(speed, "_ROUNDS", 3)


_shared = _load(Path(__file__).parents[1] / "export" / "conftest.py")
_one_thread, exports, gathering = _shared._one_thread, _shared.exports, _shared.gathering


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    """Eight pairs of 96 x 112."""
    folder = tmp_path_factory.mktemp("pairs")
    for index in range(8):
        for side, frame in zip("AB", synthetic_pair(96, 112, seed=index), strict=True):
            cv2.imwrite(str(folder / f"p{index}_{side}.png"), frame)
    return folder
