"""How a stack's frames are exposed: those that differ from the middle of all, and those whose exposure failed.

A flash did not fire, a lamp went out, a shutter stayed open: such a frame says nothing that another does not say better, and
cannot be matched to the others; but dark without any detail is what a silhouette against the light looks like, so the network
would take it for the sharp one. It is left out, and told. A lamp flickers, a camera exposes each frame by itself: such frames
are matched, and told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Floats
from ufafuse.runtime.frames import FrameKind, colours_of, in_text, luma, reduced_size
from ufafuse.runtime.registration.gain import MOST_GAIN, brightness, extremes, is_colourless, multiplied
from ufafuse.runtime.stacks.hot import looked_at
from ufafuse.runtime.stacks.tones import Bend, LightLevels, Piecewise, bend_to, bent, times

FEWEST = 3  # frames: of two nobody knows which one failed
_PIXELS = 4_096  # of the small pictures that are compared
_SAMPLED = 65_536  # pixels that they are averaged from
_DARK = 0.04  # of white: what is darker is noise
_LEAST_SHARE = 0.01  # of the picture, that must be lighter than this in the middle of the frames
_TELLING_SHARE = 0.04  # of the picture, that must tell of the exposure: an insect before the light tells nothing
_HIDDEN = -1.0
_SURROUNDINGS = np.ones((15, 15), np.uint8)  # pixels of the small pictures
_LIGHT, _CLIPPED = 0.94, 0.1  # of white: what is lighter may be clipped; and of a small picture's pixel, that must be
UNEVEN = 1.06  # from here on frames differ in exposure (under a steady light: 1.03 at most, of 92 stacks; lamps at night 1.045)
# Exposure changes all places alike: how far apart the quartiles of the ratios' logarithms may be, at least and at most.
_SPREAD, _MOST_SPREAD = 0.15, 0.3
_SPREAD_OF_GAIN = 0.5  # of the middle of the logarithms
_TOP, _BRIGHTER = 0.999, 1.5  # what is darker nearly everywhere, but not where lights are, has its lights in focus
_TINTED = 1.1  # from here on a channel has a gain of its own,
_TINTED_SHARE = 0.25  # where so much of the picture shows it
BLACK = 0.01  # of the others' brightness
_IS_BLACK = "it is black where the others are not"
# What is lighter than this is white; where the others are not, a frame has failed that is in so much of the picture, and is
# lighter by so much elsewhere: steady light spreads over 1 % at most, and leaves the rest as it is.
_WHITE, _WHITE_SHARE, _LIGHTER = 0.98, 0.5, 1.15
_TOLD_SHARE = 0.1  # of the picture, that has to be darker than white in the others to tell that
_LIT, _LIT_SHARE = 0.25, 1e-4  # of the brightest light of the others, and of the picture: more light than that is no failure


class Match(NamedTuple):
    """How a frame's levels become those of others.

    Attributes:
        gains: What they are multiplied by: one factor for grey frames, three for colour (in the frame's order).
        curves: Where no factor does it, what they become instead, one curve for each factor; the factors are then those of
            white.
        between: The quartiles of the factors that places need which tell, of one factor or not; None: too few tell.
    """

    gains: tuple[float, ...]
    curves: tuple[Piecewise, ...] = ()
    between: tuple[float, float] | None = None

    def of(self, frame: Array, kind: FrameKind, *, beside: Array | None = None) -> Array:
        """The frame, H x W [x 1, 3 or 4], matched; ``beside`` as `multiplied` takes it."""
        return bent(frame, self.curves, kind) if self.curves else multiplied(frame, self.gains, kind, beside=beside)

    def left(self, applied: Match | None) -> float | None:
        """How bright a frame that needs this still is beside the middle of all, where another was applied; None: not known."""
        if applied is not None and applied.curves:
            return 1.0
        gain = 1.0 if applied is None else float(np.mean(applied.gains))
        return None if self.between is None else gain / float(np.clip(gain, *self.between))


class Exposures:
    """What the frames of a stack usually look like, and which of them do not.

    Args:
        frames: Some of the frames, H x W [x 1, 3 or 4], from all over the stack; taken one after the other.
        kind: What they are.
        fewest: Nothing is said of fewer.

    Attributes:
        known: Whether anything can be said.
    """

    def __init__(self, frames: Iterable[Array], kind: FrameKind, *, fewest: int = FEWEST) -> None:
        self._kind, self._channels = kind, 1 if kind.grey else 3
        samples = map(_sample, frames)
        taken = [(_small(sample, kind), _light(sample, kind), _clipped(sample, kind)) for sample in samples]
        small, lights, clipped = (np.stack(planes) for planes in zip(*taken, strict=True))  # frames x h x w [x planes]
        self._clipped = np.asarray(clipped.any(axis=0))
        self._take(small, lights)
        self.known = len(small) >= fewest and bool(self._usable.mean() >= _LEAST_SHARE)
        if self.known:
            self._straighten(small, lights)

    def _take(self, small: Floats, lights: Floats) -> None:
        self._usual, self._light = (np.partition(each, len(each) // 2, axis=0)[len(each) // 2] for each in (small, lights))
        self._usable = self._usual[..., 0] > _DARK
        self._colourless = is_colourless(self._usual[..., 1:])
        self._calm = [_beside_no_light(self._usual[..., plane]) for plane in range(self._usual.shape[2])]

    def _straighten(self, small: Floats, lights: Floats) -> None:
        """Match what needs a curve, the worst first: it bends the middle of the frames, from which others then differ."""
        bends = {index: self._bend(here, partial(lights.__getitem__, index)) for index, here in enumerate(small)}
        for _ in range(len(small) // 2):
            found = {index: bend for index, bend in bends.items() if bend is not None}
            if not found:
                return
            worst = max(found, key=lambda index: found[index].size)
            hidden = small[worst] == _HIDDEN
            small[worst] = np.where(hidden, _HIDDEN, np.maximum(found[worst].curve.at(small[worst]), 0))
            lights[worst] = np.maximum(found[worst].curve.at(lights[worst]), 0)
            self._take(small, lights)
            bends = {index: self._bend(small[index], partial(lights.__getitem__, index)) for index in found if index != worst}

    def failed(self, frame: Array) -> str:
        """Why a frame can be of no use, in a few words; empty where it can.

        That is where it is darker or lighter than the middle of the frames by more than the gain of a frame can be matched:
        the median of the ratios of small pictures, which focus and motion do not disturb. Lamps in the night light up much of a
        frame that has them out of focus, and little of the one that has them sharp: where light is as bright, nothing failed.
        So it is where most of it is white: darkened, it would be an even grey there.
        """
        small = _small(_sample(frame), self._kind)
        here = small[..., 0]
        shown = self._usable & (here != _HIDDEN)
        if not self.known or shown.mean() < _LEAST_SHARE:
            return ""
        ratios = here[shown] / self._usual[..., 0][shown]
        ratio = float(np.partition(ratios, len(ratios) // 2)[len(ratios) // 2])
        if ratio > MOST_GAIN:
            return f"it has {ratio:.0f} times the others' brightness"
        if (white := self._white_alone(small, shown)) > _WHITE_SHARE:
            return f"it is white in {100 * white:.0f} % of the picture where the others are not"
        if ratio >= 1 / MOST_GAIN or self._lit(frame):
            return ""
        if ratio < BLACK:
            return _IS_BLACK
        return f"it has {100 * ratio:.0f} % of the others' brightness"

    def gains(self, frame: Array, *, sure: bool = True) -> tuple[float, ...]:
        """What a frame is to be multiplied by to be exposed like the middle of the frames, which is told by no frame alone.

        The medians of the ratios of small pictures: one for all channels, but of a channel that differs much from it, where
        much of the picture shows it. Places that change in other ways, as the glow of lights does with their focus, are not
        told of by one number: where they are many, nothing is.

        Args:
            frame: H x W [x 1, 3 or 4].
            sure: 1 is given where places change otherwise; else the middle of what they do all the same.

        Returns:
            One factor for grey frames, three for colour (in the frame's order), in [0.25, 4]; 1 where it cannot be told.
        """
        return self._by_factors(_small(_sample(frame), self._kind), sure=sure).gains if self.known else (1.0,) * self._channels

    def _by_factors(self, here: Floats, *, sure: bool = True) -> Match:
        light, between = self._gain(here, 0, _TELLING_SHARE, sure=sure)
        if is_colourless(here[..., 1:]) != self._colourless:
            return Match((light,) * self._channels, (), between)  # a grey frame among colour, which would be tinted
        colours = [self._gain(here, plane, _TINTED_SHARE, sure=True)[0] for plane in range(1, here.shape[2])] or [light]
        gains = tuple(own if own != 1 and is_uneven([own / light], _TINTED) else light for own in colours)
        return Match(gains, (), between)

    def match(self, frame: Array, *, sure: bool = True) -> Match:
        """How a frame, H x W [x 1, 3 or 4], is matched to the middle of the frames: by a curve only where that is proven.

        ``sure`` is as `gains` takes it.
        """
        if not self.known:
            return Match((1.0,) * self._channels)
        sample = _sample(frame)
        here = _small(sample, self._kind)
        bend = self._bend(here, lambda: _light(sample, self._kind))
        if bend is None:
            return self._by_factors(here, sure=sure)
        # A lamp of another colour asks for factors besides.
        curve = bend.curve
        besides = self.gains(bent(frame, (curve,) * self._channels, self._kind))
        curves = tuple(curve.then(times(gain)) if is_uneven([gain], _TINTED) else curve for gain in besides)
        return Match(tuple(float(each.at(np.ones(()))) for each in curves), curves)

    def _bend(self, here: Floats, light: Callable[[], Floats]) -> Bend | None:
        """The curve that gives a small picture the levels of the middle of the frames; None: a factor does."""
        # Luma alone of a grey frame among colour; else the channels.
        first, last = (0, 1) if is_colourless(here[..., 1:]) != self._colourless or here.shape[2] == 1 else (1, 4)
        return bend_to(
            self._usual[..., first:last],
            here[..., first:last],
            lambda: LightLevels(self._light[..., first:last], light()[..., first:last], self._clipped),
        )

    def _gain(self, here: Floats, plane: int, share: float, *, sure: bool) -> tuple[float, tuple[float, float] | None]:
        """The factor of a plane of a small picture, 1 where it is not told, and `Match.between`."""
        there, seen = self._usual[..., plane], here[..., plane]
        shown = (there > _DARK) & (there < _LIGHT) & (seen > _DARK / MOST_GAIN) & (seen < _LIGHT)
        usable = shown & self._calm[plane]
        telling = usable.mean() >= share
        if not telling and shown.mean() < share:
            return 1.0, None
        places = usable if telling else shown
        low, middle, high = np.quantile(np.log(there[places] / seen[places]), (0.25, 0.5, 0.75))
        between = float(np.exp(low)), float(np.exp(high))
        if not telling:
            return 1.0, between
        if sure and high - low > min(_SPREAD + _SPREAD_OF_GAIN * abs(middle), _MOST_SPREAD):
            return 1.0, between
        if sure and middle > 0 and np.quantile(seen, _TOP) * np.exp(middle) > _BRIGHTER * np.quantile(there, _TOP):
            return 1.0, between
        return float(np.clip(np.exp(middle), 1 / MOST_GAIN, MOST_GAIN)), between

    def _white_alone(self, small: Floats, shown: NDArray[np.bool_]) -> float:
        """In which share of what is not white in the others a small picture, or a channel of it, is; 0 if that is its focus.

        Light that goes out of focus spreads over what is dark beside it, and leaves all else as dark as it is.
        """
        told = shown & (extremes(self._usual)[1] < _LIGHT)
        white = told & (extremes(small)[1] >= _WHITE)
        if told.mean() < _TOLD_SHARE:
            return 0.0
        rest = told & ~white
        ratios = small[..., 0][rest] / self._usual[..., 0][rest]
        if rest.mean() >= _LEAST_SHARE and np.partition(ratios, len(ratios) // 2)[len(ratios) // 2] < _LIGHTER:
            return 0.0
        return float(white.sum() / told.sum())

    def _lit(self, frame: Array) -> bool:
        bright = luma(frame, self._kind) >= _LIT * float(self._usual[..., 0].max()) * self._kind.unit
        return float(bright.mean()) > _LIT_SHARE


def evened(frames: Sequence[Array], kind: FrameKind, reference: int | None = None) -> dict[int, Match] | None:
    """How frames, by their numbers, are matched to be exposed alike.

    Args:
        frames: Two or more; of two nobody knows which one differs.
        kind: What they are.
        reference: Whose exposure the others take; None: that of the middle of all. Where frames from all over the stack differ
            all take it, else only the few that do.

    Returns:
        None where the middle of the frames says nothing.
    """
    if len(frames) < FEWEST:  # a folder of pairs would wait for it
        return None
    exposures = Exposures(frames, kind)
    if not exposures.known:
        return None
    found = {index: exposures.match(frame, sure=reference is None) for index, frame in enumerate(frames)}
    if reference is not None:
        return {index: relative(own, found[reference]) for index, own in found.items() if index != reference}
    looked = looked_at(len(frames)) or range(len(frames))
    every = any(stands_out(found[index]) for index in looked)
    return {index: own for index, own in found.items() if to_be_matched(own, every=every)}


def stands_out(own: Match) -> bool:
    """Whether a frame differs from the middle of all by a factor, which others may do by less; a curve is one frame's own."""
    return not own.curves and is_uneven(own.gains)


def to_be_matched(own: Match, *, every: bool) -> bool:
    """Whether a frame is matched so: if it stands out, or ``every`` frame is and it changes something."""
    return bool(own.curves) or (any(gain != 1 for gain in own.gains) and (every or is_uneven(own.gains)))


def relative(own: Match, target: Match) -> Match:
    """How a frame is matched to another one, from how each is to the middle of all."""
    if own.curves or target.curves:
        there, back = (each.curves or tuple(map(times, each.gains)) for each in (own, target))
        curves = tuple(a.then(b.inverse()) for a, b in zip(there, back, strict=True))
        return Match(tuple(float(curve.at(np.ones(()))) for curve in curves), curves)
    return Match(tuple(float(np.clip(a / b, 1 / MOST_GAIN, MOST_GAIN)) for a, b in zip(own.gains, target.gains, strict=True)))


def is_uneven(gains: Iterable[float], step: float = UNEVEN) -> bool:
    """Whether any of these factors says that a frame is exposed otherwise than the others."""
    return any(max(gain, 1 / gain) >= step for gain in gains)


def black_of_two(frames: Sequence[Array], kind: FrameKind, names: Sequence[str]) -> str:
    """What to tell of a pair of which one frame is black where the other is not; empty of any other."""
    for frame, other, name in zip(frames, reversed(frames), names, strict=True):
        if Exposures([other], kind, fewest=1).failed(frame) == _IS_BLACK:
            return black_words(name)
    return ""


def black_words(name: str) -> str:
    """What is told of the black frame of a pair."""
    return f"{in_text(name)} is black: there is nothing in it to fuse: take the other frame as it is."


def _beside_no_light(picture: Floats) -> NDArray[np.bool_]:
    """Where nothing around a place may be clipped: nobody knows how much light spreads from there as it goes out of focus."""
    return np.asarray(cv2.dilate(np.ascontiguousarray(picture), _SURROUNDINGS) < _LIGHT)


def _sample(frame: Array) -> Array:
    """Some of a frame's pixels, of all over it: what small pictures are made from."""
    step = max(1, int((frame.shape[0] * frame.shape[1] / _SAMPLED) ** 0.5))
    return np.ascontiguousarray(frame[::step, ::step])


def _small(sample: Array, kind: FrameKind) -> Floats:
    """A small picture, h x w x 1 (grey) or 4: luma, then the channels; the level that the network sees as 1 at 1.

    It is `_HIDDEN` where alpha hides some of it.
    """
    planes = [np.asarray(luma(sample, kind), np.float32)]
    if not kind.grey:
        planes += [sample[..., channel].astype(np.float32) for channel in range(3)]
    small = np.asarray(np.stack([_averaged(plane) for plane in planes], axis=-1) / np.float32(kind.unit), np.float32)
    if kind.channels == 4:
        small[_averaged((sample[..., 3] > 0).astype(np.float32)) < 1] = _HIDDEN
    return small


def _light(sample: Array, kind: FrameKind) -> Floats:
    """As `_small`, of the light: the levels that its mean has, about their root."""
    colours = np.ascontiguousarray(colours_of(sample))
    if colours.dtype == np.float32:
        colours = np.maximum(colours, 0)  # levels below black
    squared = _averaged(cv2.multiply(colours, colours, scale=kind.unit**-2, dtype=cv2.CV_32F))
    if kind.grey:
        return np.sqrt(squared.reshape(*squared.shape[:2], 1))
    return np.sqrt(np.concatenate((brightness(squared, kind), squared), axis=2))


def _clipped(sample: Array, kind: FrameKind) -> NDArray[np.bool_]:
    """Where in a small picture, h x w, a part of a pixel is so light that it may be clipped; a mean hides that."""
    greatest = sample if kind.grey else extremes(colours_of(sample))[1]
    light = (greatest.reshape(greatest.shape[:2]) >= _LIGHT * kind.unit).astype(np.float32)
    return np.asarray(_averaged(light) > _CLIPPED)


def _averaged(planes: Array) -> Floats:
    """Pixels, H x W [x channels], reduced to those of a small picture."""
    size = reduced_size(planes.shape, _PIXELS)
    reduced = cv2.resize(np.ascontiguousarray(planes), size, interpolation=cv2.INTER_AREA)
    return np.asarray(reduced.reshape(size[1], size[0], *planes.shape[2:]), np.float32)
