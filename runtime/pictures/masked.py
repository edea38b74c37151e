"""What alpha hides of one frame of a pair and the other shows, for all that take no notice of alpha."""

from collections.abc import Sequence

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array, Floats, Mask


def hidden_parts(near: Array, far: Array) -> tuple[Mask, Mask]:
    """Where alpha is 0 in one of two frames (H x W [x 3 or 4]) and not in the other: H x W of each; nowhere in other sizes."""
    one, other = (
        frame[..., 3] == 0 if frame.ndim == 3 and frame.shape[2] == 4 else np.zeros(frame.shape[:2], np.bool_)
        for frame in (near, far)
    )
    if one.shape != other.shape:
        return np.zeros_like(one), np.zeros_like(other)
    return one & ~other, other & ~one


def filled(frames: Sequence[Array], hidden: tuple[Mask, Mask]) -> tuple[Array, Array]:
    """Two frames of one shape and type, H x W or H x W x 3; what is hidden of one is the other's."""
    near, far = frames
    one, other = (here if near.ndim == 2 else here[..., None] for here in hidden)
    return (np.where(one, far, near) if one.any() else near), (np.where(other, near, far) if other.any() else far)


def told_of_hidden(names: Sequence[str], hidden: tuple[Mask, Mask]) -> list[str]:
    """What to tell of that, by the frames' names."""
    return [
        f"{name}: what its alpha hides was taken from the other frame"
        for name, here in zip(names, hidden, strict=True)
        if here.any()
    ]


def without_hidden(frame: Array) -> Array:
    """A frame whose colours where alpha is 0 are even ones of its surroundings: what is hidden there is nobody's to see.

    Args:
        frame: H x W [x 1, 3 or 4], of any type.

    Returns:
        The frame itself where nothing, or all of it, is hidden; else a copy. Alpha stays.
    """
    if frame.ndim != 3 or frame.shape[2] != 4:
        return frame
    hidden = frame[..., 3] == 0
    if hidden.all() or not hidden.any():
        return frame
    result = np.array(frame)
    shown = np.where(hidden, np.float32(0), np.float32(1))
    for channel in range(3):
        around = _spread(np.where(hidden, 0, frame[..., channel]).astype(np.float32), shown)
        result[..., channel][hidden] = (around if frame.dtype == np.float32 else np.rint(around))[hidden]
    return result


def _spread(values: Floats, weight: Floats) -> Floats:
    """Values where there are none (weight 0) from the means of ever larger surroundings; where there are, as they are."""
    if weight.all() or max(values.shape) < 2:
        return values
    size = (values.shape[1] + 1) // 2, (values.shape[0] + 1) // 2
    share = np.asarray(cv2.resize(weight, size, interpolation=cv2.INTER_AREA), np.float32).reshape(size[::-1])
    means = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32).reshape(size[::-1])
    means = np.where(share > 0, means / np.maximum(share, np.float32(1e-6)), np.float32(0))
    coarse = _spread(means, (share > 0).astype(np.float32))
    enlarged = np.asarray(cv2.resize(coarse, values.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    return np.where(weight > 0, values, enlarged.reshape(values.shape))
