"""What a training run is asked to do: recipes, the options of a run, the learning rate over its course."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ufafuse.network.spec import ATTENTIONS, Attention, Spec, find_spec
from ufafuse.runtime.errors import InputError, ModelError
from ufafuse.train.degrade import LensOptions
from ufafuse.train.loss import LAMBDA
from ufafuse.train.part import PARTS, Part

WARM_UP = 0.05  # share of a one-cycle run in which the learning rate rises
RISE, FALL = 25.0, 10_000.0  # it starts at peak / RISE and ends at peak / FALL
DROP_AFTER = 2 / 3  # the paper divides the learning rate by ten after 200 of 300 epochs
CROPS = {"one scale": 96, "several scales": 224}  # a network that sees farther needs larger pictures


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: runs through the photographs; 0 where `steps` or `hours` counts.
        steps: batches to train on; 0 where `epochs` or `hours` counts.
        hours: time to train for; 0 where `epochs` or `steps` counts.
        crop: side of the frames in pixels; 0: the network's own (`CROPS`).
        batch: pairs in a batch, over all devices together.
        lr: learning rate of Adam, its peak in a one-cycle run.
        schedule: "one-cycle", or "drop": the paper's, divided by ten after two thirds.
        weight: lambda of the loss.
        clip: largest norm of the gradient; 0 for any.
        average: decay of the running average of the weights that is validated and saved; 0 for the weights themselves.
        lens: share of pairs with the degradations of real lenses and cameras; 0 for the paper's pairs alone.
        flip: mirror and turn the frames.
        init: how the weights start, see `ufafuse.network.init`.
        precision: "fp32", "bf16" (autocast), or "auto": bf16 where the device computes in it.
        part: what is trained: "all", or "selection", see `ufafuse.train.part`.
    """

    epochs: float = 0.0
    steps: int = 0
    hours: float = 0.0
    crop: int = 0
    batch: int = 8
    lr: float = 1e-3
    schedule: Literal["one-cycle", "drop"] = "one-cycle"
    weight: float = LAMBDA
    clip: float = 1.0
    average: float = 0.999
    lens: float = 0.8
    flip: bool = True
    init: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    part: Part = "all"

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with (`InputError`)."""
        budgets = sum(budget > 0 for budget in (self.epochs, self.steps, self.hours))
        if budgets != 1:
            raise InputError(f"a run needs one of steps, hours and epochs, got {budgets} of them.")
        if min(self.batch, self.lr) <= 0 or min(self.clip, self.crop) < 0 or not 0 <= self.average < 1:
            raise InputError(
                f"batch {self.batch} and learning rate {self.lr} must be above 0, crop {self.crop} and clip {self.clip} "
                f"at least 0, average {self.average} in [0, 1)."
            )
        if self.part not in PARTS:
            raise InputError(f"part {self.part!r} is unknown. Known: {', '.join(PARTS)}.")

    def crop_for(self, spec: Spec) -> int:
        """Return the side of the frames that `spec` is trained with."""
        return self.crop or CROPS["one scale" if len(spec.widths) == 1 else "several scales"]

    def total_steps(self, photographs: int) -> int:
        """Return how many batches the run has; 0 where the clock decides."""
        return self.steps or math.ceil(self.epochs * photographs / self.batch)

    def learning_rate(self, progress: float) -> float:
        """Return the learning rate after the share `progress` in [0, 1] of the run."""
        if self.schedule == "drop":
            return self.lr * (0.1 if progress >= DROP_AFTER else 1.0)
        if progress < WARM_UP:
            return self.lr * (1 / RISE + (1 - 1 / RISE) * progress / WARM_UP)
        falling = min(1.0, (progress - WARM_UP) / (1 - WARM_UP))
        return self.lr * (1 / FALL + (1 - 1 / FALL) * (1 + math.cos(math.pi * falling)) / 2)


RECIPES: dict[str, Recipe] = {
    # Section IV-A and III-C.
    "paper": Recipe(
        epochs=300,
        crop=256,
        lr=1e-4,
        schedule="drop",
        clip=0,
        average=0,
        lens=0,
        flip=False,
        init="xavier",
        precision="fp32",
    ),
    # For small budgets.
    "fast": Recipe(steps=6000),
}


@dataclass(frozen=True)
class TrainOptions:
    """A training run, whole: written to the run's folder, so that `--resume` needs nothing else.

    Attributes:
        images: folder of photographs.
        masks: folder of their labels.
        out: the run's folder.
        recipe: how to train.
        variant: name of the network.
        attention: the attention's parts ("both", or an ablation).
        init_from: weights to start from instead of the recipe's initialisation.
        lens_options: what lens pairs show.
        val_pairs: folder of pairs with their truth to validate on; without one, photographs are held out.
        val_share: share of the photographs held out.
        validations: how often the run is validated.
        seed: of the pairs and of the weights.
        threads: CPU threads; 0: torch chooses.
        workers: processes that draw pairs; 0 draws them in between.
        device: "auto", "cpu" or "cuda".
        devices: how many of them, on each of `nodes` machines.
        nodes: how many machines.
        checkpoint_minutes: a crash loses at most this.
        skip_bad: leave out photographs that cannot be used.
    """

    images: Path
    masks: Path
    out: Path
    recipe: Recipe = RECIPES["fast"]
    variant: str = "ufa"
    attention: Attention = "both"
    init_from: Path | None = None
    lens_options: LensOptions = field(default_factory=LensOptions)
    val_pairs: Path | None = None
    val_share: float = 0.05
    validations: int = 20
    seed: int = 0
    threads: int = 0
    workers: int = 0
    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    checkpoint_minutes: float = 10.0
    skip_bad: bool = False

    def __post_init__(self) -> None:
        """Refuse an unknown variant or attention (`InputError`)."""
        find_spec(self.variant)
        if self.attention not in ATTENTIONS:
            raise InputError(f"attention {self.attention!r} is unknown. Known: {', '.join(ATTENTIONS)}.")

    @property
    def spec(self) -> Spec:
        """The network; an ablation has a name of its own."""
        spec = find_spec(self.variant)
        if self.attention == spec.attention:
            return spec
        return dataclasses.replace(spec, name=f"{spec.name}-{self.attention}", attention=self.attention)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as JSON-ready values."""
        return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str) -> "TrainOptions":
        """Build the options from `to_dict()`'s values; `ModelError` naming `where` they come from."""
        plain = dict(values)
        try:
            for key in ("images", "masks", "out", "init_from", "val_pairs"):
                plain[key] = Path(plain[key]) if plain[key] is not None else None
            plain["recipe"] = Recipe(**plain["recipe"])
            plain["lens_options"] = LensOptions(**plain["lens_options"])
            return cls(**plain)
        except (TypeError, KeyError) as error:
            raise ModelError(f"{where} holds no options of a training run of this ufafuse ({error}).") from error


BUDGETS = ("epochs", "steps", "hours")
RECIPE_KEYS = frozenset(recipe_field.name for recipe_field in dataclasses.fields(Recipe))
# What may change when a run goes on: its length, its pace and the machine, not what it is.
CHANGEABLE = frozenset(
    {*BUDGETS, "lr", "clip", "val_pairs", "validations", "threads", "workers", "device", "devices", "nodes"}
    | {"checkpoint_minutes"}
)


def options_from(given: Mapping[str, Any]) -> TrainOptions:
    """Return the options of a new run: the recipe called `given["recipe"]` ("fast" without) with what else is given.

    Raises:
        InputError: The recipe, the variant or a value is unknown, or images, masks or out are missing.
    """
    values = dict(given)
    if missing := [f"`{key}`" for key in ("images", "masks", "out") if key not in values]:
        raise InputError(f"a run needs {', '.join(missing)}: folders of photographs, of their labels, and for the run.")
    name = values.pop("recipe", "fast")
    if name not in RECIPES:
        raise InputError(f"recipe {name!r} is unknown. Known recipes: {', '.join(RECIPES)}.")
    values["lens_options"] = lens_options(values.pop("lens_set", ()))
    return _changed(TrainOptions(values["images"], values["masks"], values["out"], RECIPES[name]), values)


def resumed_options(out: Path, given: Mapping[str, Any]) -> TrainOptions:
    """Return the options of the run in `out`, with what is given changed.

    Raises:
        InputError: There is no run, or something is given that would make it another run.
        ModelError: Its options cannot be read.
    """
    path = out / "options.json"
    if not path.is_file():
        raise InputError(f"{out} holds no run to resume: start one without `resume`.")
    try:
        options = TrainOptions.from_dict(json.loads(path.read_text()), str(path))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}).") from error
    before = options.to_dict()
    for key, value in given.items():
        old = before["recipe"].get(key, before.get(key)) if key != "recipe" else None
        if key not in CHANGEABLE and key != "out" and str(value) != str(old):
            raise InputError(
                f"`{key}={value}` would make it another run (it has {old}): omit it, or start a "
                f"new run in another folder with `init_from={out / 'last.safetensors'}`."
            )
    # The folder may have moved.
    return _changed(options, {**{key: v for key, v in given.items() if key in CHANGEABLE}, "out": out})


def _changed(options: TrainOptions, given: Mapping[str, Any]) -> TrainOptions:
    recipe = {key: value for key, value in given.items() if key in RECIPE_KEYS}
    if any(key in recipe for key in BUDGETS):
        recipe = {**dict.fromkeys(BUDGETS, 0), **recipe}
    rest = {key: value for key, value in given.items() if key not in RECIPE_KEYS}
    return dataclasses.replace(options, recipe=dataclasses.replace(options.recipe, **recipe), **rest)


def lens_options(settings: Sequence[str]) -> LensOptions:
    """Return the options that `KEY=VALUE` texts set; `InputError` naming what cannot be set."""
    known = {lens_field.name for lens_field in dataclasses.fields(LensOptions)}
    values: dict[str, float] = {}
    for setting in settings:
        key, _, text = setting.partition("=")
        try:
            values[key] = float(text)
        except ValueError as error:
            raise InputError(f"`lens_set={setting}`: write it as KEY=NUMBER, such as noise=0.3.") from error
        if key not in known:
            raise InputError(f"`lens_set={setting}`: {key!r} is unknown. Known: {', '.join(sorted(known))}.")
    return LensOptions(**values)
