"""Tensors of the Open Inference Protocol, from and to arrays; what they claim is held against what they bring."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError

DTYPES: dict[str, np.dtype[Any]] = {"UINT8": np.dtype(np.uint8), "UINT16": np.dtype("<u2"), "FP32": np.dtype("<f4")}
_NAMES = {np.dtype(np.uint8): "UINT8", np.dtype(np.uint16): "UINT16", np.dtype(np.float32): "FP32"}
_MOST_AXES = 4


@dataclass
class SentTensor:
    """A tensor as a client sent it.

    Args:
        name, datatype, shape: As the protocol has them.
        raw: Its bytes; None: ``values`` holds it.
        values: Numbers, or for BYTES texts in base64 (JSON) or bytes (gRPC).
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: bytes | memoryview | None = None
    values: Any = None

    def array(self) -> NDArray[Any]:
        """The numbers, of the shape that is claimed; read-only where they are the request's own bytes.

        Raises:
            InputError: The type is not known, or the data have another size or range.
        """
        dtype = DTYPES.get(self.datatype)
        if dtype is None:
            raise InputError(f"{self.name} is {self.datatype}: send UINT8, UINT16 or FP32 (pictures as BYTES in `images`).")
        count = self._count()
        if self.raw is None:
            return _of_numbers(self.values, dtype, count, self.name).reshape(self.shape)
        if len(self.raw) != count * dtype.itemsize:
            shape = " x ".join(map(str, self.shape))
            raise InputError(f"{self.name} has {len(self.raw)} bytes; {shape} of {self.datatype} are {count * dtype.itemsize}.")
        return np.frombuffer(self.raw, dtype).reshape(self.shape)

    def elements(self) -> list[bytes]:
        """The elements of a tensor of BYTES. Raises: InputError when it is none, or is not what it claims."""
        if self.datatype != "BYTES":
            raise InputError(f"{self.name} is {self.datatype}: send encoded pictures as BYTES.")
        count = self._count()
        found = _of_texts(self.values, self.name) if self.raw is None else _of_lengths(self.raw, self.name)
        if len(found) != count:
            raise InputError(f"{self.name} holds {len(found)} elements, its shape {list(self.shape)} has {count}.")
        return found

    def _count(self) -> int:
        if not self.shape or len(self.shape) > _MOST_AXES or any(side < 1 for side in self.shape):
            raise InputError(f"{self.name} has the shape {list(self.shape)}: give one to {_MOST_AXES} sizes of 1 or more.")
        return math.prod(self.shape)


def _of_numbers(values: Any, dtype: np.dtype[Any], count: int, name: str) -> NDArray[Any]:  # noqa: ANN401 - from JSON
    try:
        numbers = np.asarray(values, np.float64).ravel()
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} holds data that are no numbers, or lists of unlike length.") from error
    if numbers.size != count:
        raise InputError(f"{name} holds {numbers.size} numbers, its shape has {count}.")
    if dtype.kind == "u":
        top = np.iinfo(dtype).max
        if not (np.isfinite(numbers).all() and (numbers >= 0).all() and (numbers <= top).all() and (numbers % 1 == 0).all()):
            raise InputError(f"{name} holds numbers that are no whole levels from 0 to {top}.")
    with np.errstate(over="ignore"):  # infinity is told with the frame
        return numbers.astype(dtype)


def _of_texts(values: Any, name: str) -> list[bytes]:  # noqa: ANN401 - from JSON
    if not isinstance(values, list):
        raise InputError(f"{name} holds no list of pictures.")
    try:
        return [value if isinstance(value, bytes) else base64.b64decode(value, validate=True) for value in values]
    except (TypeError, ValueError, binascii.Error) as error:
        raise InputError(f"{name} holds texts that are no base64: encode each picture so, or send binary data.") from error


def _of_lengths(raw: bytes | memoryview, name: str) -> list[bytes]:
    """Elements that each follow their length, four bytes, little-endian."""
    found, at, data = [], 0, memoryview(raw)
    while at < len(data):
        if at + 4 > len(data):
            raise InputError(f"{name} ends within a length.")
        (length,) = struct.unpack_from("<I", data, at)
        at += 4 + length
        if at > len(data):
            raise InputError(f"{name} ends within an element: {at - len(data)} bytes are missing.")
        found.append(bytes(data[at - length : at]))
    return found


def frames_of(array: NDArray[Any], name: str) -> list[Array]:
    """The frames of a tensor: N x H x W x C is N of them; H x W and H x W x C are one. Raises: InputError."""
    if array.ndim == 4:
        return list(array)
    if array.ndim in (2, 3):
        return [array]
    raise InputError(f"{name} has the shape {list(array.shape)}: send N x H x W x 3, H x W x 3 or H x W.")


@dataclass
class Output:
    """A tensor that goes back.

    Args:
        name: As the protocol has it.
        value: An array, or encoded pictures.
    """

    name: str
    value: NDArray[Any] | list[bytes]

    @property
    def datatype(self) -> str:
        """As the protocol calls it."""
        return "BYTES" if isinstance(self.value, list) else _NAMES[self.value.dtype.newbyteorder("=")]

    @property
    def shape(self) -> list[int]:
        """Of the tensor."""
        return [len(self.value)] if isinstance(self.value, list) else list(self.value.shape)

    def raw(self) -> bytes:
        """The tensor as bytes."""
        if isinstance(self.value, list):
            return b"".join(struct.pack("<I", len(element)) + element for element in self.value)
        return np.ascontiguousarray(self.value, self.value.dtype.newbyteorder("<")).tobytes()

    def values(self) -> list[Any]:
        """The tensor as JSON has it: a flat list; pictures in base64."""
        if isinstance(self.value, list):
            return [base64.b64encode(element).decode() for element in self.value]
        flat: list[Any] = self.value.ravel().tolist()
        return flat
