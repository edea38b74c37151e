"""What a caller gives, read and named: in errors and warnings the library says `` `max_memory` ``, the command line
``--max-memory``.

A text has a parameter's name, or its name and value, between backquotes: `` `tile` ``, `` `tile=5` ``, `` `force=True` ``. A
Python caller reads them as they stand. The command line knows its options by the same names and has them instead.
"""

import re
from collections.abc import Mapping
from typing import Any

from ufafuse.runtime.errors import InputError

Size = tuple[int, int]
"""(height, width), in pixels."""

# What a text says of another command's option, as the command line has it.
_ELSEWHERE = {"static": "--static", "batch": "--batch", "conflicts": "`ufa fuse --conflicts`"}
_LARGEST_SIDE = 1 << 20  # pixels; what no frame has, a slip of the keyboard may
_SIZE = re.compile(r"\s*(\d{1,7})\s*[xX]\s*(\d{1,7})\s*", re.ASCII)
_NAMED = re.compile(r"`([a-z]\w*)(?:=([^`]*))?`")


def as_options(text: str, options: Mapping[str, str]) -> str:
    """``text`` with the parameters that a command has as options named as these; all else stays.

    Args:
        text: An error or a warning.
        options: The option by the parameter's name, such as ``{"max_memory": "--max-memory"}``.
    """

    def option(found: "re.Match[str]") -> str:
        name, value = found[1], found[2]
        if name not in options:
            return _ELSEWHERE.get(name, found[0]) if options and value is None else found[0]
        if value == "False":
            return options[name].replace("--", "--no-", 1)
        return options[name] if value in (None, "True") else f"{options[name]} {value}"

    return _NAMED.sub(option, text)


def deep_as_options(values: Any, options: Mapping[str, str]) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """`as_options` for every text in a JSON-ready value."""
    if isinstance(values, str):
        return as_options(values, options)
    if isinstance(values, Mapping):
        return {key: deep_as_options(value, options) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [deep_as_options(value, options) for value in values]
    return values


def size_from(text: str, name: str = "size") -> Size:
    """``"1080x1920"`` as (height, width), in pixels.

    Args:
        text: Height, then width.
        name: The parameter that it was given as.

    Raises:
        InputError: It is no such size.
    """
    found = _SIZE.fullmatch(text)
    height, width = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (0 < height <= _LARGEST_SIDE and 0 < width <= _LARGEST_SIDE):
        raise InputError(f"`{name}={text}` is no size of frames: give height x width in pixels, such as 520x520 or 720x1280.")
    return height, width


def options_of(command: Any) -> dict[str, str]:  # noqa: ANN401 - click's, wherever typer keeps it
    """A command's options, and its arguments as the usage line has them, by the parameters' names.

    An option is there by what itself is called, too: a command may have a repeatable ``--model`` as ``models``.
    """
    longest = {param.name: max(param.opts, key=len) for param in command.params if param.param_type_name == "option"}
    arguments = {
        param.name: str(param.metavar or param.name.upper()) for param in command.params if param.param_type_name != "option"
    }
    return {option.lstrip("-").replace("-", "_"): option for option in longest.values()} | longest | arguments
