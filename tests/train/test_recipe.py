"""Recipes, the learning rate, and the options of new and resumed runs."""

import dataclasses
import json
from pathlib import Path

import pytest

from ufafuse.network.spec import SPECS
from ufafuse.runtime.errors import InputError, ModelError
from ufafuse.train.recipe import RECIPES, Recipe, TrainOptions, options_from
from ufafuse.train.resuming import resumed_options

GIVEN = {"images": Path("i"), "masks": Path("m"), "out": Path("o")}


def test_the_papers_recipe_is_that_of_the_paper() -> None:
    paper = RECIPES["paper"]
    assert (paper.epochs, paper.batch, paper.crop, paper.lr, paper.weight) == (300, 8, 256, 1e-4, 0.2)
    assert (paper.lens, paper.flip, paper.average, paper.clip, paper.init) == (0, False, 0, 0, "xavier")
    assert [paper.learning_rate(epoch / 300) for epoch in (0, 199, 200, 299)] == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5])
    assert paper.total_steps(80) == 3000


def test_a_one_cycle_rate_rises_to_its_peak_and_falls_to_nearly_nothing() -> None:
    recipe = Recipe(steps=10, lr=1.0)
    rates = [recipe.learning_rate(step / 100) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 25)
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 5
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] == pytest.approx(1e-4)


def test_networks_that_see_farther_get_larger_frames() -> None:
    assert [RECIPES["fast"].crop_for(SPECS[name]) for name in ("ufa", "ufa-edge")] == [96, 224]
    assert RECIPES["paper"].crop_for(SPECS["ufa-edge"]) == 256


@pytest.mark.parametrize(
    "values", [{}, {"steps": 1, "hours": 1}, {"steps": 1, "batch": 0}, {"steps": 1, "lr": 0}, {"steps": 1, "average": 1}]
)
def test_a_recipe_that_cannot_be_followed_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Recipe(**values)


def test_options_start_from_the_recipe_and_change_what_is_given() -> None:
    options = options_from(
        {**GIVEN, "recipe": "paper", "lr": 5e-5, "hours": 2.0, "variant": "ufa-nano", "lens_set": ["noise=0"]}
    )
    assert options.recipe == dataclasses.replace(RECIPES["paper"], epochs=0, hours=2.0, lr=5e-5)
    assert (options.variant, options.lens_options.noise) == ("ufa-nano", 0)
    assert options_from(GIVEN).recipe == RECIPES["fast"]


def test_an_ablation_has_a_name_of_its_own() -> None:
    spec = options_from({**GIVEN, "attention": "no_spatial"}).spec
    assert (spec.name, spec.attention, spec.spatial) == ("ufa-no_spatial", "no_spatial", False)
    assert options_from(GIVEN).spec is SPECS["ufa"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"recipe": "slow"}, "'slow' is unknown"),
        ({"variant": "ufo"}, "'ufo' is unknown"),
        ({"lens_set": ["noise"]}, "KEY=NUMBER"),
        ({"lens_set": ["noize=1"]}, "'noize' is unknown"),
    ],
)
def test_unknown_values_are_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        options_from({**GIVEN, **given})


def test_missing_folders_are_named() -> None:
    with pytest.raises(InputError, match="needs `masks`, `out`"):
        options_from({"images": Path("i")})


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, TrainOptions]:
    options = options_from({**GIVEN, "out": tmp_path, "steps": 100, "val_pairs": Path("v")})
    (tmp_path / "options.json").write_text(json.dumps(options.to_dict()))
    return tmp_path, options


def test_options_survive_their_file(run: tuple[Path, TrainOptions]) -> None:
    assert resumed_options(run[0], {"out": run[0]}) == run[1]


def test_a_resumed_run_may_change_its_length_and_pace_only(run: tuple[Path, TrainOptions]) -> None:
    out, options = run
    changed = resumed_options(out, {"out": out, "hours": 3.0, "lr": 1e-5, "threads": 1, "images": Path("i")})
    recipe = dataclasses.replace(options.recipe, steps=0, hours=3.0, lr=1e-5)
    assert changed == dataclasses.replace(options, recipe=recipe, threads=1)
    with pytest.raises(InputError, match="`crop=32` would make it another run"):
        resumed_options(out, {"out": out, "crop": 32})


def test_a_run_that_is_not_there_or_broken_is_refused(run: tuple[Path, TrainOptions], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        resumed_options(tmp_path / "gone", {})
    for text in ("{", "{}", '{"images": "i"}'):
        (run[0] / "options.json").write_text(text)
        with pytest.raises(ModelError, match=r"options\.json"):
            resumed_options(run[0], {})


DRAWN = {"images": Path("drawn:"), "out": Path("o")}


def test_a_network_over_stacks_has_a_recipe_of_its_own_and_draws_its_scenes() -> None:
    options = options_from({**DRAWN, "variant": "ufa-stack"})
    assert options.recipe == RECIPES["stack"]
    assert (options.images, options.masks, options.drawn) == (None, None, True)
    assert options.spec is SPECS["ufa-stack"]
    given = {**DRAWN, "variant": "ufa-stack"}
    with_photographs = [options_from({**given, "images": images}) for images in (Path("p"), Path("drawn:p"))]
    assert with_photographs[0] == with_photographs[1]
    assert (with_photographs[0].images, with_photographs[0].drawn) == (Path("p"), True)


def test_pairs_are_drawn_where_asked_for() -> None:
    assert options_from({**DRAWN, "images": "drawn:p"}).images == Path("p")
    options = options_from({**DRAWN, "variant": "ufa-edge", "stack_set": ["lights=0", "max_frames=5"]})
    assert (options.drawn, options.recipe) == (True, RECIPES["fast"])
    assert (options.scene_options.lights, options.scene_options.max_frames) == (0, 5)
    assert not options_from(GIVEN).drawn


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"masks": Path("m")}, "omit `masks`"),
        ({"epochs": 3.0}, "give `steps` or `hours`"),
        ({"recipe": "paper"}, "give `steps` or `hours`"),
        ({"val_stacks": Path("v")}, "`val_stacks` is for a network over stacks, which ufa is not"),
        ({"pair_share": 0.5}, "`pair_share` is for a network over stacks"),
        ({"variant": "ufa-stack", "val_stacks": Path("v"), "val_pairs": Path("v")}, "are both given"),
        ({"variant": "ufa-stack", "pair_share": 1.5}, "share of batches of pairs"),
        ({"variant": "ufa-stack", "square": -1.0}, "square -1.0"),
        ({"variant": "ufa-stack", "gradient": -1.0}, "gradient -1.0"),
        ({"variant": "ufa-stack", "selection": -1.0}, "selection -1.0"),
        ({"variant": "ufa-stack", "grain": -1.0}, "grain -1.0"),
        ({"variant": "ufa-stack", "doubt": -1.0}, "doubt -1.0"),
        ({"doubt": 0.1}, "`doubt` is for a network over stacks"),
        ({"selection": 6.0}, "`selection` is for a network over stacks"),
        ({"photo_share": 2.0}, "share of photographs"),
        ({"stack_set": ["lights"]}, "KEY=NUMBER"),
        ({"stack_set": ["light=1"]}, "'light' is unknown"),
        ({"stack_set": ["min_frames=2.5"]}, "min_frames is a whole number"),
        ({"stack_set": ["max_frames=inf"]}, "max_frames is a whole number"),
    ],
)
def test_what_does_not_go_together_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        options_from({**DRAWN, **given})


def test_a_network_over_stacks_has_no_photographs_with_labels() -> None:
    with pytest.raises(InputError, match="omit `masks`"):
        options_from({**GIVEN, "variant": "ufa-stack"})
    with pytest.raises(InputError, match="needs `images`, `out`"):
        options_from({"variant": "ufa-stack"})


def test_drawn_options_survive_their_file_and_resume_with_the_same_source(tmp_path: Path) -> None:
    for images, same, other in (("drawn:", "drawn:", "p"), ("p", "drawn:p", "drawn:"), ("drawn:p", "p", "q")):
        options = options_from({"images": images, "out": tmp_path, "variant": "ufa-stack", "stack_set": ["lights=0"]})
        (tmp_path / "options.json").write_text(json.dumps(options.to_dict()))
        assert resumed_options(tmp_path, {"out": tmp_path, "images": Path(same)}) == options
        with pytest.raises(InputError, match=f"`images={other}` would make it another run"):
            resumed_options(tmp_path, {"out": tmp_path, "images": Path(other)})


def test_options_of_a_run_before_there_were_drawn_scenes_can_be_read(run: tuple[Path, TrainOptions]) -> None:
    values = run[1].to_dict()
    for key in ("drawn", "photo_share", "scene_options", "val_stacks"):
        del values[key]
    del values["recipe"]["square"], values["recipe"]["pair_share"]
    values["attention"] = "both"
    (run[0] / "options.json").write_text(json.dumps(values))
    assert resumed_options(run[0], {}) == dataclasses.replace(run[1], attention="both", out=run[0])


def test_rivals_have_a_recipe_and_a_loss_of_their_own() -> None:
    given = {"images": "drawn:", "out": "run", "variant": "rival-sesf"}
    assert options_from(given).recipe == RECIPES["rival"]
    for key, value in (("weight", 0.5), ("square", 1.0), ("gradient", 1.0), ("grain", 1.0), ("attention", "none")):
        with pytest.raises(InputError, match=f"`{key}` is not for rival-sesf"):
            options_from({**given, key: value})
    with pytest.raises(InputError, match="must be at least 48"):
        options_from({**given, "crop": 32})


@pytest.mark.parametrize("value", [1e300, float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["lr", "square", "gradient", "grain", "doubt", "selection", "clip"])
def test_numbers_beyond_all_arithmetic_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"`{name}=\S+`: numbers of a run are finite, and at most 1,000,000"):
        Recipe(steps=1, **{name: value})
