"""Options that would do nothing without another: refused, so that nobody waits for what never comes."""

from __future__ import annotations

from typing import Any

from ufafuse.runtime.errors import InputError


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
    heights = asked.depth or asked.depth_view or asked.mesh
    refuse_idle(
        ("--depth-fill", asked.depth_fill, heights, "is about heights: add --depth, --depth-view or --mesh"),
        ("--z-step", asked.z_step is not None, heights, "is about heights: add --depth, --depth-view or --mesh"),
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
