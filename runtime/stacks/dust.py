"""Dust on a sensor: dark spots that stand still while the scene moves.

Registration would draw each of them out into a dark trail, as far as the magnification changes with the focus. They are looked
for in a few frames from all over the stack, before any is moved: a spot that is darker than what is around it in each of them.
A detail of the scene may be that, too, where nothing moves, or where a grid moves by its own period. So what is darkened has to
be clear in the other frames, at the place to which it has moved there. What dust leaves of the light is told by what is around
it, and by that much its spot is lightened; what is darker than half, as writing or a scale in all frames, is left as it is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Floats, Matrix
from ufafuse.runtime.frames import FrameKind, luma
from ufafuse.runtime.registration.glance import glanced
from ufafuse.runtime.registration.guesses import scaling
from ufafuse.runtime.stacks.hot import FEWEST_FRAMES

Pixels = NDArray[np.intp]  # N x 2, x and y of each

_PIXELS = 300_000  # of the small pictures in which spots are looked for
_SOFT = 0.8  # sigma in pixels of the small pictures, as all below: noise is no spot
_WIDEST = 25  # of a spot
_AROUND = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_WIDEST, _WIDEST))  # a square finds more that is none
_FEWEST_PIXELS, _COMPACT = 8, 0.5  # of a spot, and the share of the box around it that it fills
_MOST = 100  # spots: more are no dust but the scene
_DARKER = 0.97  # of what is around it, in each frame
_AS_DARK, _NOISE = 1.5, 0.02  # how much darker than in one frame, and by how much more, it may be in another
_TELLING = 0.05  # of white: darker surroundings tell nothing
_APART = 2.0  # how much farther than its own width the scene has to move, at least
_CLEAR = 0.3  # of a spot's darkness, that may be left where the scene has moved to
_MOSTLY = 0.75  # of the frames that tell
_EDGE, _RING = 3, 4  # a spot's soft edge, and what is around that
_EVEN = 0.06  # of its level: how uneven what is around a spot may be for it to tell how dark the spot is
_DARKEST = 0.5  # what dust leaves of the light, at least


class Spot(NamedTuple):
    """A spot of dust: its first row and column, and what its pixels are to be multiplied by, h x w float32."""

    top: int
    left: int
    factors: Floats


def find_dust(frames: Sequence[Array], kind: FrameKind, moves: Sequence[Matrix]) -> list[Spot]:
    """The spots of dust on the sensor that took these frames.

    Args:
        frames: As the sensor gave them, not moved; H x W [x 1, 3 or 4]. Fewer than three tell nothing.
        kind: What they are.
        moves: 3 x 3 each, what takes a pixel of one of them, or of any other, to its place in each.
    """
    if len(frames) < FEWEST_FRAMES:
        return []
    shades = shades_of(frames, kind)
    return lightened(proven(shades, frames[0].shape[:2], moves), shades[0].shape, frames, kind)


def shades_of(frames: Iterable[Array], kind: FrameKind) -> list[Floats]:
    """Small pictures of frames, h x w: how much of the light around it each pixel has."""
    return [_shade(glanced(frame, kind, _PIXELS)) for frame in frames]


def proven(shades: Sequence[Floats], size: tuple[int, ...], moves: Sequence[Matrix]) -> list[Pixels]:
    """The spots, as pixels of the small pictures, that are known to be dust.

    Args:
        shades: Of three frames or more.
        size: (height, width) of the frames.
        moves: As `find_dust`.
    """
    to_full = scaling(size, shades[0].shape)
    small = [np.linalg.inv(to_full) @ move @ to_full for move in moves]
    between = {(here, there): small[there] @ np.linalg.inv(small[here]) for here, there in permutations(range(len(small)), 2)}
    every = np.stack(shades)
    spots = [spot for spot in _spots(every) if _is_dust(spot, every, between)]
    return spots if len(spots) <= _MOST else []


def lightened(spots: Sequence[Pixels], shape: tuple[int, ...], frames: Sequence[Array], kind: FrameKind) -> list[Spot]:
    """Spots that were proven, with what undoes them; without those of which the frames don't tell how dark they are.

    Args:
        spots: As pixels of the small pictures.
        shape: (height, width) of those.
        frames: As `find_dust`.
        kind: What they are.
    """
    found = (_lightened(spot, frames, kind, shape) for spot in spots)
    return [spot for spot in found if spot is not None]


def without_dust(frame: Array, spots: Sequence[Spot], kind: FrameKind) -> Array:
    """A copy of ``frame`` (H x W [x C]) whose spots are as light as what is around them; itself where there are none."""
    if not spots:
        return frame
    mended = frame.copy()
    for top, left, factors in spots:
        height, width = factors.shape
        part = mended[top : top + height, left : left + width].reshape(height, width, -1)[..., :3]
        light = part * factors[..., None]
        part[:] = light if frame.dtype == np.float32 else np.rint(np.minimum(light, kind.white))
    return mended


def _shade(picture: Floats) -> Floats:
    """How much of the light around each pixel it has, where it is darker in a spot; 1 where it is not, or nothing is told."""
    soft = cv2.GaussianBlur(picture, (0, 0), _SOFT)
    around = cv2.morphologyEx(soft, cv2.MORPH_CLOSE, _AROUND)
    return np.asarray(np.where(around > _TELLING, soft / np.maximum(around, _TELLING), 1), np.float32)


def _spots(shades: Floats) -> Iterator[Pixels]:
    """The pixels, N x 2 as x and y, of each spot that is about as dark in all frames."""
    most, least = shades.max(0), shades.min(0)
    alike = (most < _DARKER) & (1 - least < _AS_DARK * (1 - most) + _NOISE)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(alike.astype(np.uint8))
    for label in range(1, count):
        left, top, width, height, area = stats[label]
        if area >= max(_FEWEST_PIXELS, _COMPACT * width * height) and max(width, height) <= _WIDEST:
            here = labels[top : top + height, left : left + width] == label
            yield np.argwhere(here)[:, ::-1] + (left, top)


def _is_dust(spot: Pixels, shades: Floats, between: Mapping[tuple[int, int], Matrix]) -> bool:
    """Whether what the spot darkens is clear in other frames, at the place to which it has moved.

    It takes several pairs of frames to tell, without one that is in all of them: that one may have been registered wrongly.
    """
    middle, wide = spot.mean(0, keepdims=True), np.ptp(spot, axis=0).max() + 1
    clear, pairs = list[bool](), list[set[int]]()
    for (here, there), move in between.items():
        if np.hypot(*(_moved(middle, move) - middle)[0]) < wide + _APART:
            continue
        x, y = np.rint(_moved(spot, move)).astype(np.intp).T
        if x.min() >= 0 and y.min() >= 0 and x.max() < shades.shape[2] and y.max() < shades.shape[1]:
            darkness = 1 - shades[here, spot[:, 1], spot[:, 0]].mean()
            clear.append(bool(1 - shades[there, y, x].mean() <= _CLEAR * darkness))
            pairs.append({here, there})
    return bool(pairs) and not set.intersection(*pairs) and float(np.mean(clear)) >= _MOSTLY


def _moved(points: NDArray[Any], move: Matrix) -> NDArray[np.float64]:
    """Points, N x 2 as x and y, at their places in another frame."""
    moved = points @ move[:, :2].T + move[:, 2]
    return np.asarray(moved[:, :2] / moved[:, 2:], np.float64)


def _lightened(spot: Pixels, frames: Sequence[Array], kind: FrameKind, shape: tuple[int, ...]) -> Spot | None:
    """A spot at full size, with what undoes it; None where too few frames tell that, or it is no dust by its darkness."""
    size = frames[0].shape[:2]
    to_full = np.array([size[1] / shape[1], size[0] / shape[0]])
    low = np.floor((spot.min(0) - _EDGE - _RING) * to_full).clip(0).astype(int)
    high = np.minimum(np.ceil((spot.max(0) + 1 + _EDGE + _RING) * to_full), size[::-1]).astype(int)
    area = slice(low[1], high[1]), slice(low[0], high[0])
    y, x = np.mgrid[area]
    seen = np.zeros(shape, np.uint8)
    seen[spot[:, 1], spot[:, 0]] = 1
    wide: Any = cv2.dilate(seen, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _EDGE + 1, 2 * _EDGE + 1)))
    rows, columns = (
        np.minimum((at / scale).astype(int), side - 1) for at, scale, side in zip((y, x), to_full[::-1], shape, strict=True)
    )
    inside = wide[rows, columns] > 0
    plane = np.stack([np.ones(x.shape), x - x.mean(), y - y.mean()], -1)
    left = [_left_of_light(luma(frame[area], kind), plane, inside) for frame in frames]
    told = [each for each in left if each is not None]
    if 2 * len(told) <= len(frames):
        return None
    share = np.where(inside, np.median(told, axis=0), 1)
    if not _DARKEST <= share.min() <= _DARKER:
        return None
    return Spot(int(low[1]), int(low[0]), np.asarray(1 / np.minimum(share, 1), np.float32))


def _left_of_light(grey: Array, plane: NDArray[np.float64], inside: NDArray[np.bool_]) -> Floats | None:
    """What a frame has of the light that a plane through what is around a spot says; None where that is not even."""
    around = grey[~inside].astype(np.float64)
    slopes = np.linalg.lstsq(plane[~inside], around, rcond=None)[0]
    light = plane @ slopes
    if light.min() <= 0 or np.std(around - light[~inside]) > _EVEN * light.mean():
        return None
    return np.asarray(grey / light, np.float32)
