"""What can be learnt of an ONNX file without loading it, by a walk over its protobuf fields. Needs no onnx."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import NamedTuple

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEEPEST = 64  # graphs in graphs

# WireField numbers of onnx.proto that lead to tensors, by message.
_PATHS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION, _LOCATION = 13, 14, b"location"


class WireField(NamedTuple):
    """One field of a message: its number, and where its bytes lie (or, of a number, ``start`` is the value)."""

    number: int
    start: int
    end: int | None


def fields(data: mmap.mmap | bytes, position: int, end: int) -> Iterator[WireField]:
    """The fields of the message in ``data[position:end]`` that are bytes or whole numbers.

    Raises:
        ValueError, IndexError: It is no message.
    """
    while position < end:
        key, position = _varint(data, position)
        wire = key & 7
        if wire == _VARINT:
            value, position = _varint(data, position)
            yield WireField(key >> 3, value, None)
        elif wire in (_FIXED64, _FIXED32):
            position += 8 if wire == _FIXED64 else 4
        elif wire == _BYTES:
            length, position = _varint(data, position)
            if position + length > end:
                raise ValueError("a field runs past the end")
            yield WireField(key >> 3, position, position + length)
            position += length
        else:
            raise ValueError(f"wire type {wire}")
        if position > end:
            raise ValueError("a field runs past the end")


def has_external_data(data: mmap.mmap | bytes) -> bool:
    """Whether a tensor of the model says that its values lie in another file.

    Raises:
        ValueError, IndexError: It is no model, or is nested too deeply.
    """
    if data.find(_LOCATION) < 0:  # where it lies must be said by an entry of this name: most files need no walk
        return False
    waiting = [("model", 0, len(data), 0)]
    while waiting:
        message, start, end, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError("graphs nested too deeply")
        for field in fields(data, start, end):
            if message == "tensor":
                if field.number == _EXTERNAL_DATA or (field.number == _DATA_LOCATION and field.end is None and field.start):
                    return True
            elif field.end is not None and (inner := _PATHS[message].get(field.number)):
                waiting.append((inner, field.start, field.end, depth + 1))
    return False


def _varint(data: mmap.mmap | bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number of more than ten bytes")
