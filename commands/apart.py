"""Values that stand alone behind an option that is repeatable: ``--size 64x64 96x96``, where each needs a ``--size``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from ufafuse.runtime.errors import InputError, ModelError

USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
"""The command line library's, wherever typer keeps it."""

_APART = "ufafuse.apart"


def note_apart(command: Any, ctx: Any, arguments: Sequence[str]) -> None:  # noqa: ANN401 - click's, wherever typer keeps it
    """Remember with the command's context which words stand so, and what to tell of each."""
    many = {name: param for param in command.params if getattr(param, "multiple", False) for name in param.opts}
    found: dict[str, str] = {}
    option, value = "", ""
    for word in arguments:
        name, _, first = word.partition("=")
        if word.startswith("-"):
            option, value = (name, first) if name in many else ("", "")
        elif option and not value:
            value = word
        elif option:
            comma = f", or {option} {value},{word}" if "by comma" in (many[option].help or "") else ""
            found[word] = f"{option} takes one value at a time: {option} {value} {option} {word}{comma}"
    ctx.meta[_APART] = found


@contextlib.contextmanager
def telling_apart(command: Any, ctx: Any) -> Iterator[None]:  # noqa: ANN401 - click's
    """Say of a word that is refused and stands so how it is given."""
    try:
        yield
    except USAGE_ERROR as error:
        if type(error).__name__ not in ("UsageError", "NoSuchCommand"):
            raise
        named = any(param.param_type_name == "argument" for param in command.params)
        for word, told in ctx.meta.get(_APART, {}).items():
            if (not _may_be_a_file(word)) if named else word in str(error):
                error.message = told
                break
        raise


def _may_be_a_file(word: str) -> bool:
    return os.path.lexists(word) or word.endswith((".onnx", ".engine"))


@contextlib.contextmanager
def telling_files_apart() -> Iterator[None]:
    """Likewise where a command takes any number of files, and takes the word for one. Raises: InputError, ModelError."""
    try:
        yield
    except (InputError, ModelError) as error:
        from ufafuse.runtime.console import context_in_use

        words: dict[str, str] = context_in_use().meta.get(_APART, {}) if context_in_use() else {}
        told = next((told for word, told in words.items() if str(error).startswith(f"{word} ")), None)
        if told is None:
            raise
        raise type(error)(f"{str(error).removesuffix('.')}; if it is no file: {told}.") from error
