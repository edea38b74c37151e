"""Pages of `ufa eval --stacks`: they say what the JSON says, and what cannot be written is told."""

import json

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tests.benchmarks.stacks import steps, textured, write_stack
from ufafuse.commands import bench as commands


@pytest.fixture
def run():
    app = typer.Typer()
    commands.register(app)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path):
    """One stack that can be scored, with what was made of it beside its frames; one whose truth has another size."""
    truth = textured(64, 80, seed=3)
    frames = steps(truth, 3, noise=1)
    write_stack(tmp_path / "stacks" / "good", frames, truth)
    write_stack(tmp_path / "stacks" / "bad", frames, truth[:40])
    cv2.imwrite(str(tmp_path / "stacks" / "good" / "focus-stack.png"), truth.astype(np.uint8))
    return tmp_path / "stacks"


def test_every_report_says_what_the_json_says(run, folder, tmp_path):
    theirs, whole = tmp_path / "theirs", textured(64, 80, seed=3).astype(np.uint8)
    theirs.mkdir()
    for name in ("good", "bad"):
        write_stack(folder / f"more-{name}", steps(whole, 3, noise=1))
    cv2.imwrite(str(theirs / "good.png"), whole)
    result = run("eval", "--stacks", folder, "--methods", "pyramid", "--fused", theirs, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    written = json.loads((tmp_path / "out" / "eval.json").read_text())
    assert written == {key: value for key, value in said.items() if key != "files"}
    [warning] = next(entry for entry in said["stacks"] if entry["name"] == "good")["warnings"]
    assert warning == "focus-stack.png was taken for a result, not for a frame."
    few = "theirs, given: a mean over only 1 of 4 stacks, not comparable with the others."
    for name in ("report.md", "index.html"):
        text = (tmp_path / "out" / name).read_text()
        assert warning in text
        assert few in text
        assert "the truth of bad is 40 x 80" in text


def test_reports_are_written_where_nothing_could_be_scored(run, folder, tmp_path):
    result = run("eval", "--stacks", folder, "--only", "bad", "--methods", "pyramid", "-o", tmp_path / "out", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["failed"] == 1
    assert "the truth of bad is 40 x 80" in (tmp_path / "out" / "report.md").read_text()


def test_close_ups_that_cannot_be_written_are_told(run, folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "closeups").touch()
    words = ["--only", "good", "--methods", "pyramid", "-o", tmp_path / "out", "--force", "--json"]
    result = run("eval", "--stacks", folder, *words)
    assert result.exit_code == 2
    assert "closeups is there, and is no folder" in json.loads(result.stdout)["error"]


def test_margins_that_the_reference_leaves_transparent_are_no_black_for_those_who_fold(run, tmp_path):
    truth = textured(64, 80, seed=3)
    for name, first in (("opaque", 255), ("masked", 0)):
        frames = [np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)]) for frame in steps(truth, 3)]
        frames[0][:, -12:] *= np.uint8(first > 0)  # where the last frame is the sharp one
        write_stack(tmp_path / "stacks" / name, frames, truth)
    result = run("eval", "--stacks", tmp_path / "stacks", "--methods", "average,gff", "--json")
    assert result.exit_code == 0, result.output
    psnr = {(row["method"], row["name"]): row["metrics"]["PSNR"] for row in json.loads(result.stdout)["rows"]}
    for method in ("average", "gff"):
        assert psnr[method, "masked"] > psnr[method, "opaque"] - 0.5
