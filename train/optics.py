"""How a lens sees a scene of layers: each blurred by its distance from the plane in focus, from back to front.

A blurred layer covers what lies behind it by its blurred outline, so an edge out of focus is seen through. Depths are numbers
from 0 (near) to 1 (far), which the planes of focus run through; what lies beyond is sharp in no frame.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Floats
from ufafuse.train.drawing import Rng

LEVELS_APART = 1.5  # a relief's blurs are mixed from radii that lie this far apart
SHARP = 0.3  # pixels: a disc of this radius blurs nothing
Aperture: TypeAlias = Callable[[float], Floats]  # the blur's kernel for a radius in pixels; it adds up to one


@dataclass
class SceneLayer:
    """A part of the scene.

    Attributes:
        light: float32 H x W x 3 in 8-bit levels, beyond 255 where it is brighter than white; not multiplied by `cover`.
        cover: float32 H x W in [0, 1]: where the layer is. None: everywhere.
        depth: of its surface, a number where it is even, else float32 H x W.
    """

    light: Floats
    cover: Floats | None
    depth: float | Floats


def aperture(rng: Rng) -> Aperture:
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


def seen(layers: list[SceneLayer], plane: float | None, radius: float, kernel: Aperture, power: int, softness: float) -> Floats:
    """Put the layers together as the lens sees them.

    Args:
        layers: From back to front.
        plane: The depth in focus; None: every depth is.
        radius: Of the blur at a distance of 1 from the plane, in pixels.
        kernel: The blur's shape, see `aperture`.
        power: 2 where the layers' light is the square of their levels, else 1.
        softness: Standard deviation in pixels of the blur that the lens and the sensor add to everything.

    Returns:
        Levels, float32 H x W x 3, not clipped.
    """
    total: Any = np.zeros(1, np.float32)
    for layer in layers:
        if isinstance(layer.depth, float):
            amount = 0.0 if plane is None else radius * abs(layer.depth - plane)
            light, cover = _blurred(layer, kernel, amount)
        else:
            away: Any = None if plane is None else radius * np.abs(layer.depth - np.float32(plane))
            light, cover = relief(layer, kernel, away)
        total = light if cover is None else light + total * (1 - cover[..., None])
    total = np.sqrt(np.maximum(total, 0)) if power == 2 else total
    if softness:
        total = np.asarray(cv2.GaussianBlur(total, (0, 0), softness), np.float32)
    return np.asarray(total, np.float32)


def _blurred(layer: SceneLayer, kernel: Aperture, radius: float) -> tuple[Floats, Floats | None]:
    """Blur a layer's light times its cover, and its cover."""
    if layer.cover is None:
        return _blur(layer.light, kernel, radius), None
    merged = cv2.merge([*cv2.split(layer.light * layer.cover[..., None]), layer.cover])
    both = _blur(np.asarray(merged, np.float32), kernel, radius)
    return np.ascontiguousarray(both[..., :3]), np.ascontiguousarray(both[..., 3])


def relief(layer: SceneLayer, kernel: Aperture, radius: Floats | None) -> tuple[Floats, Floats | None]:
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


def _blur(picture: Floats, kernel: Aperture, radius: float) -> Floats:
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


def visible_depth(layers: list[SceneLayer], planes: NDArray[np.float64]) -> Floats:
    """Say which frame has the surface in front in focus: H x W, in frames from the first, NaN where none has.

    Between two planes it is a fraction; a surface up to half a step beyond the first or last plane counts as theirs.
    """
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
