"""Focus stacks with known truth: layered scenes seen through a lens whose focus moves.

A scene (`ufafuse.train.scenes`) is a ground and what stands above it. Each frame is put together from back to front
(`ufafuse.train.optics`), every layer blurred by its distance from the plane in focus. Light beyond white blooms, then clips.
The sensor adds noise, compression, changes of exposure, small shifts, and margins that registration left uncovered.

Frames are uint8 K x H x W x 3, BGR. Everything is drawn from a numpy Generator: same state, same stack.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Floats
from ufafuse.runtime.errors import InputError
from ufafuse.train.degrade import compressed, drawn_bars, shifted, to_bytes
from ufafuse.train.drawing import Rng
from ufafuse.train.optics import aperture, seen, visible_depth
from ufafuse.train.scenes import SceneOptions, Texture, add_lights, draw_scene


@dataclass(frozen=True)
class Stack:
    """A drawn stack.

    Attributes:
        frames: uint8, K x H x W x 3, from the nearest plane of focus to the farthest (but for a slip of the hand now and then).
        covered: uint8, K x H x W: 1 where the frame shows the scene, 0 where it shows nothing.
        truth: uint8, H x W x 3, everything in focus, without noise.
        depth: float32, H x W: which frame has the surface in focus, between two frames as a fraction; NaN where none has.
    """

    frames: NDArray[np.uint8]
    covered: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    depth: Floats


def draw_stack(rng: Rng, side: int, options: SceneOptions, texture: Texture, *, frames: int | None = None) -> Stack:
    """Draw a stack of side x side pixels.

    Args:
        rng: Decides everything.
        side: Of the frames, in pixels.
        options: What is drawn.
        texture: Gives pictures to make surfaces of: photographs or drawings.
        frames: How many; None draws it.

    Raises:
        InputError: Fewer than two frames are asked for.
    """
    if frames is not None and frames < 2:
        raise InputError(f"a stack has at least 2 frames, got {frames}.")
    count = frames or int(rng.integers(options.min_frames, options.max_frames + 1))
    # Deep scenes are recorded in many frames: what lies between two of them is to be sharp enough.
    low, high = np.log(options.min_radius), np.log(min(options.max_radius, 10.0 * count))
    radius = float(np.exp(rng.uniform(low, max(low, high))))
    margin = int(np.ceil(radius)) + 2
    canvas = side + 2 * margin
    layers = draw_scene(rng, canvas, options, texture)
    power = 2 if rng.random() < 0.4 else 1  # blur adds light, and a file's levels are about its square root
    if rng.random() < options.lights:
        add_lights(layers, rng)
    if power == 2:
        for layer in layers:
            layer.light = layer.light * layer.light
    planes = np.linspace(0, 1, count) + rng.normal(0, 0.12 / count, count) * (rng.random() < 0.5)
    kernel = aperture(rng)
    inner = (slice(margin, margin + side),) * 2
    softness = rng.uniform(0.4, 1.1) if rng.random() < options.soft else 0.0
    views = [seen(layers, float(plane), radius, kernel, power, softness)[inner] for plane in planes]
    truth = seen(layers, None, radius, kernel, power, softness)[inner]
    depth = visible_depth(layers, planes)[inner]
    return _recorded(views, truth, depth, rng, options)


def _recorded(views: list[Floats], truth: Floats, depth: Floats, rng: Rng, options: SceneOptions) -> Stack:
    """Add what camera and registration add."""
    level = rng.uniform(options.min_noise, options.max_noise) if rng.random() < options.noise else 0.0
    grain = rng.uniform(0.4, 0.8) if rng.random() < 0.3 else 0.0
    quality = int(rng.integers(70, 98)) if rng.random() < options.jpeg else 0
    dimmed = np.float32(rng.uniform(0.05, 0.7)) if rng.random() < options.dark else np.float32(1)
    flicker = rng.uniform(0.005, 0.03) if rng.random() < options.gain else 0.0
    reach = rng.uniform(0, options.max_shift) if rng.random() < options.shift else 0.0
    covered = _covered((len(views), *depth.shape), rng, options.margins)
    frames: list[NDArray[np.uint8]] = []
    for number, view in enumerate(views):
        frame: Any = view * np.float32(dimmed * (1 + rng.normal(0, flicker)))
        if reach:
            frame = shifted(frame, rng.uniform(-reach, reach, 2))
        if level:
            frame = frame + np.float32(level) * _noise(frame.shape, grain, rng)
        taken = to_bytes(frame)
        if quality:
            taken = compressed(taken, quality)
        taken *= covered[number][..., None]
        frames.append(taken)
    return Stack(np.stack(frames), covered, to_bytes(truth * dimmed), depth)


def _covered(shape: tuple[int, ...], rng: Rng, margins: float) -> NDArray[np.uint8]:
    """Draw what each frame covers, K x H x W; every pixel is covered by at least half of them."""
    covered = np.ones(shape, np.uint8)
    if rng.random() < margins:
        for number in rng.permutation(shape[0])[: max(1, shape[0] // 2)]:
            covered[number][drawn_bars(shape[1:], rng)] = 0
    return covered


def _noise(shape: tuple[int, ...], grain: float, rng: Rng) -> Floats:
    noise = rng.standard_normal(shape, np.float32)
    if grain:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), grain), np.float32)
        noise /= max(float(noise.std()), 1e-6)
    return noise
