"""Frames to check a model with when no photographs are at hand: made, not stored, and the same on every machine."""

from collections.abc import Sequence

import cv2
import numpy as np

from ufafuse.runtime.arrays import Bytes

STRESS_SIZE = (67, 93)  # odd: as many whites as blacks make two averages equal, and hide what their difference costs
_WAVES = 12


def synthetic_scene(height: int, width: int, *, seed: int = 0) -> Bytes:
    """A picture with soft gradients, edges at many scales and some noise: H x W x 3 uint8, BGR."""
    draw = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    image = np.zeros((height, width, 3))
    for _ in range(_WAVES):
        angle, period = draw.uniform(0, np.pi), float(np.exp(draw.uniform(np.log(4), np.log(120))))
        wave = np.sin((rows * np.sin(angle) + columns * np.cos(angle)) * 2 * np.pi / period + draw.uniform(0, 6))
        edge = np.sign(wave) if draw.random() < 0.5 else wave
        image += edge[..., None] * draw.uniform(-1, 1, 3)
    image = 128 + image * 20 + draw.normal(0, 4, image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def synthetic_pair(height: int, width: int, *, seed: int = 0) -> tuple[Bytes, Bytes]:
    """Two frames of one scene, the left half blurred in the far one and the right half in the near one."""
    scene = synthetic_scene(height, width, seed=seed)
    blurred = cv2.blur(scene, (7, 7), borderType=cv2.BORDER_REPLICATE).reshape(scene.shape)
    left = (np.arange(width) < (width + 1) // 2)[None, :, None]
    return np.where(left, scene, blurred), np.where(left, blurred, scene)


def stress_frames(height: int, width: int) -> dict[str, tuple[Bytes, Bytes]]:
    """Pairs at the ends of what a sensor can give, where half precision overflows first if it ever does."""
    black = np.zeros((height, width, 3), np.uint8)
    white = np.full_like(black, 255)
    noise = np.random.default_rng(0).integers(0, 256, black.shape, dtype=np.uint8)
    board = np.where((np.indices((height, width)).sum(0) % 2 == 0)[..., None], white, black)
    return {
        "black": (black, black),
        "white": (white, white),
        "black and white": (black, white),
        "noise": (noise, 255 - noise),
        "checkerboard": (board, 255 - board),
    }


def check_sizes(stride: int) -> Sequence[tuple[int, int]]:
    """Sizes at which an export can go wrong: one pixel, below, at and just above the stride, odd ones."""
    sizes = {(1, 1), (2, 3), (stride, stride), (stride + 1, 2 * stride + 1), STRESS_SIZE}
    return sorted(sizes)
