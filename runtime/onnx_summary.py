"""What is in an ONNX file's graph, told without loading it: inputs, outputs, opset, operators. Needs no onnx."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ufafuse.runtime.errors import ModelError
from ufafuse.runtime.onnx_walk import fields

# Field numbers of onnx.proto.
_MODEL_GRAPH, _MODEL_OPSET = 7, 8
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_GRAPH_NODE, _GRAPH_INPUT, _GRAPH_OUTPUT, _NODE_OPERATOR = 1, 11, 12, 4
_VALUE_NAME, _VALUE_TYPE, _VALUE_ABOUT = 1, 2, 3
_TYPE_TENSOR, _TENSOR_KIND, _TENSOR_SHAPE, _SHAPE_DIM, _DIM_SIZE, _DIM_NAME = 1, 1, 2, 1, 1, 2
_KINDS = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64", 16: "bfloat16"}


@dataclass(frozen=True)
class GraphPort:
    """An input or output of a graph.

    Args:
        name: The tensor's.
        type: Such as ``"float32"``.
        shape: Sizes, or the names of free ones.
        about: What the file says of it, in words.
    """

    name: str
    type: str
    shape: tuple[int | str, ...]
    about: str


@dataclass(frozen=True)
class Summary:
    """A graph in short.

    Args:
        inputs, outputs: In their order.
        opset: Of the standard operators.
        operators: How many of each, the most frequent first.
    """

    inputs: tuple[GraphPort, ...]
    outputs: tuple[GraphPort, ...]
    opset: int
    operators: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def summary_of(path: Path) -> Summary:
    """The graph of an ONNX file in short.

    Raises:
        ModelError: It is truncated or no ONNX file.
    """
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _summary(data)
    except (IndexError, ValueError) as error:
        raise ModelError(f"{path} is truncated or no ONNX file ({error}): make or copy it again.") from error


def _summary(data: mmap.mmap) -> Summary:
    opset = 0
    operators: Counter[str] = Counter()
    ports: dict[int, list[GraphPort]] = {_GRAPH_INPUT: [], _GRAPH_OUTPUT: []}
    for start, end in _inner(data, 0, len(data), _MODEL_OPSET):
        entry = {field.number: field for field in fields(data, start, end)}
        domain = entry.get(_OPSET_DOMAIN)
        if domain is None or _text(data, domain.start, domain.end) in ("", "ai.onnx"):
            opset = entry[_OPSET_VERSION].start if _OPSET_VERSION in entry else 0
    for start, end in _inner(data, 0, len(data), _MODEL_GRAPH):
        for number, first, last in fields(data, start, end):
            if last is None:
                continue
            if number == _GRAPH_NODE:
                operators.update(_text(data, a, b) for a, b in _inner(data, first, last, _NODE_OPERATOR))
            elif number in ports:
                ports[number].append(_port(data, first, last))
    return Summary(tuple(ports[_GRAPH_INPUT]), tuple(ports[_GRAPH_OUTPUT]), opset, dict(operators.most_common()))


def _inner(data: mmap.mmap, start: int, end: int, number: int) -> Iterator[tuple[int, int]]:
    """Where the messages or texts of one field lie."""
    for field in fields(data, start, end):
        if field.number == number and field.end is not None:
            yield field.start, field.end


def _text(data: mmap.mmap, start: int, end: int | None) -> str:
    return bytes(data[start:end]).decode()


def _port(data: mmap.mmap, start: int, end: int) -> GraphPort:
    texts, kind, shape = {}, 0, []
    for number, first, last in fields(data, start, end):
        if last is None:
            continue
        if number in (_VALUE_NAME, _VALUE_ABOUT):
            texts[number] = _text(data, first, last)
        elif number == _VALUE_TYPE:
            for a, b in _inner(data, first, last, _TYPE_TENSOR):
                kind = next((field.start for field in fields(data, a, b) if field.number == _TENSOR_KIND), 0)
                for of in _inner(data, a, b, _TENSOR_SHAPE):
                    shape = [_dim(data, *dim) for dim in _inner(data, *of, _SHAPE_DIM)]
    name, about = (texts.get(number, "") for number in (_VALUE_NAME, _VALUE_ABOUT))
    return GraphPort(name, _KINDS.get(kind, f"type {kind}"), tuple(shape), about)


def _dim(data: mmap.mmap, start: int, end: int) -> int | str:
    for number, first, last in fields(data, start, end):
        if number == _DIM_SIZE and last is None:
            return first
        if number == _DIM_NAME and last is not None:
            return _text(data, first, last)
    return "?"
