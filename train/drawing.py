"""Drawn pictures to make scenes of: no photograph, so no licence but this project's, and anybody can draw them again.

Each kind stands for something that is photographed in stacks: circuit boards with print, grains and leaves, fabric, fibres,
cells, text, smooth bodies. Natural pictures have edges at all sizes; `dead_leaves` has their statistics (Lee, Mumford and
Huang, *Occlusion models for natural images*, 2001). A kind's pictures are floats, H x W x 3, around [0, 255] and not clipped;
`picture` gives bytes. All are BGR and drawn from a numpy Generator: same state, same picture.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Floats, as_floats

Rng = np.random.Generator

FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_PLAIN,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-+/.:#"
SHIFT = 4  # fractional bits of OpenCV's coordinates: shapes at a sixteenth of a pixel


def colour(rng: Rng, *, vivid: float = 0.5) -> tuple[float, float, float]:
    """Draw a colour: grey with a cast that is the stronger the larger `vivid`."""
    grey = rng.uniform(10, 245)
    cast = rng.normal(0, 60 * vivid * rng.random(), 3)
    blue, green, red = np.clip(grey + cast, 0, 255).tolist()
    return blue, green, red


def flat(side: int, rng: Rng) -> Floats:
    """Draw an even or gradually changing area."""
    corners = np.array([[colour(rng, vivid=0.3)] * 2] * 2, np.float32) + rng.normal(0, 14 * rng.random(), (2, 2, 3))
    return as_floats(cv2.resize(as_floats(corners), (side, side), interpolation=cv2.INTER_LINEAR))


def fractal(side: int, rng: Rng) -> Floats:
    """Draw clouds: noise of all sizes, the finer ones the weaker."""
    picture = flat(side, rng)
    roughness, strength = rng.uniform(0.45, 0.95), rng.uniform(10, 45)
    coloured = rng.random() < 0.4
    cells = 4
    while cells <= side:
        noise = rng.standard_normal((cells, cells, 3 if coloured else 1)).astype(np.float32)
        layer = cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC).reshape(side, side, -1)
        picture += strength * layer
        cells, strength = 2 * cells, strength * roughness
    return picture


def dead_leaves(side: int, rng: Rng) -> Floats:
    """Draw discs, ellipses and polygons of all sizes one upon another."""
    picture = np.ascontiguousarray(flat(side, rng))
    smallest, largest = rng.uniform(1.5, 6), side / rng.uniform(3, 8)
    vivid = rng.random()
    for _ in range(int(rng.uniform(500, 1800))):
        # Areas as common as their size is rare: p(r) ~ 1 / r^3.
        radius = smallest / np.sqrt(1 - rng.random() * (1 - (smallest / largest) ** 2))
        _shape(picture, rng.uniform(0, side, 2), float(radius), colour(rng, vivid=vivid), rng)
    if rng.random() < 0.6:
        picture += rng.uniform(2, 12) * _grain(side, rng)
    return picture


def text(side: int, rng: Rng) -> Floats:
    """Draw lines of letters and digits."""
    paper = np.clip(flat(side, rng), 0, 255).astype(np.uint8)
    ink = colour(rng, vivid=0.3)
    y = 0.0
    while y < side:
        font, scale = FONTS[rng.integers(len(FONTS))], float(np.exp(rng.uniform(np.log(0.3), np.log(2.2))))
        line = "".join(rng.choice(list(LETTERS + "    "), 90))
        thickness = max(1, round(scale * rng.uniform(0.6, 2.4)))
        y += 34 * scale
        cv2.putText(paper, line, (int(rng.uniform(-60, 10)), int(y)), font, scale, ink, thickness, cv2.LINE_AA)
    return _turned(as_floats(paper), rng)


def board(side: int, rng: Rng) -> Floats:
    """Draw a circuit board: traces, pads, holes and white print on lacquer."""
    base = np.array(colour(rng, vivid=0.4), np.float32) * rng.uniform(0.2, 0.8)
    if rng.random() < 0.5:
        base = np.array([rng.uniform(20, 70), rng.uniform(50, 130), rng.uniform(10, 60)], np.float32)
    picture = np.clip(np.broadcast_to(base, (side, side, 3)) + rng.uniform(0, 3) * _grain(side, rng), 0, 255).astype(np.uint8)
    trace = np.clip(base * rng.uniform(1.1, 1.8) + rng.uniform(0, 15), 0, 255).tolist()
    metal = (rng.uniform(90, 215) * np.array([rng.uniform(0.6, 1), rng.uniform(0.8, 1), 1])).tolist()
    for _ in range(int(rng.uniform(15, 70))):
        points, width = _path(side, rng), int(rng.integers(1, 7))
        cv2.polylines(picture, [points], isClosed=False, color=trace, thickness=width, lineType=cv2.LINE_AA)
    for _ in range(int(rng.uniform(8, 50))):
        x, y = (int(v) for v in rng.uniform(0, side, 2))
        radius = int(rng.integers(2, 9))
        cv2.circle(picture, (x, y), radius, metal, -1, cv2.LINE_AA)
        cv2.circle(picture, (x, y), radius // 2, (10, 10, 10), -1, cv2.LINE_AA)
    for _ in range(int(rng.uniform(2, 9))):
        _pad_row(picture, metal, rng)
    _print(picture, (rng.uniform(170, 250),) * 3, rng)
    return as_floats(picture)


def weave(side: int, rng: Rng) -> Floats:
    """Draw threads, grids or hatching."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    picture, angle = flat(side, rng), rng.uniform(0, np.pi)
    period, sharpness = float(np.exp(rng.uniform(np.log(3), np.log(28)))), rng.uniform(0.5, 4)
    waves = [
        np.tanh(sharpness * np.sin(2 * np.pi * (x * np.cos(a) + y * np.sin(a)) / period)) for a in (angle, angle + np.pi / 2)
    ]
    pattern = waves[0] if rng.random() < 0.4 else np.where(waves[0] * waves[1] > 0, waves[0], waves[1])
    picture = picture + np.float32(rng.uniform(8, 60)) * pattern[..., None] * as_floats(rng.uniform(0.6, 1, 3))
    return picture + rng.uniform(0, 6) * _grain(side, rng)


def fibres(side: int, rng: Rng) -> Floats:
    """Draw scratches, hairs and fibres on an even ground."""
    picture = np.ascontiguousarray(flat(side, rng))
    vivid, spread = rng.random() * 0.5, rng.uniform(0.1, np.pi)
    for _ in range(int(rng.uniform(60, 600))):
        hair(picture, colour(rng, vivid=vivid), rng, spread=spread)
    return picture


def cells(side: int, rng: Rng) -> Floats:
    """Draw scales, stones or cells: each point takes the shade of the nearest of many seeds."""
    seeds = np.full((side, side), 255, np.uint8)
    count = int(np.exp(rng.uniform(np.log(40), np.log(2500))))
    ys, xs = rng.integers(0, side, (2, count))
    seeds[ys, xs] = 0
    distance, label = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    shades = np.array([colour(rng, vivid=0.4) for _ in range(64)], np.float32)
    if rng.random() < 0.6:
        picture = shades[label % 64]
    else:
        picture = flat(side, rng) + (label % 17)[..., None] * np.float32(rng.uniform(0.5, 4))
    return as_floats(picture - np.float32(rng.uniform(0, 6)) * distance[..., None] + rng.uniform(0, 8) * _grain(side, rng))


KINDS: tuple[Callable[[int, Rng], Floats], ...] = (dead_leaves, board, text, fractal, weave, fibres, cells, flat)
SHARES = (0.26, 0.18, 0.12, 0.12, 0.08, 0.09, 0.1, 0.05)


def picture(side: int, rng: Rng) -> NDArray[np.uint8]:
    """Draw a picture of any kind, side x side x 3, in bytes."""
    kind = KINDS[rng.choice(len(KINDS), p=SHARES)]
    return np.asarray(np.clip(kind(side, rng), 0, 255).astype(np.uint8))


def hair(canvas: Floats, ink: tuple[float, ...] | float, rng: Rng, *, spread: float = np.pi, widest: int = 3) -> None:
    """Draw one curved hair across a part of `canvas` (H x W or H x W x 3), in place.

    It starts in a direction up to `spread` radians from the x axis, and is 1 to `widest` pixels wide.
    """
    side = max(canvas.shape[:2])
    length, bend, angle = rng.uniform(0.05, 0.9) * side, rng.normal(0, 0.6), rng.uniform(-spread, spread)
    start = rng.uniform(0, side, 2)
    t = np.linspace(0, 1, 14)
    heading = angle + bend * t
    points = start + np.cumsum(length / 14 * np.stack([np.cos(heading), np.sin(heading)], 1), 0)
    fixed = np.round(points * 2**SHIFT).astype(np.int32)[:, None]
    width = int(rng.integers(1, widest + 1))
    cv2.polylines(canvas, [fixed], isClosed=False, color=ink, thickness=width, lineType=cv2.LINE_AA, shift=SHIFT)


def blob(rng: Rng, radius: float, centre: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return the outline of a rounded, uneven shape, N x 1 x 2 in OpenCV's fixed-point coordinates (`SHIFT`)."""
    turns = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    waves = [rng.normal(0, 0.25 / n) * np.cos(n * turns + rng.uniform(0, 6.3)) for n in range(2, 6)]
    wobble = np.sum(waves, 0)
    stretch = rng.uniform(0.5, 1)
    outline = np.stack([np.cos(turns), stretch * np.sin(turns)], 1) * (radius * (1 + wobble))[:, None]
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.round((centre + outline @ turn.T) * 2**SHIFT).astype(np.int32)[:, None]


def _shape(canvas: Floats, centre: NDArray[np.float64], radius: float, ink: tuple[float, ...], rng: Rng) -> None:
    kind = rng.integers(3)
    x, y = (round(v * 2**SHIFT) for v in centre)
    if kind == 0:
        cv2.circle(canvas, (x, y), round(radius * 2**SHIFT), ink, -1, cv2.LINE_AA, SHIFT)
    elif kind == 1:
        axes = round(radius * 2**SHIFT), round(radius * rng.uniform(0.2, 1) * 2**SHIFT)
        cv2.ellipse(canvas, (x, y), axes, rng.uniform(0, 180), 0, 360, ink, -1, cv2.LINE_AA, SHIFT)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
        corners = centre + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        cv2.fillPoly(canvas, [np.round(corners * 2**SHIFT).astype(np.int32)[:, None]], ink, cv2.LINE_AA, SHIFT)


def _path(side: int, rng: Rng) -> NDArray[np.int32]:
    """A trace: steps along eight directions."""
    point, points = rng.uniform(0, side, 2), []
    for _ in range(int(rng.integers(2, 6))):
        points.append(point)
        angle = rng.integers(8) * np.pi / 4
        point = point + rng.uniform(10, 160) * np.array([np.cos(angle), np.sin(angle)])
    return np.round(points).astype(np.int32)[:, None]


def _pad_row(picture: NDArray[np.uint8], metal: list[float], rng: Rng) -> None:
    """A row of solder pads."""
    side = picture.shape[0]
    x, y = (int(v) for v in rng.uniform(0, side, 2))
    width, height, step = int(rng.integers(2, 12)), int(rng.integers(4, 30)), int(rng.integers(5, 26))
    for number in range(int(rng.integers(2, 16))):
        left, top = (x + number * step, y)
        corner = (left + width, top + height)
        cv2.rectangle(picture, (left, top), corner, metal, -1, cv2.LINE_AA)


def _print(picture: NDArray[np.uint8], ink: tuple[float, ...], rng: Rng) -> None:
    """Words, printed areas and frames."""
    side = picture.shape[0]
    for _ in range(int(rng.uniform(4, 22))):
        word = "".join(rng.choice(list(LETTERS), rng.integers(2, 9)))
        x, y = (int(v) for v in rng.uniform(0, side, 2))
        scale = float(rng.uniform(0.3, 1.4))
        cv2.putText(picture, word, (x, y), FONTS[rng.integers(4)], scale, ink, int(rng.integers(1, 3)), cv2.LINE_AA)
    for _ in range(int(rng.uniform(0, 8))):
        x, y, w, h = (int(v) for v in (*rng.uniform(0, side, 2), *rng.uniform(15, 140, 2)))
        cv2.rectangle(picture, (x, y), (x + w, y + h), ink, -1 if rng.random() < 0.4 else 2, cv2.LINE_AA)


def _grain(side: int, rng: Rng) -> Floats:
    """Noise of a size drawn, standard deviation 1, H x W x 1."""
    noise = rng.standard_normal((side, side), np.float32)
    width = rng.uniform(0, 1.6)
    if width > 0.4:
        noise = as_floats(cv2.GaussianBlur(noise, (0, 0), width))
        noise /= max(float(noise.std()), 1e-6)
    return noise[..., None]


def _turned(picture: Floats, rng: Rng) -> Floats:
    return np.ascontiguousarray(np.rot90(picture, int(rng.integers(4))))
