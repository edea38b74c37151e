"""Frames as cameras and files give them: what they are, what is asked of them, and their brightness."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array, Floats
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.values import type_in_text

_WHITE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}
_DARKEST_FLOAT_WHITE = 1e-6  # what is divided by it stays a finite float32
_GREATEST_FLOAT = 1e30  # sums over frames, and squares of what is divided by white, stay finite
UNBOUNDED = float(np.finfo(np.float32).max)  # where results end of float frames beyond 1, which have no white
COLOR_ORDERS = ("bgr", "rgb")


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


def for_opencv(frame: Array) -> Array:
    """The frame itself where OpenCV can read it (rows may be apart), otherwise a copy."""
    rows, columns, *samples = frame.strides
    within = samples[0] * frame.shape[2] if samples else frame.itemsize
    fits = samples in ([], [frame.itemsize]) and columns == within and rows >= columns * frame.shape[1]
    return frame if fits else np.ascontiguousarray(frame)
