"""Options given as KEY=VALUE: what lens pairs and drawn stacks show."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from ufafuse.runtime.errors import InputError
from ufafuse.train.degrade import LensOptions
from ufafuse.train.scenes import PRESETS, SceneOptions


def lens_options(settings: Sequence[str]) -> LensOptions:
    """Return the options that `KEY=VALUE` texts set; `InputError` naming what cannot be set."""
    return LensOptions(**_numbers(settings, "lens_set", LensOptions()))


def scene_options(settings: Sequence[str], preset: str = "any") -> SceneOptions:
    """Return the scenes of a preset with what `KEY=VALUE` texts change; `InputError` naming what cannot be set."""
    if preset not in PRESETS:
        raise InputError(f"`preset={preset}` is unknown. Known: {', '.join(PRESETS)}.")
    return dataclasses.replace(PRESETS[preset], **_numbers(settings, "stack_set", PRESETS[preset]))


def _numbers(settings: Sequence[str], option: str, options: LensOptions | SceneOptions) -> dict[str, Any]:
    """Return the numbers that are set, whole ones where the option's is one."""
    known = {field.name for field in dataclasses.fields(options)}
    whole = {field.name for field in dataclasses.fields(options) if field.type in (int, "int")}
    values: dict[str, float] = {}
    for setting in settings:
        key, _, text = setting.partition("=")
        before = values.get(key)
        try:
            values[key] = float(text)
        except ValueError as error:
            raise InputError(f"`{option}={setting}`: write it as KEY=NUMBER, such as noise=0.3.") from error
        if key not in known:
            raise InputError(f"`{option}={setting}`: {key!r} is unknown. Known: {', '.join(sorted(known))}.")
        if before not in (None, values[key]):
            raise InputError(f"`{option}={setting}`: {key} is set twice, before to {before:g}: keep one.")
        if key in whole:
            if not values[key].is_integer():
                raise InputError(f"`{option}={setting}`: {key} is a whole number.")
            values[key] = int(values[key])
    return values
