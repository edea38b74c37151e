"""A command from a dataclass: its fields are the options, its docstring the help; what runs is given one of it."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

Request = TypeVar("Request")


def as_command(run: Callable[..., None], request: type[Request], **more: Any) -> Callable[..., None]:  # noqa: ANN401 - types
    """A function that typer makes a command of.

    Args:
        run: Called with the request, and by name with what ``more`` asks for.
        request: A dataclass; each field is annotated as typer wants it.
        more: Types of further parameters that typer fills in, such as ``context=typer.Context``.
    """

    def command(**given: Any) -> None:  # noqa: ANN401 - whatever the command line gave
        filled = {name: given.pop(name) for name in more}
        run(request(**given), **filled)

    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind) for name, kind in more.items()]
    hints = get_type_hints(request, include_extras=True)
    own = inspect.get_annotations(request)  # what it inherits stands behind
    for field in sorted(fields(request), key=lambda field: field.name not in own):  # type: ignore[arg-type]
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(field.name, kind, default=default, annotation=hints[field.name]))
    command.__doc__ = request.__doc__
    command.__annotations__ = {**more, **hints}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def given(request: object) -> dict[str, Any]:
    """What was given of a request whose options are None (or empty) unless they are."""
    values = {field.name: getattr(request, field.name) for field in fields(request)}  # type: ignore[arg-type]
    return {name: value for name, value in values.items() if value is not None and value != []}


def changed(request: object) -> list[str]:
    """The fields of a request that have another value than by default, in their order."""
    values = ((field, getattr(request, field.name)) for field in fields(request))  # type: ignore[arg-type]
    return [field.name for field, value in values if value not in (field.default, [])]
