"""The order in which a person would count files: numbers by their value, decimals and minus signs where the names mean them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

_DIGITS = re.compile(r"(\d+)")
_LAST_NUMBER = re.compile(r"(.*?)([-+]?)(\d+)(?:\.(\d+))?(\D*)")


class _Numbered(NamedTuple):
    """A name around its last number, which may have decimals."""

    before: str
    sign: str
    whole: str
    fraction: str
    behind: str


def natural_key(path: Path) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sorts numbers by their value: 2 before 10; letters without regard to their case."""
    return natural_name(path.name), path.name


def natural_name(name: str) -> tuple[tuple[int, int, str], ...]:
    """As `natural_key`, of a name."""
    parts = _DIGITS.split(name.casefold())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part)


def in_natural_order(paths: Iterable[Path]) -> list[Path]:
    """Paths as a person would count them (`natural_order`), those of one folder together."""
    found = list(paths)
    ranks = natural_order([path.name for path in found], [path.stem for path in found])
    return sorted((found[index] for index in ranks), key=lambda path: path.parent)


def natural_order(names: Sequence[str], stems: Sequence[str] | None = None) -> list[int]:
    """The order in which a person would count ``names``.

    Numbers by their value; and a dash before the last number is a minus where others have that number without one (``z-5``,
    ``z0``), a point in it a decimal point where what stands behind it does not count on (``0.25``, ``0.5``; but ``f1.9``,
    ``f1.10``).

    Args:
        names: Of files or frames.
        stems: The same without suffixes, in which numbers mean nothing; omitted: the names.
    """
    split = [_LAST_NUMBER.fullmatch(stem.casefold()) for stem in stems or names]
    parts = [_Numbered(*(part or "" for part in match.groups())) for match in split if match]
    signs, decimals = (_has_signs(parts), _has_decimals(parts)) if len(parts) == len(names) else (False, False)
    decimals = decimals or signs  # nobody counts versions below zero
    if not (signs or decimals):
        return sorted(range(len(names)), key=lambda index: (natural_name(names[index]), names[index]))

    def key(index: int) -> tuple[object, ...]:
        part = parts[index]
        value = Decimal(f"{part.whole}.{part.fraction}" if decimals and part.fraction else part.whole)
        count = 0 if decimals or not part.fraction else int(part.fraction)
        before = part.before if signs else part.before + part.sign
        return natural_name(before), -value if signs and part.sign == "-" else value, count, natural_name(names[index])

    return sorted(range(len(names)), key=key)


def _has_signs(names: Sequence[_Numbered]) -> bool:
    seen = defaultdict[tuple[str, str], set[str]](set)
    for name in names:
        seen[name.before, name.behind].add(name.sign)
    return any("-" in signs and len(signs) > 1 for signs in seen.values())


def _has_decimals(names: Sequence[_Numbered]) -> bool:
    fractions = defaultdict[tuple[str, str, str], set[str]](set)
    for name in names:
        if name.fraction:
            fractions[name.before + name.sign, name.whole, name.behind].add(name.fraction)
    if len({len(fraction) for found in fractions.values() for fraction in found}) < 2:
        return False  # of equal length they are the same in either reading
    counted = [sorted(map(int, found)) for found in fractions.values()]
    return any(values[-1] - values[0] != len(values) - 1 for values in counted if len(values) > 1)
