"""What the values of options are: a dataclass takes whatever it is given, and what does not fit fails far from there."""

import numbers
import os
import reprlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import Field, fields, is_dataclass
from pathlib import Path
from typing import Any

from ufafuse.runtime.errors import InputError

Check = Callable[[object], bool]


def _of_numpy(value: object, kind: str) -> bool:
    """Whether this is of one of NumPy's types; where NumPy is not imported, nothing is. Commands start without it."""
    return isinstance(value, getattr(sys.modules.get("numpy"), kind, ()))


def is_switch(value: object) -> bool:
    """Whether this is True or False, of Python or NumPy; a text such as "no" would count as True."""
    return isinstance(value, bool) or _of_numpy(value, "bool_")


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


def is_texts(value: object) -> bool:
    """Whether these are texts, in a tuple or a list; one text is not several of one letter each."""
    return isinstance(value, tuple | list) and all(isinstance(each, str) for each in value)


_WORDS: dict[Check, str] = {
    is_switch: "True or False",
    is_number: "a number",
    is_whole: "a whole number",
    is_text: "a text",
    is_path: "a path",
    is_texts: "some texts, in a tuple",
    callable: "something to call",
}
_BY_TYPE: dict[str, Check] = {
    "bool": is_switch,
    "int": is_whole,
    "float": is_number,
    "str": is_text,
    "Path": is_path,
    "tuple[str, ...]": is_texts,
}


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


def check_some(name: str, count: int | None) -> None:
    """Refuse a parameter that holds less than one of what it counts (`InputError`); None is left to who takes it."""
    if count is not None and count < 1:
        raise InputError(f"`{name}={count}` is too few: give 1 or more.")


def check_instance(name: str, value: object, kind: type, *, optional: bool = False, given: str = "") -> None:
    """Check that a parameter holds an object of ours, or of another library.

    Args:
        name: The parameter's.
        value: What was given.
        kind: What it has to be.
        optional: None is one of its values.
        given: What to give, where the type's own name does not say it.

    Raises:
        InputError: It is something else; the text names it.
    """
    if isinstance(value, kind) or (optional and value is None):
        return
    wanted = [given or f"`{kind.__name__}`", *(["None"] if optional else [])]
    raise InputError(f"`{name}={reprlib.repr(value)}` is {type_in_text(value)}: give {' or '.join(wanted)}.")


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
    """Check what the fields of a dataclass hold by what they are declared to be.

    That is a plain type, a path, texts, None, or another dataclass that the field is made with by default; of all else nothing
    is known here. Numbers of NumPy become Python's own, which is what engines take, names of files become `Path`, and lists of
    texts tuples.

    Raises:
        InputError: One holds something else; the text names it.
    """
    for item in fields(options):
        made = item.default_factory
        if isinstance(made, type) and is_dataclass(made):
            check_instance(item.name, getattr(options, item.name), made)
            continue
        kinds = _kinds(item)
        optional = "None" in kinds
        checks = [_BY_TYPE[kind] for kind in kinds if kind in _BY_TYPE]
        if len(checks) + optional < len(kinds):
            continue
        value = getattr(options, item.name)
        check_value(item.name, value, *checks, optional=optional)
        if _of_numpy(value, "generic"):
            value = value.item()
        elif is_path in checks and value is not None:
            value = Path(value)
        elif is_texts in checks and isinstance(value, list):
            value = tuple(value)
        object.__setattr__(options, item.name, value)  # frozen ones too


def _kinds(item: "Field[Any]") -> list[str]:
    """The types that a field is declared with, by name: their texts where annotations are not evaluated."""
    declared = item.type.__name__ if type(item.type) is type else str(item.type)
    return [kind if kind in _BY_TYPE else kind.rpartition(".")[2] for kind in map(str.strip, declared.split("|"))]


def check_size(size: object, name: str = "size") -> tuple[int, int]:
    """A height and a width as Python's own numbers.

    Args:
        size: What was given as one.
        name: The parameter that it was given as.

    Raises:
        InputError: It is none: two whole numbers above 0, in a tuple, a list or an array.
    """
    given: Any = size
    if _of_numpy(size, "ndarray"):
        given = given.ravel()  # which an array of no dimension has, too
    sides = list(given) if given is not size or isinstance(size, tuple | list) else []
    if len(sides) != 2 or not all(is_whole(side) and side > 0 for side in sides):
        raise InputError(f"`{name}={reprlib.repr(size)}` is no height and width: give two whole numbers above 0.")
    return int(sides[0]), int(sides[1])
