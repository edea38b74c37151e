"""`ufa train`, `ufa train ablation` and `ufa dataset` as they are called."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.networks import TINY_STACKS
from ufafuse.commands.cli import build_app
from ufafuse.network.spec import SPECS, Spec
from ufafuse.train import textures

SMALL = Spec("small", widths=(4,), fold=2, encoder_blocks=(1,), decoder_blocks=(1,), head="select", symmetric=True)


@pytest.fixture(autouse=True)
def small_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPECS, "small", SMALL)


def ufa(*arguments: object) -> Result:
    return CliRunner().invoke(build_app(), [str(argument) for argument in arguments])


def run_options(folders: tuple[Path, Path], out: Path) -> list[object]:
    tiny = ["--variant", "small", "--steps", 3, "--crop", 16, "--batch", 2, "--threads", 1, "--device", "cpu"]
    return ["--images", folders[0], "--masks", folders[1], "--out", out, "--validations", 1, *tiny]


def test_train_prints_one_object_and_resumes(photo_folders: tuple[Path, Path], tmp_path: Path) -> None:
    result = ufa(
        "train", *run_options(photo_folders, tmp_path / "run"), "--json", "--lens-set", "noise=0,jpeg=0.5", "--lambda", 0.4
    )
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert {"ok", "run", "steps", "seconds", "best", "weights"} <= set(printed)
    assert printed["ok"]
    assert Path(printed["weights"]).is_file()
    saved = json.loads((tmp_path / "run" / "options.json").read_text())
    assert saved["recipe"]["weight"] == 0.4
    assert [saved["lens_options"][key] for key in ("noise", "jpeg")] == [0, 0.5]

    longer = ufa("train", "--out", tmp_path / "run", "--resume", "--steps", 5, "--json")
    assert json.loads(longer.stdout)["steps"] == 5


def test_train_names_what_it_wrote_and_what_comes_next(photo_folders: tuple[Path, Path], tmp_path: Path) -> None:
    result = ufa("train", *run_options(photo_folders, tmp_path / "run"))
    assert result.exit_code == 0, result.output
    assert f"wrote {tmp_path}/run/best.safetensors" in result.stdout
    assert "next: ufa export --weights" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--steps", 3], "a run needs --images, --masks, --out"),
        (["train", "--resume"], "--resume needs the folder"),
        (["train", "--resume", "--out", "gone"], "gone holds no run"),
        (["train", "--images", "gone", "--masks", "gone", "--out", "{out}"], "gone is not a folder"),
        (["train", "--images", "i", "--masks", "m", "--out", "{out}", "--variant", "ufo"], "'ufo' is unknown"),
        (["train", "ablation", "--over", "lambda", "--out", "{out}"], "a run needs --images"),
        (["dataset", "--images", "gone", "--masks", "gone", "--out", "{out}"], "gone is not a folder"),
        (["dataset", "--images", "i", "--masks", "m", "--out", "{out}", "--size", 64], "--size is about lens"),
        (["dataset", "--images", "i", "--masks", "m", "--out", "{out}", "--lens", "--size", "64x80"], "lens pairs are square"),
        (["dataset", "--images", "i", "--out", "{out}"], "--images and --masks are needed"),
        (["dataset", "--lens", "--stacks", "--out", "{out}"], "give one of them"),
        (["dataset", "--frames", 4, "--out", "{out}"], "--frames is about drawn stacks"),
        (["dataset", "--preset", "any", "--out", "{out}"], "--preset is about drawn stacks"),
        (["dataset", "--stacks", "--masks", "m", "--out", "{out}"], "omit --masks"),
        (["dataset", "--stacks", "--lens-set", "noise=0", "--out", "{out}"], "set by --stack-set"),
        (["dataset", "--stacks", "--size", "5", "--out", "{out}"], "at least 16 x 16 pixels, got 5 x 5"),
        (["dataset", "--stacks", "--count", "0", "--out", "{out}"], "at least 1, got 0"),
        (["dataset", "--stacks", "--images", "drawn:gone", "--out", "{out}"], "gone is not a folder"),
        (["train", "--images", "drawn:", "--masks", "m", "--out", "{out}"], "omit --masks"),
        (["train", "--images", "drawn:gone", "--out", "{out}", "--variant", "ufa-stack"], "gone is not a folder"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(arguments: list[object], message: str, tmp_path: Path) -> None:
    result = ufa(*(str(argument).replace("{out}", str(tmp_path / "out")) for argument in arguments))
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_the_sweep_is_a_sub_command(photo_folders: tuple[Path, Path], tmp_path: Path) -> None:
    options = run_options(photo_folders, tmp_path / "sweep")
    result = ufa("train", "ablation", "--over", "attention", *options, "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert list(printed["rows"]) == ["NO-UFA", "NO-SA", "NO-CA", "UFA"]
    assert all(Path(path).is_file() for path in printed["files"])


def test_dataset_writes_pairs(photo_folders: tuple[Path, Path], tmp_path: Path) -> None:
    result = ufa("dataset", "--images", photo_folders[0], "--masks", photo_folders[1], "-o", tmp_path / "d", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["pairs"] == 24
    assert len(list((tmp_path / "d").glob("*_GT.png"))) == 24


def test_train_learns_from_drawn_stacks_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPECS, "small-stack", TINY_STACKS["two scales"])
    monkeypatch.setattr(textures, "SIDE", 96)  # smaller and fewer pictures are drawn sooner
    monkeypatch.setattr(textures, "BANK", 12)
    tiny = ["--steps", 2, "--crop", 24, "--batch", 2, "--threads", 1, "--device", "cpu", "--validations", 1]
    result = ufa(
        *("train", "--images", "drawn:", "--variant", "small-stack", "--out", tmp_path / "run", *tiny),
        *("--stack-set", "max_frames=3", "--stack-set", "max_radius=6", "--json"),
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["ok"]
    saved = json.loads((tmp_path / "run" / "options.json").read_text())
    assert (saved["drawn"], saved["images"], saved["scene_options"]["max_frames"]) == (True, None, 3)
    longer = ufa("train", "--out", tmp_path / "run", "--resume", "--steps", 3, "--images", "drawn:", "--json")
    assert json.loads(longer.stdout)["steps"] == 3


def test_dataset_writes_drawn_stacks(tmp_path: Path) -> None:
    given = ["--count", 2, "--frames", 3, "--size", "32x48", "--stack-set", "max_radius=6", "-o", tmp_path / "s"]
    result = ufa("dataset", "--stacks", *given)
    assert result.exit_code == 0, result.output
    assert "2 stacks" in result.stdout
    assert len(list((tmp_path / "s").glob("*/0*.png"))) == 6
    again = ufa(
        "dataset", "--stacks", *given[:-1], tmp_path / "b", "--preset", "macro-boards", "--stack-set", "min_radius=4", "--json"
    )
    assert json.loads(again.stdout)["stacks"] == 2
    plan = json.loads((tmp_path / "b" / "dataset.json").read_text())["plan"]
    assert (plan["options"]["boards"], plan["options"]["max_radius"], plan["size"]) == (1, 6, [32, 48])
