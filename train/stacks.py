"""Focus stacks with known truth: layered scenes seen through a lens whose focus moves.

A scene is a ground and what stands above it: raised parts over print, bodies with a relief, hairs, bright lights, backgrounds that
no frame has in focus. Each frame is put together from back to front, every layer blurred by its distance from the plane
in focus, so that a blurred edge covers and uncovers what lies behind it. Light beyond white blooms, then clips. The
sensor adds noise, compression, changes of exposure, small shifts, and margins that registration left uncovered.

Frames are uint8 K x H x W x 3, BGR. Everything is drawn from a numpy Generator: same state, same stack.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.errors import InputError
from ufafuse.train import drawing
from ufafuse.train.drawing import SHIFT, Floats, Rng

LEVELS_APART = 1.5  # a relief's blurs are mixed from radii that lie this far apart
SHARP = 0.3  # pixels: a disc of this radius blurs nothing
Texture = Callable[[Rng], NDArray[np.uint8]]  # gives a picture of any size from the generator's state


@dataclass(frozen=True)
class StackOptions:
    """What `draw_stack` draws: radii in pixels, and for every effect the share of stacks that show it."""

    min_frames: int = 2
    max_frames: int = 12
    min_radius: float = 3.0  # of the blur over the whole range of focus
    max_radius: float = 64.0
    boards: float = 0.35  # printed boards with raised parts; the others are bodies, hairs and slides
    unsharp_ground: float = 0.2  # the background is in focus in no frame
    relief: float = 0.5  # a surface that is tilted or curved, where one can be
    lights: float = 0.35
    soft: float = 0.5  # the lens or the demosaicing leaves the sharpest frame soft
    noise: float = 0.8
    max_noise: float = 4.0  # standard deviation in 8-bit levels
    jpeg: float = 0.35
    gain: float = 0.2
    shift: float = 0.25
    max_shift: float = 0.5
    margins: float = 0.15  # a frame does not cover the whole picture
    dark: float = 0.1

    def __post_init__(self) -> None:
        """Refuse shares beyond [0, 1] and ranges the wrong way round (`InputError`)."""
        sizes = ("min_frames", "max_frames", "min_radius", "max_radius", "max_noise", "max_shift")
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= (1 if field.name not in sizes else float("inf")):
                raise InputError(f"stack option {field.name} is {value}: shares lie in [0, 1], sizes above 0.")
        if not (2 <= self.min_frames <= self.max_frames and 0 < self.min_radius <= self.max_radius):
            raise InputError("stack options: the fewest frames are 2, the smallest radius is above 0, and neither above the most.")


@dataclass(frozen=True)
class Stack:
    """A drawn stack.

    Attributes:
        frames: uint8, K x H x W x 3, from the far end of the range of focus to the near one.
        covered: uint8, K x H x W: 1 where the frame shows the scene, 0 where it shows nothing.
        truth: uint8, H x W x 3, everything in focus, without noise.
        depth: float32, H x W: which frame has the surface in focus, between two frames as a fraction; NaN where none has.
    """

    frames: NDArray[np.uint8]
    covered: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    depth: Floats


@dataclass
class Layer:
    """A part of the scene: light H x W x 3 (not multiplied by its cover), cover H x W in [0, 1], depth a number or H x W."""

    light: Floats
    cover: Floats | None
    depth: float | Floats


def draw_stack(rng: Rng, side: int, options: StackOptions, texture: Texture, *, frames: int | None = None) -> Stack:
    """Draw a stack of side x side pixels.

    Args:
        rng: Decides everything.
        side: Of the frames, in pixels.
        options: What is drawn.
        texture: Gives pictures to make surfaces of: photographs or drawings.
        frames: How many; None draws it.
    """
    count = frames or int(rng.integers(options.min_frames, options.max_frames + 1))
    # Deep scenes are recorded in many frames: what lies between two of them is to be sharp enough.
    low, high = np.log(options.min_radius), np.log(min(options.max_radius, 10.0 * count))
    radius = float(np.exp(rng.uniform(low, high)))
    margin = int(np.ceil(radius)) + 2
    canvas = side + 2 * margin
    layers = _scene(rng, canvas, options, texture)
    power = 2 if rng.random() < 0.4 else 1  # blur adds light, and a file's levels are about its square root
    if rng.random() < options.lights:
        _add_lights(layers, rng)
    if power == 2:
        for layer in layers:
            layer.light = layer.light * layer.light
    planes = np.linspace(0, 1, count) + rng.normal(0, 0.12 / count, count) * (rng.random() < 0.5)
    kernel = _aperture(rng)
    inner = (slice(margin, margin + side),) * 2
    softness = rng.uniform(0.4, 1.1) if rng.random() < options.soft else 0.0
    views = [_seen(layers, float(plane), radius, kernel, power, softness)[inner] for plane in planes]
    truth = _seen(layers, None, radius, kernel, power, softness)[inner]
    depth = _visible_depth(layers, planes)[inner]
    return _recorded(views, truth, depth, rng, options)


def _scene(rng: Rng, side: int, options: StackOptions, texture: Texture) -> list[Layer]:
    """Draw the layers of a scene, from back to front."""
    if rng.random() < options.boards:
        return _board(rng, side, options, texture)
    far = 1 + rng.uniform(0.15, 1) if rng.random() < options.unsharp_ground else 1 - rng.uniform(0, 0.5)
    ground = _surface(rng, side, texture)
    if rng.random() < 0.15:  # a slide, lit from behind
        ground = 255 - np.float32(rng.uniform(0.02, 0.3)) * ground
    layers = [Layer(ground, None, _depth(rng, side, far, options))]
    for near in np.sort(rng.uniform(0, min(far, 1.0), int(rng.integers(1, 5))))[::-1]:
        kind = rng.random()
        cover = np.zeros((side, side), np.float32)
        if kind < 0.35:
            widest = int(rng.integers(1, 6))
            for _ in range(int(rng.integers(3, 60))):
                drawing.hair(cover, 1.0, rng, widest=widest)
            light = drawing.flat(side, rng) * np.float32(rng.uniform(0.1, 1)) if rng.random() < 0.6 else _surface(rng, side, texture)
            layers.append(Layer(light, cover, float(near)))
            continue
        for _ in range(int(rng.integers(1, 5))):
            outline = drawing.blob(side, rng, side * rng.uniform(0.04, 0.35), rng.uniform(0, side, 2))
            cv2.fillPoly(cover, [outline], 1.0, cv2.LINE_AA, SHIFT)
        light = _surface(rng, side, texture)
        if rng.random() < 0.2:
            light *= np.float32(rng.uniform(0.05, 0.5))  # a silhouette
        layers.append(Layer(light, cover, _depth(rng, side, float(near), options) if kind > 0.7 else float(near)))
    return layers


def _board(rng: Rng, side: int, options: StackOptions, texture: Texture) -> list[Layer]:
    """Draw a printed board with raised parts, whose tops are print, metal or plain."""
    far = 1 - rng.uniform(0, 0.35)
    ground = drawing.board(side, rng) if rng.random() < 0.7 else _surface(rng, side, texture)
    layers = [Layer(ground, None, _depth(rng, side, far, options))]
    heights = np.sort(rng.uniform(0, far, int(rng.integers(1, 5))))[::-1]
    for near in heights:
        cover = np.zeros((side, side), np.float32)
        for _ in range(int(rng.integers(1, 6))):
            _part(cover, rng)
        light = drawing.flat(side, rng) if rng.random() < 0.45 else _surface(rng, side, texture)
        if rng.random() < 0.6:
            light = _printed(light, rng)
        layers.append(Layer(light, cover, float(near)))
    return layers


def _part(cover: Floats, rng: Rng) -> None:
    """Mark a part's outline: a turned rectangle or a disc, some with pins."""
    side = cover.shape[0]
    centre, size = rng.uniform(0, side, 2), np.exp(rng.uniform(np.log(12), np.log(side * 0.5), 2))
    if rng.random() < 0.2:
        cv2.circle(cover, tuple(np.round(centre * 16).astype(int).tolist()), int(8 * size.min()), 1.0, -1, cv2.LINE_AA, SHIFT)
        return
    angle = rng.integers(4) * 90.0 if rng.random() < 0.7 else rng.uniform(0, 90)
    corners = cv2.boxPoints((tuple(centre.tolist()), tuple(size.tolist()), float(angle)))
    cv2.fillPoly(cover, [np.round(corners * 2**SHIFT).astype(np.int32)[:, None]], 1.0, cv2.LINE_AA, SHIFT)
    if rng.random() < 0.4:
        x, y, w, h = cv2.boundingRect(corners)
        step, width = int(rng.integers(6, 22)), int(rng.integers(2, 8))
        for left in range(x, x + w, step):
            cv2.rectangle(cover, (left, y - h // 4), (left + width, y + h + h // 4), 1.0, -1)


def _printed(light: Floats, rng: Rng) -> Floats:
    """Print words and bars onto a part."""
    part, side = _levels(light), light.shape[0]  # OpenCV 5 writes on bytes only
    ink = drawing.colour(rng, vivid=0.2)
    for _ in range(int(rng.integers(2, 14))):
        x, y = (int(v) for v in rng.uniform(-20, side, 2))
        word = "".join(rng.choice(list(drawing.LETTERS), rng.integers(2, 10)))
        scale = float(np.exp(rng.uniform(np.log(0.35), np.log(2.2))))
        font = drawing.FONTS[rng.integers(len(drawing.FONTS))]
        cv2.putText(part, word, (x, y), font, scale, ink, max(1, round(scale * rng.uniform(0.7, 2))), cv2.LINE_AA)
    if rng.random() < 0.4:
        x, y, w, h = (int(v) for v in (*rng.uniform(0, side, 2), *rng.uniform(20, 160, 2)))
        cv2.rectangle(part, (x, y), (x + w, y + h), ink, -1, cv2.LINE_AA)
    return part + np.float32(rng.uniform(0, 3)) * rng.standard_normal((side, side, 1), np.float32)


def _surface(rng: Rng, side: int, texture: Texture) -> Floats:
    """Cut a surface out of a picture: any part of it, larger or smaller, turned, lighter or darker."""
    picture = texture(rng)
    height, width = picture.shape[:2]
    zoom = max(float(np.exp(rng.uniform(np.log(0.5), np.log(1.7)))), side / min(height, width))
    part = min(int(np.ceil(side / zoom)), height, width)
    top, left = int(rng.integers(height - part + 1)), int(rng.integers(width - part + 1))
    piece = picture[top : top + part, left : left + part]
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    light = np.asarray(cv2.resize(piece, (side, side), interpolation=how), np.float32)
    if rng.random() < 0.5:
        light = light[:, ::-1]
    light = np.rot90(light, int(rng.integers(4)))
    if rng.random() < 0.3:
        light = light * _row(rng.uniform(0.5, 1.2) * rng.uniform(0.85, 1.15, 3))
    if rng.random() < 0.25:  # hardly any contrast
        light = light.mean((0, 1)) + np.float32(rng.uniform(0.1, 0.5)) * (light - light.mean((0, 1)))
    return np.ascontiguousarray(np.clip(light, 0, 255), np.float32)


def _depth(rng: Rng, side: int, depth: float, options: StackOptions) -> float | Floats:
    """Draw the relief of a surface around a depth: a number where it is even, else H x W."""
    if rng.random() >= options.relief:
        return depth
    if rng.random() < 0.5:
        y, x = np.mgrid[:side, :side].astype(np.float32) / side - 0.5
        angle = rng.uniform(0, 2 * np.pi)
        relief = x * np.cos(angle) + y * np.sin(angle)
    else:
        coarse = rng.standard_normal((4, 4)).astype(np.float32)
        relief = 0.3 * cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(depth + np.float32(rng.uniform(0.1, 0.9)) * relief, np.float32)


def _add_lights(layers: list[Layer], rng: Rng) -> None:
    """Set small lights beyond white upon some layers: lamps, and what metal mirrors."""
    for layer in layers:
        if rng.random() < 0.5:
            continue
        side = layer.light.shape[0]
        mark = np.zeros((side, side), np.float32)
        for _ in range(int(rng.integers(2, 30))):
            centre, radius = rng.uniform(0, side, 2), float(np.exp(rng.uniform(np.log(0.8), np.log(9))))
            stretch = rng.uniform(0.3, 1)
            axes = round(radius * 16), round(radius * stretch * 16)
            where = tuple(np.round(centre * 16).astype(int).tolist())
            cv2.ellipse(mark, where, axes, rng.uniform(0, 180), 0, 360, 1.0, -1, cv2.LINE_AA, SHIFT)
        strength = np.exp(rng.uniform(np.log(250), np.log(2500)))
        layer.light = np.asarray(layer.light * (1 - mark[..., None]) + np.float32(strength) * mark[..., None], np.float32)


def _aperture(rng: Rng) -> Callable[[float], Floats]:
    """Draw the shape of the lens's blur; returns the kernel for a radius in pixels."""
    kind, edge, turn, rim = rng.random(), rng.uniform(0.3, 1.5), rng.uniform(0, np.pi), rng.uniform(-0.3, 0.6)
    blades = int(rng.integers(5, 9))

    def kernel(radius: float) -> Floats:
        reach = int(np.ceil(radius + edge))
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
        distance = np.hypot(y, x)
        if kind < 0.15:
            weight = np.exp(-0.5 * (distance / (0.6 * radius)) ** 2)
        else:
            if kind > 0.8:  # a diaphragm of straight blades
                angle = (np.arctan2(y, x) + turn) % (2 * np.pi / blades) - np.pi / blades
                distance = distance * np.cos(angle)
            weight = np.clip((radius - distance) / edge + 0.5, 0, 1)
            weight = weight * (1 + rim * (np.minimum(distance / radius, 1) ** 2 - 0.5))
        return np.asarray(weight / weight.sum(), np.float32)

    return kernel


def _seen(
    layers: list[Layer], plane: float | None, radius: float, kernel: Callable[[float], Floats], power: int, softness: float
) -> Floats:
    """Put the layers together as seen with `plane` in focus (None: all of them), as levels."""
    total = np.zeros(1, np.float32)
    for layer in layers:
        if isinstance(layer.depth, float):
            amount = 0.0 if plane is None else radius * abs(layer.depth - plane)
            light, cover = _blurred(layer, kernel, amount)
        else:
            light, cover = _relief(layer, kernel, None if plane is None else radius * np.abs(layer.depth - np.float32(plane)))
        total = light if cover is None else light + total * (1 - cover[..., None])
    total = np.sqrt(np.maximum(total, 0)) if power == 2 else total
    if softness:
        total = cv2.GaussianBlur(total, (0, 0), softness)
    return np.asarray(total, np.float32)


def _blurred(layer: Layer, kernel: Callable[[float], Floats], radius: float) -> tuple[Floats, Floats | None]:
    """Blur a layer's light times its cover, and its cover."""
    if layer.cover is None:
        return _blur(layer.light, kernel, radius), None
    both = cv2.merge([*cv2.split(layer.light * layer.cover[..., None]), layer.cover])
    both = _blur(both, kernel, radius)
    return np.ascontiguousarray(both[..., :3]), np.ascontiguousarray(both[..., 3])


def _relief(layer: Layer, kernel: Callable[[float], Floats], radius: Floats | None) -> tuple[Floats, Floats | None]:
    """Blur a layer by a radius that changes from pixel to pixel: mixed from two evenly blurred ones at each."""
    if radius is None:
        return _blurred(layer, kernel, 0.0)
    steps = [0.0, 0.8]
    while steps[-1] < float(radius.max()):
        steps.append(steps[-1] * LEVELS_APART)
    position = np.interp(radius, steps, np.arange(len(steps))).astype(np.float32)
    lowest = int(position.min())
    light, cover = np.zeros_like(layer.light), None if layer.cover is None else np.zeros_like(layer.cover)
    for index in range(lowest, len(steps)):
        share = np.clip(1 - np.abs(position - index), 0, 1)
        one, covered = _blurred(layer, kernel, steps[index])
        light += one * share[..., None]
        if cover is not None and covered is not None:
            cover += covered * share
    return light, cover


def _blur(picture: Floats, kernel: Callable[[float], Floats], radius: float) -> Floats:
    """Blur by the lens; wide blurs at a reduced size, where nothing fine is left."""
    if radius < SHARP:
        return picture
    height, width = picture.shape[:2]
    factor = 1 if radius < 4 else 2 if radius < 9 else 4 if radius < 20 else 8
    if factor == 1:
        return np.asarray(cv2.filter2D(picture, -1, kernel(radius), borderType=cv2.BORDER_REFLECT_101), np.float32)
    small = cv2.resize(picture, (-(-width // factor), -(-height // factor)), interpolation=cv2.INTER_AREA)
    small = cv2.filter2D(small, -1, kernel(radius / factor), borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _visible_depth(layers: list[Layer], planes: NDArray[np.float64]) -> Floats:
    """Which frame has the surface in front in focus, in frames from the first; NaN where none has."""
    shape = layers[0].light.shape[:2]
    depth = np.zeros(shape, np.float32)
    for layer in layers:
        here = np.ones(shape, np.bool_) if layer.cover is None else layer.cover > 0.5
        depth = np.where(here, np.float32(0) + layer.depth, depth)
    order = np.argsort(planes)
    numbers = np.interp(depth, planes[order], order.astype(np.float64))
    reach = 0.5 / max(len(planes) - 1, 1)
    outside = (depth < planes.min() - reach) | (depth > planes.max() + reach)
    return np.where(outside, np.nan, numbers).astype(np.float32)


def _recorded(views: list[Floats], truth: Floats, depth: Floats, rng: Rng, options: StackOptions) -> Stack:
    """Add what camera and registration add."""
    level = rng.uniform(0, options.max_noise) if rng.random() < options.noise else 0.0
    grain = rng.uniform(0.4, 0.8) if rng.random() < 0.3 else 0.0
    quality = int(rng.integers(70, 98)) if rng.random() < options.jpeg else 0
    dimmed = np.float32(rng.uniform(0.05, 0.7)) if rng.random() < options.dark else np.float32(1)
    flicker = rng.uniform(0.005, 0.03) if rng.random() < options.gain else 0.0
    reach = rng.uniform(0, options.max_shift) if rng.random() < options.shift else 0.0
    covered = np.ones((len(views), *depth.shape), np.uint8)
    if rng.random() < options.margins:
        for mask in covered[rng.permutation(len(views))[: max(1, len(views) // 2)]]:
            _uncover(mask, rng)
    frames = []
    for number, view in enumerate(views):
        frame = view * np.float32(dimmed * (1 + rng.normal(0, flicker)))
        if reach:
            by = rng.uniform(-reach, reach, 2)
            move = np.array([[1, 0, by[0]], [0, 1, by[1]]])
            frame = cv2.warpAffine(frame, move, frame.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        if level:
            frame = frame + np.float32(level) * _noise(frame.shape, grain, rng)
        taken = _levels(frame)
        if quality:
            taken = _compressed(taken, quality)
        taken *= covered[number][..., None]
        frames.append(taken)
    return Stack(np.stack(frames), covered, _levels(truth * dimmed), depth)


def _uncover(mask: NDArray[np.uint8], rng: Rng) -> None:
    """Clear some of a mask's margins, in place."""
    for turn in range(4):
        if rng.random() < 0.5:
            turned = np.rot90(mask, turn)
            turned[: int(rng.integers(1, max(2, mask.shape[0] // 8)))] = 0


def _noise(shape: tuple[int, ...], grain: float, rng: Rng) -> Floats:
    noise = rng.standard_normal(shape, np.float32)
    if grain:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), grain), np.float32)
        noise /= max(float(noise.std()), 1e-6)
    return noise


def _levels(picture: Floats) -> NDArray[np.uint8]:
    """Clip and round to the levels a file has."""
    return np.asarray(cv2.addWeighted(picture, 1, picture, 0, 0, dtype=cv2.CV_8U))


def _compressed(frame: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    done, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert done, "OpenCV compresses any 8-bit picture"
    assert decoded is not None, "and reads what it wrote"
    return np.asarray(decoded, np.uint8)


def _row(values: NDArray[np.float64]) -> Floats:
    return values.astype(np.float32)
