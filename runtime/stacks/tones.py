"""Frames whose levels differ from the others' by more than a factor: much less light, stray light, another tone curve.

Levels are about the root of the light, but close to black in a straight line, and a camera bends them as it likes: of a frame
with less light the dark parts are darker than by one factor, haze and stray light lift what is dark alone. Such a frame is
matched by a curve of a few straight pieces, which takes its levels to those of the middle of the frames. The curve's hats are
blurred, not its levels, so that what blurs in the one frame and not in the other does not bend it.

A curve that was fitted to one half of the picture, in squares as of a draughtboard, has to be right in the other half: focus,
shadows and what moved are not in both halves alike. And it has to be right of averages so wide that focus leaves them as they
are. A stark pattern's mean level changes with its focus, but not the mean of its light: what a factor of the light explains
is no curve. Nor is the glow of lights beyond white, which show more light where they are spread: none is near what tells.
Of 460 drawn and real stacks that were exposed alike no frame is told to need one; of one frame in each of them 265 are under
15 % of the light, 363 with 10 % of white as haze, 263 with 2 % of it, and 354 by another tone curve.

A bent frame bends the middle of the frames, too, from which others then seem to differ: so the worst is matched first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Doubles, Floats
from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.registration.gain import extremes
from ufafuse.runtime.texts import examples

_KNOTS = 6
_ENDS = (0.005, 0.995)  # of the levels that tell: where the first knot lies, and the last one
_NARROWEST = 0.05  # of white, between them: what is more even tells no curve
_DARK, _DARK_IN_FRAME, _LIGHT = 0.02, 0.01, 0.94  # of white: darker levels are noise, lighter ones may be clipped
_LEAST_SHARE = 0.04  # of the small picture, that must tell,
_CALM = 0.5  # and lie beside no light: where less does, white is all over the scene,
_LEAST_AROUND = 0.5  # and of what is around each place
_SIGMA = 3.0  # pixels of the small pictures: what blurs within, and what moves by less, is alike
_FAR = 8.0  # and what does so by much more
_AROUND_LIGHTS = np.ones((9, 9), np.uint8)
_SQUARES = 4  # of the draughtboard, along each side
_STIFF = 1e-3  # how much a bend counts beside the error, both squared
_ROUNDS, _OUTLYING = 4, 3.0  # of the fit, and median errors from which on a place counts less
_WORST = 0.1  # of the places, whose errors are cut off
_BETTER, _LEAST_BEND = 0.5, 2.0 / 255  # of the factor's error; of white, between the curve and the factor
# Of white: the error of a factor of the light, near and far (far: frames that need a curve 1.65 at least, others 1.4 at most).
_LEAST_LIGHT, _LEAST_LIGHT_FAR = 2.5 / 255, 1.5 / 255
_BETTER_THAN_LIGHT = 0.45  # of that error: what a curve's may be, far
_SLOPES = (0.1, 5.0)  # of a curve: a flatter piece hides what a frame shows, a steeper one is the glow of lights
_MOST_NAMED = 5  # frames in one sentence
_STRIP = 64  # rows of a frame of floats that are bent at once, in numbers of twice the size


class Piecewise(NamedTuple):
    """A rising curve of straight pieces, the first and the last of which go on: K levels seen and K shown; white is 1."""

    seen: Doubles
    shown: Doubles

    def at(self, levels: Array) -> Doubles:
        """What levels, of any shape, become."""
        pieces = np.clip(np.searchsorted(self.seen, levels) - 1, 0, len(self.seen) - 2)
        slopes = np.diff(self.shown) / np.diff(self.seen)
        return np.asarray(self.shown[pieces] + slopes[pieces] * (levels - self.seen[pieces]), np.float64)

    def inverse(self) -> Piecewise:
        """The curve that undoes this one."""
        return Piecewise(self.shown, self.seen)

    def then(self, other: Piecewise) -> Piecewise:
        """This curve, and another one of what it shows."""
        knots = np.unique(np.concatenate((self.seen, self.inverse().at(other.seen))))
        knots = knots[np.concatenate(([True], np.diff(knots) > 1e-9))]
        return Piecewise(knots, other.at(self.at(knots)))


def times(factor: float) -> Piecewise:
    """The straight line of a factor."""
    return Piecewise(np.array([0.0, 1.0]), np.array([0.0, factor]))


class Bend(NamedTuple):
    """The curve that a frame needs, and by how much of white it differs from the best factor."""

    curve: Piecewise
    size: float


class LightLevels(NamedTuple):
    """What tells the glow of lights, and patterns out of focus, from tones.

    Attributes:
        usual, own: h x w x channels: the levels that the mean of the light has, of the middle of the frames and of a frame.
        clipped: h x w: where light is spread from, in the frames that have it out of focus, that is more than white.
    """

    usual: Floats
    own: Floats
    clipped: NDArray[np.bool_]


def bend_to(usual: Floats, small: Floats, lights: Callable[[], LightLevels]) -> Bend | None:
    """The curve that gives a frame the levels of the middle of the frames; None where it is not proven to need one.

    Args:
        usual: h x w x channels: a small picture, white = 1; below 0 where it is not known.
        small: That of the frame.
        lights: Gives what is looked at where these two alone ask for a curve.
    """
    (usual_least, usual_greatest), (least, greatest) = extremes(usual), extremes(small)
    usable = (usual_least > _DARK) & (least > _DARK_IN_FRAME)
    usable &= _beside_none(np.maximum(usual_greatest, greatest) >= _LIGHT)
    found = _bend(usual, small, usable)
    if found is None:
        return None
    given = lights()
    calm = usable & _beside_none(given.clipped)
    if calm.mean() >= _CALM:
        usable, found = calm, _bend(usual, small, calm)
    return found if found is not None and _is_no_focus(found.curve, usual, small, given, usable) else None


def _beside_none(lights: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(cv2.dilate(lights.astype(np.uint8), _AROUND_LIGHTS) == 0)


def _bend(usual: Floats, small: Floats, usable: NDArray[np.bool_]) -> Bend | None:
    """The curve by what is ``usable``, h x w, of both pictures; None where a factor does nearly as well."""
    averages = _Averages(usable, _SIGMA)
    if averages.share < _LEAST_SHARE:
        return None
    low, high = np.quantile(small[usable], _ENDS)
    seen, wanted = averages.of(small), averages.of(usual)
    straight = seen * np.median(wanted / seen)
    if high - low < _NARROWEST or _error(wanted - straight) < _LEAST_BEND:
        return None
    knots = np.linspace(low, high, _KNOTS)
    hats = np.stack([averages.of(np.interp(small, knots, hat)) for hat in np.eye(_KNOTS)], axis=1)
    shown = _fitted(hats, wanted)
    bend = np.sqrt(np.mean(np.square(hats @ shown - straight)))
    slopes = np.diff(shown) / np.diff(knots)
    usual_slopes = _SLOPES[0] < slopes.min() and slopes.max() < _SLOPES[1]
    if bend < _LEAST_BEND or not usual_slopes or not _is_right_elsewhere(hats, seen, wanted, averages.half(small.shape[2])):
        return None
    return Bend(Piecewise(knots, shown), float(bend))


def _is_no_focus(curve: Piecewise, usual: Floats, small: Floats, lights: LightLevels, usable: NDArray[np.bool_]) -> bool:
    """Whether a curve does better than a factor of the light, and where averages are so wide that focus hardly changes them.

    A factor of the light explains a stark pattern, whose mean level changes with its focus. The glow of lights, which are wider
    and darker the farther they are out of focus, looks like a curve from near.
    """
    errors = _errors(curve, usual, small, lights, _Averages(usable, _SIGMA))
    if errors is None or errors.light < max(_LEAST_LIGHT, _BETTER * errors.straight):
        return False
    afar = _errors(curve, usual, small, lights, _Averages(usable, _FAR))
    if afar is None or afar.light < _LEAST_LIGHT_FAR:
        return False
    return afar.curved < min(_BETTER * afar.straight, _BETTER_THAN_LIGHT * afar.light)


class _Errors(NamedTuple):
    """Of a curve, of a factor of the levels, and of one of the light."""

    curved: float
    straight: float
    light: float


def _errors(curve: Piecewise, usual: Floats, small: Floats, lights: LightLevels, averages: _Averages) -> _Errors | None:
    """None where too little tells."""
    if averages.share < _LEAST_SHARE:
        return None
    seen, wanted, curved = averages.of(small), averages.of(usual), averages.of(curve.at(small))
    shone, wanted_light = (np.sqrt(averages.of(np.square(each))) for each in (lights.own, lights.usual))
    light = shone * np.median(wanted_light / np.maximum(shone, _DARK_IN_FRAME))
    straight = seen * np.median(wanted / seen)
    return _Errors(_error(wanted - curved), _error(wanted - straight), _error(wanted_light - light))


def _is_right_elsewhere(hats: Doubles, seen: Doubles, wanted: Doubles, half: NDArray[np.bool_]) -> bool:
    """Whether curves that are fitted to one half of the places do better in the other one than factors do."""
    if half.all() or not half.any():
        return False
    curve, factor = np.empty(len(wanted)), np.empty(len(wanted))
    for here in (half, ~half):
        curve[~here] = hats[~here] @ _fitted(hats[here], wanted[here])
        factor[~here] = seen[~here] * np.median(wanted[here] / seen[here])
    return _error(wanted - curve) < _BETTER * _error(wanted - factor)


def bent_words(names: Sequence[str]) -> str:
    """What the user is told of frames, named as in a sentence, that were matched by curves."""
    differ, their = ("differs", "its") if len(names) == 1 else ("differ", "their")
    return (
        f"{examples(names, _MOST_NAMED)} {differ} from the middle of all by more than a factor, as by much less light, stray "
        f"light or another tone curve: {their} levels were matched by a curve (`match_gain=False` leaves them as they are)."
    )


class _Averages:
    """Averages around each place that tells, over what tells there.

    Args:
        usable: h x w: what tells.
        sigma: How wide they are.

    Attributes:
        share: How much of the picture does.
    """

    def __init__(self, usable: NDArray[np.bool_], sigma: float) -> None:
        self._usable, self._sigma = usable, sigma
        self._weights = self._blurred(usable.astype(np.float32))
        self._taken = usable & (self._weights > _LEAST_AROUND)
        self.share = float(self._taken.mean())

    def of(self, planes: Array) -> Doubles:
        """Those of h x w x channels, one channel after the other."""
        shown = np.where(self._usable[..., None], planes, 0).astype(np.float32)
        weights = self._weights[self._taken]
        averages = [self._blurred(shown[..., channel])[self._taken] / weights for channel in range(planes.shape[2])]
        return np.concatenate(averages).astype(np.float64)

    def half(self, channels: int) -> NDArray[np.bool_]:
        """Which of them lie in the black squares of a draughtboard."""
        rows, columns = (np.arange(length) * _SQUARES // length for length in self._usable.shape)
        return np.tile(((rows[:, None] + columns) % 2 == 1)[self._taken], channels)

    def _blurred(self, plane: Floats) -> Floats:
        return np.asarray(cv2.GaussianBlur(np.ascontiguousarray(plane), (0, 0), self._sigma), np.float32)


def _fitted(hats: Doubles, wanted: Doubles) -> Doubles:
    """The levels at the knots, by least squares; outlying places count less, and bends cost a little."""
    bends = np.diff(np.eye(hats.shape[1]), 2, axis=0)
    stiff = _STIFF * bends.T @ bends
    weights, shown = np.ones(len(wanted)), np.zeros(hats.shape[1])
    for _ in range(_ROUNDS):
        weighed = hats.T * (weights / weights.sum())
        shown = np.linalg.lstsq(weighed @ hats + stiff, weighed @ wanted, rcond=None)[0]
        apart = np.abs(wanted - hats @ shown)
        weights = 1 / (1 + np.square(apart / (_OUTLYING * np.median(apart) + 1e-4)))
    return np.asarray(shown, np.float64)


def _error(apart: Doubles) -> float:
    squares = np.square(apart)
    return float(np.sqrt(np.minimum(squares, np.quantile(squares, 1 - _WORST)).mean()))


def bent(frame: Array, curves: tuple[Piecewise, ...], kind: FrameKind) -> Array:
    """A new frame, H x W [x 1, 3 or 4], each channel by its curve, rounded and clipped at black and white; alpha as it was."""
    result = np.array(frame, order="C")
    channels = result.reshape(*frame.shape[:2], -1)
    for channel, curve in enumerate(curves):
        plane = channels[..., channel]
        if kind.dtype == np.float32:
            for top in range(0, len(plane), _STRIP):
                strip = plane[top : top + _STRIP]
                strip[...] = np.clip(curve.at(strip / kind.unit) * kind.unit, min(0.0, kind.low), kind.white)
        else:
            table = np.rint(curve.at(np.arange(np.iinfo(kind.dtype).max + 1) / kind.unit) * kind.unit)
            plane[...] = np.clip(table, 0, kind.white).astype(kind.dtype)[plane]
    return result
