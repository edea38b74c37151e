"""What a command reads is never replaced by what it writes, with ``--force`` or without."""

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.runtime.errors import OutputError
from ufafuse.runtime.writing import check_apart


def ufa(*arguments):
    return CliRunner().invoke(build_app(), arguments)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Photographs in ``p``, their labels in ``m``, pairs in ``eval/fused`` and something that is called a model."""
    monkeypatch.chdir(tmp_path)
    for path in ("p/a.png", "m/a.png", "eval/fused/a_A.png", "eval/fused/a_B.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(path, np.full((64, 64, 3), 9, np.uint8))
    (tmp_path / "x.onnx").write_bytes(b"a model")
    (tmp_path / "linked").symlink_to("p")
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["dataset", "--images", "p", "--masks", "m", "-o", "p", "--force"],
        ["dataset", "--images", "p", "--masks", "m", "-o", "m", "--lens", "--force"],
        ["dataset", "--stacks", "--images", "p", "-o", "linked", "--force"],
        ["eval", "--pairs", "p", "--methods", "lap", "-o", "linked", "--force"],
        ["eval", "--pairs", "eval/fused", "--methods", "lap", "-o", "eval", "--force"],
        ["eval", "--stacks", "p", "-o", "p", "--force"],
        ["train", "--images", "p", "--masks", "m", "--out", "p"],
        ["build", "x.onnx", "-o", "x.engine", "--static", "64x64", "--timing-cache", "x.onnx"],
        ["export", "--weights", "ufa-nano", "-o", "all", "--all", "--pairs", "p", "--reference", "p"],
    ],
)
def test_a_command_leaves_its_sources_alone(folder, arguments):
    if arguments[0] in ("dataset", "train", "export"):
        pytest.importorskip("torch", reason="needs torch")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = ufa(*arguments)
    assert done.exit_code == 2, (done.stdout, done.exception)
    assert "belongs to what is read" in done.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_links_are_seen_through_and_what_is_not_there_is_apart(tmp_path):
    source = tmp_path / "a"
    source.touch()
    (tmp_path / "hard").hardlink_to(source)
    (tmp_path / "soft").symlink_to(source)
    for name in ("a", "hard", "soft"):
        with pytest.raises(OutputError, match=name):
            check_apart([None, tmp_path / name], [None, source])
    check_apart([tmp_path / "b", tmp_path / "c"], [source, tmp_path / "c"])
