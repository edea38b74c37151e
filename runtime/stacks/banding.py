"""Bands of light that a rolling shutter makes of a lamp that flickers: other ones in each frame of a stack.

A lamp that is dimmed by switching it, as LEDs are, goes on and off while the rows of the sensor are exposed one after the
other, so that rows are lighter and darker, by a wave of one frequency and one depth in all frames, which begins at another
place in each. A fused picture would take its parts from bands that are light in one frame and dark in the next, and what is
darker beside what is lighter looks like an edge.

What tells such a wave from the scene: it is the same in all columns, whatever they show; it is as deep in each frame, though
focus changes; and it does not move with the scene. In the logarithm of the levels it is a sum, so it is subtracted there. What
frames differ by leaves open what is in all of them; but waves of one depth that begin anywhere lie on a circle, and its middle
is what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array, Floats
from ufafuse.runtime.bfloat16 import strips
from ufafuse.runtime.frames import FrameKind, colours_of
from ufafuse.runtime.registration.align import comparable, estimate_pictures
from ufafuse.runtime.stacks.waves import FEWEST_BLOCKS, LEAST_PERIOD, USABLE, RowLogarithms, Waves, middle_of_circle

FEWEST = 4  # frames: on three waves there always lies a circle
_BLOCKS, _SAMPLED = 32, 8  # means along a row, and pixels that each is of
_DARK, _LIGHT = 0.04, 0.94  # of the level that the network sees as 1: darker is noise, lighter may be clipped
_HARMONICS = 4
_ASTRAY = 0.5  # of a wave's size, by which the middle block's may differ (bands: 0.7 at 5 % over a busy scene; scenes: 0.8 up)
_MOST = 1.0  # of the logarithm, either way: more is no band's
_UNEVEN = 0.2  # how unlike sizes are of which nothing is missing (bands: 0.1 at most)
# Mean of the phases' unit vectors, once the scene's motion is taken back: of lines that move with the scene 0.7 up, and by as
# much more than without it.
_WITH_SCENE, _CLEARLY = 0.6, 0.1
_CURVE = 2.2  # exponent that takes levels to light, about
_OTHER_DETAIL = 0.25  # of the bands' depth, that the scene has at least
_COMPARED, _FINE = 60_000, 31  # pixels of the pictures by which it is seen how the scene moves, and how fine detail is


@dataclass(frozen=True)
class Banding:
    """The bands of a stack.

    Attributes:
        down: Whether they follow each other from top to bottom; else from left to right, as in a picture that was turned.
        cycles: How many there are from one end to the other.
        depth: By how much the most uneven channel is lighter and darker than it should be; of its level.
        kind: What the frames are.
        middle: The frames' mean of the logarithms, rows x blocks x channels; NaN where it is of no use.
        missing: The wave that is in that mean, for each harmonic and channel; NaN where the frames show none.
    """

    down: bool
    cycles: float
    depth: float
    kind: FrameKind
    middle: Floats
    missing: Waves

    def to_json(self) -> dict[str, Any]:
        """For a report."""
        across = "rows" if self.down else "columns"
        return {"across": across, "bands": round(self.cycles, 1), "depth": round(self.depth, 3)}

    def words(self) -> str:
        """What the user is told."""
        ends = "from top to bottom" if self.down else "from left to right"
        return (
            f"bands of light, {self.cycles:.0f} {ends}, that differ from frame to frame by up to {100 * self.depth:.0f} % "
            "either way, were evened: a lamp flickers while a rolling shutter runs. Take the stack with a mechanical shutter, "
            "or with a longer exposure."
        )

    def evened(self, frame: Array) -> Array:
        """A copy of a frame (H x W [x C], as it was read) without its bands; itself where it has none. What is white stays."""
        logarithms = _logarithms(frame, self.kind, down=self.down)
        factors = np.ones((len(logarithms), logarithms.shape[2]), np.float32)
        apart, places = RowLogarithms((logarithms - self.middle)[None]), np.arange(len(logarithms)) / len(logarithms)
        for harmonic, missing in enumerate(self.missing, 1):
            if np.isnan(missing).all():
                continue
            found, astray = apart.waves(harmonic * self.cycles)
            wave = found[0] + missing
            certain = np.isfinite(wave) & (astray[0] < 2 * _ASTRAY) & (np.abs(wave) < _MOST)
            turning = np.exp(2j * np.pi * harmonic * self.cycles * places)[:, None]
            factors *= np.exp(-np.real(np.where(certain, wave, 0) * turning)).astype(np.float32)
        if (factors == 1).all():
            return frame
        factors *= (factors**-_CURVE).mean(axis=0) ** (1 / _CURVE)  # the light of all rows together stays as it was
        return _multiplied(frame, factors, self.kind, down=self.down)


def find_banding(frames: Sequence[Array], kind: FrameKind) -> Banding | None:
    """The bands in the frames of a stack; None where there are none that are known not to be the scene's.

    Args:
        frames: Some from all over the stack, as they were read, H x W [x 1, 3 or 4]. Fewer than four tell nothing.
        kind: What they are.
    """
    if len(frames) < FEWEST:
        return None
    for down in (True, False):
        found = _banding(np.stack([_logarithms(frame, kind, down=down) for frame in frames]), kind, down=down)
        if found is not None and not _is_of_the_scene(found, frames):
            return found
    return None


def _banding(logarithms: Floats, kind: FrameKind, *, down: bool) -> Banding | None:
    """What looks like bands in the logarithms of frames x rows x blocks x channels."""
    middle = logarithms.mean(axis=0)
    middle[:, np.isfinite(middle).mean(axis=0) < USABLE] = np.nan
    if max(np.isfinite(middle).any(axis=0).sum(axis=0)) < FEWEST_BLOCKS:
        return None
    apart, common = RowLogarithms(logarithms - middle), RowLogarithms(middle[None])
    cycles = apart.strongest()
    if cycles is None:
        return None
    missing = np.full((_HARMONICS, logarithms.shape[3]), np.nan, complex)
    depths = np.zeros(logarithms.shape[3])
    for harmonic in range(1, _HARMONICS + 1):
        if harmonic > 1 and harmonic * cycles > len(middle) / LEAST_PERIOD:
            break
        for channel, fitted in enumerate(_circles(apart, common, harmonic * cycles)):
            if fitted is not None:
                missing[harmonic - 1, channel] = -fitted[0]
                depths[channel] += fitted[1]
        if np.isnan(missing[0]).all():
            return None
    return Banding(down, cycles, float(np.expm1(depths.max())), kind, middle, missing)


def _circles(apart: RowLogarithms, common: RowLogarithms, cycles: float) -> list[tuple[complex, float] | None]:
    """For each channel the circle on which the frames' waves lie, if they are those of bands.

    Lines that go through all of the scene are in all columns, too; but then what is missing is seen in the frames' mean, and
    beside it the lines are sharp in one frame and not in another.
    """
    found, astray = apart.waves(cycles)
    seen, uneven = (each[0] for each in common.waves(cycles))
    circles = []
    for channel, waves in enumerate(found.T):
        fitted = middle_of_circle(waves) if np.median(astray[:, channel]) < _ASTRAY else None
        sizes = np.abs(waves + seen[channel])
        lines = uneven[channel] < _ASTRAY and sizes.std() > _UNEVEN * sizes.mean()
        circles.append(None if lines else fitted)
    return circles


def _logarithms(frame: Array, kind: FrameKind, *, down: bool) -> Floats:
    """Of means of blocks of each row (else of each column): rows x blocks x channels; NaN where they tell nothing."""
    picture = colours_of(frame)
    step = max(1, picture.shape[1 if down else 0] // (_BLOCKS * _SAMPLED))
    sample = np.ascontiguousarray(picture[:, ::step] if down else picture[::step], np.float32)
    size = (_BLOCKS, len(sample)) if down else (sample.shape[1], _BLOCKS)
    blocks = cv2.resize(sample, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
    means: Floats = np.divide(blocks if down else blocks.swapaxes(0, 1), np.float32(kind.unit), dtype=np.float32)
    means[(means <= _DARK) | (means >= _LIGHT)] = np.nan
    return np.log(means)


def _is_of_the_scene(banding: Banding, frames: Sequence[Array]) -> bool:
    """Whether what looks like bands begins where the scene lies in each frame, or nothing else tells where that is."""
    pictures = [comparable(banding.evened(frame), banding.kind, _COMPARED) for frame in frames]
    if max(_detail(picture, down=banding.down) for picture in pictures) < _OTHER_DETAIL * banding.depth:
        return True
    size, axis = frames[0].shape[:2], 1 if banding.down else 0
    middle = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2, 1])
    shifts = [0.0]
    for before, after in pairwise(pictures):
        known = estimate_pictures(before, after, size, "affine").estimated
        if not known:
            return True
        shifts.append(shifts[-1] + float((known[-1] @ middle - middle)[axis]) / size[1 - axis])
    apart = RowLogarithms(np.stack([_logarithms(frame, banding.kind, down=banding.down) for frame in frames]) - banding.middle)
    waves = (apart.waves(banding.cycles)[0] + banding.missing[0])[:, np.isfinite(banding.missing[0])]
    phases = waves / np.abs(waves)
    back = np.exp(2j * np.pi * banding.cycles * np.array(shifts))[:, None]
    as_seen, with_scene = (np.abs(each.mean(axis=0)) for each in (phases, phases * back))
    return bool(((with_scene > _WITH_SCENE) & (with_scene > as_seen + _CLEARLY)).any())


def _detail(picture: Array, *, down: bool) -> float:
    """How much a picture changes along the bands, where lines as bands are do not, of its mean."""
    along = picture if down else np.ascontiguousarray(picture.T)
    return float((along - cv2.blur(along, (_FINE, 1))).std() / max(float(picture.mean()), 1e-6))


def _multiplied(frame: Array, factors: Floats, kind: FrameKind, *, down: bool) -> Array:
    """A copy of ``frame`` whose rows (or columns) are multiplied by their factors, rows x channels; white and alpha stay."""
    result = frame.copy()
    colours = result.reshape(*frame.shape[:2], -1)[..., : factors.shape[1]]
    spread = factors[:, None] if down else factors[None]
    for strip in strips(colours.shape):
        part = colours[strip]
        light = np.where(part >= kind.unit, np.float32(1), spread[strip] if down else spread) * part
        if frame.dtype == np.float32:
            part[...] = light
        else:
            part[...] = np.rint(np.minimum(light, np.maximum(part, np.float32(kind.white))))
    return result
