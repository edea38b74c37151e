"""What alpha hides of one frame of a pair and the other shows, for all that take no notice of alpha."""

from collections.abc import Sequence

import numpy as np

from ufafuse.runtime.arrays import Array, Mask


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
