"""`ufa dataset`: pairs and stacks written out."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ufafuse.commands.effects import DRAWN, check_dataset
from ufafuse.commands.limits import MOST, MOST_FRAMES, MOST_SEED
from ufafuse.commands.request import as_command
from ufafuse.runtime import console
from ufafuse.runtime.texts import few_of_a_kind

if TYPE_CHECKING:
    from ufafuse.train.stackset import StackPlan


Preset = Literal["any", "macro-boards"]  # kinds of drawn stacks
_IMAGES = "Folder of photographs. With --stacks: surfaces that are not drawn."
_SIZE = "With --lens or --stacks: HxW, or one side, in pixels [default: 320; 560]."


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("dataset")(as_command(dataset, DatasetRequest))


@dataclass(frozen=True, kw_only=True)
class DatasetRequest:
    """Write a data set out, to validate on or to compare with. `ufa train` needs none: it draws as it goes.

    Pairs of photographs with labels: the paper's set (each in each of the four blur groups, as NAME-gN_A, _B and _GT) or, with
    --lens, as lenses and cameras make them. With --stacks, drawn focus stacks, a folder each: 00.png and on, truth.png, and
    depth.tif, which frame has what in focus.
    """

    images: Annotated[Path | None, typer.Option(metavar="PATH|drawn:[PATH]", help=_IMAGES)] = None
    masks: Annotated[Path | None, typer.Option(help="Folder of their labels: same stems, bright where the object is.")] = None
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.")]
    lens: Annotated[bool, typer.Option("--lens", help="Pairs as real lenses and cameras make them, not the paper's.")] = False
    stacks: Annotated[bool, typer.Option("--stacks", help="Drawn focus stacks, with their truth and depth.")] = False
    count: Annotated[
        int | None, typer.Option(min=0, max=MOST, help="Lens pairs (0: of every photograph), or stacks. [default: 0; 12]")
    ] = None
    size: Annotated[str | None, typer.Option(metavar="HxW", help=_SIZE)] = None
    lens_set: Annotated[
        list[str] | None, typer.Option(help="With --lens: KEY=VALUE, such as noise=0; repeatable or by comma.")
    ] = None
    frames: Annotated[
        int | None, typer.Option(min=2, max=MOST_FRAMES, help="With --stacks: of each stack [default: 2 to 12].")
    ] = None
    preset: Annotated[Preset | None, typer.Option(help="With --stacks: what they show. [default: any]")] = None
    stack_set: Annotated[
        list[str] | None, typer.Option(help="With --stacks: KEY=VALUE, as lights=0; repeatable or by comma.")
    ] = None
    photo_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="With --stacks: surfaces that are photographs. [default: 0.45]")
    ] = None
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Draws what is random.")] = 0
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out photographs that cannot be used.")] = False
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False


def dataset(asked: DatasetRequest) -> None:
    """Run `ufa dataset`."""
    with console.run(asked.as_json):
        _check(asked)
        with console.progress() as bar:
            task = bar.add_task("writing", total=None)
            how: dict[str, Any] = {"seed": asked.seed, "skip_bad": asked.skip_bad, "force": asked.force}
            how["done"] = lambda count, total: bar.update(task, completed=count, total=total)
            result = _write(asked, how)
        console.emit(result, as_json=asked.as_json)
        for warning in few_of_a_kind(result.get("warnings", ())):
            console.warn(warning)
        if result["skipped"]:
            console.err.print(f"{len(result['skipped'])} photographs were left out: {'; '.join(result['skipped'][:3])}")
        if not asked.as_json:
            made = f"{result['stacks']} stacks" if asked.stacks else f"{result['pairs']} pairs"
            console.out.print(f"{made} of {result['photographs']} photographs" if result["photographs"] else made)
        console.wrote(asked.out, as_json=asked.as_json)
        console.hint(f"ufa eval {'--stacks' if asked.stacks else '--pairs'} {console.word(asked.out)}", as_json=asked.as_json)


def _check(asked: DatasetRequest) -> None:
    """Refuse options that do not go together (`InputError`)."""
    from ufafuse.runtime.errors import InputError

    if asked.lens and asked.stacks:
        raise InputError("--lens writes pairs and --stacks writes stacks: give one of them.")
    check_dataset(asked)
    if not asked.stacks and str(asked.images).startswith(DRAWN):
        raise InputError("--images drawn: is for --stacks: pairs are written of photographs, name their folder.")
    if not asked.stacks and (asked.images is None or asked.masks is None):
        raise InputError("--images and --masks are needed: folders of photographs and of their labels (or add --stacks).")


def _write(asked: DatasetRequest, how: dict[str, Any]) -> dict[str, Any]:
    from ufafuse.commands.quantities import listed, sides_from
    from ufafuse.runtime.errors import InputError
    from ufafuse.train.dataset import LENS_SIZE, LensPlan, write_dataset, write_lens_dataset
    from ufafuse.train.settings import lens_options

    if asked.stacks:
        from ufafuse.train.stackset import write_stacks

        return write_stacks(asked.out, _stack_plan(asked), **how)
    assert asked.images is not None
    assert asked.masks is not None  # as `_check` saw to
    if not asked.lens:
        return write_dataset(asked.images, asked.masks, asked.out, **how)
    height, width = sides_from(asked.size) if asked.size else (LENS_SIZE, LENS_SIZE)
    if height != width:
        raise InputError(f"--size {asked.size}: lens pairs are square, give one side.")
    return write_lens_dataset(
        asked.images, asked.masks, asked.out, LensPlan(asked.count or 0, height, lens_options(listed(asked.lens_set))), **how
    )


def _stack_plan(asked: DatasetRequest) -> "StackPlan":
    from ufafuse.commands.quantities import listed, sides_from
    from ufafuse.train.recipe import taken_apart
    from ufafuse.train.settings import scene_options
    from ufafuse.train.stackset import STACK_SIZE, StackPlan

    preset = asked.preset or "any"
    values: dict[str, Any] = {"frames": asked.frames, "options": scene_options(listed(asked.stack_set), preset)}
    if asked.photo_share is not None:
        values["photo_share"] = asked.photo_share
    if asked.images is not None:
        values["images"] = taken_apart(asked.images)[1]
    size = sides_from(asked.size) if asked.size else STACK_SIZE
    return StackPlan(12 if asked.count is None else asked.count, size, **values)
