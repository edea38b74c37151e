"""Pairs that cannot be used are refused before the minutes that an export takes, and nothing is written."""

import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app

pytest.importorskip("torch")


def written(folder, frame, other=None):
    folder.mkdir()
    for side, pixels in (("A", frame), ("B", frame if other is None else other)):
        cv2.imwrite(str(folder / f"one_{side}.png"), pixels)


@pytest.mark.parametrize("wanted", [["--reference", "x.npz", "-o", "x.onnx"], ["--all", "-o", "all"]])
@pytest.mark.parametrize(
    ("frame", "other", "why"),
    [
        (np.zeros((300, 300, 3), np.uint16), None, "8-bit"),
        (np.zeros((40, 300, 3), np.uint8), None, "smaller"),
        (np.zeros((300, 300, 3), np.uint8), np.zeros((300, 301, 3), np.uint8), "differ in size"),
    ],
)
def test_are_refused_before_anything_is_made(tmp_path, monkeypatch, wanted, frame, other, why):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.export.export", lambda *_, **__: pytest.fail("a network was traced first"))
    monkeypatch.setattr("torch.onnx.export", lambda *_, **__: pytest.fail("a graph was made first"))
    written(tmp_path / "pairs", frame, other)
    done = CliRunner().invoke(build_app(), ["export", "--weights", "ufa-nano", "--pairs", "pairs", *wanted, "--json"])
    told = json.loads(done.stdout)["error"]
    assert done.exit_code == 2, told
    assert why in told
    assert [path.name for path in tmp_path.iterdir()] == ["pairs"]
