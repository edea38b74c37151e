"""Undoing a jump of exposure or white balance between two frames of one scene."""

from collections.abc import Collection, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.frames import FrameKind, colours_of, in_text, reduced_size
from ufafuse.runtime.registration.glance import halved

_PIXELS = 65_536  # of the small pictures that are compared
_GLANCED = 4_096  # where nothing depends on the last thousandth
_BLUR_SIGMA = 2.0 / _PIXELS**0.5  # of their sides
_LOW, _HIGH = 0.04, 0.94  # of white: darker levels are noise, lighter ones may be clipped
_TINT = 1 / 1024  # of white, of a grey frame's small picture in any channel more than in another: rounding
_CLIPPED = 0.99  # of white
_TELLING_SHARE = 0.05  # likewise, for the dark and the light of it to be told apart
_LEAST_SHARE = 0.01  # of the small picture, that must be usable in both frames
MOST_GAIN = 4.0
_LIMITS = (1 / MOST_GAIN, MOST_GAIN)
_ALIKE = 1.15  # of the channels, under a steady light (real pairs: 1.03, stacks: 1.09)
UNMATCHED = 1.15  # from here on a step that is left between frames whose levels were matched is told: 1.0 to 1.04 is usual
_STEADY = 1.06  # from one frame to the next: another focus under a steady light (real pairs: 1.013, stacks: 1.05)


def gains_to(near: Array, other: Array, kind: FrameKind, *, pixels: int = _PIXELS) -> tuple[float, ...]:
    """What ``other`` is to be multiplied by, channel by channel, to match ``near``.

    The median of the ratios of small, blurred pictures: focus and a pixel of misalignment do not disturb it.

    Args:
        near, other: As `frames.check_pair` passed them.
        kind: What they are.
        pixels: How many the small pictures have, at most about.

    Returns:
        One factor for grey frames, three for colour (in the frame's order), in [0.25, 4]; 1 for a channel that is too dark or
        too light almost everywhere.
    """
    a, b = (_small(frame, kind, pixels) for frame in (near, other))
    if not kind.grey and is_colourless(a) != is_colourless(b):  # a grey frame among colour: its levels are the light alone
        a, b = (np.repeat(brightness(each, kind), 3, axis=2) for each in (a, b))
    usable = (a > _LOW) & (a < _HIGH) & (b > _LOW) & (b < _HIGH)
    factors = []
    for channel in range(a.shape[2]):
        here = usable[..., channel]
        enough = here.mean() >= _LEAST_SHARE
        ratio = _median(a[..., channel][here] / b[..., channel][here]) if enough else 1.0
        factors.append(float(np.clip(ratio, *_LIMITS)))
    return tuple(factors)


def curve_between(before: Array, frame: Array, kind: FrameKind) -> float:
    """By what factor the dark third of two frames that were matched differs otherwise than the light one, either way.

    At least 1: under one tone curve (real pairs and stacks: 1.08 at most; photographs with wide blur 1.10).
    """
    a, b = (_small(each, kind, _GLANCED) for each in (before, frame))
    usable = ((a > _LOW) & (a < _HIGH) & (b > _LOW) & (b < _HIGH)).all(axis=2)
    if usable.mean() < _TELLING_SHARE:
        return 1.0
    lights = [each[usable].mean(axis=1) for each in (a, b)]
    by_light = np.argsort(lights[0] * lights[1])
    ratios = (lights[0] / lights[1])[by_light]
    third = len(ratios) // 3
    step = _median(ratios[:third]) / _median(ratios[-third:])
    return max(step, 1 / step)


def curve_words(step: float) -> str:
    """What the user is told where `curve_between` is this much; empty where that is usual."""
    if step < UNMATCHED:
        return ""
    return (
        "the frames differ by more than a factor, as by another tone curve: matched, their dark and light parts are still "
        f"{100 * (step - 1):.0f} % apart, which leaves patches: take both with one setting."
    )


def is_colourless(small: NDArray[np.float32]) -> bool:
    """Whether a small picture, H x W x channels with white at 1, is that of a grey frame; none of a channel is."""
    if not small.shape[2]:
        return True
    least, greatest = extremes(small)
    return float((greatest - least).max()) < _TINT


def extremes(small: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The least and the greatest channel of each pixel of H x W x channels; NumPy's own take ten times as long for so few."""
    channels = [small[..., channel] for channel in range(small.shape[2])]
    return reduce(np.minimum, channels), reduce(np.maximum, channels)


def brightness(small: NDArray[np.float32], kind: FrameKind) -> NDArray[np.float32]:
    """The brightness of a small colour picture, H x W x 1, as grey frames have it."""
    code = cv2.COLOR_RGB2GRAY if kind.order == "rgb" else cv2.COLOR_BGR2GRAY
    return np.asarray(cv2.cvtColor(small, code), np.float32)[..., np.newaxis]


def _median(values: NDArray[Any]) -> float:
    """As NumPy's own, which imports its masked arrays for it."""
    middle = (len(values) - 1) // 2, len(values) // 2
    return float(np.partition(values, middle)[list(middle)].mean())


def exposure_warning(frames: Sequence[Array], kind: FrameKind, *, matched: bool = False) -> str:
    """What to tell the user where the exposure jumps from one frame to the next (though matched); empty where it is steady."""
    small = [halved(np.ascontiguousarray(frame), _GLANCED) for frame in frames]
    steps = [_jump(before, frame, kind) for before, frame in pairwise(small)]
    step = max(steps)
    if step < (UNMATCHED if matched else _STEADY):
        return curve_words(max(curve_between(*pair, kind) for pair in pairwise(small))) if matched else ""
    before, frame = small[steps.index(step) :][:2]
    matches = not matched and _jump(before, multiplied(frame, gains_to(before, frame, kind), kind), kind) < UNMATCHED
    return exposure_words(step, matched=matched, matches=matches, pair=len(frames) == 2, cut=True)


def _jump(before: Array, frame: Array, kind: FrameKind) -> float:
    """How many times the light of the one frame is that of the other, at least 1."""
    step = step_between(before, frame, kind)
    return max(step, 1 / step)


def step_between(before: Array, frame: Array, kind: FrameKind) -> float:
    """By what factor the light changes between two small frames: of all channels, or of the one that leaves the others most."""
    found = gains_to(before, frame, kind, pixels=_GLANCED)
    if set(found) == {1.0}:  # too light or too dark almost everywhere in one of them: its mean still tells
        means = [max(float(np.mean(colours_of(each), dtype=np.float64)), _LOW * kind.unit) for each in (before, frame)]
        return means[0] / means[1]
    middle = _median(np.array(found))
    apart = max(max(gain / middle, middle / gain) for gain in found)
    return apart if apart > _ALIKE and apart > max(middle, 1 / middle) else middle


def exposure_words(
    step: float, darkest: str = "", *, matched: bool = False, matches: bool = True, pair: bool = False, cut: bool = False
) -> str:
    """What the user is told of exposures that differ.

    Args:
        step: The greatest is so many times the least.
        darkest: The name of the darkest frame, where it is known.
        matched: They differ though they were matched.
        matches: Matching would make them alike.
        pair: There are two frames, of which none can be left out.
        cut: ``step`` is one of `gains_to`, which end at `MOST_GAIN`.
    """
    named = f" ({in_text(darkest)} is the darkest)" if darkest else ""
    by = f"at least {step:.0f} times" if cut and step >= MOST_GAIN else f"up to {100 * (step - 1):.0f} %"
    changes = f"the exposure changes by {by} between {'the two ' if pair else ''}frames{named}"
    instead = "take both with one exposure" if pair else "take the stack without what is too dark or too light"
    if matched:
        return f"{changes} even when matched, which leaves patches: {instead}."
    if not matches:
        return f"{changes}, which leaves patches and is more than `match_gain` can match: {instead}."
    return f"{changes}, which leaves patches: add `match_gain`."


def matched_words(gains: Collection[tuple[float, ...]]) -> str:
    """What the user is told of frames that were matched because their exposure differs."""
    factors = [factor for each in gains for factor in each]
    by = f"{min(factors):.2f}" + (f" to {max(factors):.2f}" if max(factors) > min(factors) else "")
    who = "one was" if len(gains) == 1 else "they were"
    return (
        f"the exposure changes between frames: {who} multiplied by {by} to be exposed like the middle of all "
        "(`match_gain=False` leaves them as they are)."
    )


def _small(frame: Array, kind: FrameKind, pixels: int) -> NDArray[np.float32]:
    side = reduced_size(frame.shape, pixels)
    small = cv2.resize(np.ascontiguousarray(frame), side, interpolation=cv2.INTER_AREA)
    small = small.reshape(side[1], side[0], -1)[..., : 1 if kind.grey else 3].astype(np.float32) / np.float32(kind.unit)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), _BLUR_SIGMA * pixels**0.5), np.float32).reshape(small.shape)


def multiplied(frame: Array, gains: tuple[float, ...], kind: FrameKind, *, beside: Array | None = None) -> Array:
    """A new frame, each channel multiplied by its factor, rounded and clipped at white; alpha as it was.

    Args:
        frame: As `frames.check_pair` passed it.
        gains: As `gains_to` gives them.
        kind: What it is.
        beside: The frame whose exposure it takes. What is clipped in ``frame`` was at least that bright, and darkened it is an
            even grey: where ``beside`` shows it lighter than that, its samples are taken.
    """
    result = np.array(frame, order="C")
    channels: NDArray[Any] = result.reshape(*frame.shape[:2], -1)
    for channel, gain in enumerate(gains):
        plane = channels[..., channel]
        if kind.dtype == np.uint8:
            table = np.clip(np.rint(np.arange(256) * gain), 0, kind.white).astype(np.uint8)
            plane[...] = table[plane]
        else:
            scaled = plane * np.float32(gain)
            if kind.dtype != np.float32:
                np.rint(scaled, out=scaled)
            plane[...] = np.clip(scaled, 0, np.float32(kind.white), out=scaled)
    if beside is not None:
        fill_clipped(result, frame, beside, gains, kind)
    return result


def fill_clipped(matched: Array, frame: Array, beside: Array, gains: tuple[float, ...], kind: FrameKind) -> None:
    """Take, in place, the samples of ``beside`` where a frame that was darkened is clipped and darker; see `multiplied`.

    Args:
        matched: What was made of ``frame``; contiguous.
        frame, beside, gains, kind: As `multiplied`.
    """
    made, given, shown = (each.reshape(*frame.shape[:2], -1) for each in (matched, frame, beside))
    for channel, gain in enumerate(gains):
        if gain < 1:
            clipped = given[..., channel] >= np.float32(_CLIPPED * kind.white)
            made[..., channel][clipped] = np.maximum(made[..., channel][clipped], shown[..., channel][clipped])
