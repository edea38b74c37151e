"""How `ufa COMMAND --help` looks: two columns that break between words, at 80 columns as at 100, with nothing cut off.

typer's own page gives a flag the type ``<bool>`` and cuts long choices in the middle of a word, and takes ``[default: once]``
in a text for markup.
"""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from typer.core import TyperCommand, TyperGroup

from ufafuse.commands.apart import note_apart, telling_apart
from ufafuse.commands.values import read_plainly
from ufafuse.commands.words import BARE, as_meant, with_values

_WIDEST = 100
_GAP, _INDENT = 2, 2
_COLUMN = 28  # where the explanations begin
# What typer and click call the types; a choice names its values itself.
_TYPES = {"path": "PATH", "int": "N", "integer": "N", "float": "X", "str": "TEXT", "text": "TEXT", "filename": "PATH"}


class HelpCommand(TyperCommand):
    """A command whose help fits, and whose options may stand without a value where they are among `BARE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - click's, wherever typer keeps it
        """Read the command line."""
        read_plainly(self.get_params(ctx))
        known = {name for param in self.params for name in param.opts}
        args = as_meant(args, self, ctx)
        note_apart(self, ctx, args)
        with telling_apart(self, ctx):
            found: list[str] = super().parse_args(ctx, with_values(args, {name: BARE[name] for name in known & set(BARE)}))
        return found

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - click's, wherever typer keeps it
        """Write the page into ``formatter``."""
        formatter.write(page(self, ctx))


class HelpGroup(TyperGroup):
    """A group whose help fits, and whose commands come in the order of the work.

    Attributes:
        order: The names that come first, in their order; others follow as they were added.
    """

    order: Sequence[str] = ()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - click's, wherever typer keeps it
        """Read what stands before the command."""
        read_plainly(self.get_params(ctx))
        args = as_meant(args, self, ctx)
        note_apart(self, ctx, args)
        found: list[str] = super().parse_args(ctx, args)
        return found

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """The command that the first word names."""
        with telling_apart(self, ctx):
            return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002
        """The names of the commands."""
        names = list(self.commands)
        return sorted(names, key=lambda name: self.order.index(name) if name in self.order else len(self.order))

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the page into ``formatter``."""
        formatter.write(page(self, ctx))


def page(command: Any, ctx: Any) -> str:  # noqa: ANN401
    """The help of one command as text."""
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    blocks = [_usage(command, ctx, width), *_paragraphs(command.help, width)]
    shown = [param for param in command.get_params(ctx) if not getattr(param, "hidden", False)]
    arguments = [param for param in shown if param.param_type_name == "argument"]
    blocks += _section("Arguments", [(_argument(param), _help(param)) for param in arguments], width)
    panels: dict[str, list[Any]] = {}
    for param in shown:
        if param.param_type_name == "option":
            panels.setdefault(getattr(param, "rich_help_panel", None) or "Options", []).append(param)
    if next(iter(panels), "Options") != "Options" and "Options" in panels:
        panels["Options"] = panels.pop("Options")  # what belongs to no group comes before all of them, or after
    for name, params in panels.items():
        blocks += _section(name, [(_option(param, ctx), _help(param)) for param in params], width)
    if isinstance(command, TyperGroup):
        found = [(name, command.commands[name]) for name in command.list_commands(ctx)]
        rows = [(name, _first_sentence(one.help)) for name, one in found if not one.hidden]
        blocks += _section("Commands", rows, width, column=_INDENT + _GAP + max(len(name) for name, _ in rows))
    return "\n\n".join([*blocks, *_paragraphs(command.epilog, width)]) + "\n"


def _usage(command: Any, ctx: Any, width: int) -> str:  # noqa: ANN401
    parts = []
    for param in command.get_params(ctx):
        if param.param_type_name == "argument":
            parts.append(_argument(param))
        elif param.required:
            parts.append(f"{max(param.opts, key=len)} {_value(param, ctx)}")
    parts.append("[OPTIONS]")
    if isinstance(command, TyperGroup):
        parts.append("[COMMAND]" if command.invoke_without_command else "COMMAND")
    return textwrap.fill(f"Usage: {ctx.command_path} {' '.join(parts)}", width, subsequent_indent=" " * 9)


def _paragraphs(text: str | None, width: int) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text or "").split("\n\n"):
        if paragraph.strip():
            yield _filled(paragraph, width)


def _filled(text: str, width: int) -> str:
    return textwrap.fill(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)


def _section(title: str, rows: Sequence[tuple[str, str]], width: int, column: int = _COLUMN) -> Iterator[str]:
    if rows:
        yield "\n".join([f"{title}:", *(_row(left, right, width, column) for left, right in rows)])


def _row(left: str, right: str, width: int, column: int) -> str:
    """One entry: the explanation begins beside its name where that is short enough, else on the next line."""
    lines = _filled(right, width - column).splitlines() or [""]
    beside = len(left) + _INDENT + _GAP <= column
    first = f"{' ' * _INDENT}{left}"
    text = [f"{first:<{column}}{lines.pop(0)}" if beside else first]
    return "\n".join([*text, *(" " * column + line for line in lines)]).rstrip()


def _first_sentence(text: str | None) -> str:
    first = " ".join(inspect.cleandoc(text or "").split("\n\n")[0].split())
    return first.split(". ")[0].rstrip(".") + "." if first else ""


def _argument(param: Any) -> str:  # noqa: ANN401
    if param.metavar:
        return str(param.metavar)
    name = str(param.name).upper() + ("..." if param.nargs == -1 else "")
    return name if param.required else f"[{name}]"


def _option(param: Any, ctx: Any) -> str:  # noqa: ANN401
    names = ", ".join(sorted(param.opts, key=len))
    if param.is_flag:
        return f"{names} / {', '.join(param.secondary_opts)}" if param.secondary_opts else names
    return f"{names} {_value(param, ctx)}"


def _value(param: Any, ctx: Any) -> str:  # noqa: ANN401
    """What an option takes, in a word."""
    if param.metavar:
        return str(param.metavar)
    name = _type_name(param, ctx).removesuffix("...").strip("<[>]").removeprefix("list[")
    word = name.lower().split(" range")[0]
    return name if "|" in name else _TYPES.get(word, name.upper())


def _type_name(param: Any, ctx: Any) -> str:  # noqa: ANN401
    """The type as typer (since it has a click of its own) or click calls it."""
    if hasattr(param, "display_type"):
        return str(param.display_type(ctx))
    takes_context = "ctx" in inspect.signature(param.make_metavar).parameters  # from click 8.2 on
    return str(param.make_metavar(ctx) if takes_context else param.make_metavar())


def _help(param: Any) -> str:  # noqa: ANN401
    notes = []
    variable = getattr(param, "envvar", None)
    if variable:
        notes.append(f"[env: {variable}]")
    default = _default(param)
    if default and "[default:" not in (param.help or ""):  # where it depends on another option, the text says so
        notes.append(f"[default: {default}]")
    if param.required and param.param_type_name == "option":
        notes.append("[required]")
    return " ".join([param.help or "", *notes]).strip()


def _default(param: Any) -> str:  # noqa: ANN401
    value = param.default
    if param.required or getattr(param, "show_default", True) is False or callable(value):
        return ""
    if getattr(param, "is_flag", False):
        return _flag_name(param, value=bool(value)) if param.secondary_opts else ""
    if isinstance(value, Enum):
        return str(value.value)
    return "" if value is None or value in ("", [], ()) or isinstance(value, Mapping) else str(value)


def _flag_name(param: Any, *, value: bool) -> str:  # noqa: ANN401
    return str((param.opts if value else param.secondary_opts)[0]).lstrip("-")
