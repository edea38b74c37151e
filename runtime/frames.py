"""Frames as cameras and files give them, to what a network takes, and back."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.errors import InputError

Frame = NDArray[Any]

_WHITE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}
COLOR_ORDERS = ("bgr", "rgb")


@dataclass(frozen=True)
class FrameKind:
    """What a pair of frames is, so that the fused frame can be the same.

    Args:
        dtype: uint8, uint16 or float32.
        channels: 0 for H x W, else 1, 3 or 4.
        white: The level of white: 255, 65535 (or the sensor's own, such as 4095 for 12 bit), or 1.0.
        order: ``"bgr"`` or ``"rgb"``.
    """

    dtype: np.dtype[Any]
    channels: int
    white: float
    order: str

    @property
    def grey(self) -> bool:
        """Whether there is one sample a pixel."""
        return self.channels < 3


def check_pair(near: Frame, far: Frame, *, order: str = "bgr", white: float | None = None) -> FrameKind:
    """What both frames are.

    Args:
        near, far: H x W, H x W x 1, H x W x 3 or H x W x 4; uint8, uint16, or float32 in [0, 1]; alike in shape and dtype.
        order: Channel order of colour frames.
        white: Level of white, where it is not the dtype's greatest.

    Raises:
        InputError: Naming the frame: wrong type, rank, channel count or dtype, empty, not finite, outside [0, 1], above
            ``white``, or unlike the other frame.
    """
    if order not in COLOR_ORDERS:
        raise InputError(f"the colour order {order!r} is not known: use 'bgr' or 'rgb'.")
    for name, frame in (("near", near), ("far", far)):
        _check_array(name, frame)
    if near.shape != far.shape:
        raise InputError(
            f"the frames differ in size: near is {_size(near)}, far is {_size(far)}. Crop or align them to one size."
        )
    if near.dtype != far.dtype:
        raise InputError(f"the frames differ in dtype: near is {near.dtype}, far is {far.dtype}. Convert one of them.")
    top = _WHITE[near.dtype]
    if white is not None and not 0 < white <= top:
        raise InputError(f"a white level of {white} makes no sense for {near.dtype} frames: give one in (0, {top:g}].")
    kind = FrameKind(near.dtype, near.shape[2] if near.ndim == 3 else 0, white or top, order)
    for name, frame in (("near", near), ("far", far)):
        _check_levels(name, frame, kind)
    return kind


def _check_array(name: str, frame: Frame) -> None:
    if not isinstance(frame, np.ndarray):
        raise InputError(f"the {name} frame is a {type(frame).__name__}: give a NumPy array.")
    if frame.ndim not in (2, 3) or (frame.ndim == 3 and frame.shape[2] not in (1, 3, 4)):
        raise InputError(f"the {name} frame has shape {frame.shape}: give H x W, H x W x 3 or H x W x 4.")
    if frame.size == 0:
        raise InputError(f"the {name} frame is empty, its shape is {frame.shape}.")
    if frame.dtype not in _WHITE:
        raise InputError(f"the {name} frame is {frame.dtype}: give uint8, uint16, or float32 in [0, 1].")


def _check_levels(name: str, frame: Frame, kind: FrameKind) -> None:
    if kind.dtype == np.float32:
        low, high = float(frame.min()), float(frame.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise InputError(f"the {name} frame holds NaN or infinity: repair it before fusing.")
        if low < 0 or high > kind.white:
            raise InputError(f"the {name} frame spans [{low:.3g}, {high:.3g}]: scale float frames to [0, {kind.white:g}].")
    elif kind.white < _WHITE[kind.dtype] and int(frame.max()) > kind.white:
        raise InputError(f"the {name} frame reaches {int(frame.max())}, above the white level {kind.white:g}.")


def _size(frame: Frame) -> str:
    return " x ".join(str(side) for side in frame.shape)


def to_planes(frame: Frame, kind: FrameKind) -> NDArray[np.float32]:
    """A frame as 1 x 3 x H x W float32, RGB, [0, 1]; grey in all three channels, alpha left out."""
    height, width = frame.shape[:2]
    planes = np.empty((1, 3, height, width), np.float32)
    if kind.grey:
        planes[0] = frame.reshape(height, width)
    else:
        for plane, channel in enumerate((0, 1, 2) if kind.order == "rgb" else (2, 1, 0)):
            planes[0, plane] = frame[..., channel]
    planes *= np.float32(1.0 / kind.white)
    return planes


def from_planes(planes: NDArray[np.float32], kind: FrameKind, near: Frame) -> Frame:
    """The inverse of `to_planes`: clipped, rounded to the nearest level, alpha taken from ``near``."""
    height, width = planes.shape[2:]
    if kind.grey:
        levels = _levels(planes[0].mean(axis=0), kind)
        return levels.reshape(near.shape)
    order = (0, 1, 2) if kind.order == "rgb" else (2, 1, 0)
    channels = [_levels(planes[0, plane], kind) for plane in order]
    if kind.channels == 4:
        channels.append(np.ascontiguousarray(near[..., 3]))
    return np.asarray(cv2.merge(channels)).reshape(height, width, kind.channels)


def _levels(plane: NDArray[np.float32], kind: FrameKind) -> Frame:
    if kind.dtype == np.float32:
        return np.clip(plane, 0, kind.white)
    scaled = plane * np.float32(kind.white)
    scaled += np.float32(0.5)
    return np.clip(scaled, 0, kind.white, out=scaled).astype(kind.dtype)


def to_bgr_bytes(frame: Frame, kind: FrameKind) -> NDArray[np.uint8]:
    """A uint8 frame as 1 x H x W x 3, BGR, as models with uint8 io take it."""
    if kind.grey:
        frame = cv2.cvtColor(frame.reshape(frame.shape[:2]), cv2.COLOR_GRAY2BGR)
    else:
        frame = frame[..., :3] if kind.order == "bgr" else frame[..., 2::-1]
    return np.ascontiguousarray(frame)[np.newaxis]


def from_bgr_bytes(fused: NDArray[np.uint8], kind: FrameKind, near: Frame) -> Frame:
    """The inverse of `to_bgr_bytes`, alpha taken from ``near``."""
    image = fused[0]
    if kind.grey:
        return np.rint(image.mean(axis=2)).astype(np.uint8).reshape(near.shape)
    if kind.order == "rgb":
        image = image[..., ::-1]
    return np.dstack([image, near[..., 3]]) if kind.channels == 4 else np.ascontiguousarray(image)
