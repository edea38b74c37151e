"""What the values of options are: a dataclass takes whatever it is given, and what does not fit fails far from there."""

import numbers
import reprlib
from collections.abc import Callable, Mapping

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


_WORDS: dict[Check, str] = {
    is_switch: "True or False",
    is_number: "a number",
    is_whole: "a whole number",
    is_text: "a text",
    callable: "something to call",
}


def check_values(options: object, checks: Mapping[str, Check], *, optional: Mapping[str, Check] | None = None) -> None:
    """Check what the fields of an object hold.

    Args:
        options: The object.
        checks: By the fields' names.
        optional: Likewise, of fields that may be None.

    Raises:
        InputError: One holds something else; the text names it.
    """
    optional = optional or {}
    for name, check in {**checks, **optional}.items():
        value = getattr(options, name)
        if not (check(value) or (name in optional and value is None)):
            also = " or None" if name in optional else ""
            raise InputError(f"`{name}={reprlib.repr(value)}` is a {type(value).__name__}: give {_WORDS[check]}{also}.")
