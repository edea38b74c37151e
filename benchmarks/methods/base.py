"""What the classical methods share: how a pair becomes planes, and the rules for choosing between two sets of coefficients."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ufafuse.benchmarks.metrics.planes import Plane, grey
from ufafuse.benchmarks.metrics.white import White
from ufafuse.runtime.arrays import Array, Mask
from ufafuse.runtime.errors import InputError

Channels = NDArray[np.float64]
"""H x W x C levels 0..255, C = 1 or 3 (BGR)."""

_LEAST_SIDE = 8
"""Smaller frames are mirrored: no method needs a larger window than this whole."""


@dataclass(frozen=True)
class Method:
    """One classical method.

    Args:
        name: As the command line names it, such as ``"dtcwt"``.
        label: The row's name in the paper's tables, or in its literature.
        citation: The paper that it follows.
        note: Where this differs from that paper, or what the paper leaves open; empty where nothing does.
        parameters: The defaults that it runs with.
        fuse_channels: Near and far channels to the fused ones.
    """

    name: str
    label: str
    citation: str
    fuse_channels: Callable[[Channels, Channels], Channels]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    def fuse(self, near: Array, far: Array) -> NDArray[np.uint8]:
        """Fuse two pictures of one size.

        Args:
            near: H x W or H x W x 3 (BGR), uint8, uint16 or float.
            far: As ``near``; where only one of the two is colour, the grey one stands in all three channels.

        Returns:
            H x W (both grey) or H x W x 3, uint8.

        Raises:
            InputError: The sizes differ, or a picture is of a kind that cannot be fused.
        """
        if near.shape[:2] != far.shape[:2]:
            raise InputError(f"near is {near.shape[:2]}, far is {far.shape[:2]}: a pair must have one size.")
        white = White.of_frames([near, far])
        both = [_channels(white.bytes(image)) for image in (near, far)]
        count = max(channels.shape[2] for channels in both)
        height, width = near.shape[:2]
        first, second = (np.broadcast_to(channels, (height, width, count)) for channels in both)
        if min(height, width) < _LEAST_SIDE:
            first, second = padded(first, least=_LEAST_SIDE), padded(second, least=_LEAST_SIDE)
        # Halves go up: to the even level, as rint has it, they would leave the mean of two frames with every other level empty.
        fused = np.clip(np.floor(self.fuse_channels(first, second)[:height, :width] + 0.5), 0, 255).astype(np.uint8)
        return fused[..., 0] if count == 1 else fused


def _channels(levels: NDArray[np.uint8]) -> Channels:
    channels = levels.astype(np.float64)
    return channels[..., None] if channels.ndim == 2 else channels


def by_channel(fuse_planes: Callable[[Plane, Plane], Plane]) -> Callable[[Channels, Channels], Channels]:
    """Run a method for single planes on each colour channel by itself, as is usual for transforms."""

    def fuse_channels(near: Channels, far: Channels) -> Channels:
        channels = range(near.shape[2])
        return np.stack([fuse_planes(near[..., channel], far[..., channel]) for channel in channels], axis=-1)

    return fuse_channels


def by_weight(weight_of_near: Callable[[Plane, Plane], NDArray[Any]]) -> Callable[[Channels, Channels], Channels]:
    """Run a method that finds one H x W weight in [0, 1] from the grey planes and applies it to every channel."""

    def fuse_channels(near: Channels, far: Channels) -> Channels:
        weight = np.asarray(weight_of_near(grey_levels(near), grey_levels(far)), dtype=np.float64)[..., None]
        return weight * near + (1 - weight) * far

    return fuse_channels


def grey_levels(channels: Channels) -> Plane:
    """Grey plane H x W in levels 0..255."""
    return channels[..., 0] if channels.shape[2] == 1 else grey(channels.astype(np.uint8)) * 255


def padded(plane: Channels, multiple: int = 1, *, least: int = 1) -> Channels:
    """``plane``, H x W [x C], mirrored at the bottom and the right to sides of ``least`` or more, multiples of ``multiple``."""
    added = [max(least, side) - side for side in plane.shape[:2]]
    added = [more + -(side + more) % multiple for side, more in zip(plane.shape[:2], added, strict=True)]
    return np.pad(plane, [*((0, more) for more in added), *((0, 0) for _ in plane.shape[2:])], mode="symmetric")


def choose_larger(near: NDArray[Any], far: NDArray[Any], *, window: int = 1, verify: bool = False) -> NDArray[Any]:
    """Per coefficient of two h x w bands (real or complex), the one of larger magnitude.

    Args:
        near: A band of the near frame.
        far: The same band of the far frame.
        window: Compare the largest magnitude in a window of this side instead of the coefficient itself.
        verify: Let a 3 x 3 majority vote correct single choices (consistency verification).
    """
    activity = [np.abs(band) for band in (near, far)]
    if window > 1:
        activity = [ndimage.maximum_filter(plane, size=window) for plane in activity]
    from_near = activity[0] >= activity[1]
    return np.where(majority(from_near) if verify else from_near, near, far)


def majority(mask: Mask, size: int = 3) -> Mask:
    """The majority in a ``size`` x ``size`` window around each place."""
    return ndimage.uniform_filter(mask.astype(np.float64), size=size) > 0.5


def without_small_regions(mask: Mask, smallest: float) -> Mask:
    """Turn connected regions of fewer than ``smallest`` pixels into their surroundings, true ones first."""
    for value in (True, False):
        labels = np.zeros(mask.shape, np.int32)
        ndimage.label(mask == value, output=labels)
        sizes = np.bincount(labels.ravel())
        small = sizes < smallest
        small[0] = False
        mask = np.where(small[labels], not value, mask)
    return mask
