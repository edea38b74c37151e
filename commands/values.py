"""Plain values of a command line, read without the library that typer reads them with, which takes 80 ms to import.

What a number, a name, a choice or a path plainly is, is read here; everything else, and everything that is wrong, goes to
typer, so that no value is taken that it would refuse, and its words for what is refused stay. Where a release of typer keeps
its readers elsewhere, all go to it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

_WHOLE, _NUMBER = re.compile(r"-?\d{1,15}"), re.compile(r"-?\d{1,15}(\.\d{1,15})?")
# What typer may be asked to look for beside the kind of a value, and what it has where nothing is asked.
_NOTHING_ASKED = {
    "parser": None,
    "click_type": None,
    "exists": False,
    "resolve_path": False,
    "writable": False,
    "executable": False,
    "file_okay": True,
    "dir_okay": True,
    "path_type": None,
    "clamp": False,
    "case_sensitive": True,
}


class NotPlain(Exception):  # noqa: N818 - no error: a value for typer
    """The value is for typer to read."""


def read_plainly(params: Iterable[Any]) -> None:
    """Let the parameters of a command read plain values by themselves.

    Args:
        params: typer's; those of other makers stay as they are.
    """
    for param in params:
        if getattr(param, "_runtime_param", param) is None and hasattr(param, "type_descriptor"):
            param._runtime_param = _Plainly(param)  # noqa: SLF001


class _Plainly:
    """Stands in the place of typer's reader of one parameter, which is made where it is needed."""

    def __init__(self, param: Any) -> None:  # noqa: ANN401 - typer's
        self._param = param

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401 - typer's
        """As typer's own."""
        descriptor = param.type_descriptor
        try:
            return plain(value, descriptor.annotation, descriptor.parameter_info, many=param.multiple or param.nargs == -1)
        except NotPlain:
            return _finite(self._typers().coerce(value, param=param, ctx=ctx), param, ctx)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Whatever else typer asks of its reader."""
        return getattr(self._typers(), name)

    def _typers(self) -> Any:  # noqa: ANN401
        """typer's own reader; this one keeps its place, for a command may be run again, and NaN is refused then too."""
        self._param._runtime_param = None  # noqa: SLF001
        reader = self._param.get_runtime_param()
        self._param._runtime_param = self  # noqa: SLF001
        return reader


def _finite(value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401
    """Refuse NaN, which is below and above no bound, and infinity: no option takes either."""
    if isinstance(value, float) and not math.isfinite(value):
        import typer

        raise typer.BadParameter("must be a finite number", ctx=ctx, param=param)
    return value


def plain(value: Any, annotation: Any, asked: Any, *, many: bool) -> Any:  # noqa: ANN401 - whatever a command line holds
    """A value as the command gets it.

    Args:
        value: The word or words of the command line, or the default.
        annotation: The parameter's type.
        asked: What else it is to be, as typer's `ParameterInfo`.
        many: It may be given more than once.

    Raises:
        NotPlain: It is for typer to read.
    """
    if any(getattr(asked, name, usual) != usual for name, usual in _NOTHING_ASKED.items()):
        raise NotPlain
    if value is None:
        return () if many else None
    if many:
        inner = get_args(annotation)
        if get_origin(annotation) is not list or len(inner) != 1 or not isinstance(value, list | tuple):
            raise NotPlain
        return [_one(word, inner[0], asked) for word in value]
    return _one(value, annotation, asked)


def _one(word: Any, annotation: Any, asked: Any) -> Any:  # noqa: ANN401
    if get_origin(annotation) is Literal and isinstance(word, str) and word in get_args(annotation):
        return word
    if annotation is str and isinstance(word, str):
        return word
    if annotation is Path and isinstance(word, str) and word and (os.access(word, os.R_OK) or not os.path.lexists(word)):
        return Path(word)
    for kind, pattern in ((int, _WHOLE), (float, _NUMBER)):
        if annotation is kind and (type(word) is kind or (isinstance(word, str) and pattern.fullmatch(word))):
            number = kind(word)
            low, high = getattr(asked, "min", None), getattr(asked, "max", None)
            if (low is None or number >= low) and (high is None or number <= high):
                return number
    raise NotPlain
