"""Options that would do nothing without another: refused, so that nobody waits for what never comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ufafuse.commands.quantities import listed
from ufafuse.commands.request import changed
from ufafuse.runtime.errors import InputError

if TYPE_CHECKING:
    from ufafuse.train.recipe import TrainOptions

_WITHOUT_MEASURING = ("again", "report", "quality", "as_json")  # options of `ufa bench` that have an effect beside --from
DRAWN = "drawn:"  # images of scenes that are drawn, with nothing behind it


def refuse_idle(*rules: tuple[str, object, object, str]) -> None:
    """Refuse options without effect.

    Args:
        rules: Of each an option's name, whether it was given, whether it has an effect, and what it is about or needs.

    Raises:
        InputError: Naming the first that has none.
    """
    for option, given, does, needed in rules:
        if given and not does:
            raise InputError(f"{option} {needed}.")


def check_effects(asked: Any) -> None:  # noqa: ANN401 - its class's module imports this one
    """Of a `FuseRequest`. Raises: InputError, naming the option and the one that it needs."""
    refuse_idle(
        ("--depth-fill", asked.depth_fill, asked.depth, "is about --depth: add that (views and meshes are always filled)"),
        ("--z-step", asked.z_step is not None, asked.depth or asked.mesh, "is about heights: add --depth, or --mesh"),
        (
            "--z-step",
            asked.z_step is not None,
            asked.depth or asked.pixel_size is not None,
            "gives a mesh no scale without the side of a pixel: add --pixel-size",
        ),
        ("--z-unit", asked.z_unit, asked.z_step is not None, "names the unit of --z-step: add that"),
        ("--pixel-size", asked.pixel_size is not None, asked.mesh, "is about meshes: add --mesh"),
        ("--pixel-size", asked.pixel_size is not None, asked.z_step is not None, "is in the unit of --z-step: add that"),
        ("--quiet", asked.quiet is not None, asked.watch, "is for a folder that is watched: add --watch"),
        (
            "--skip-existing",
            asked.skip_existing,
            asked.pairs or asked.stacks,
            "goes on with many: add --pairs or --stacks, or replace one result with --force",
        ),
    )


def check_training(given: Mapping[str, Any], options: TrainOptions) -> None:
    """Of `ufa train` and the commands below it.

    Args:
        given: The options that were given, by name.
        options: What came of them.

    Raises:
        InputError: One has no effect; naming it and what it needs.
    """
    stacks, recipe = options.spec.gathers, options.recipe
    pairs = not stacks or recipe.pair_share > 0
    of_pairs = "is about pairs, and every batch holds stacks: add --pair-share"
    refuse_idle(
        ("--init", "init" in given, options.init_from is None, "is how weights are drawn: omit it with --init-from"),
        ("--lens", "lens" in given, pairs, of_pairs),
        ("--lens-set", "lens_set" in given, pairs, of_pairs),
        ("--lens-set", "lens_set" in given, recipe.lens > 0, "is about lens pairs, and there are none: give --lens a share"),
        ("--stack-set", "stack_set" in given, stacks, "is about drawn stacks: add --variant ufa-stack"),
        ("--pair-share", "pair_share" in given, stacks, "is for a network over stacks: add --variant ufa-stack"),
        ("--selection", "selection" in given, stacks, "is for a network over stacks: add --variant ufa-stack"),
        (
            "--photo-share",
            "photo_share" in given,
            options.drawn and options.images is not None,
            "is about photographs among drawn surfaces: name them by --images drawn:FOLDER",
        ),
    )


def check_dataset(asked: Any) -> None:  # noqa: ANN401
    """Of a `DatasetRequest`. Raises: InputError."""
    lens = "is about lens pairs: add --lens"
    sets = [setting.partition("=")[0].strip() for setting in listed(asked.stack_set)]
    counts = next((name for name in sets if name in ("min_frames", "max_frames")), None)
    refuse_idle(
        ("--count", asked.count is not None, asked.lens or asked.stacks, f"{lens}, or --stacks"),
        ("--size", asked.size, asked.lens or asked.stacks, f"{lens}, or --stacks"),
        ("--lens-set", asked.lens_set, not asked.stacks, "is about lens pairs, what stacks show is set by --stack-set"),
        ("--lens-set", asked.lens_set, asked.lens, lens),
        *(
            (
                f"--{name.replace('_', '-')}",
                getattr(asked, name) is not None,
                asked.stacks,
                "is about drawn stacks: add --stacks",
            )
            for name in ("frames", "preset", "photo_share")
        ),
        ("--stack-set", asked.stack_set, asked.stacks, "is about drawn stacks: add --stacks"),
        ("--masks", asked.masks is not None, not asked.stacks, "are labels of photographs, and stacks are drawn: omit --masks"),
        (f"--stack-set {counts}", counts, asked.frames is None, "has no effect beside --frames: omit one of them"),
        (
            "--photo-share",
            asked.photo_share is not None,
            str(asked.images or DRAWN) != DRAWN,
            "is about photographs among drawn surfaces: name them by --images",
        ),
    )


def check_bench(asked: Any) -> None:  # noqa: ANN401
    """Of a `BenchRequest`. Raises: InputError."""
    measuring = asked.again is None
    idle = [name for name in changed(asked) if name not in _WITHOUT_MEASURING]
    refuse_idle(
        ("--from", asked.artefacts, measuring, "measures nothing: omit the files"),
        *(("--from", True, measuring, f"measures nothing: omit --{name}") for name in idle),
        ("--device", asked.device is not None, asked.peers is not False, "is about peers: omit --no-peers"),
    )
