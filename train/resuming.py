"""Going on with a run: what may change of it, that the photographs are those it began with, and that nobody else trains it."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ufafuse.runtime.errors import InputError, ModelError, OutputError
from ufafuse.runtime.locks import locked_alone
from ufafuse.runtime.models import weights_path
from ufafuse.runtime.texts import examples
from ufafuse.runtime.writing import read_json, write_json
from ufafuse.train.recipe import BUDGETS, DRAWN, RECIPE_KEYS, RECIPES, TrainOptions, split_recipe, taken_apart
from ufafuse.train.settings import lens_options, scene_options

OPTIONS, SEEN = "options.json", "photographs.json"
_BEGUN_IN = "begun_in"  # beside the options: the folder that relative paths among them start from
_PATHS = ("images", "masks", "init_from", "val_pairs", "val_stacks")
_MACHINE = frozenset({"threads", "workers", "device", "devices", "nodes", "checkpoint_minutes", "out"})
# What may change when a run goes on: its length, its pace, what it is validated on and the machine, not what it is.
CHANGEABLE = _MACHINE | {*BUDGETS, "lr", "clip", "val_pairs", "val_stacks", "validations"}
_FOLDERS = frozenset({"images", "masks"})


def resumed_options(out: Path, given: Mapping[str, Any]) -> TrainOptions:
    """Return the options of the run in `out`, with what is given changed.

    The folders of photographs may lie elsewhere than they did: `check_photographs` sees whether they hold the same ones.

    Raises:
        InputError: There is no run, or something is given that would make it another run.
        ModelError: Its options cannot be read.
    """
    path = out / OPTIONS
    if not path.is_file():
        raise InputError(f"{out} holds no run to resume: start one without `resume`.")
    options = _noted_options(path)
    free = CHANGEABLE | (_FOLDERS if (out / SEEN).is_file() else frozenset())
    changed: dict[str, Any] = {"out": out}
    for key, value in given.items():
        had = _had_instead(options, key, value, given)
        if had is None and key not in CHANGEABLE:
            continue
        if key not in free or (key == "images" and taken_apart(value)[0] != options.drawn and not options.spec.gathers):
            shown = ",".join(value) if isinstance(value, list | tuple) else value
            raise InputError(
                f"`{key}={shown}` would make it another run (it has {had}): omit it, or start a "
                f"new run in another folder with `init_from={out / 'last.safetensors'}`."
            )
        changed[key] = taken_apart(value)[1] if key == "images" else value
    recipe, rest = split_recipe({**changed, "out": out})
    return dataclasses.replace(options, recipe=dataclasses.replace(options.recipe, **recipe), **rest)


def note_options(options: TrainOptions) -> None:
    """Write a run's options to its folder (`OutputError`), to go on with it from wherever one is."""
    write_json(options.out / OPTIONS, {**options.to_dict(), _BEGUN_IN: str(Path.cwd())})


def _noted_options(path: Path) -> TrainOptions:
    """The options that a run noted; what it named by a relative path is found from another folder, too.

    Raises:
        ModelError: They cannot be read.
    """
    try:
        noted = dict(read_json(path))
        begun_in = noted.pop(_BEGUN_IN, None)
        options = TrainOptions.from_dict(noted, str(path))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}).") from error
    if not isinstance(begun_in, str) or begun_in == str(Path.cwd()):
        return options
    there: dict[str, Any] = {key: Path(begun_in, had) for key in _PATHS if (had := getattr(options, key)) is not None}
    return dataclasses.replace(options, **{key: found for key, found in there.items() if found.exists()})


def _had_instead(options: TrainOptions, key: str, value: Any, given: Mapping[str, Any]) -> str | None:  # noqa: ANN401
    """What the run has where `value` is another one; None where it is the same, however it was written."""
    if key == "recipe" and value not in RECIPES:
        raise InputError(f"recipe {value!r} is unknown. Known recipes: {', '.join(RECIPES)}.")
    had = getattr(options.recipe, key) if key in RECIPE_KEYS else getattr(options, key, None)
    compared: dict[str, Callable[[], str | None]] = {
        "lens_set": lambda: _apart(lens_options(value), options.lens_options),
        "stack_set": lambda: _apart(scene_options(value), options.scene_options),
        "recipe": lambda: _apart(RECIPES[value], options.recipe, leave=CHANGEABLE | RECIPE_KEYS.intersection(given)),
        "attention": lambda: _unless(value == options.spec.attention, options.spec.attention),
        "images": lambda: _unless(_same_images(options, value), options.source),
        "masks": lambda: _unless(_same_path(value, options.masks), options.masks),
        "init_from": lambda: _unless(
            _same_path(value, options.init_from) or _same_path(weights_path(value), options.init_from), options.init_from
        ),
    }
    return compared.get(key, lambda: _unless(str(value) == str(had), had))()


def _unless(same: bool, had: object) -> str | None:  # noqa: FBT001 - the one question
    return None if same else str(had)


def _same_images(options: TrainOptions, value: Path | str) -> bool:
    drawn, folder = taken_apart(value)
    return (drawn == options.drawn or options.spec.gathers) and _same_path(folder, options.images)


def _apart(asked: Any, had: Any, leave: frozenset[str] = frozenset()) -> str | None:  # noqa: ANN401 - dataclasses
    """What a dataclass has that another one has not, as KEY=VALUE."""
    names = [field.name for field in dataclasses.fields(had) if field.name not in leave]
    found = [f"{name}={getattr(had, name)}" for name in names if getattr(asked, name) != getattr(had, name)]
    return ",".join(found) or None


def _same_path(one: Path | None, other: Path | None) -> bool:
    return one == other or (one is not None and other is not None and os.path.realpath(one) == os.path.realpath(other))


def check_same_run(asked: TrainOptions, *, budget: bool) -> None:
    """Refuse to go on with the run in `asked.out` as another one than it is; nothing where there is none.

    Args:
        asked: Its options as they are asked for now.
        budget: Its length belongs to it.

    Raises:
        InputError: They are others; naming the first.
        ModelError: Its options cannot be read.
    """
    if not (asked.out / OPTIONS).is_file():
        return
    free = _MACHINE | (frozenset() if budget else frozenset(BUDGETS))
    before, now = (_flat(options) for options in (resumed_options(asked.out, {}), asked))
    for key, had in before.items():
        if key in free or had == now[key]:
            continue
        raise InputError(
            f"{asked.out} holds a run with {key} {had}, and {now[key]} is asked for now: ask for what it began with, or give "
            "another `out`."
        )


def _flat(options: TrainOptions) -> dict[str, str]:
    """Every option by its name, those of the recipe and of what is shown among them."""
    flat: dict[str, str] = {}
    for key, value in options.to_dict().items():
        if isinstance(value, dict):
            flat |= {name if key == "recipe" else f"{key}.{name}": str(each) for name, each in value.items()}
        else:
            flat[key] = str(value)
    for key in ("images", "masks", "val_pairs", "val_stacks"):
        path = getattr(options, key)
        flat[key] = str(path) if path is None else os.path.realpath(path)
    flat["init_from"] = str(options.init_from and options.init_from.name)  # the bundled ones lie where the package does
    return flat


def check_photographs(options: TrainOptions, names: list[str], *, resume: bool) -> bool:
    """Note which photographs a new run has, and hold those of a resumed one against them.

    Which of them are held out follows from all of them: with one more, others would be, and the run would be validated on what
    it has learnt from.

    Args:
        options: Of the run.
        names: Of the photographs that can be used.
        resume: The run was begun before.

    Returns:
        Whether it was validated on something else before.

    Raises:
        InputError: They are others.
        OutputError: The note cannot be written.
    """
    path = options.out / SEEN
    on = options.val_pairs or options.val_stacks
    found = {"photographs": sorted(names), "validated_on": os.path.realpath(on) if on else "held out"}
    before = read_json(path) if resume and path.is_file() else found
    had, have = (set(map(str, noted.get("photographs", ()))) for noted in (before, found))
    if had != have:
        told = [
            f"{len(some)} {what} ({examples(sorted(some))})"
            for some, what in ((have - had, "more"), (had - have, "fewer"))
            if some
        ]
        raise InputError(
            f"{options.source or DRAWN} holds other photographs than the run began with, {' and '.join(told)}: it "
            "would be validated on some that it learnt from. Have the same ones there, or start a new run in another folder "
            f"with `init_from={options.out / 'last.safetensors'}`."
        )
    write_json(path, found)
    return bool(before["validated_on"] != found["validated_on"]) if "validated_on" in before else False


_held: set[int] = set()  # of this process: folders that it keeps


def _let_go() -> None:
    """In a process that draws: it outlives one that was killed by seconds, for which nobody else could go on with the run."""
    for handle in _held:
        os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


@contextlib.contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep a run's folder for this process as long as the block runs. Raises: OutputError, where another one has it."""
    handle = os.open(out, os.O_RDONLY | os.O_CLOEXEC)
    _held.add(handle)
    try:
        if not locked_alone(handle):
            raise OutputError(f"another process trains in {out}: wait until it has ended, or give another `out`.")
        yield
    finally:
        if handle in _held:
            _held.remove(handle)
            os.close(handle)
