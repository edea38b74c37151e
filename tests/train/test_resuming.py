"""Runs that go on: as what they are, on the photographs that they began with, one process at a time."""

import contextlib
import csv
import dataclasses
import itertools
import multiprocessing
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ufafuse.network.spec import SPECS, Spec
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.models import weights_path
from ufafuse.runtime.writing import write_json
from ufafuse.train.dataset import LensPlan, write_lens_dataset
from ufafuse.train.feed import Validation
from ufafuse.train.logs import COLUMNS, RunLog, keep_rows
from ufafuse.train.loop import Trainer, train
from ufafuse.train.recipe import TrainOptions, options_from
from ufafuse.train.resuming import OPTIONS, alone, check_same_run, resumed_options

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


def test_what_a_run_began_with_may_be_gone_when_it_goes_on(given: dict[str, Any], tmp_path: Path) -> None:
    weights = train(options_from(given | {"out": tmp_path / "first"}))["weights"]
    own = tmp_path / "own.safetensors"
    shutil.copy(weights, own)
    options = options_from(given | {"init_from": own})
    train(options)
    for change in (lambda: own.write_bytes(weights_path("ufa-nano").read_bytes()), own.unlink):
        change()
        assert train(resumed_options(options.out, {"init_from": own}), resume=True)["steps"] == 2
    for checkpoint in options.out.glob("checkpoint.*"):  # now there is nothing else to go on from
        checkpoint.unlink()
    with pytest.raises(InputError, match="own"):
        train(resumed_options(options.out, {}), resume=True)


def test_a_run_goes_on_from_whatever_folder_one_is_in(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = Path("pairs")
    write_lens_dataset(given["images"], given["masks"], pairs, LensPlan(2, 48))
    begun = given | {"images": Path("images"), "masks": Path("masks"), "out": Path("run"), "val_pairs": pairs}
    assert "warnings" not in train(options_from(begun))
    monkeypatch.chdir("run")
    for steps in (3, 4):
        result = train(resumed_options(Path(), {"steps": steps}), resume=True)
        assert (result["steps"], result.get("warnings")) == (steps, None)
    check_same_run(dataclasses.replace(resumed_options(Path(), {}), images=Path("../images")), budget=True)
    shutil.move(tmp_path / "images", tmp_path / "run" / "images")
    assert train(resumed_options(Path(), {"steps": 5, "images": Path("images")}), resume=True)["steps"] == 5


def test_a_killed_run_knows_its_best_weights(given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter((30.0, 40.0, 10.0, 11.0))
    picture = np.zeros((8, 8, 3), np.uint8)
    monkeypatch.setattr("ufafuse.train.pairfeed.PairFeed.validate", lambda *_: Validation(next(found), 0.5, picture))
    options = options_from(given)
    train(options)
    with killed_after(2):  # of six: it has validated after three, and the next checkpoint is due in minutes
        train(resumed_options(options.out, {"steps": 6, "validations": 3}), resume=True)
    result = train(resumed_options(options.out, {"steps": 2}), resume=True)
    assert result["best"] == {"psnr": 40.0, "ssim": 0.5, "step": 4}
    assert read_manifest(Path(result["weights"])).extra["step"] == 4
    # Of other pairs the best is another one, also where the run is killed before it has validated on them.
    write_lens_dataset(given["images"], given["masks"], tmp_path / "pairs", LensPlan(2, 48))
    others = {"validations": 1, "val_pairs": tmp_path / "pairs"}
    with killed_after(0):
        train(resumed_options(options.out, others | {"steps": 9}), resume=True)
    result = train(resumed_options(options.out, {"steps": 5}), resume=True)
    assert result["best"] == {"psnr": 10.0, "ssim": 0.5, "step": 5}


@contextlib.contextmanager
def killed_after(steps: int) -> Iterator[None]:
    """End the run that is trained within before the step after these, as if it were killed."""
    done = itertools.count()
    one = Trainer._step

    def step(trainer: Trainer, batch: Any) -> float:
        if next(done) == steps:
            raise KeyboardInterrupt
        return one(trainer, batch)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "_step", step)
        yield


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is full")
def test_a_log_that_finds_no_room_is_named(tmp_path: Path) -> None:
    refused = pytest.raises(OutputError, match=r"log\.csv cannot be written: No space left")
    with refused, RunLog(tmp_path, step=0, total=9) as log:
        assert log._file is not None
        log._file.close()
        log._file = Path("/dev/full").open("w", buffering=1)  # noqa: SIM115 - the log closes it
        log._rows = csv.DictWriter(log._file, COLUMNS)
        log.row(1, {"seconds": 1.0, "loss": 0.5}, "")


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
