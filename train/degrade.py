"""From a sharp photograph and a focus map to a pair of frames with different focus.

Two ways. `paper_pair` is the paper's (Section III-C, Eq. 11): a mean filter and a hard focus map. `lens_pair` draws
what lenses and cameras do: disc, Gaussian or mean filter of any width, a blurred foreground that spreads over its edge,
highlights that bloom, frames of different brightness, shifted by fractions of a pixel, noisy, compressed, with darkened
or masked borders.

Pictures are float32 H x W x 3 in [0, 255] inside and uint8 H x W x 3 at the end, BGR; a focus map is float32 H x W in
[0, 1], 1 where the near frame is in focus. Everything is drawn from a numpy Generator: same state, same pair.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Floats, Mask, as_floats
from ufafuse.runtime.errors import InputError

PAPER_SIZES = ((2, 3), (4, 5), (5, 7), (8, 10))  # filter sizes of the paper's four groups
BLURS = ("box", "disc", "gauss")
# The largest sizes that `LensOptions` takes: beyond, nothing of a picture is left, or no memory holds what it would take.
MOST_OF_LENS = {
    "min_radius": 500.0,
    "max_radius": 500.0,
    "max_gain": 1.0,
    "max_shift": 100.0,
    "max_noise": 255.0,
    "min_zoom": 100.0,
    "max_zoom": 100.0,
}
LEAST_ZOOM = 0.02
HIDDEN = 0.02  # less than this share of a blur's light comes from the background: none of it is seen
HALF_FROM = 6.0  # wider blurs are computed at half resolution: nothing fine is left, and it costs a tenth


@dataclass(frozen=True)
class TrainingPair:
    """Two frames and the all-in-focus picture they should fuse to, uint8 H x W x 3."""

    near: Array
    far: Array
    truth: Array


def check_numbers(options: Any, what: str, most: Mapping[str, float]) -> None:  # noqa: ANN401 - a dataclass of numbers
    """Refuse shares beyond [0, 1] and sizes below 0 or beyond those in `most` (`InputError`, of a `what` option)."""
    for field in fields(options):
        value, largest = getattr(options, field.name), most.get(field.name, 1.0)
        if not 0 <= value <= largest:
            kind = f"it lies from 0 to {largest:g}" if field.name in most else "shares lie in [0, 1]"
            raise InputError(f"{what} option {field.name} is {value:g}: {kind}.")


@dataclass(frozen=True)
class LensOptions:
    """What `lens_pair` draws: radii in pixels, and for every effect the share of pairs that show it."""

    min_radius: float = 0.8
    max_radius: float = 26.0
    spread: float = 0.6  # the blurred foreground spreads over its edge
    soft: float = 0.3  # the change from in focus to out of focus is gradual
    defocused: float = 0.3  # parts of the scene are in focus in neither frame, only less out of it in one
    bands: float = 0.0  # the scene has even bands: in focus nothing is to be seen within them, out of it a gradient is
    highlights: float = 0.25  # bright spots were brighter than white: they bloom into discs
    gain: float = 0.3
    max_gain: float = 0.05
    shift: float = 0.2
    max_shift: float = 0.75
    noise: float = 0.6
    max_noise: float = 4.0  # standard deviation in 8-bit levels
    jpeg: float = 0.2
    dark_blur: float = 0.1  # blurred as if all were black beyond the border
    vignette: float = 0.1
    letter_box: float = 0.1  # black bars
    zoom: float = 0.4  # the photograph is taken larger or smaller than it is
    min_zoom: float = 0.6
    max_zoom: float = 2.0
    other_mask: float = 0.35  # the focus map is another photograph's
    drawn_mask: float = 0.15  # the focus map is a random shape

    def __post_init__(self) -> None:
        """Refuse shares beyond [0, 1] and ranges the wrong way round (`InputError`)."""
        check_numbers(self, "lens", MOST_OF_LENS)
        if not (0 < self.min_radius <= self.max_radius and LEAST_ZOOM <= self.min_zoom <= self.max_zoom):
            raise InputError(
                f"lens options: the smallest radius must be above 0, the smallest zoom {LEAST_ZOOM} or more, and neither "
                "above the largest."
            )
        if self.other_mask + self.drawn_mask > 1:
            raise InputError("lens options: other_mask and drawn_mask are shares of the same pairs, together at most 1.")

    @property
    def margin(self) -> int:
        """How many pixels around a crop its blur can reach, the few weakest aside."""
        return int(np.ceil(1.4 * self.max_radius)) + 2


def blur(picture: Floats, kind: str, radius: float) -> Floats:
    """Blur a picture (H x W or H x W x 3) as by a circle of `radius` pixels; its border is mirrored, not darkened."""
    if kind == "box":
        size = max(2, round(2 * radius))
        return as_floats(cv2.blur(picture, (size, size), borderType=cv2.BORDER_REFLECT_101))
    if radius >= HALF_FROM:
        height, width = picture.shape[:2]
        half = cv2.resize(picture, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
        return as_floats(cv2.resize(_blur(half, kind, radius / 2), (width, height), interpolation=cv2.INTER_LINEAR))
    return _blur(picture, kind, radius)


def _blur(picture: Array, kind: str, radius: float) -> Floats:
    if kind == "gauss":
        # A disc of radius r has the variance of a Gaussian with sigma r / 2; lenses fall off a little slower.
        return as_floats(cv2.GaussianBlur(picture, (0, 0), 0.6 * radius, borderType=cv2.BORDER_REFLECT_101))
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(y, x), 0, 1).astype(np.float32)
    return as_floats(cv2.filter2D(picture, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT_101))


def to_bytes(picture: Floats) -> Array:
    """Round to the 8-bit levels a file has."""
    # OpenCV clips and rounds on the way to bytes, ten times as fast as numpy.
    return cv2.addWeighted(picture, 1, picture, 0, 0, dtype=cv2.CV_8U)


def mix(near: Floats, far: Floats, weight: Floats) -> Floats:
    """Return near * weight + far * (1 - weight) of two H x W x 3 pictures; `weight` is H x W in [0, 1]."""
    return as_floats(cv2.blendLinear(near, far, weight, 1 - weight))


def scaled(picture: Floats, by: Floats) -> Floats:
    """Multiply a picture, H x W x 3, by a map, H x W."""
    return picture * cv2.merge([by, by, by])


def paper_size(rng: np.random.Generator, group: int | None = None) -> int:
    """Draw the size of the mean filter from one of the paper's four groups (any, unless `group` names one)."""
    low, high = PAPER_SIZES[rng.integers(len(PAPER_SIZES)) if group is None else group]
    return int(rng.integers(low, high + 1))


def paper_pair(picture: Array, focus: Floats, size: int) -> TrainingPair:
    """Make the paper's pair (Eq. 11) with a mean filter of `size` x `size`; the truth is the photograph itself."""
    sharp = as_floats(picture)
    blurred = as_floats(cv2.blur(sharp, (size, size), borderType=cv2.BORDER_REFLECT_101))
    near, far = mix(sharp, blurred, focus), mix(blurred, sharp, focus)
    return TrainingPair(to_bytes(near), to_bytes(far), np.array(picture))


def lens_pair(picture: Array, focus: Floats, rng: np.random.Generator, options: LensOptions) -> TrainingPair:
    """Make a pair as lenses and cameras do.

    `picture` and `focus` come with `options.margin` more pixels on every side than the pair will have, so that the
    blur at the pair's border is that of a larger picture. What the camera adds to the frame in focus (noise,
    compression) is in the truth too: fusing should choose, not repaint.
    """
    near, far, sharp, weight = _defocus(as_floats(picture), focus, rng, options)
    far_sharp = sharp
    if rng.random() < options.shift:
        by = rng.uniform(-options.max_shift, options.max_shift, 2)
        far, far_sharp = shifted(far, by), shifted(sharp, by)
    truth = mix(sharp, far_sharp, weight)
    if rng.random() < options.gain:
        # No frame's brightness is the right one, so the truth has the mean of both.
        one, other = (1 + rng.uniform(-options.max_gain, options.max_gain) for _ in range(2))
        near, far, truth = near * one, far * other, truth * ((one + other) / 2)
    scene = _Scene(near, far, truth, weight)
    if rng.random() < options.vignette:
        scene = _with_vignette(scene, rng)
    if rng.random() < options.letter_box:
        scene = _with_bars(scene, rng)
    near, far = _recorded(scene.near, scene.far, rng, options)
    added = mix(as_floats(near) - scene.near.clip(0, 255), as_floats(far) - scene.far.clip(0, 255), scene.weight)
    return TrainingPair(near, far, to_bytes(scene.truth + added))


@dataclass(frozen=True)
class _Scene:
    """A pair while it is made: float32 H x W x 3, and the weight of the near frame in the truth, H x W."""

    near: Floats
    far: Floats
    truth: Floats
    weight: Floats


def _defocus(
    sharp: Floats, focus: Floats, rng: np.random.Generator, options: LensOptions
) -> tuple[Floats, Floats, Floats, Floats]:
    """Blur the background of the near frame and the foreground of the far one.

    Returns both frames, the sharp picture and the focus map, all without the margin.
    """
    # Without the option no number is drawn: sets that were written before there was one can be written again.
    if options.defocused and rng.random() < options.defocused:
        sharp = _with_defocused_parts(sharp, rng, options)
    if options.bands and rng.random() < options.bands:
        sharp = _with_bands(sharp, rng)
    kind = BLURS[rng.integers(len(BLURS))]
    radius = _radius(rng, options)
    other = float(np.clip(radius * rng.uniform(0.6, 1.4), options.min_radius, options.max_radius))
    inner = (slice(options.margin, -options.margin),) * 2
    light = _with_highlights(sharp, rng) if rng.random() < options.highlights else sharp
    if rng.random() < options.dark_blur:
        light = _black_outside(light, options.margin)
    spread, soft = rng.random() < options.spread, rng.random() < options.soft
    sharp_inner = np.ascontiguousarray(sharp[inner])
    if not spread:
        focus = np.ascontiguousarray((blur(focus, "gauss", rng.uniform(1, 6)) if soft else focus)[inner])
        near_blurred, far_blurred = (np.ascontiguousarray(blur(light, kind, r)[inner]) for r in (radius, other))
        return mix(sharp_inner, near_blurred, focus), mix(far_blurred, sharp_inner, focus), sharp_inner, focus
    # What stands in focus before the near frame's background does not blur into it.
    behind = blur(1 - focus, kind, radius)[inner]
    background = scaled(blur(scaled(light, 1 - focus), kind, radius)[inner], as_floats(1 / np.maximum(behind, HIDDEN)))
    cover = blur(focus, kind, other)[inner]
    far = blur(scaled(light, focus), kind, other)[inner] + scaled(sharp_inner, 1 - cover)
    focus = np.ascontiguousarray(focus[inner])
    near = mix(sharp_inner, background, np.where(behind > HIDDEN, focus, 1).astype(np.float32))
    return near, far, sharp_inner, focus


def _radius(rng: np.random.Generator, options: LensOptions) -> float:
    """Draw a radius; each doubling is as likely as any other."""
    return float(np.exp(rng.uniform(np.log(options.min_radius), np.log(options.max_radius))))


def _with_defocused_parts(sharp: Floats, rng: np.random.Generator, options: LensOptions) -> Floats:
    """Blur a scene, or a part of it that changes over gradually: what a stack of few frames has between its focus steps."""
    radius = _radius(rng, options)
    blurred = blur(sharp, "gauss", radius)
    if rng.random() < 0.5:
        return blurred
    return mix(sharp, blurred, blur(drawn_focus(sharp.shape[:2], rng), "gauss", rng.uniform(6, 20)))


def _with_bands(sharp: Floats, rng: np.random.Generator) -> Floats:
    """Lay one to three even bands over a scene, straight or bent: a frame without detail in them is the one in focus."""
    height, width = sharp.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    for _ in range(rng.integers(1, 4)):
        angle, bend = rng.uniform(0, np.pi), rng.uniform(-1, 1) / (height + width)
        right, down = x - rng.uniform(0, width), y - rng.uniform(0, height)
        along = right * np.cos(angle) + down * np.sin(angle)
        across = down * np.cos(angle) - right * np.sin(angle) + bend * along**2
        half = np.exp(rng.uniform(np.log(3), np.log(24)))
        dark = rng.random() < 0.6
        colour = np.full_like(sharp, rng.uniform(0, 40) + rng.uniform(0, 8, 3) if dark else rng.uniform(0, 255, 3))
        sharp = mix(colour, sharp, as_floats(np.clip(half + 0.5 - np.abs(across), 0, 1)))
    return sharp


def _with_highlights(sharp: Floats, rng: np.random.Generator) -> Floats:
    """Give the brightest parts of a picture the light that the sensor cut off."""
    level = rng.uniform(180, 245)
    darkest = np.minimum(np.minimum(sharp[..., 0], sharp[..., 1]), sharp[..., 2])
    return scaled(sharp, as_floats(1 + rng.uniform(0.5, 4) / (256 - level) * np.maximum(darkest - level, 0)))


def _black_outside(picture: Floats, margin: int) -> Floats:
    dark = np.zeros_like(picture)
    dark[margin:-margin, margin:-margin] = picture[margin:-margin, margin:-margin]
    return dark


def shifted(picture: Floats, by: NDArray[np.float64]) -> Floats:
    """Move a picture by (x, y) pixels, mirrored where something is missing."""
    move = np.array([[1, 0, by[0]], [0, 1, by[1]]])
    size = picture.shape[1::-1]
    return as_floats(cv2.warpAffine(picture, move, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101))


def _with_vignette(scene: _Scene, rng: np.random.Generator) -> _Scene:
    """Darken one frame or both towards the border: the truth is as dark as the frame in focus."""
    one, other = _vignette(scene.near.shape, rng), _vignette(scene.near.shape, rng)
    if rng.random() < 0.5:
        other = one
    truth = scaled(scene.truth, as_floats(one * scene.weight + other * (1 - scene.weight)))
    return _Scene(scaled(scene.near, one), scaled(scene.far, other), truth, scene.weight)


def _with_bars(scene: _Scene, rng: np.random.Generator) -> _Scene:
    """Hide the border of one frame or both: the truth shows the other frame there, sharp or not, or the bar."""
    which = rng.integers(3)  # the near frame, the far one, both
    bars = drawn_bars(scene.near.shape, rng)
    level = np.float32(0 if rng.random() < 0.7 else rng.uniform(0, 255))
    in_near, in_far = bars & (which != 1), bars & (which != 0)
    near, far, truth = scene.near.copy(), scene.far.copy(), scene.truth.copy()
    near[in_near], far[in_far] = level, level
    truth[bars] = (near if which == 1 else far)[bars]
    weight = scene.weight.copy()
    weight[in_near], weight[in_far] = 0, 1
    return _Scene(near, far, truth, weight)


def _vignette(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """A fall of brightness towards the corners or one side, H x W."""
    y, x = (np.linspace(0, 1, side, dtype=np.float32) - rng.uniform(0.2, 0.8) for side in shape[:2])
    distance = np.minimum(np.hypot(y[:, None], x[None]), 1)
    return as_floats(1 - rng.uniform(0.1, 0.8) * cv2.pow(distance, rng.uniform(1, 4)))


def drawn_bars(shape: tuple[int, ...], rng: np.random.Generator) -> Mask:
    """Draw bars along some of the sides, up to an eighth of the picture wide, H x W."""
    bars = np.zeros(shape[:2], np.bool_)
    for side in range(4):
        if rng.random() < 0.5:
            turned = np.rot90(bars, side)
            turned[: rng.integers(1, max(2, turned.shape[0] // 8))] = True
    return bars


def _recorded(near: Floats, far: Floats, rng: np.random.Generator, options: LensOptions) -> tuple[Array, Array]:
    """Add the sensor's noise, round to 8 bits, and compress."""
    if rng.random() < options.noise:
        level = np.float32(rng.uniform(0, options.max_noise))
        near, far = (as_floats(frame + level * rng.standard_normal(frame.shape, np.float32)) for frame in (near, far))
    taken = to_bytes(near), to_bytes(far)
    if rng.random() < options.jpeg:
        quality = int(rng.integers(60, 99))
        return compressed(taken[0], quality), compressed(taken[1], quality)
    return taken


def compressed(frame: Array, quality: int) -> Array:
    """Return an 8-bit frame as JPEG of `quality` gives it back."""
    done, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert done, "OpenCV compresses any 8-bit picture"
    assert decoded is not None, "and reads what it wrote"
    return decoded


def drawn_focus(shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Draw a focus map: a wavy half-plane, blobs, or bars."""
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    along = (x - width / 2) * np.cos(angle) + (y - height / 2) * np.sin(angle)
    kind = rng.integers(3)
    if kind == 0:
        return as_floats(along + rng.uniform(-0.25, 0.25) * min(shape) > 0)
    if kind == 1:
        coarse = rng.standard_normal((int(rng.integers(3, 9)), int(rng.integers(3, 9))), np.float32)
        return as_floats(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) > rng.uniform(-0.5, 0.5))
    period = rng.uniform(8, 80)
    return as_floats(along % period < period * rng.uniform(0.3, 0.7))
