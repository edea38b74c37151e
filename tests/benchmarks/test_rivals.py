"""The networks of the paper's tables as methods of `ufa eval`."""

import json

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("torch")

from ufafuse.benchmarks.contestants import contestants
from ufafuse.benchmarks.methods import is_rival, method, methods, missing_rivals, rivals
from ufafuse.benchmarks.metrics import score, truth
from ufafuse.benchmarks.stacks.contestants import stack_contestants
from ufafuse.commands import bench as commands
from ufafuse.commands import evalpairs
from ufafuse.network.rivals import places
from ufafuse.network.spec import RIVALS
from ufafuse.network.weights import build_model
from ufafuse.runtime.errors import InputError

NAMES = tuple(RIVALS)
# dB above the mean of the frames. Both DenseFuse blend two focus settings rather than choose: the paper's Table V has their
# Qabf where plain averaging's is. What their L1 rule is for has a test of its own.
MARGINS = {"rival-deepfuse": 2.5, "rival-densefuse-add": -0.3, "rival-densefuse-l1": -0.3, "rival-mffgan": 3.0}
CHOOSES = 5.0


@pytest.fixture
def run():
    """`ufa eval` alone."""
    app = typer.Typer()
    commands.register(app)
    app.command("other")(lambda: None)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def weights(tmp_path):
    """A file as authors publish them."""
    net = build_model("rival-pcnn", seed=0)
    path = tmp_path / "published.npz"
    np.savez(path, *(value.numpy() for value in net.state_dict().values()))
    return path


@pytest.fixture
def nowhere(monkeypatch):
    monkeypatch.setattr(places, "weights_folder", lambda: None)


def test_every_rival_is_a_method_where_its_weights_are_at_hand():
    assert missing_rivals() == {}
    assert tuple(filter(is_rival, methods())) == NAMES
    assert all(methods()[name].note for name in NAMES)


def test_weights_that_are_not_at_hand_are_said_by_name_and_left_out_of_all(nowhere):
    assert set(missing_rivals()) == set(NAMES)
    assert not any(map(is_rival, methods()))
    with pytest.raises(InputError, match="weights of rival-sesf are not installed"):
        contestants(fused=[], models=[], method_names=["rival-sesf"])
    assert "all is without 9 networks" in evalpairs.left_out_of_all(["all"])
    assert evalpairs.left_out_of_all(["lap"]) == ""


@pytest.mark.parametrize("name", NAMES)
def test_each_beats_the_mean_of_its_frames_by_what_its_kind_can(photographic, name):
    near, far, sought = photographic
    floor, found = (score(near, far, method(which).fuse(near, far), sought)["PSNR"] for which in ("average", name))
    assert found > floor + MARGINS.get(name, CHOOSES)


def test_densefuse_l1_takes_the_warm_and_the_visible_where_the_mean_takes_half_of_each():
    rows, columns = np.mgrid[:48, :48]
    warm = (columns - 20) ** 2 + (rows - 22) ** 2 < 12**2
    detail = cv2.GaussianBlur(np.random.default_rng(4).normal(size=(48, 48)), (0, 0), 1.2)
    seen = 70 + 12 * detail / detail.std()
    infrared, visible, sought = (
        np.clip(plane, 0, 255).round().astype(np.uint8) for plane in (np.where(warm, 220, 10), seen, np.where(warm, 220, seen))
    )
    mean, chosen = (truth.psnr(sought, method(name).fuse(infrared, visible)) for name in ("average", "rival-densefuse-l1"))
    assert chosen > mean + 3


def test_published_weights_are_a_row_of_their_own(run, pair_folder, weights):
    done = run("eval", "--pairs", pair_folder, "--model", "rival-pcnn", "--weights", weights, "--jobs", 1, "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert set(result["mean"]) == {"rival-pcnn-published"}
    assert result["networks"]["rival-pcnn-published"]["weights"] == "published.npz"


def test_weights_that_do_not_fit_end_with_one_line(run, pair_folder, weights):
    done = run("eval", "--pairs", pair_folder, "--model", "rival-drpl", "--weights", weights)
    assert done.exit_code == 2
    assert "does not fit rival-drpl" in " ".join(done.stderr.split())


@pytest.mark.parametrize("models", [[], ["rival-cnn", "rival-sesf"], ["ufa-edge"]], ids=["none", "two", "one of ours"])
def test_a_file_of_weights_is_for_one_rival(weights, models):
    with pytest.raises(InputError, match="is for one network of the paper's tables"):
        contestants(fused=[], models=models, method_names=["lap"], weights=weights)


def test_ours_are_told_from_theirs(weights):
    both = contestants(fused=[], models=["rival-pcnn"], method_names=["rival-sesf"], weights=weights)
    assert {entry.name: entry.facts()["weights"] for entry in both} == {
        "rival-sesf": "ours",
        "rival-pcnn-published": "published.npz",
    }
    assert [entry.name for entry in contestants(fused=[], models=["rival-sesf"], method_names=[])] == ["rival-sesf"]


def test_a_rival_named_both_ways_is_one_row_and_an_unknown_one_is_answered_with_those_there_are():
    found = contestants(fused=[], models=["rival-sesf"], method_names=["rival-sesf"])
    assert [entry.name for entry in found] == ["rival-sesf"]
    with pytest.raises(InputError, match="model=rival-nope` is not known: choose from rival-cnn, "):
        contestants(fused=[], models=["rival-nope"], method_names=[])


def test_rivals_fold_stacks():
    found = stack_contestants(fused=[], models=["rival-sesf"], method_names=["rival-pcnn"])
    assert [(entry.name, entry.folds) for entry in found] == [("rival-pcnn", True), ("rival-sesf", True)]


def test_a_network_is_loaded_once():
    rivals.loaded.cache_clear()
    assert rivals.loaded("rival-pcnn") is rivals.loaded("rival-pcnn")
