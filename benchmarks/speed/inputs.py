"""The pair that every runner fuses: fixed pictures with coarse and fine structure, each sharp in one half."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.artefact import Manifest
from ufafuse.runtime.packing import BYTE_PLANES
from ufafuse.runtime.stacks.model import shapes_between

_SEED = 20260
_FRAMES = 2.0  # in the stack that a graph is given the middle of
_BLUR_SHARE = 130


def pictures(height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Near and far, height x width x 3 BGR uint8; the same on every machine."""
    rng = np.random.default_rng(_SEED)
    picture = np.zeros((height, width, 3), np.float32)
    for cell in (1, 4, 16, 64):
        noise = rng.normal(size=(-(-height // cell), -(-width // cell), 3)).astype(np.float32)
        picture += np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)) * cell**0.5
    picture = np.clip(128 + 40 * picture / picture.std(), 0, 255)
    blurred = cv2.GaussianBlur(picture, (0, 0), max(1.0, min(height, width) / _BLUR_SHARE))
    left = (np.arange(width) < width // 2)[None, :, None]
    return np.where(left, picture, blurred).astype(np.uint8), np.where(left, blurred, picture).astype(np.uint8)


def batch(layout: str, height: int, width: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The pair as a runner takes it.

    Args:
        layout: ``"picture"`` (H x W x 3, BGR, uint8), ``"uint8"`` (1 x H x W x 3, BGR, uint8), `BYTE_PLANES` (1 x 3 x H x W,
            RGB, uint8) or ``"float"`` (1 x 3 x H x W, RGB, float32 in [0, 1]).
        height, width: The size.
    """
    pair = pictures(height, width)
    if layout == "picture":
        return pair
    if layout == "uint8":
        return pair[0][None], pair[1][None]
    near, far = (np.ascontiguousarray(picture[None, ..., ::-1].transpose(0, 3, 1, 2)) for picture in pair)
    if layout == BYTE_PLANES:
        return near, far
    return near.astype(np.float32) / 255, far.astype(np.float32) / 255


def graph_inputs(manifest: Manifest, layout: str, size: tuple[int, int]) -> dict[str, NDArray[Any]]:
    """All inputs of a graph by name, whatever it is for: a whole network, a step of tiling, a step of a stack.

    Args:
        manifest: The graph's; its role, strides and widths say what it takes.
        layout: Of its frames, as `batch`.
        size: (height, width).
    """
    near, far = batch(layout, *size)
    if manifest.role in ("whole", "tile"):
        inputs = {"near": near, "far": far}
        if manifest.role == "tile" and manifest.extra.get("global_means"):
            means = np.full((1, sum(manifest.extra["widths"])), 0.1, np.float32)
            inputs |= {"means_near": means, "means_far": means}
        return inputs
    inputs = {} if manifest.role == "common" else {"frame": near}
    if manifest.role == "means":
        inputs["mask"] = np.ones((1, 1, *size), np.float32)
    if manifest.role in ("common", "score"):
        inputs["mean"] = batch("float", *size)[0]
        inputs["count"] = np.full((1, 1, *size), _FRAMES, np.float32)
        inputs |= _told(manifest, size)
    return inputs


def _told(manifest: Manifest, size: tuple[int, int]) -> dict[str, NDArray[Any]]:
    """What two of the graphs for stacks are told of the frames beside their mean and number, as noise."""
    stride, strides, widths = (manifest.extra[key] for key in ("stride", "strides", "widths"))
    gathered, told = shapes_between(size, stride, strides, widths)
    rng = np.random.default_rng(_SEED)
    shapes = gathered if manifest.role == "common" else told
    return {name: rng.random(shape, np.float32) for name, shape in shapes.items() if name not in ("mean", "count")}
