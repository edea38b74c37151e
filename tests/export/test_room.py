"""Sizes for which there is no memory are refused by their option, wherever one is given, before any of it is taken."""

import json

import pytest
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.runtime.memory import room

pytest.importorskip("torch")

NANO = ["--weights", "ufa-nano"]


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["verify", "ufa-nano", "--against", "ufa-nano", "--size", "9999x9999"], "--size 9999x9999"),
        (["export", *NANO, "--static", "9999x9999", "-o", "x.onnx"], "--static 9999x9999"),
        (["export", *NANO, "--static", "999x999", "--batch", "1024", "-o", "x.onnx"], "--static 999x999"),
        (["export", *NANO, "--static", "9999x9999", "-o", "x.ncnn.param"], "--static 9999x9999"),
        (["export", *NANO, "--reference", "x.npz", "--reference-size", "9999x9999", "-o", "x.onnx"], "--reference-size 9999"),
        (["export", *NANO, "--all", "--size", "9999x9999", "-o", "all"], "--size 9999x9999"),
        (["calibrate", "ufa-nano", "--pairs", "pairs", "--crop", "9999", "-o", "x.onnx"], "--crop 9999"),
        (["dataset", "--stacks", "--size", "9999x64", "-o", "set"], "--size 9999x64"),
        (["train", "--images", "drawn:", "--out", "run", "--crop", "9999"], "--crop 9999"),
        (["train", "--images", "drawn:", "--out", "run", "--batch", "99999"], "--batch 99999"),
        (["train", "--images", "drawn:", "--variant", "ufa-stack", "--out", "run", "--crop", "9999"], "--crop 9999"),
        (["bench", "ufa-nano", "--size", "9999x9999"], "--size 9999x9999"),
    ],
)
def test_is_refused_by_its_option_and_nothing_is_written(tmp_path, monkeypatch, words, option):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs").mkdir()
    monkeypatch.setattr(room, "available_bytes", lambda: 1 << 30)
    done = CliRunner().invoke(build_app(), [*words, "--json"])
    told = json.loads(done.stdout)["error"]
    assert done.exit_code == 2, told
    assert option in told
    assert "GB at least, and 0.9 GB of memory may be taken here" in told, told
    assert [path.name for path in tmp_path.iterdir()] == ["pairs"]
