"""The levels that frames really use: what is white to them, and what the network is shown as its 1.

A 12-bit camera writes 0 to 4095 into 16 bits, a fluorescence picture uses a hundredth of the range, an HDR picture goes
beyond 1. The network was trained on pictures that use [0, 1]; shown a sixteenth of that, its choice lies 44 dB from what it
chooses in the same picture at full range, at a sixty-fourth 30. So it is shown levels over a unit: the level of white, halved
as often as the brightest part of the frames allows. The result is in the frames' own levels again.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.frames import UNBOUNDED, FrameKind, check_frames, colours_of, for_opencv, frame_names, in_text
from ufafuse.runtime.values import check_value, is_number, is_text, type_in_text

_BITS = (8, 10, 12, 14, 16)  # of sensors
_WHITES = {  # of pictures as they are stored: 10 to 14 bits in 16, floats in the levels of whole numbers
    np.dtype(np.uint8): (255.0,),
    np.dtype(np.uint16): (65535.0, 16383.0, 4095.0, 1023.0),
    np.dtype(np.float32): (1.0, 255.0, 65535.0),
}
_SAMPLES, _SAMPLES_OF_BYTES = 16_384, 8_192  # pixels in which a frame's brightest part is looked for; bytes are dark or not
_CROWD = 0.998  # of the samples: the brightest part without hot pixels and sparks
_NEARLY = 1.01  # levels above a power of two by rounding
_DARK_BYTES = 4  # bytes are shown as they are unless they stay below this part of white: less dark, their steps cost more
_BRIGHT_BYTE = 255 // _DARK_BYTES + 1
_LEAST_UNIT = 4.0  # levels of an integer: below, there is no picture to make brighter
_SMALLEST_FLOAT = 2.0**-20  # of white, where the frames are black
_DARKEST_FLOAT = 2.0**-90  # where they show something, in whatever unit it was measured; its inverse stays a finite float32
_NEGATIVE = 0.1  # of the brightest level: what filters and interpolation leave below black in float frames
GIVEN, OF_MOSAICS = "given", "found in the raw frames"  # by what a level of white is known


class Peak(NamedTuple):
    """What a frame reaches: its greatest level, the level that all but two in a thousand samples stay below, its least."""

    top: float
    crowd: float
    low: float = 0.0

    def joined(self, other: Peak) -> Peak:
        """What two frames reach together."""
        return Peak(max(self.top, other.top), max(self.crowd, other.crowd), min(self.low, other.low))


@dataclass(frozen=True)
class Levels:
    """The levels of a pair or stack.

    Args:
        white: The level of white: given, or found.
        unit: The level that the network sees as 1.
        ceiling: What a result may reach: white, or for float frames beyond 1 anything.
        low: The least level, where float frames go below black.
        beyond: Whether some samples lie beyond the unit: they are cut for the network's eyes, and weighed uncut.
        why: How white was found, in a few words.
    """

    white: float
    unit: float
    ceiling: float
    low: float
    beyond: bool
    why: str

    def of(self, kind: FrameKind) -> FrameKind:
        """``kind`` with these levels."""
        return replace(kind, white=self.ceiling, unit=self.unit, low=self.low, beyond=self.beyond)

    def to_json(self) -> dict[str, Any]:
        """The report's entries."""
        return {"white": self.white, "white_found": self.why, "seen_as_white": self.unit}


def kind_of_known(levels: Levels, frames: Sequence[Array], *, order: str = "bgr") -> FrameKind:
    """What frames are whose levels are known.

    Args:
        levels: Of the frames, or of others that were taken with them.
        frames: Two or more.
        order: Their channel order.

    Raises:
        InputError: As `check_frames`; or the levels are those of frames of another type, or of darker ones.
    """
    kind = check_frames(frames, order=order, open_ended=True)
    if kind.dtype != np.float32 and levels.ceiling > kind.white:
        raise InputError(
            f"`levels` reach {levels.ceiling:g}, which {kind.dtype} does not hold: give those of frames like these."
        )
    if kind.dtype != np.float32 and levels.ceiling < kind.white:
        for name, frame in zip(frame_names(len(frames)), frames, strict=True):
            if (top := int(colours_of(frame).max())) > levels.ceiling:
                raise InputError(
                    f"{in_text(name)} reaches {top}, and `levels` {levels.ceiling:g}: give those of frames like it."
                )
    return levels.of(kind)


def peak_of(frame: Array) -> Peak:
    """What a frame reaches; its alpha is not looked at."""
    sample = colours_of(sampled(frame))
    at = min(int(sample.size * _CROWD), sample.size - 1)
    if frame.dtype == np.uint8 and sample.size - np.count_nonzero(sample >= _BRIGHT_BYTE) <= at:
        return Peak(255.0, _BRIGHT_BYTE)  # nothing depends on the rest
    crowd = float(np.partition(sample.ravel(), at)[at])
    colours = colours_of(frame)
    low = min(0.0, float(colours.min())) if frame.dtype == np.float32 else 0.0
    return Peak(float(colours.max()), crowd, low)


def sampled(frame: Array) -> Array:
    """About as many of its pixels as are looked at, every so many rows and columns."""
    height, width = frame.shape[:2]
    step = max(1, int((height * width / (_SAMPLES_OF_BYTES if frame.dtype == np.uint8 else _SAMPLES)) ** 0.5))
    rows, columns = height // step, width // step
    if step == 1 or not rows or not columns:
        return frame[::step, ::step]
    whole = for_opencv(frame)[: rows * step, : columns * step]
    return np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_NEAREST))


def levels_from(
    peak: Peak,
    dtype: np.dtype[Any],
    *,
    white: float | None = None,
    white_from: str = GIVEN,
    maps: bool = True,
    headroom: float = 1.0,
) -> Levels:
    """The levels of frames that reach ``peak`` together.

    Args:
        peak: Of all frames.
        dtype: Theirs.
        white: The level of white where it is given.
        white_from: By what, in a few words.
        maps: The model tells how it weighs the frames, so single samples may lie beyond what it is shown (see `Levels`).
        headroom: How much brighter frames may be made before they are fused (to match their exposure).
    """
    known, why, ceiling = (white, white_from, white) if white is not None else _white(peak, dtype, headroom)
    reached = peak.crowd if maps else peak.top
    least = min(_LEAST_UNIT, known)
    if dtype == np.float32:
        least = known * (_DARKEST_FLOAT if reached > 0 else _SMALLEST_FLOAT)
    unit = known
    if dtype == np.uint8 and reached > known / _DARK_BYTES:
        least = known
    while reached <= unit / 2 * _NEARLY and unit / 2 >= least:
        unit /= 2
    beyond = min(peak.top * headroom, ceiling) > unit or peak.low < 0  # as they will be, once they are matched
    return Levels(known, unit, ceiling, peak.low, beyond=beyond, why=why)


def white_of(pictures: Sequence[Array]) -> float:
    """The level of white that pictures of one sample type share, as a fusion of them finds it: 4095 of 12 bits in 16.

    Args:
        pictures: One or more, H x W [x C], uint8, uint16 or float32.
    """
    return levels_from(joined_peak(map(peak_of, pictures)), pictures[0].dtype).white


def mean_level(picture: Array) -> float:
    """What a picture (H x W [x C]) has on the average, without its alpha and what is no number; 0 where that is all."""
    colours = colours_of(picture)
    mean = float(np.mean(colours, dtype=np.float64))
    if math.isfinite(mean):
        return mean
    finite = colours[np.isfinite(colours)]
    return float(np.mean(finite, dtype=np.float64)) if finite.size else 0.0


def white_as_bright(picture: Array, share: float) -> float | None:
    """The level of white by which a picture is as bright as others of its scene, whose samples are of another type.

    Args:
        picture: H x W [x C], uint8, uint16 or float32.
        share: What the others have on the average, as a share of their white.

    Returns:
        One of those that pictures of its type have; None where it or they are black, so that nothing tells.
    """
    mean, known = mean_level(picture), _WHITES.get(picture.dtype, ())
    if mean <= 0 or share <= 0 or not known:
        return None
    return min(known, key=lambda white: abs(math.log(mean / white / share)))


def joined_peak(peaks: Iterable[Peak]) -> Peak:
    """What frames, one or more, reach together."""
    return functools.reduce(Peak.joined, peaks)


def _white(peak: Peak, dtype: np.dtype[Any], headroom: float) -> tuple[float, str, float]:
    """The level of white, how it was found, and what results may reach."""
    if dtype == np.uint8:
        return 255.0, "8 bits", 255.0
    if dtype == np.float32:
        return (
            (1.0, "float levels within 1", 1.0)
            if peak.top <= 1
            else (peak.top, f"float levels up to {peak.top:.4g}", UNBOUNDED)
        )
    saturated = any(peak.top == (1 << bits) - 1 for bits in _BITS)  # then it is the sensor's own white
    reached = min(peak.top if saturated else peak.top * headroom, 65_535.0)
    bits = next(bits for bits in _BITS if reached < 1 << bits)
    return float((1 << bits) - 1), f"{bits} bits: no level is above {peak.top:.0f}", float((1 << bits) - 1)


def kind_with_levels(
    frames: Sequence[Array],
    *,
    order: str = "bgr",
    white: float | None = None,
    white_from: str = GIVEN,
    maps: bool = True,
    headroom: float = 1.0,
) -> tuple[FrameKind, Levels]:
    """What the frames of a pair or stack are, as `check_frames`, with the levels that they use (see `levels_from`).

    Raises:
        InputError: As `check_frames`; float frames may go beyond 1, and a little below 0.
    """
    kind = check_frames(frames, order=order, white=white, open_ended=True)
    peaks = [peak_of(frame) for frame in frames]
    for name, peak in zip(frame_names(len(frames)), peaks, strict=True):
        if peak.low < -_NEGATIVE * max(peak.top, 0.0):
            raise InputError(f"{in_text(name)} spans [{peak.low:.3g}, {peak.top:.3g}]: shift float frames to 0 or more.")
    levels = levels_from(joined_peak(peaks), kind.dtype, white=white, white_from=white_from, maps=maps, headroom=headroom)
    return levels.of(kind), levels


def check_asked(white: object, bayer: object, levels: object) -> None:
    """Refuse what a caller says of levels in another type, before it fails far from here (`InputError`)."""
    check_value("white", white, is_number, optional=True)
    check_value("bayer", bayer, is_text, optional=True)
    if levels is not None and not isinstance(levels, Levels):
        raise InputError(f"`levels` is {type_in_text(levels)}: give those of another result (`Fusion.levels`), or `white`.")


def white_of_mosaics(frames: Sequence[Array], white: float | None) -> float | None:
    """The level of white of a sensor's frames: as given, or found before filters go beyond it."""
    found = [frame for frame in frames if isinstance(frame, np.ndarray) and frame.dtype == np.uint16 and frame.size]
    if white is not None or len(found) < len(frames):
        return white
    return levels_from(Peak(max(float(frame.max()) for frame in found), 1.0), np.dtype(np.uint16)).white
