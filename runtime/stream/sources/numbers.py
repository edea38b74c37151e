"""The numbers in files' names: which of them counts the frames.

A name may hold more than one: a size (``f000_640x480.png``), a camera (``img_0001_cam2.png``), a time stamp
(``20260128_101500_123.png``). The frame's number is the part that changes from file to file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import NamedTuple

_MOST_DIGITS = 19
_MOST_SHAPES = 1000  # of names, that are remembered
_LEAST_COUNTER = 3  # digits; fewer may be a camera's or a side's
_NUMBERS = re.compile(
    r"""
    (?P<size> (?<!\d) \d{2,5} x \d{2,5} (?!\d) )
    | (?P<moment> (?<!\d) (?:19|20)\d\d [-_.]? [01]\d [-_.]? [0-3]\d
        [-_T.\ ]? [0-2]\d [-_.:h]? [0-5]\d [-_.:m]? [0-5]\d (?: [-_.,s]? \d{1,9} )? (?!\d) )
    | (?P<epoch> (?<!\d) [1-3]\d{9} (?: [._]?\d{3} | [._]?\d{6} | [._]?\d{9} )? (?!\d) )
    | (?P<run> \d+ )
    """,
    re.ASCII | re.VERBOSE,
)
_DEVICE = re.compile(r"(?:cam|camera|ch|channel|side|lens|line|sensor|dev|device|video|head|station)[-_]?$", re.IGNORECASE)


class NumberField(NamedTuple):
    """One number in a name.

    Args:
        value: As a whole number; of a time stamp all its digits, parts of a second to nine places.
        seconds: The moment that a time stamp means, in seconds of 1970; None for other numbers.
        counts: It looks like a counter: it has at least three digits, or leading zeros.
        device: What stands before it says that it is a camera's or another device's.
    """

    value: int
    seconds: float | None
    counts: bool
    device: bool


class Numbered(NamedTuple):
    """What a name says.

    Args:
        number: The frame's.
        seconds: The moment that it stands for; None where it is no time stamp.
    """

    number: int
    seconds: float | None


def fields_of(stem: str) -> tuple[tuple[str, ...], list[NumberField]]:
    """The name with its numbers taken out, and these from left to right; sizes are none of them."""
    shape, fields, end = [], [], 0
    for found in _NUMBERS.finditer(stem):
        kind, text = str(found.lastgroup), found[0]
        if kind == "size" or (kind == "run" and len(text) > _MOST_DIGITS):
            continue
        field = _stamp(text, kind) if kind != "run" else None
        if field is None:
            digits = re.sub(r"\D", "", text)
            counts = len(digits) >= _LEAST_COUNTER or digits.startswith("0")
            field = NumberField(int(digits), None, counts, _DEVICE.search(stem[: found.start()]) is not None)
        shape.append(stem[end : found.start()])
        fields.append(field)
        end = found.end()
    return (*shape, stem[end:]), fields


def _stamp(text: str, kind: str) -> NumberField | None:
    digits = re.sub(r"\D", "", text)
    whole, part = (digits[:10], digits[10:]) if kind == "epoch" else (digits[:14], digits[14:])
    if kind == "epoch":
        seconds = float(whole)
    else:
        try:
            seconds = datetime.strptime(whole, "%Y%m%d%H%M%S").replace(tzinfo=timezone.utc).timestamp()
        except ValueError:  # no such day
            return None
    parts = part.ljust(9, "0")
    return NumberField(int(whole + parts), seconds + int(parts) / 1e9, counts=True, device=False)


class Numbers:
    """Finds the number of each file of one source, by what changes from name to name."""

    def __init__(self) -> None:
        self._decided: dict[tuple[str, ...], list[int]] = {}
        self._lone: dict[tuple[str, ...], list[NumberField]] = {}  # one name of each shape of which nothing has changed yet

    def learn(self, stems: Iterable[str]) -> None:
        """Look at names that are new: of each shape, that has not been decided, the part that changes is the number."""
        by_shape: dict[tuple[str, ...], list[list[NumberField]]] = {}
        for stem in stems:
            shape, fields = fields_of(stem)
            if shape not in self._decided:
                by_shape.setdefault(shape, []).append(fields)
        for shape, names in by_shape.items():
            before = self._lone.pop(shape, None)
            places = _changing(names if before is None else [before, *names])
            if places:
                self._decided[shape] = places
            else:
                self._lone[shape] = names[0]
        for known in (self._decided, self._lone):
            for shape in [*known][: max(0, len(known) - _MOST_SHAPES)]:
                del known[shape]

    def sure(self, stem: str) -> bool:
        """Whether another name could not show that another part is the number."""
        shape, fields = fields_of(stem)
        return shape in self._decided or len([field for field in fields if not field.device]) < 2

    def of(self, stem: str) -> Numbered | None:
        """The number in a name; None where there is none."""
        shape, fields = fields_of(stem)
        if not fields:
            return None
        places = self._decided.pop(shape, None)
        if places is None:
            places = [_likeliest(fields)]
        else:
            self._decided[shape] = places  # to the end: the shape that was asked for longest ago is forgotten first
        if len(places) == 1:
            field = fields[places[0]]
            return Numbered(field.value, field.seconds)
        width = _MOST_DIGITS  # so that one after the other they are in order
        return Numbered(int("".join(str(fields[place].value).zfill(width) for place in places)), None)


def _likeliest(fields: Sequence[NumberField]) -> int:
    """The place of the number in a single name: the last one that looks like a counter, and is no device's."""
    return max(range(len(fields)), key=lambda at: (not fields[at].device, fields[at].counts, fields[at].seconds is None, at))


def _changing(names: list[list[NumberField]]) -> list[int]:
    """The places of the number in names of one shape; none where nothing changes."""
    columns = list(zip(*names, strict=True))
    changing = [place for place, column in enumerate(columns) if len({field.value for field in column}) > 1]
    if len(changing) < 2:
        return changing
    unique = [place for place in changing if len({field.value for field in columns[place]}) == len(names)]
    if not unique:
        return changing

    def spread(place: int) -> tuple[bool, float]:
        values = [field.value for field in columns[place]]
        return columns[place][0].seconds is not None, (max(values) - min(values)) / (len(values) - 1)

    return [min(unique, key=spread)]  # a counter before a time stamp, the one that goes up in the smallest steps
