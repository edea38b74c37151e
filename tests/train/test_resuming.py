"""Runs that go on: as what they are, on the photographs that they began with, one process at a time."""

import dataclasses
import multiprocessing
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest

from ufafuse.network.spec import SPECS, Spec
from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.models import weights_path
from ufafuse.runtime.writing import write_json
from ufafuse.train.dataset import LensPlan, write_lens_dataset
from ufafuse.train.logs import COLUMNS, keep_rows
from ufafuse.train.loop import train
from ufafuse.train.recipe import TrainOptions, options_from
from ufafuse.train.resuming import OPTIONS, alone, resumed_options

SMALL = Spec("small", widths=(4,), fold=2, encoder_blocks=(1,), decoder_blocks=(1,), head="select", symmetric=True)


@pytest.fixture
def folders(photo_folders: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Photographs of one's own, to change."""
    copies = tmp_path / "images", tmp_path / "masks"
    for folder, copy in zip(photo_folders, copies, strict=True):
        shutil.copytree(folder, copy)
    return copies


@pytest.fixture
def given(folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a user gives to a run of two steps."""
    monkeypatch.setitem(SPECS, "small", SMALL)
    where = {"images": folders[0], "masks": folders[1], "out": tmp_path / "run"}
    how = {"variant": "small", "steps": 2, "crop": 16, "batch": 1, "lens_set": ["noise=0", "jpeg=0"], "recipe": "fast"}
    return where | how | {"validations": 1, "threads": 1, "device": "cpu"}


def test_the_command_that_began_a_run_goes_on_with_it(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    monkeypatch.chdir(tmp_path)
    for more in ({}, {"init_from": "ufa-nano", "variant": "ufa-nano"}, {"lens": 0.3, "attention": "both"}):
        options = options_from(given | more)
        write_json(out / OPTIONS, options.to_dict())
        for same in ({}, {"images": Path("images"), "masks": Path("./masks/")}, {"init_from": options.init_from}):
            again = given | more | {key: value for key, value in same.items() if value is not None}
            assert resumed_options(out, again) == options
    assert weights_path("ufa-nano").is_file()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"recipe": "nope"}, "recipe 'nope' is unknown. Known recipes: paper, "),
        ({"lens_set": ["noise=0"]}, "`lens_set=noise=0` would make it another run (it has jpeg=0.0)"),
        ({"stack_set": ["dark=0"]}, "`stack_set=dark=0` would make it another run (it has dark=0.1)"),
        (
            {"recipe": "paper", "steps": 2},
            "`recipe=paper` would make it another run (it has crop=16,batch=1,schedule=one-cycle,",
        ),
        ({"attention": "none"}, "`attention=none` would make it another run (it has both)"),
        ({"images": Path("drawn:")}, "`images=drawn:` would make it another run (it has "),
        ({"seed": 3}, "`seed=3` would make it another run (it has 0)"),
    ],
)
def test_what_would_make_it_another_run_is_told_beside_what_it_has(
    given: dict[str, Any], change: dict[str, Any], told: str
) -> None:
    given["out"].mkdir()
    write_json(given["out"] / OPTIONS, options_from(given).to_dict())
    with pytest.raises(InputError) as refused:
        resumed_options(given["out"], change)
    assert told in str(refused.value)


def test_a_run_goes_on_with_the_photographs_that_it_began_with(
    given: dict[str, Any], folders: tuple[Path, Path], tmp_path: Path
) -> None:
    options = options_from(given)
    train(options)
    moved = tmp_path / "elsewhere"
    folders[0].rename(moved)
    elsewhere = resumed_options(options.out, {"images": moved, "steps": 3})
    assert train(elsewhere, resume=True)["steps"] == 3
    shutil.copy(moved / "p0.jpg", moved / "new.jpg")
    shutil.copy(folders[1] / "p0.png", folders[1] / "new.png")
    (moved / "p3.jpg").unlink()
    (folders[1] / "p3.png").unlink()
    with pytest.raises(InputError, match=r"1 more \(new\) and 1 fewer \(p3\): it would be validated on"):
        train(resumed_options(options.out, {"steps": 4}), resume=True)


def test_the_surfaces_of_drawn_scenes_are_held_against_those_before(given: dict[str, Any], folders: tuple[Path, Path]) -> None:
    drawn = {key: value for key, value in given.items() if key != "masks"} | {"images": f"drawn:{folders[0]}"}
    options = options_from(drawn)
    train(options)
    cv2.imwrite(str(folders[0] / "new.png"), cv2.imread(str(folders[0] / "p0.jpg")))
    with pytest.raises(InputError, match=r"1 more \(new.png\)"):
        train(resumed_options(options.out, {"steps": 3}), resume=True)


def test_the_best_of_other_pairs_is_no_measure(given: dict[str, Any], folders: tuple[Path, Path], tmp_path: Path) -> None:
    options = options_from(given)
    easy = train(options)["best"]
    write_lens_dataset(*folders, tmp_path / "pairs", LensPlan(2, 48))
    result = train(resumed_options(options.out, {"steps": 3, "val_pairs": tmp_path / "pairs"}), resume=True)
    assert (result["best"]["step"], result["best"]["psnr"] == easy["psnr"]) == (3, False)
    assert any("validated on others from now on" in text for text in result["warnings"])
    assert "warnings" not in train(resumed_options(options.out, {"steps": 4}), resume=True)


def test_one_process_at_a_time_trains_in_a_folder(given: dict[str, Any]) -> None:
    options: TrainOptions = options_from(given)
    train(options)
    before = (options.out / "log.csv").read_bytes()
    with alone(options.out), pytest.raises(OutputError, match="another process trains in"):
        train(dataclasses.replace(options, seed=1), resume=True)
    assert (options.out / "log.csv").read_bytes() == before
    train(options, resume=True)


def test_a_process_that_draws_keeps_no_folder(tmp_path: Path) -> None:
    forking = multiprocessing.get_context("fork")
    begun, ended = forking.Event(), forking.Event()

    def draw() -> None:
        begun.set()
        ended.wait(20)

    drawing = forking.Process(target=draw)
    with alone(tmp_path):
        drawing.start()
        assert begun.wait(20)
    with alone(tmp_path):  # though the process lives that was there meanwhile
        assert drawing.is_alive()
    ended.set()
    drawing.join()


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"\0", b"9" * 5000, b'"', b"1.5.", b"x"])
def test_a_damaged_log_loses_its_damaged_rows_alone(tmp_path: Path, damage: bytes) -> None:
    path, rows = tmp_path / "log.csv", (b"1,0.5,0.2", b"3,1.5,nan", b"5,2.5,0.1", b"7,3.5,0.1")
    path.write_bytes(b"\n".join((b"step,seconds,loss", rows[0], damage + rows[1], rows[2] + damage + b"e", rows[3], b"")))
    keep_rows(path, 5)
    header, *kept = path.read_text().splitlines()
    assert header == ",".join(COLUMNS)
    assert [row.rstrip(",") for row in kept] == ["1,0.5,0.2"]
    keep_rows(path, 5)
    assert path.read_text().splitlines()[1:] == kept
    path.write_bytes(damage + path.read_bytes())
    keep_rows(path, 5)
    assert path.read_text().splitlines() == [header]
