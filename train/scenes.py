"""What drawn focus stacks show: layered scenes of printed boards, bodies, hairs, lights and grounds beyond the focus's range.

Everything is drawn from a numpy Generator: same state, same scene.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Floats
from ufafuse.runtime.errors import InputError
from ufafuse.train import drawing
from ufafuse.train.degrade import check_numbers, to_bytes
from ufafuse.train.drawing import SHIFT, Rng
from ufafuse.train.optics import SceneLayer

# The largest sizes that `SceneOptions` takes.
MOST_OF_SCENES = {
    "min_frames": 1000.0,
    "max_frames": 1000.0,
    "min_radius": 500.0,
    "max_radius": 500.0,
    "min_noise": 255.0,
    "max_noise": 255.0,
    "max_shift": 100.0,
}
Texture = Callable[[Rng], NDArray[np.uint8]]  # gives a picture, H x W x 3 of any size, from the generator's state


@dataclass(frozen=True)
class SceneOptions:
    """What `ufafuse.train.stacks.draw_stack` draws: radii in pixels, and for every effect the share of stacks that show it."""

    min_frames: int = 2
    max_frames: int = 12
    min_radius: float = 3.0  # of the blur over the whole range of focus
    max_radius: float = 64.0
    boards: float = 0.35  # printed boards with raised parts; the others are bodies and hairs
    slides: float = 0.1  # lit from behind: dark bodies before a light that is beyond white
    unsharp_ground: float = 0.2  # the background is in focus in no frame
    relief: float = 0.5  # a surface that is tilted or curved, where one can be
    plain: float = 0.45  # of a board's raised parts: even tops
    faint: float = 0.25  # of the surfaces: hardly any contrast
    lights: float = 0.35
    soft: float = 0.5  # the lens or the demosaicing leaves the sharpest frame soft
    noise: float = 0.8
    min_noise: float = 0.0
    max_noise: float = 4.0  # standard deviation in 8-bit levels
    jpeg: float = 0.35
    gain: float = 0.2
    shift: float = 0.25
    max_shift: float = 0.5
    margins: float = 0.15  # a frame does not cover the whole picture
    dark: float = 0.1

    def __post_init__(self) -> None:
        """Refuse shares beyond [0, 1] and ranges the wrong way round (`InputError`)."""
        check_numbers(self, "stack", MOST_OF_SCENES)
        if not (2 <= self.min_frames <= self.max_frames and 0 < self.min_radius <= self.max_radius):
            raise InputError("stack options: at least 2 frames, a radius above 0, and no least one above its most.")
        if self.min_noise > self.max_noise:
            raise InputError(f"stack options: min_noise {self.min_noise} is above max_noise {self.max_noise}.")


# A stack as a microscope or a macro lens takes it of a populated board: raised parts, wide blur, a clean sensor, registered.
MACRO_BOARDS = SceneOptions(
    min_frames=8,
    max_frames=8,
    min_radius=24,
    max_radius=47,
    boards=1,
    slides=0,
    unsharp_ground=0,
    lights=0.3,
    noise=1,
    min_noise=1,
    max_noise=2,
    jpeg=0,
    gain=0,
    shift=0,
    margins=0,
    dark=0,
)
PRESETS = {"any": SceneOptions(), "macro-boards": MACRO_BOARDS}


def draw_scene(rng: Rng, side: int, options: SceneOptions, texture: Texture) -> list[SceneLayer]:
    """Draw the layers of a scene, from back to front."""
    if options.slides and rng.random() < options.slides:
        return _slide(rng, side, options, texture)
    if rng.random() < options.boards:
        return _board(rng, side, options, texture)
    far = 1 + rng.uniform(0.15, 1) if rng.random() < options.unsharp_ground else 1 - rng.uniform(0, 0.5)
    ground = surface(rng, side, texture, faint=options.faint)
    if rng.random() < 0.15:  # a slide, lit from behind
        ground = 255 - np.float32(rng.uniform(0.02, 0.3)) * ground
    layers = [SceneLayer(ground, None, _depth(rng, side, far, options))]
    for near in np.sort(rng.uniform(0, min(far, 1.0), int(rng.integers(1, 5))))[::-1]:
        kind = rng.random()
        if kind < 0.35:
            layers.append(_hairs(rng, side, float(near), texture, options))
            continue
        body = _bodies(rng, side, float(near), texture, options)
        if kind > 0.7:
            body.depth = _depth(rng, side, float(near), options)
        layers.append(body)
    return layers


def _slide(rng: Rng, side: int, options: SceneOptions, texture: Texture) -> list[SceneLayer]:
    """Draw what a microscope sees of a body that is lit from behind: out of focus, its outline is eaten by the light."""
    tint = np.exp(rng.uniform(np.log(0.25), 0, 3)) if rng.random() < 0.6 else np.ones(3)
    level = np.exp(rng.uniform(np.log(170), np.log(900)))
    slope = 1 + rng.uniform(0, 0.5) * (np.mgrid[:side, :side][int(rng.integers(2))] / side - 0.5)
    layers = [
        SceneLayer(np.asarray(level * slope[..., None] * tint / tint.max(), np.float32), None, float(rng.uniform(1.2, 2)))
    ]
    for near in np.sort(rng.uniform(0, 1, int(rng.integers(1, 6))))[::-1]:
        if rng.random() < 0.3:
            body = _hairs(rng, side, float(near), texture, options)
        else:
            body = _bodies(rng, side, float(near), texture, options)
            body.depth = _depth(rng, side, float(near), options)
        body.light = body.light * np.float32(np.exp(rng.uniform(np.log(0.06), 0)))
        layers.append(body)
    return layers


def _hairs(rng: Rng, side: int, near: float, texture: Texture, options: SceneOptions) -> SceneLayer:
    """Draw hairs, legs or wires at one depth."""
    cover = np.zeros((side, side), np.float32)
    widest = int(rng.integers(1, 6))
    for _ in range(int(rng.integers(3, 60))):
        drawing.hair(cover, 1.0, rng, widest=widest)
    if rng.random() < 0.6:
        return SceneLayer(drawing.flat(side, rng) * np.float32(rng.uniform(0.1, 1)), cover, near)
    return SceneLayer(surface(rng, side, texture, faint=options.faint), cover, near)


def _bodies(rng: Rng, side: int, near: float, texture: Texture, options: SceneOptions) -> SceneLayer:
    """Draw rounded bodies at one depth, of which some are silhouettes."""
    cover = np.zeros((side, side), np.float32)
    bodies(cover, rng)
    light = surface(rng, side, texture, faint=options.faint)
    if rng.random() < 0.2:
        light *= np.float32(rng.uniform(0.05, 0.5))
    return SceneLayer(light, cover, near)


def bodies(cover: Floats, rng: Rng) -> None:
    """Mark one to four rounded bodies on a square `cover`, in place."""
    side = cover.shape[0]
    for _ in range(int(rng.integers(1, 5))):
        outline = drawing.blob(rng, side * rng.uniform(0.04, 0.35), rng.uniform(0, side, 2))
        cv2.fillPoly(cover, [outline], 1.0, cv2.LINE_AA, SHIFT)


def _board(rng: Rng, side: int, options: SceneOptions, texture: Texture) -> list[SceneLayer]:
    """Draw a printed board with raised parts, whose tops are print, metal or plain."""
    far = 1 - rng.uniform(0, 0.35)
    ground = drawing.board(side, rng) if rng.random() < 0.7 else surface(rng, side, texture, faint=options.faint)
    layers = [SceneLayer(ground, None, _depth(rng, side, far, options))]
    heights = np.sort(rng.uniform(0, far, int(rng.integers(1, 5))))[::-1]
    for near in heights:
        cover = np.zeros((side, side), np.float32)
        for _ in range(int(rng.integers(1, 6))):
            part(cover, rng)
        light = drawing.flat(side, rng) if rng.random() < options.plain else surface(rng, side, texture, faint=options.faint)
        if rng.random() < 0.6:
            light = _printed(light, rng)
        layers.append(SceneLayer(light, cover, float(near)))
    return layers


def part(cover: Floats, rng: Rng) -> None:
    """Mark a part's outline on a square `cover`, in place: a turned rectangle or a disc, some with pins."""
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
    part, side = to_bytes(light), light.shape[0]  # OpenCV 5 writes on bytes only
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


def surface(rng: Rng, side: int, texture: Texture, *, faint: float = 0.25) -> Floats:
    """Cut a surface out of a picture: any part of it, larger or smaller, turned, lighter or darker.

    Returns float32 side x side x 3 in [0, 255].
    """
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
    if rng.random() < faint:  # hardly any contrast
        light = light.mean((0, 1)) + np.float32(rng.uniform(0.1, 0.5)) * (light - light.mean((0, 1)))
    return np.ascontiguousarray(np.clip(light, 0, 255), np.float32)


def _depth(rng: Rng, side: int, depth: float, options: SceneOptions) -> float | Floats:
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


def add_lights(layers: list[SceneLayer], rng: Rng) -> None:
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


def _row(values: NDArray[np.float64]) -> Floats:
    return values.astype(np.float32)
