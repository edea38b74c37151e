"""Every network within one budget: trained, judged beside the bundled weights, gone on with; and the loader by itself."""

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.commands.train import _tell_every
from ufafuse.network.weights import build_model, save_weights
from ufafuse.runtime.errors import InputError
from ufafuse.train import every
from ufafuse.train.every import SHARES, Every, loader_rate, train_every
from ufafuse.train.loop import feed_for
from ufafuse.train.recipe import options_from

ROOT = Path(__file__).parents[2]
TINY: dict[str, Any] = {"images": Path("drawn:"), "device": "cpu", "crop": 24, "batch": 2, "threads": 1, "validations": 1}


@pytest.fixture
def few_validated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ufafuse.train.pairfeed.HELD_OUT", 2)
    monkeypatch.setattr(every.loader_rate, "__kwdefaults__", {"seconds": 0.05})


def test_the_minutes_are_shared_out_and_none_are_left_over() -> None:
    asked = Every(Path("o"), 10, TINY)
    assert 8 < 60 * Every(Path("o"), 10, TINY, ("ufa-nano",)).hours("ufa-nano") < 10
    elapsed = 0.0  # seconds; each run takes ten beside its training
    for name in asked.variants:
        elapsed += 3600 * asked.hours(name, elapsed=elapsed, beside=10.0) + 10
    assert elapsed == pytest.approx(600)
    assert asked.hours("ufa-stack", elapsed=700, beside=10.0) * 3600 == pytest.approx(1)


def test_runs_start_from_the_bundled_weights_and_on_a_gpu_from_larger_batches() -> None:
    given = {"images": Path("drawn:"), "device": "cuda"}
    for name in SHARES:
        options = Every(Path("o"), 10, given).options(name)
        assert options.init_from == every.bundled_weights(name)
        assert options.recipe.batch == 4 * options_from({**given, "variant": name, "out": Path("o"), "hours": 1}).recipe.batch
        assert Every(Path("o"), 10, given, anew=True).options(name).init_from is None
    assert Every(Path("o"), 10, {**given, "batch": 6}).options("ufa").recipe.batch == 6
    assert [Every(Path("o"), 10, given).options(name).pairs_a_scene for name in ("ufa-edge", "ufa-stack")] == [4, 1]
    assert Every(Path("o"), 10, {**given, "device": "cpu"}).options("ufa-edge").recipe.batch == 8


@pytest.mark.usefixtures("few_validated")
def test_networks_are_trained_judged_and_gone_on_with(tmp_path: Path) -> None:
    asked = Every(tmp_path / "out", 0.02, TINY, ("ufa-nano",))
    begun: list[str] = []
    found = train_every(asked, begin=begun.append)
    entry = found["networks"]["ufa-nano"]
    assert begun == ["ufa-nano"]
    assert found["finished"]
    assert json.loads((tmp_path / "out" / "every.json").read_text()) == found
    assert entry["steps"] > 0
    assert entry["images_per_second"] > 0
    assert 0 < entry["waiting_share"] < 1
    assert entry["loader"]["images_per_second"] > 0
    assert entry["better"] == (entry["psnr"] > entry["bundled"]["psnr"])
    again = train_every(asked)["networks"]["ufa-nano"]  # nothing is left to train, and it is judged once more
    assert (again["steps"], again["psnr"], again["bundled"]) == (entry["steps"], entry["psnr"], entry["bundled"])
    with pytest.raises(InputError, match=r"ufa-nano holds a run of `minutes=0\.02`, and 5 are asked for now"):
        train_every(dataclasses.replace(asked, minutes=5))
    for other in (dataclasses.replace(asked, given={**TINY, "seed": 4}), dataclasses.replace(asked, anew=True)):
        with pytest.raises(InputError, match=r"ufa-nano holds a run with (seed 0|init_from ufa-nano\.safetensors), and "):
            train_every(other)  # which would judge the run by what it was not asked for


def test_labels_are_for_the_networks_over_pairs() -> None:
    given = {"images": Path("i"), "masks": Path("m")}
    pairs, stacks = (Every(Path("o"), 1, given).options(name) for name in ("ufa-edge", "ufa-stack"))
    assert (pairs.images, pairs.masks, pairs.drawn) == (Path("i"), Path("m"), False)
    assert (stacks.images, stacks.masks, stacks.drawn) == (Path("i"), None, True)


@pytest.mark.usefixtures("few_validated")
def test_better_weights_are_told_so(tmp_path: Path) -> None:
    options = options_from({**TINY, "variant": "ufa-nano", "out": tmp_path, "hours": 1})
    save_weights(build_model("ufa-nano", seed=3), tmp_path / "new.safetensors")
    worse = every.judged(options, tmp_path / "new.safetensors")
    assert not worse["better"]
    assert worse["psnr"] < worse["bundled"]["psnr"]
    assert not every.judged(options, every.bundled_weights("ufa-nano"))["better"]  # as good is not better


@pytest.mark.usefixtures("few_validated")
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_the_loader_is_measured_by_itself(workers: int) -> None:
    options = options_from({**TINY, "variant": "ufa-nano", "out": Path("o"), "hours": 1})
    rate = loader_rate(feed_for(options), workers, seconds=0.05)
    assert rate["images_per_second"] > 0
    assert (rate["workers"], rate["unit"]) == (workers, "images")


@pytest.mark.parametrize(("change", "told"), [({"variants": ("ufa-huge",)}, "ufa-huge"), ({"minutes": 0}, "above 0")])
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    change: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=told):
        train_every(Every(**{"out": tmp_path / "out", "minutes": 1, "given": TINY} | change))
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("few_validated")
def test_the_commands_print_one_object() -> None:
    run, tiny = CliRunner(), ["--variant", "ufa-nano", "--crop", "24", "--batch", "2"]
    rate = run.invoke(build_app("train"), ["train", "loader", *tiny, "--seconds", "0.1", "--json"])
    assert json.loads(rate.stdout)["images_per_second"] > 0
    refused = run.invoke(build_app("train"), ["train", "every"])
    assert refused.exit_code == 2
    assert "--out" in refused.output


def test_of_a_network_that_an_earlier_run_trained_no_drawing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    entry = {"psnr": 50.0, "bundled": {"psnr": 51.0}, "better": False, "steps": 3, "batch": 2, "images_per_second": 4.0}
    _tell_every({"networks": {"ufa-nano": entry | {"waiting_share": 0.1}}})
    assert "4.0 images a second, 10 % of the time" in " ".join(capsys.readouterr().out.split())


def test_the_script_names_what_it_lacks() -> None:
    told = subprocess.run([ROOT / "deploy" / "train-on-gpu"], capture_output=True, text=True, check=False)
    assert told.returncode != 0
    assert "usage: train-on-gpu OUTDIR" in told.stderr
