"""Alarms: a figure of the results that is too low or too high for a while."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.stream.quality import FIGURES

LATENCY = "latency_ms"
USUAL = "usual"
_NAMES = (*FIGURES, LATENCY)
_USUAL_SECONDS, _USUAL_LEAST, _USUAL_MOST = 5.0, 20, 1000  # of the run's beginning, and how many figures of it
_COMPARE: dict[str, Callable[[float, float], bool]] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_EXPRESSION = re.compile(
    rf"\s*(?P<name>\w+)\s*(?P<sign><=|>=|<|>)\s*"
    rf"(?:(?P<value>{_NUMBER})(?P<times>\s*\*\s*usual)?|usual\s*\+\s*(?P<more>{_NUMBER}))"
    rf"(?:\s+for\s+(?P<time>{_NUMBER})\s*(?P<unit>ms|s|min)?)?\s*"
)
_UNITS = {"ms": 1e-3, "s": 1.0, "min": 60.0, None: 1.0}
# What `usual` stands for: a lens that drifted or was covered, a light that changed, a camera that stands still or is late.
_USUAL_ALARMS = (
    "sharp<0.6*usual for 1s",
    "sharpness<0.65*usual for 1s",
    "brightness<0.5*usual for 1s",
    "exposure>usual+0.15 for 1s",
    "shift>usual+0.8 for 1s",
    "disagreement>usual+0.25 for 1s",
    "frozen>=3 for 1s",
)


@dataclass(frozen=True)
class Alarm:
    """A figure that is compared with a value.

    Args:
        text: As it was given.
        name: One of `FIGURES`, or ``"latency_ms"``. Of figures that each frame has, the least counts.
        sign: ``"<"``, ``"<="``, ``">"`` or ``">="``.
        value: What it is compared with.
        of_usual: How ``value`` goes with the figure's median over the run's first five seconds: ``""`` (not at all), ``"*"``
            or ``"+"``.
        seconds: So long it must hold, by the frames' time.
    """

    text: str
    name: str
    sign: str
    value: float
    of_usual: str
    seconds: float


@dataclass(frozen=True)
class AlarmEvent:
    """An alarm that began or is over.

    Args:
        alarm: Which.
        on: Whether it began.
        value: The figure now.
        limit: What it is compared with.
        seconds: Since the run began, by the frames' time.
    """

    alarm: Alarm
    on: bool
    value: float
    limit: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        state = {"alarm": self.alarm.text, "figure": self.alarm.name, "on": self.on}
        return {**state, "value": round(self.value, 4), "limit": round(self.limit, 4), "seconds": round(self.seconds, 3)}

    def __str__(self) -> str:
        state = "alarm" if self.on else "over"
        return f"{state}: {self.alarm.text} ({self.alarm.name} is {self.value:.3g}, the limit {self.limit:.3g})"


def alarms_from(texts: Sequence[str]) -> list[Alarm]:
    """The alarms that texts such as ``"sharp<0.6 for 2s"`` mean; ``"usual"`` is a set of them.

    Raises:
        InputError: One cannot be read, or names no figure.
    """
    found = []
    for text in texts:
        found += [_alarm_from(one) for one in (_USUAL_ALARMS if text.strip() == USUAL else (text,))]
    return list(dict.fromkeys(found))  # one that is named twice is one: it is not to ring twice


def _alarm_from(text: str) -> Alarm:
    found = _EXPRESSION.fullmatch(text)
    if found is None:
        raise InputError(
            f"`alarm={text}` cannot be read: give such as 'sharp<0.6 for 2s', 'sharpness<0.7*usual for 1s', "
            "'shift>usual+1 for 1s', or usual."
        )
    if found["name"] not in _NAMES:
        raise InputError(f"`alarm={text}` names no figure that there is: give one of {', '.join(_NAMES)}.")
    of_usual = "*" if found["times"] else "+" if found["more"] else ""
    seconds = float(found["time"] or 0) * _UNITS[found["unit"]]
    return Alarm(text.strip(), found["name"], found["sign"], float(found["value"] or found["more"]), of_usual, seconds)


@dataclass
class _State:
    """Where one alarm stands."""

    alarm: Alarm
    on: bool = False
    count: int = 0
    turning: float | None = None  # since when it is as it should not be yet
    before: list[float] = field(default_factory=list)
    usual: float | None = None


class Alarms:
    """Looks at figure after figure, and tells when an alarm begins and when it is over.

    It begins when its condition has held for its time without a break, and is over when it has not held for as long.

    Args:
        alarms: What to look for.
        tell: Takes each `AlarmEvent`.
    """

    def __init__(self, alarms: Sequence[Alarm], tell: Callable[[AlarmEvent], None] = ignored) -> None:
        self._states = [_State(alarm) for alarm in alarms]
        self._tell = tell

    def see(self, seconds: float, figures: Mapping[str, float]) -> None:
        """Take the figures of one result.

        Args:
            seconds: Since the run began, by the frames' time.
            figures: By name; those that are missing are not looked at.
        """
        for state in self._states:
            value = figures.get(state.alarm.name)
            if value is not None and math.isfinite(value):
                self._look(state, seconds, value)

    def _look(self, state: _State, seconds: float, value: float) -> None:
        limit = self._limit(state, seconds, value)
        if limit is None:
            return
        if _COMPARE[state.alarm.sign](value, limit) == state.on:
            state.turning = None
            return
        if state.turning is None:
            state.turning = seconds
        if seconds - state.turning < state.alarm.seconds:
            return
        state.on, state.turning = not state.on, None
        state.count += state.on
        self._tell(AlarmEvent(state.alarm, state.on, value, limit, seconds))

    @staticmethod
    def _limit(state: _State, seconds: float, value: float) -> float | None:
        """What the figure is compared with; None as long as it is not known what is usual."""
        alarm = state.alarm
        if not alarm.of_usual:
            return alarm.value
        if state.usual is None:
            if len(state.before) < _USUAL_MOST:
                state.before.append(value)
            if seconds < _USUAL_SECONDS or len(state.before) < _USUAL_LEAST:
                return None
            state.usual = median(state.before)
            state.before.clear()
        return state.usual * alarm.value if alarm.of_usual == "*" else state.usual + alarm.value

    @property
    def rang(self) -> list[str]:
        """The alarms that began at least once."""
        return [state.alarm.text for state in self._states if state.count]

    def to_json(self) -> list[dict[str, Any]]:
        """For each alarm: ``alarm``, whether it is ``on`` now, and how often it began (``count``)."""
        return [{"alarm": state.alarm.text, "on": state.on, "count": state.count} for state in self._states]
