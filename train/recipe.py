"""What a training run is asked to do: recipes, the options of a run, the learning rate over its course."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ufafuse.network.spec import ATTENTIONS, Attention, RivalSpec, Spec, find_spec
from ufafuse.runtime.errors import InputError, ModelError
from ufafuse.runtime.models import weights_path
from ufafuse.runtime.values import check_fields
from ufafuse.train.degrade import LensOptions
from ufafuse.train.loss import LAMBDA
from ufafuse.train.part import PARTS, Part
from ufafuse.train.scenes import SceneOptions
from ufafuse.train.settings import lens_options, scene_options

MOST = 1e6  # of hours, rates and weights: far beyond, the optimiser's arithmetic ends
WARM_UP = 0.05  # share of a one-cycle run in which the learning rate rises
RISE, FALL = 25.0, 10_000.0  # it starts at peak / RISE and ends at peak / FALL
DROP_AFTER = 2 / 3  # the paper divides the learning rate by ten after 200 of 300 epochs
SMALLEST_FOR_RIVALS = 48  # pixels
CROPS = {"one scale": 96, "several scales": 224}  # a network that sees farther needs larger pictures


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: runs through the photographs; 0 where `steps` or `hours` counts.
        steps: batches to train on; 0 where `epochs` or `hours` counts.
        hours: time to train for; 0 where `epochs` or `steps` counts.
        crop: side of the frames in pixels; 0: the network's own (`CROPS`).
        batch: pairs in a batch, over all devices together; of stacks there are twice as many frames, in as many stacks as that
            makes.
        lr: learning rate of Adam, its peak in a one-cycle run.
        schedule: "one-cycle", or "drop": the paper's, divided by ten after two thirds.
        weight: lambda of the loss.
        square: weight of the mean squared error in the loss, beside the paper's two terms.
        gradient: weight of the mean difference of gradients in the loss.
        grain: weight of the mean difference of the fine structure's strength in the loss, see `FusionLoss`.
        doubt: weight of how undecided a network over stacks is in the loss, see `StackNet.doubt`.
        selection: how decidedly a network over stacks chooses frames while it trains: the factor on its scores; 1 to learn from
            averages first, more to learn choosing; 0: exactly as when it is used.
        clip: largest norm of the gradient; 0 for any.
        average: decay of the running average of the weights that is validated and saved; 0 for the weights themselves.
        lens: share of pairs with the degradations of real lenses and cameras; 0 for the paper's pairs alone.
        pair_share: share of the batches of a network over stacks that hold such pairs instead of stacks.
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
    square: float = 0.0
    gradient: float = 0.0
    grain: float = 0.0
    doubt: float = 0.0
    selection: float = 1.0
    clip: float = 1.0
    average: float = 0.999
    lens: float = 0.8
    pair_share: float = 0.0
    flip: bool = True
    init: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    part: Part = "all"

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with (`InputError`)."""
        check_fields(self)
        budgets = sum(budget > 0 for budget in (self.epochs, self.steps, self.hours))
        if budgets != 1:
            raise InputError(f"a run needs one of `steps`, `hours` and `epochs`, got {budgets or 'none'} of them.")
        least = min(self.clip, self.crop, self.square, self.gradient, self.grain, self.doubt, self.selection)
        if min(self.batch, self.lr) <= 0 or least < 0 or not 0 <= self.average < 1:
            raise InputError(
                f"batch {self.batch} and learning rate {self.lr} must be above 0, selection {self.selection}, "
                f"crop {self.crop}, clip {self.clip}, square {self.square}, gradient {self.gradient}, grain {self.grain} "
                f"and doubt {self.doubt} at least 0, average {self.average} in [0, 1)."
            )
        for name, value in vars(self).items():
            if isinstance(value, float) and not value <= MOST:  # NaN is below and above no bound
                raise InputError(f"`{name}={value:g}`: numbers of a run are finite, and at most {MOST:,.0f}.")
        if not 0 <= self.pair_share <= 1:
            raise InputError(f"the share of batches of pairs must lie in [0, 1], got {self.pair_share}.")
        if self.part not in PARTS:
            raise InputError(f"part {self.part!r} is unknown. Known: {', '.join(PARTS)}.")

    def crop_for(self, spec: Spec) -> int:
        """Return the side of the frames that `spec` is trained with."""
        return self.crop or CROPS["one scale" if len(spec.widths) == 1 else "several scales"]

    def total_steps(self, photographs: int) -> int:
        """Return how many batches the run has, with `photographs` in an epoch; 0 where the clock decides."""
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
    # For a network over whole stacks: 16 frames in a batch.
    "stack": Recipe(steps=12_000, crop=224, lr=1.5e-3, weight=0.7, square=10.0, gradient=1.0, clip=0.5),
    # For the networks that the paper compares with; losses are their own papers'.
    "rival": Recipe(steps=6000, crop=96, lens=0.3),
}
DRAWN = "drawn:"  # --images drawn: or drawn:FOLDER
_FOLDERS = {
    "images": f"of photographs (or `images={DRAWN}`)",
    "masks": f"of their labels (none with `images={DRAWN}`)",
    "out": "for the run",
}


@dataclass(frozen=True)
class TrainOptions:
    """A training run, whole: written to the run's folder, so that `--resume` needs nothing else.

    Attributes:
        images: folder of photographs. None: none (scenes are drawn).
        masks: folder of their labels. None where scenes are drawn: these have labels of their own.
        out: the run's folder.
        recipe: how to train.
        variant: name of the network.
        attention: the attention's parts ("both", or an ablation). None: the variant's own.
        init_from: weights to start from instead of the recipe's initialisation.
        lens_options: what lens pairs show.
        drawn: scenes are drawn; the photographs, where there are any, are surfaces in them.
        photo_share: share of a drawn scene's surfaces that are photographs, where there are any.
        scene_options: what drawn stacks show.
        val_pairs: folder of pairs with their truth to validate on. None: photographs or drawn scenes are held out.
        pairs_a_scene: how many pairs, that follow each other, are made of one drawn scene.
        val_stacks: as `val_pairs`, a folder of stacks with their truth, for a network over stacks.
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

    images: Path | None
    masks: Path | None
    out: Path
    recipe: Recipe = RECIPES["fast"]
    variant: str = "ufa"
    attention: Attention | None = None
    init_from: Path | None = None
    lens_options: LensOptions = field(default_factory=LensOptions)
    drawn: bool = False
    photo_share: float = 0.45
    pairs_a_scene: int = 1
    scene_options: SceneOptions = field(default_factory=SceneOptions)
    val_pairs: Path | None = None
    val_stacks: Path | None = None
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
        """Refuse an unknown variant or attention, and sources that do not go together (`InputError`)."""
        check_fields(self)
        find_spec(self.variant)
        if self.attention not in (None, *ATTENTIONS):
            raise InputError(f"attention {self.attention!r} is unknown. Known: {', '.join(ATTENTIONS)}.")
        if not 0 <= self.photo_share <= 1:
            raise InputError(f"the share of photographs must lie in [0, 1], got {self.photo_share}.")
        if self.pairs_a_scene < 1 or (self.pairs_a_scene > 1 and not self._draws_pairs()):
            raise InputError(
                f"`pairs_a_scene={self.pairs_a_scene}`: give 1 or more, and more than 1 only for pairs of drawn scenes "
                f"(`images={DRAWN}`, a network over pairs)."
            )
        if problem := self._wrong_sources() or self._wrong_for_rivals():
            raise InputError(problem)

    def _draws_pairs(self) -> bool:
        return self.drawn and not find_spec(self.variant).gathers

    def _wrong_sources(self) -> str:
        stacks = find_spec(self.variant).gathers
        if self.drawn and self.masks is not None:
            return "`masks` are labels of photographs, but the scenes are drawn and have labels of their own: omit `masks`."
        if not self.drawn and (stacks or self.images is None or self.masks is None):
            return f"{self.variant} learns from drawn scenes" if stacks else "pairs need photographs and their labels"
        if self.drawn and self.recipe.epochs:
            return "`epochs` counts runs through photographs, but scenes are drawn without end: give `steps` or `hours`."
        of_stacks = {
            "val_stacks": self.val_stacks is not None,
            "pair_share": self.recipe.pair_share > 0,
            "selection": self.recipe.selection != 1,
            "doubt": self.recipe.doubt > 0,
        }
        if not stacks and any(of_stacks.values()):
            what = next(name for name, given in of_stacks.items() if given)
            return f"`{what}` is for a network over stacks, which {self.variant} is not: omit it, or train `variant=ufa-stack`."
        if self.val_stacks is not None and self.val_pairs is not None:
            return "`val_stacks` and `val_pairs` are both given: validate on one of them."
        return ""

    def _wrong_for_rivals(self) -> str:
        """Say what a network with a loss of its own was asked for in vain."""
        if not isinstance(find_spec(self.variant), RivalSpec):
            return ""
        if 0 < self.recipe.crop < SMALLEST_FOR_RIVALS:
            return f"`crop` of {self.variant} must be at least {SMALLEST_FOR_RIVALS}: some learn from patches of 32 x 32."
        plain = {field.name: field.default for field in dataclasses.fields(Recipe)}
        changed = [key for key in ("weight", "square", "gradient", "grain") if getattr(self.recipe, key) != plain[key]]
        changed += ["attention"] if self.attention is not None else []
        return f"`{changed[0]}` is not for {self.variant}, which learns by its own paper's loss: omit it." if changed else ""

    @property
    def spec(self) -> Spec:
        """The network; an ablation has a name of its own."""
        spec = find_spec(self.variant)
        if self.attention is None or self.attention == spec.attention:
            return spec
        return dataclasses.replace(spec, name=f"{spec.name}-{self.attention}", attention=self.attention)

    @property
    def source(self) -> str:
        """What --images would be."""
        return (DRAWN if self.drawn else "") + str(self.images or "")

    def to_dict(self) -> dict[str, Any]:
        """Return the options as JSON-ready values."""
        return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str) -> "TrainOptions":
        """Build the options from `to_dict()`'s values; `ModelError` naming `where` they come from."""
        plain = dict(values)
        try:
            for key in ("images", "masks", "out", "init_from", "val_pairs", "val_stacks"):
                plain[key] = Path(plain[key]) if plain.get(key) is not None else None
            plain["recipe"] = Recipe(**plain["recipe"])
            plain["lens_options"] = LensOptions(**plain["lens_options"])
            plain["scene_options"] = SceneOptions(**plain.get("scene_options", {}))
            return cls(**plain)
        except (TypeError, KeyError) as error:
            raise ModelError(f"{where} holds no options of a training run of this ufafuse ({error}).") from error


BUDGETS = ("epochs", "steps", "hours")
RECIPE_KEYS = frozenset(recipe_field.name for recipe_field in dataclasses.fields(Recipe))


def options_from(given: Mapping[str, Any]) -> TrainOptions:
    """Return the options of a new run: the recipe called `given["recipe"]` with what else is given.

    Without a name the recipe is "stack" for a network over stacks, "rival" for one that the paper compares with, else "fast".

    Raises:
        InputError: The recipe, the variant or a value is unknown, or images, masks or out are missing.
    """
    variant = find_spec(given.get("variant", TrainOptions.variant))
    values = _with_source(given, stacks=variant.gathers)
    no_masks = variant.gathers or values.get("drawn")
    needed = ("images", "out") if no_masks else ("images", "masks", "out")
    if missing := [key for key in needed if key not in values]:
        named, what = (", ".join(texts) for texts in ([f"`{key}`" for key in missing], [_FOLDERS[key] for key in missing]))
        raise InputError(f"a run needs {named}: {'a folder' if len(missing) == 1 else 'folders'} {what}.")
    name = values.pop("recipe", _usual_recipe(variant))
    if name not in RECIPES:
        raise InputError(f"recipe {name!r} is unknown. Known recipes: {', '.join(RECIPES)}.")
    if "init_from" in values:
        values["init_from"] = weights_path(values["init_from"])
    values["lens_options"] = lens_options(values.pop("lens_set", ()))
    values["scene_options"] = scene_options(values.pop("stack_set", ()))
    recipe, rest = split_recipe(values)
    return TrainOptions(**{"masks": None, **rest, "recipe": dataclasses.replace(RECIPES[name], **recipe)})


def _usual_recipe(spec: Spec) -> str:
    if isinstance(spec, RivalSpec):
        return "rival"
    return "stack" if spec.gathers else "fast"


def _with_source(given: Mapping[str, Any], *, stacks: bool) -> dict[str, Any]:
    """Return what is given with --images taken apart into a folder and whether scenes are drawn."""
    values = dict(given)
    if "images" not in values:
        return values
    drawn, values["images"] = taken_apart(values["images"])
    values["drawn"] = stacks or drawn
    return values


def taken_apart(images: Path | str) -> tuple[bool, Path | None]:
    """Return whether scenes are drawn, and the folder of photographs, of FOLDER, drawn: or drawn:FOLDER."""
    text = str(images)
    folder = text.removeprefix(DRAWN)
    return text.startswith(DRAWN), Path(folder) if folder else None


def split_recipe(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is given of a recipe (a budget sets the others to nothing), and the rest."""
    recipe = {key: value for key, value in given.items() if key in RECIPE_KEYS}
    if any(key in recipe for key in BUDGETS):
        recipe = {**dict.fromkeys(BUDGETS, 0), **recipe}
    return recipe, {key: value for key, value in given.items() if key not in RECIPE_KEYS}
