"""The words of a command line, before they are read: what the shell did not do with them, and what means nothing here.

A shell replaces ``~`` only where a word begins with it: it leaves ``--out=~/fused.png``, what is quoted, and what a unit or a
container file starts. An unset variable is an empty word, which would name the folder that the command runs in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ufafuse.commands.apart import USAGE_ERROR

BARE = {"--ray": "local"}  # options whose value may be omitted, and what they stand for then
_VERBATIM = {"--token"}  # a secret may begin with any letter
_HOME = re.compile(r"(?P<named>\w[\w.-]*=)?(?P<path>~(?:/.*)?)", re.DOTALL)  # serve's --model is NAME=FILE
_WINDOWS = re.compile(r"(?P<drive>[A-Za-z]):[\\/](?P<rest>.*)|\\\\[^\\]+\\.+", re.DOTALL)
_ATTACHED = re.compile(r"(?P<long>--[a-z][a-z-]*)=(?P<value>.*)|(?P<short>-[A-Za-z])(?P<behind>.+)", re.DOTALL)


def with_values(arguments: Sequence[str], bare: Mapping[str, str]) -> list[str]:
    """The command line with a value for each of the ``bare`` options that has none."""
    found: list[str] = []
    for index, word in enumerate(arguments):
        if word == "--":
            return [*found, *arguments[index:]]
        following = arguments[index + 1] if index + 1 < len(arguments) else "-"
        found.append(f"{word}={bare[word]}" if word in bare and following.startswith("-") else word)
    return found


def as_meant(arguments: Sequence[str], command: Any, ctx: Any) -> list[str]:  # noqa: ANN401 - click's, wherever typer keeps it
    """The command line with the home folder for each ``~`` that a value begins with, as the shell writes it elsewhere.

    Args:
        arguments: The words; of a group those up to its command, which reads the others itself.
        command: Whose words they are.
        ctx: Its context.

    Raises:
        UsageError: A value is empty, begins with ``~`` where no home folder is known, or is a path of Windows.
    """
    valued = {name for param in command.params if not getattr(param, "is_flag", False) for name in param.opts}
    found: list[str] = []
    option, ended = "", False
    for index, word in enumerate(arguments):
        attached = None if ended else _ATTACHED.fullmatch(word)
        if option or ended or word == "-" or not word.startswith("-"):
            if not option and hasattr(command, "commands"):
                return [*found, *arguments[index:]]
            found.append(_meant(word, option, ctx))
            option = ""
        elif attached and (attached["long"] or attached["short"]) in valued:
            name = attached["long"] or attached["short"]
            value = attached["value"] if attached["long"] else attached["behind"]
            found.append(word[: len(word) - len(value)] + _meant(value, name, ctx))
        else:
            found.append(word)
            option, ended = word if word in valued and word not in BARE else "", word == "--"
    return found


def _meant(value: str, option: str, ctx: Any) -> str:  # noqa: ANN401
    if option in _VERBATIM:
        return value
    if not value:
        told = f"{option or 'a name'} is empty: give it a value or omit it; where a variable stands there, set that first"
        raise USAGE_ERROR(told, ctx=ctx)
    told = f"{option or 'the name'} {value}"
    windows = _WINDOWS.fullmatch(value)
    if windows and windows["drive"]:
        there = f"/mnt/{windows['drive'].lower()}/" + windows["rest"].replace("\\", "/")
        raise USAGE_ERROR(f"{told} is a path of Windows, which names nothing here: in WSL it is {there}", ctx=ctx)
    if windows:
        raise USAGE_ERROR(f"{told} is a path of Windows, which names nothing here: mount what it names, or copy it", ctx=ctx)
    home = _HOME.fullmatch(value)
    if home is None:
        return value
    found = os.path.expanduser(home["path"])  # noqa: PTH111 - what follows may be a pattern: it stays as it is written
    if found == home["path"]:
        raise USAGE_ERROR(f"{told} begins with ~, and no home folder is known: write the folder's own name", ctx=ctx)
    return (home["named"] or "") + found
