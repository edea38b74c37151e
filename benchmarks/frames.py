"""The two frames of a pair as every contestant gets them and every metric sees them: of one kind."""

from collections.abc import Sequence

import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.levels import levels_from, peak_of
from ufafuse.runtime.pictures.masked import filled, hidden_parts, told_of_hidden


def alike(near: Array, far: Array) -> tuple[Array, Array]:
    """Bring two frames to one kind, as `ufa fuse` does.

    Args:
        near, far: H x W [x 3 or 4], uint8, uint16 or float32. Grey beside colour (infrared and visible) gets three channels; 8
            bits beside 16 are scaled to their white; alpha is left out, and what it hides of one frame is the other's.

    Returns:
        Both, H x W or H x W x 3; what cannot be brought together (other sizes, whole levels and floats) is as it was.
    """
    frames = [frame[..., :3] if frame.ndim == 3 else frame for frame in (near, far)]
    if {frame.ndim for frame in frames} == {2, 3}:
        frames = [np.repeat(frame[..., None], 3, axis=2) if frame.ndim == 2 else frame for frame in frames]
    if _mixed(near, far):
        white = np.float32(_shared_white(near, far) / 255)
        frames = [frame if frame.dtype == np.uint16 else np.rint(frame * white).astype(np.uint16) for frame in frames]
    if frames[0].shape != frames[1].shape or frames[0].dtype != frames[1].dtype:
        return frames[0], frames[1]
    return filled(frames, hidden_parts(near, far))


def told_of_alike(names: Sequence[str], near: Array, far: Array) -> list[str]:
    """What to tell of what `alike` does to the levels of two frames that are called ``names``."""
    told = told_of_hidden(names, hidden_parts(near, far))
    if _mixed(near, far):
        eight = names[0] if near.dtype == np.uint8 else names[1]
        told.append(f"{eight}: 8 bits among 16, scaled to white {_shared_white(near, far):g}")
    return told


def _mixed(near: Array, far: Array) -> bool:
    return {near.dtype, far.dtype} == {np.dtype(np.uint8), np.dtype(np.uint16)}


def _shared_white(near: Array, far: Array) -> float:
    """The level of white that a frame of 8 bits is scaled to beside one of 16."""
    deep = far if far.dtype == np.uint16 else near
    return levels_from(peak_of(deep), deep.dtype).white
