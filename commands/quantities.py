"""Amounts as people write them on a command line."""

import re

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.parameters import size_from

_BYTES = {"": 1e6, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def sides_from(text: str, name: str = "size") -> tuple[int, int]:
    """Height and width in pixels from ``480x640``, or from ``320``, which is both.

    Args:
        text: What is given.
        name: The parameter that it was given as.

    Raises:
        InputError: It is no size.
    """
    return size_from(f"{text}x{text}" if text.strip().isdecimal() else text, name)


def number_or_word(text: str) -> int | str:
    """A whole number where it is one; else the word, which whoever takes it knows or refuses."""
    return int(text) if text.isdecimal() and len(text) < 19 else text


def megabytes_from(option: str, text: str | None) -> float | None:
    """MB (10^6 bytes) from ``800``, ``800MB``, ``2GB``, ``1.5G`` or ``2GiB``; None stays None.

    Args:
        option: What the error calls it.
        text: A number, taken for MB, or one with a unit.

    Raises:
        InputError: It is no such amount, or not above zero.
    """
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]i?)?b?\s*", text, re.IGNORECASE)
    value = float(found[1]) * _BYTES[(found[2] or "").lower()] / 1e6 if found else 0.0
    if value <= 0:
        raise InputError(f"{option} {text} is not an amount of memory: give MB, such as 800, or 800MB, 2GB, 1.5GiB.")
    return value


_MOST_AT_ONCE = 256


def count_from(option: str, text: str) -> int:
    """A number of things at once, from 1 to 256. Raises: InputError."""
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(_MOST_AT_ONCE)) else 0
    if not 1 <= value <= _MOST_AT_ONCE:
        raise InputError(f"{option} {text} is not a number of pairs: give 1 to {_MOST_AT_ONCE}.")
    return value


_SECONDS = {"ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def seconds_from(option: str, text: str) -> float:
    """Seconds from ``3``, ``3s``, ``500ms``, ``2m`` or ``1h``.

    Args:
        option: What the error calls it.
        text: A number, taken for seconds, or one with a unit.

    Raises:
        InputError: It is no such time, or not above zero.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|m|min|h)?\s*", text, re.IGNORECASE)
    value = float(found[1]) * _SECONDS[(found[2] or "").lower()] if found else 0.0
    if value <= 0:
        raise InputError(f"{option} {text} is not a time: give seconds, such as 3, or 3s, 500ms, 2m.")
    return value


def duration_from(option: str, text: str, *, negative: bool = False) -> float:
    """Seconds from ``20`` (milliseconds), ``20ms`` or ``0.02s``; `seconds_from` takes a number without a unit for seconds.

    Raises:
        InputError: It is no such time, or below zero where it cannot be.
    """
    unit = 1.0 if text.endswith("s") and not text.endswith("ms") else 1e-3
    try:
        value = float(text.removesuffix("s").removesuffix("m")) * unit
    except ValueError:
        value = float("nan")
    if not (value >= 0 or (negative and value < 0)):
        raise InputError(f"{option} {text} is no time: give milliseconds, such as 20, 20ms or 0.02s.")
    return value


def listed(values: list[str] | None) -> tuple[str, ...]:
    """What an option that is repeatable, by comma, or both, was given, each once."""
    return tuple(dict.fromkeys(name.strip() for value in values or [] for name in value.split(",") if name.strip()))
