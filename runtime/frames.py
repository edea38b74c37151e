"""Frames as cameras and files give them, to what a network takes, and back.

Every function works on views, so that a tile of a frame is converted as a whole frame is and no full-size float copy is
ever made of a large one. The conversions were chosen by timing (1080 x 1920 x 3 uint8, one thread): to float planes with OpenCV
1.3 ms, with NumPy 4.2 ms, with ``cv2.dnn.blobFromImage`` 20 ms, and back 1.8 ms; to uint8 planes and back 0.2 ms each.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array, Bytes, Floats
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.values import type_in_text

_STRIP_PIXELS = 65_536
_WHITE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}
_DARKEST_FLOAT_WHITE = 1e-6  # what is divided by it stays a finite float32
_GREATEST_FLOAT = 1e30  # sums over frames, and squares of what is divided by white, stay finite
UNBOUNDED = float(np.finfo(np.float32).max)  # where results end of float frames beyond 1, which have no white
COLOR_ORDERS = ("bgr", "rgb")

# A model's ``io`` is "float" (1 x 3 x H x W, RGB, [0, 1]) or "uint8" (1 x H x W x 3, BGR, as cameras have it). This third
# layout is no model's: bytes in planes, 1 x 3 x H x W, RGB, which some sessions take quicker. Reports call it by this name.
BYTE_PLANES = "levels"


@dataclass(frozen=True)
class FrameKind:
    """What the frames of a pair or stack are, so that the fused frame can be the same.

    Args:
        dtype: uint8, uint16 or float32.
        channels: 0 for H x W, else 1, 3 or 4.
        white: The level of white: 255, 65535 (or the sensor's own, such as 4095 for 12 bit), or 1.0. Results end there.
        order: ``"bgr"`` or ``"rgb"``.
        unit: The level that the network sees as 1; 0 means ``white``. See `ufafuse.runtime.levels`.
        low: The least level of float frames that go below black.
        beyond: Whether samples may lie beyond ``unit``.
        lift: What the network is shown in place of black, in [0, 1); 1 stays 1. See `ufafuse.runtime.blacks`.
    """

    dtype: np.dtype[Any]
    channels: int
    white: float
    order: str
    unit: float = 0.0
    low: float = 0.0
    beyond: bool = False
    lift: float = 0.0

    def __post_init__(self) -> None:
        """Fill in the unit."""
        if not self.unit:
            object.__setattr__(self, "unit", self.white)

    @property
    def plain(self) -> bool:
        """Whether these are bytes that the network sees as they are."""
        return self.full_bytes and not self.lift

    @property
    def full_bytes(self) -> bool:
        """Whether these are bytes whose 255 the network sees as 1."""
        return self.dtype == np.uint8 and self.white == 255 and self.unit == 255

    @property
    def full(self) -> float:
        """White, or of float frames that have none the level that the network sees as 1: what shares of white are of."""
        return self.unit if self.white == UNBOUNDED else self.white

    @property
    def grey(self) -> bool:
        """Whether there is one sample a pixel."""
        return self.channels < 3

    def black(self, side: int) -> Array:
        """A black square of this kind."""
        return np.zeros((side, side, self.channels) if self.channels else (side, side), self.dtype)


BGR_BYTES = FrameKind(np.dtype(np.uint8), 3, 255.0, "bgr")  # what OpenCV reads


def frame_names(count: int) -> list[str]:
    """What messages call the frames: near, far, then by number."""
    return ["near frame", "far frame", *(f"frame {number}" for number in range(3, count + 1))][:count]


def in_text(name: str) -> str:
    """A frame's name as it stands in a sentence: with the article that near and far have, and numbers and files do not."""
    return f"the {name}" if name in ("frame", "near frame", "far frame") else name


def check_pair(near: Array, far: Array, *, order: str = "bgr", white: float | None = None) -> FrameKind:
    """What both frames are; `check_frames` for two."""
    return check_frames((near, far), order=order, white=white)


def check_frames(
    frames: Sequence[Array],
    *,
    order: str = "bgr",
    white: float | None = None,
    open_ended: bool = False,
    names: Sequence[str] = (),
) -> FrameKind:
    """What the frames of a pair or stack are.

    Args:
        frames: Each H x W, H x W x 1, H x W x 3 or H x W x 4; uint8, uint16, or float32 in [0, 1]; alike in shape and
            dtype; contiguous or not.
        order: Channel order of colour frames.
        white: Level of white, where it is not the dtype's greatest.
        open_ended: Float frames may go beyond [0, 1] where no white is given.
        names: What errors call them; none: near, far, and by number.

    Raises:
        InputError: Naming the frame: wrong type, rank, channel count or dtype, empty, not finite, outside [0, 1], above
            ``white``, or unlike the first frame.
    """
    check_order(order)
    names = names or frame_names(len(frames))
    for name, frame in zip(names, frames, strict=True):
        check_array(name, frame)
    first = frames[0]
    for name, frame in zip(names[1:], frames[1:], strict=True):
        _check_alike(first, frame, name)
    kind = FrameKind(first.dtype, first.shape[2] if first.ndim == 3 else 0, white_level(first.dtype, white), order)
    for name, frame in zip(names, frames, strict=True):
        _check_levels(name, frame, kind, open_ended=open_ended and white is None)
    return kind


def check_count(count: int) -> None:
    """Raises: InputError unless there are two or more frames to fuse."""
    if count < 2:
        raise InputError(f"fusing takes two or more frames: {'only one was' if count else 'none were'} given.")


def check_order(order: str) -> None:
    """Raises: InputError unless ``order`` is one of `COLOR_ORDERS`."""
    if order not in COLOR_ORDERS:
        raise InputError(f"the colour order {order!r} is not known: use 'bgr' or 'rgb'.")


def white_level(dtype: np.dtype[Any], white: float | None) -> float:
    """The level of white: ``white``, or the dtype's greatest. Raises: InputError for a level that the dtype does not have."""
    top = _WHITE[dtype]
    least = _DARKEST_FLOAT_WHITE if dtype == np.float32 else 1
    if white is not None and not least <= white <= top:
        raise InputError(f"a white level of {white} is out of range for {dtype} frames: give one from {least:g} to {top:g}.")
    return white or top


def check_array(name: str, frame: Array) -> None:
    """Refuse what is no frame, whatever its levels are. Raises: InputError."""
    if not isinstance(frame, np.ndarray):
        raise InputError(f"{in_text(name)} is {type_in_text(frame)}: give a NumPy array.")
    # Naming it would import it; without it, or while another thread is still at that, there is no masked array.
    masked = getattr(sys.modules.get("numpy.ma"), "MaskedArray", None)
    if masked is not None and isinstance(frame, masked):
        raise InputError(f"{in_text(name)} is a masked array: give an alpha channel that is 0 where it shows nothing.")
    if frame.ndim not in (2, 3) or (frame.ndim == 3 and frame.shape[2] not in (1, 3, 4)):
        raise InputError(f"{in_text(name)} has shape {frame.shape}: give H x W, H x W x 3 or H x W x 4.")
    if frame.size == 0:
        raise InputError(f"{in_text(name)} is empty, its shape is {frame.shape}.")
    if not frame.dtype.isnative and frame.dtype.newbyteorder("=") in _WHITE:  # as of a TIFF of other machines
        native = frame.dtype.newbyteorder("=")
        raise InputError(
            f"{in_text(name)} is {native} in another byte order than this machine's ({frame.dtype}): "
            f"give `frame.astype(np.{native})`."
        )
    if frame.dtype not in _WHITE:
        raise InputError(f"{in_text(name)} is {frame.dtype}: give uint8, uint16, or float32 in [0, 1].")


def _check_alike(near: Array, other: Array, name: str) -> None:
    for what, (first, second), mend in (
        ("size", (_size(near), _size(other)), "Crop or align them to one size"),
        ("dtype", (near.dtype, other.dtype), "Convert one of them"),
    ):
        if first != second:
            raise InputError(f"the frames differ in {what}: near is {first}, {in_text(name)} is {second}. {mend}.")


def _check_levels(name: str, frame: Array, kind: FrameKind, *, open_ended: bool) -> None:
    colours = frame[..., :3] if kind.channels == 4 else frame  # alpha is whole at its dtype's own white
    if kind.dtype == np.float32:
        low, high = float(colours.min()), float(colours.max())
        if not (np.isfinite(low) and np.isfinite(high) and np.isfinite(frame[..., 3:] if kind.channels == 4 else 0).all()):
            raise InputError(f"{in_text(name)} holds NaN or infinity: repair it before fusing.")
        if high > _GREATEST_FLOAT:
            raise InputError(f"{in_text(name)} reaches {high:.3g}: scale float frames down, {_GREATEST_FLOAT:g} is the most.")
        if not open_ended and (low < 0 or high > kind.white):
            raise InputError(f"{in_text(name)} spans [{low:.3g}, {high:.3g}]: scale float frames to [0, {kind.white:g}].")
    elif kind.white < _WHITE[kind.dtype] and int(colours.max()) > kind.white:
        raise InputError(f"{in_text(name)} reaches {int(colours.max())}, above the white level {kind.white:g}.")


def _size(frame: Array) -> str:
    return " x ".join(str(side) for side in frame.shape)


def check_out(out: Array | None, kind: FrameKind, shape: tuple[int, ...]) -> None:
    """Refuse a frame that cannot take the result. Raises: InputError."""
    if out is None:
        return
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != kind.dtype:
        found = f"{out.shape} of {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
        raise InputError(f"out= is {found}, the fused frame is {shape} of {kind.dtype}: give an array like the near frame.")
    if not out.flags.writeable:
        raise InputError("out= is read-only: give an array that can be written to.")


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


def reduced_size(size: tuple[int, ...], pixels: int) -> tuple[int, int]:
    """(width, height), as OpenCV takes it, of a picture of at most about ``pixels`` pixels of a frame of (height, width)."""
    factor = min(1.0, (pixels / (size[0] * size[1])) ** 0.5)
    return max(1, round(size[1] * factor)), max(1, round(size[0] * factor))


def luma(frame: Array, kind: FrameKind) -> Array:
    """The brightness of a frame, or of a window of one: H x W in the frame's own dtype and levels."""
    if kind.grey:
        return np.ascontiguousarray(frame.reshape(frame.shape[:2]))
    codes = {3: (cv2.COLOR_BGR2GRAY, cv2.COLOR_RGB2GRAY), 4: (cv2.COLOR_BGRA2GRAY, cv2.COLOR_RGBA2GRAY)}
    return np.asarray(cv2.cvtColor(for_opencv(frame), codes[kind.channels][COLOR_ORDERS.index(kind.order)]))


def colours_of(frame: Array) -> Array:
    """A frame without its alpha, if it has any: a view of its other channels."""
    return frame if frame.ndim == 2 or frame.shape[2] < 4 else frame[..., :3]


def to_grey(frame: Array, kind: FrameKind) -> Floats:
    """As `luma`, but float32, with the level that the network sees as 1 at 1."""
    return np.multiply(luma(frame, kind), np.float32(1 / kind.unit), dtype=np.float32)


def _rgb_channels(kind: FrameKind) -> tuple[int, int, int]:
    """Where red, green and blue stand in a frame; its own inverse."""
    return (0, 1, 2) if kind.order == "rgb" else (2, 1, 0)


def for_opencv(frame: Array) -> Array:
    """The frame itself where OpenCV can read it (rows may be apart), otherwise a copy."""
    rows, columns, *samples = frame.strides
    within = samples[0] * frame.shape[2] if samples else frame.itemsize
    fits = samples in ([], [frame.itemsize]) and columns == within and rows >= columns * frame.shape[1]
    return frame if fits else np.ascontiguousarray(frame)


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
