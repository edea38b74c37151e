"""Frames as a network takes them, and back.

Every function works on views, so that a tile of a frame is converted as a whole frame is and no full-size float copy is
ever made of a large one. The conversions were chosen by timing (1080 x 1920 x 3 uint8, one thread): to float planes with OpenCV
1.3 ms, with NumPy 4.2 ms, with ``cv2.dnn.blobFromImage`` 20 ms, and back 1.8 ms; to uint8 planes and back 0.2 ms each.
"""

from collections.abc import Callable

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array, Bytes, Floats
from ufafuse.runtime.frames import FrameKind, for_opencv

_STRIP_PIXELS = 65_536

# A model's ``io`` is "float" (1 x 3 x H x W, RGB, [0, 1]) or "uint8" (1 x H x W x 3, BGR, as cameras have it). This third
# layout is no model's: bytes in planes, 1 x 3 x H x W, RGB, which some sessions take quicker. Reports call it by this name.
BYTE_PLANES = "levels"


def to_planes(frame: Array, kind: FrameKind) -> Floats:
    """A frame as 1 x 3 x H x W float32, RGB, [0, 1]; grey in all three channels, alpha left out."""
    height, width = frame.shape[:2]
    if kind.dtype == np.uint8 and not kind.grey:
        return _byte_planes(frame, kind)
    planes = np.empty((1, 3, height, width), np.float32)
    scale = np.float32((1.0 - kind.lift) / kind.unit)
    if kind.grey:
        np.multiply(frame.reshape(height, width), scale, out=planes[0, 0])
        planes[0, 1:] = planes[0, 0]
        return _within(planes, kind)
    rows = max(1, _STRIP_PIXELS // max(1, width))
    for top in range(0, height, rows):  # what is split stays in the cache
        channels = cv2.split(for_opencv(frame[top : top + rows]))
        for plane, channel in enumerate(_rgb_channels(kind)):
            np.multiply(channels[channel], scale, out=planes[0, plane, top : top + rows])
    return _within(planes, kind)


def _within(planes: Floats, kind: FrameKind) -> Floats:
    """Planes from 0 to 1 - lift with black lifted, and what the network is not shown cut off, in place."""
    if kind.lift:
        planes += np.float32(kind.lift)
    return np.clip(planes, kind.lift, 1, out=planes) if kind.beyond else planes


def _byte_planes(frame: Array, kind: FrameKind) -> Floats:
    """`to_planes` of a uint8 colour frame, in two passes.

    Of what OpenCV has, dividing by the greatest level converts fastest, three times as fast as a weighted sum: so a row of
    255s stands below the planes, and the greatest level is known.
    """
    height, width = frame.shape[:2]
    levels = np.empty((3 * height + 1, width), np.uint8)
    levels[-1] = 255
    _split(frame, kind, levels[:-1].reshape(3, height, width))
    planes = np.empty(levels.shape, np.float32)
    cv2.normalize(levels, planes, 255 * (1 - kind.lift) / kind.unit, norm_type=cv2.NORM_INF, dtype=cv2.CV_32F)
    return _within(planes[:-1].reshape(1, 3, height, width), kind)


def _split(frame: Array, kind: FrameKind, out: Bytes) -> None:
    """Write a colour frame's red, green and blue into ``out``, 3 x H x W."""
    channels = [out[plane] for plane in _rgb_channels(kind)]
    alpha = [np.empty_like(channels[0])] * (kind.channels - 3)
    cv2.split(for_opencv(frame), channels + alpha)


def from_planes(planes: Floats, kind: FrameKind, near: Array) -> Array:
    """The inverse of `to_planes`: clipped, rounded to the nearest level, alpha taken from ``near``."""
    height, width = planes.shape[2:]
    if kind.lift:
        planes = planes - np.float32(kind.lift)
        planes *= np.float32(1 / (1 - kind.lift))
    if kind.grey:
        return _levels(planes[0].mean(axis=0), kind).reshape(near.shape)
    levels = _levels(planes[0].reshape(3 * height, width), kind)
    return from_byte_planes(levels.reshape(1, 3, height, width), kind, near)


def to_byte_planes(frame: Array, kind: FrameKind) -> Bytes:
    """A uint8 colour frame as 1 x 3 x H x W uint8, RGB; alpha left out."""
    levels = np.empty((1, 3, *frame.shape[:2]), np.uint8)
    _split(frame, kind, levels[0])
    return levels


def from_byte_planes(levels: Array, kind: FrameKind, near: Array) -> Array:
    """The inverse of `to_byte_planes` (for levels of any dtype), alpha taken from ``near``."""
    channels = [levels[0, plane] for plane in _rgb_channels(kind)]
    if kind.channels == 4:
        channels.append(np.ascontiguousarray(near[..., 3]))
    return np.asarray(cv2.merge(channels)).reshape(near.shape)


def _rgb_channels(kind: FrameKind) -> tuple[int, int, int]:
    """Where red, green and blue stand in a frame; its own inverse."""
    return (0, 1, 2) if kind.order == "rgb" else (2, 1, 0)


def _levels(plane: Floats, kind: FrameKind) -> Array:
    if kind.dtype == np.float32:
        levels = plane if kind.unit == 1 else plane * np.float32(kind.unit)
        # Limits of its own type: NumPy before 2 makes the greatest float32, as a Python number, a float64, and all with it.
        return np.clip(levels, np.float32(kind.low), np.float32(kind.white))
    if kind.full_bytes:
        return _bytes(plane)
    scaled = plane * np.float32(kind.unit)
    scaled += np.float32(0.5)
    return np.clip(scaled, 0, kind.white, out=scaled).astype(kind.dtype)


def with_beyond(fused: Array, near: Array, far: Array, weight: Floats, kind: FrameKind) -> Array:
    """A result, with the frames' own samples, weighed, where the network could not see them: beyond ``kind.unit``, below 0.

    Args:
        fused: What the network gave, as a frame like the near one; changed and given back.
        near, far: As `check_pair` passed them.
        weight: H x W float32 in [0, 1], the near frame's.
        kind: What they are.
    """
    fused = np.ascontiguousarray(fused)
    planes, *ends = (frame.reshape(*near.shape[:2], -1) for frame in (fused, near, far))
    for channel in range(1 if kind.grey else 3):
        a, b = (end[..., channel] for end in ends)
        unseen = (a > kind.unit) | (b > kind.unit) | (a < 0) | (b < 0)
        mine, others, share = a[unseen].astype(np.float32), b[unseen].astype(np.float32), weight[unseen]
        blend = others + share * (mine - others)
        planes[..., channel][unseen] = blend if kind.dtype == np.float32 else np.rint(blend)
    return fused


def _bytes(plane: Floats) -> Bytes:
    """A float plane scaled by 255, clipped and rounded. The pass without a sign is three times as fast as the one with it."""
    if float(plane.min()) > -0.5 / 255:  # such a level is rounded to 0 either way
        return np.asarray(cv2.convertScaleAbs(plane, alpha=255.0), np.uint8)
    return np.asarray(cv2.addWeighted(plane, 127.5, plane, 127.5, 0, dtype=cv2.CV_8U), np.uint8)


def to_bgr_bytes(frame: Array, kind: FrameKind) -> Bytes:
    """A uint8 frame as 1 x H x W x 3, BGR, as models with uint8 io take it, as bright as `FrameKind.unit` makes it."""
    if not kind.plain:
        frame = cv2.convertScaleAbs(for_opencv(frame), alpha=255 / kind.unit).reshape(frame.shape)
    if kind.grey:
        frame = cv2.cvtColor(np.ascontiguousarray(frame).reshape(frame.shape[:2]), cv2.COLOR_GRAY2BGR)
    elif kind.order == "rgb":
        frame = cv2.cvtColor(for_opencv(frame), cv2.COLOR_RGBA2BGR if kind.channels == 4 else cv2.COLOR_RGB2BGR)
    elif kind.channels == 4:
        frame = cv2.cvtColor(for_opencv(frame), cv2.COLOR_BGRA2BGR)
    return np.ascontiguousarray(frame, np.uint8)[np.newaxis]


def from_bgr_bytes(fused: Bytes, kind: FrameKind, near: Array) -> Array:
    """The inverse of `to_bgr_bytes`, alpha taken from ``near``."""
    image = fused[0]
    if not kind.plain:
        image = np.minimum(np.rint(image * np.float32(kind.unit / 255)), kind.white).astype(np.uint8)
    if kind.grey:
        return np.rint(image.mean(axis=2, dtype=np.float32)).astype(np.uint8).reshape(near.shape)
    if kind.order == "rgb":
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    if kind.channels == 4:
        return cv2.merge([*cv2.split(image), np.ascontiguousarray(near[..., 3])])
    return image


_PACK: dict[str, Callable[[Array, FrameKind], Array]] = {
    "float": to_planes,
    "uint8": to_bgr_bytes,
    BYTE_PLANES: to_byte_planes,
}
_UNPACK: dict[str, Callable[[Array, FrameKind, Array], Array]] = {
    "float": from_planes,
    "uint8": from_bgr_bytes,
    BYTE_PLANES: from_byte_planes,
}


def pack(frame: Array, kind: FrameKind, layout: str) -> Array:
    """A frame, or a window of one, as a model takes it: in its io, or as `BYTE_PLANES` where its session takes them."""
    return _PACK[layout](frame, kind)


def unpack(fused: Array, kind: FrameKind, near: Array, layout: str) -> Array:
    """The inverse of `pack`, alpha taken from ``near``."""
    return _UNPACK[layout](fused, kind, near)
