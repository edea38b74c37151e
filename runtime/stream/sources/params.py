"""The ``?rate=30&size=480x640`` behind a source's name."""

import math
from urllib.parse import parse_qsl

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.parameters import size_from


class Params:
    """Typed access to the parameters of one source; each key is named in the errors.

    Args:
        text: What follows the question mark.
        where: The whole specification, for the errors.
    """

    def __init__(self, text: str, where: str) -> None:
        self._where = where
        self._known: list[str] = []
        self._values: dict[str, str] = {}
        for key, value in parse_qsl(text, keep_blank_values=True):
            if key in self._values:
                raise InputError(f"{where} gives {key} twice: give it once.")
            self._values[key] = value

    def text(self, key: str, default: str = "") -> str:
        """The value as it stands."""
        self._known.append(key)
        return self._values.get(key, default)

    def number(self, key: str, default: float, *, low: float = 0.0, high: float = float("inf")) -> float:
        """A number in [low, high]."""
        value = self.text(key)
        if not value:
            return default
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not (low <= number <= high and math.isfinite(number)):
            span = f"from {low:g}" + (f" to {high:g}" if high < float("inf") else "")
            raise InputError(f"{self._where} has {key}={value}: give a number {span}.")
        return number

    def whole(self, key: str, default: int, *, low: int = 0) -> int:
        """A whole number of at least ``low``."""
        number = self.number(key, default, low=low)
        if number != int(number):
            raise InputError(f"{self._where} has {key}={number:g}: give a whole number.")
        return int(number)

    def choice(self, key: str, options: tuple[str, ...]) -> str:
        """One of ``options``, the first where nothing is given."""
        value = self.text(key, options[0])
        if value not in options:
            raise InputError(f"{self._where} has {key}={value}: give one of {', '.join(options)}.")
        return value

    def size(self, key: str) -> tuple[int, int] | None:
        """Height and width from ``480x640``."""
        value = self.text(key)
        return self._size(key, value) if value else None

    def spans(self, key: str) -> list[tuple[float, float]]:
        """Start and length in seconds from ``10:2,60:5``: from 10 s on for 2 s, and from 60 s on for 5 s."""
        return [self._two_numbers(key, part) for part in self.text(key).split(",") if part]

    def sizes(self, key: str) -> list[tuple[float, tuple[int, int]]]:
        """Moments in seconds and sizes from ``5:240x320``."""
        changes = []
        for part in filter(None, self.text(key).split(",")):
            moment, _, size = part.partition(":")
            changes.append((self._two_numbers(key, f"{moment}:0")[0], self._size(key, size)))
        return changes

    def finish(self) -> None:
        """Refuse keys that nobody asked for.

        Raises:
            InputError: Naming the key and those that are known.
        """
        for key in self._values:
            if key not in self._known:
                raise InputError(f"{self._where} has the parameter {key!r}, known here are: {', '.join(self._known)}.")

    def _size(self, key: str, value: str) -> tuple[int, int]:
        try:
            return size_from(value, key)
        except InputError as error:
            raise InputError(f"{self._where}: {error}") from error

    def _two_numbers(self, key: str, part: str) -> tuple[float, float]:
        first, _, second = part.partition(":")
        try:
            numbers = float(first), float(second)
        except ValueError:
            numbers = (-1.0, -1.0)
        if not all(0 <= number < math.inf for number in numbers):
            raise InputError(f"{self._where} has {key}={part}: give START:LENGTH in seconds, such as 10:2.")
        return numbers
