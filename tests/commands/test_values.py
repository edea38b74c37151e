"""Plain values are read as typer reads them, and what is not plain is left to it."""

import inspect
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal

import pytest
import typer
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.commands.helptext import HelpCommand
from ufafuse.commands.values import NotPlain, plain

Mode = Literal["auto", "off"]


def given(
    images: Annotated[list[Path] | None, typer.Argument()] = None,
    *,
    path: Path | None = None,
    there: Annotated[Path | None, typer.Option(exists=True)] = None,
    mode: Mode = "auto",
    count: Annotated[int | None, typer.Option(min=1, max=9)] = None,
    share: float = 0.5,
    word: str = "",
    words: Annotated[list[str] | None, typer.Option()] = None,
    flag: bool = False,
) -> None:
    """A command with values of every kind."""


def read(arguments, cls):
    """What the command gets, or the error."""
    app, found = typer.Typer(), {}

    def command(**values):
        found.update(values)

    command.__signature__, command.__annotations__ = inspect.signature(given), given.__annotations__
    app.command(cls=cls)(command)
    try:
        typer.main.get_command(app).main(list(arguments), standalone_mode=False)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is to be the same
        return type(error), str(error)
    return {name: (type(value), repr(value)) for name, value in found.items()}


LINES = [
    [],
    ["a.png", "b c.png", "--path", "x"],
    ["--mode", "off", "--count", "3", "--share", "2", "--word", "w", "--flag"],
    ["--mode", "Off"],
    ["--count", "0"],
    ["--count", "10"],
    ["--count", " 3"],
    ["--count", "3_0"],
    ["--count", "+3"],
    ["--count", "3.0"],
    ["--count", "³"],
    ["--count", "9" * 30],
    ["--share", "1e3"],
    ["--share", ".5"],
    ["--share", "-0.25"],
    ["--words", "a", "--words", "b"],
    ["--there", "surely-missing"],
    ["--there", "."],
    ["--path", "."],
    ["--no-flag", "--word", "\u00e4"],
    ["--nonsense"],
]


@pytest.mark.parametrize("arguments", LINES, ids=" ".join)
def test_values_are_those_that_typer_reads(arguments):
    assert read(arguments, HelpCommand) == read(arguments, typer.core.TyperCommand)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_typers(tmp_path):
    (tmp_path / "x").write_text("x")
    (tmp_path / "x").chmod(0)
    assert read(["--path", str(tmp_path / "x")], HelpCommand) == read(["--path", str(tmp_path / "x")], typer.core.TyperCommand)


@pytest.mark.parametrize("asked", [{"exists": True}, {"resolve_path": True}, {"parser": int}, {"case_sensitive": False}])
def test_what_is_asked_for_beside_the_kind_is_typers(asked):
    with pytest.raises(NotPlain):
        plain("x", str, SimpleNamespace(**asked), many=False)


def number_options(command, words=()):
    """(words of the command, option, kind) of each number that any command takes."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from number_options(inner, (*words, name))
    for param in command.params:
        descriptor = getattr(param, "type_descriptor", None)  # of typer that reads values by pydantic
        name = {int: "int", float: "float"}.get(descriptor.annotation) if descriptor else str(param.type.name).split(" ")[0]
        kind = {"int": int, "integer": int, "float": float}.get(name or "")
        if kind is not None:
            yield words, max(param.opts, key=len), kind


def test_no_number_is_beyond_all_bounds():
    """Libraries below take neither 10^40 threads nor a limit of NaN, which no figure ever misses."""
    app = build_app()
    found = list(number_options(typer.main.get_command(app)))
    assert len(found) > 60
    for number, (words, option, kind) in enumerate(found):
        floats = ("nan", "inf", "-inf", "1e400") if number % 4 == 0 else ("nan", "-inf")
        for value in ("9" * 40,) if kind is int else floats:
            done = CliRunner().invoke(app, [*words, option, value])
            assert done.exit_code == 2, (words, option, value, done.exception)
            assert f"Invalid value for '{option}'" in done.stderr.replace("\n", " "), done.stderr
