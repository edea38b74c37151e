"""What the values of options are: a dataclass takes whatever it is given, and what does not fit fails far from there."""

import numbers
import os
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ufafuse.runtime.errors import InputError

Check = Callable[[object], bool]


def is_switch(value: object) -> bool:
    """Whether this is True or False, of Python or NumPy; a text such as "no" would count as True."""
    return isinstance(value, bool | np.bool_)


def is_number(value: object) -> bool:
    """Whether this is a number, of Python or NumPy; True and False are none."""
    return isinstance(value, numbers.Real) and not is_switch(value)


def is_whole(value: object) -> bool:
    """Whether this is a whole number, of a type that holds no others."""
    return isinstance(value, numbers.Integral) and not is_switch(value)


def is_text(value: object) -> bool:
    """Whether this is a text."""
    return isinstance(value, str)


def is_path(value: object) -> bool:
    """Whether this names a file or a folder: a text, or what `pathlib` has for it; no bytes."""
    return isinstance(value, str) or (isinstance(value, os.PathLike) and isinstance(os.fspath(value), str))


_WORDS: dict[Check, str] = {
    is_switch: "True or False",
    is_number: "a number",
    is_whole: "a whole number",
    is_text: "a text",
    is_path: "a path",
    callable: "something to call",
}
_BY_TYPE: dict[str, Check] = {"bool": is_switch, "int": is_whole, "float": is_number, "str": is_text, "Path": is_path}


def type_in_text(value: object) -> str:
    """What type this is of, with its article: "an int", "a str"."""
    name = type(value).__name__
    return f"{'an' if name[:1] in 'aeioAEIO' else 'a'} {name}"


def check_value(name: str, value: object, *checks: Check, optional: bool = False) -> None:
    """Check what one parameter holds.

    Args:
        name: The parameter's.
        value: What was given.
        checks: One of them has to hold.
        optional: None is one of its values.

    Raises:
        InputError: It holds something else; the text names it.
    """
    if (optional and value is None) or any(check(value) for check in checks):
        return
    words = [*(_WORDS[check] for check in checks), *(["None"] if optional else [])]
    raise InputError(f"`{name}={reprlib.repr(value)}` is {type_in_text(value)}: give {' or '.join(words)}.")


def check_values(options: object, checks: Mapping[str, Check], *, optional: Mapping[str, Check] | None = None) -> None:
    """Check what the fields of an object hold.

    Args:
        options: The object.
        checks: By the fields' names.
        optional: Likewise, of fields that may be None.

    Raises:
        InputError: One holds something else; the text names it.
    """
    for name, check in checks.items():
        check_value(name, getattr(options, name), check)
    for name, check in (optional or {}).items():
        check_value(name, getattr(options, name), check, optional=True)


def check_fields(options: Any) -> None:  # noqa: ANN401 - a dataclass, for which there is no type
    """Check what the fields of a dataclass hold by what they are declared to be, where that is a plain type, a path or None.

    Numbers of NumPy become Python's own, which is what engines take, and names of files become `Path`.

    Raises:
        InputError: One holds something else; the text names it.
    """
    for item in fields(options):
        kinds = _kinds(item)
        optional = "None" in kinds
        checks = [_BY_TYPE[kind] for kind in kinds if kind in _BY_TYPE]
        if len(checks) + optional < len(kinds):
            continue
        value = getattr(options, item.name)
        check_value(item.name, value, *checks, optional=optional)
        if isinstance(value, np.generic):
            value = value.item()
        elif is_path in checks and value is not None:
            value = Path(value)
        object.__setattr__(options, item.name, value)  # frozen ones too


def _kinds(item: "Field[Any]") -> list[str]:
    """The types that a field is declared with, by name: their texts where annotations are not evaluated."""
    declared = item.type.__name__ if isinstance(item.type, type) else str(item.type)
    return [kind.strip().rpartition(".")[2] for kind in declared.split("|")]


def check_size(size: object) -> None:
    """Refuse what is not a height and a width, each a whole number above 0 (`InputError`)."""
    sides = list(size) if isinstance(size, tuple | list | np.ndarray) else []
    if len(sides) != 2 or not all(is_whole(side) and side > 0 for side in sides):
        raise InputError(f"`size={reprlib.repr(size)}` is no height and width: give two whole numbers above 0.")
