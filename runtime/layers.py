"""One step of a network's run, as an engine's own counters tell it: `Session.layers`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Shape = tuple[int, ...]

# What engines call the types of tensors, in small letters, and the bits of one number.
_TYPES = {
    "fp32": (32, ("f32", "float", "float32")),
    "fp64": (64, ("f64", "double", "float64")),
    "bf16": (16, ("bf16", "bfloat16")),
    "fp16": (16, ("f16", "half", "float16", "fp16")),
    "fp8": (8, ("f8", "fp8", "f8e4m3", "f8e5m2", "float8e4m3fn")),
    "int8": (8, ("i8", "int8")),
    "uint8": (8, ("u8", "uint8")),
    "int4": (4, ("i4", "u4", "int4")),
    "int32": (32, ("i32", "u32", "int32", "uint32")),
    "int64": (64, ("i64", "u64", "int64", "uint64")),
    "bool": (8, ("boolean", "bool")),
}
_BY_WORD = {word: name for name, (_, words) in _TYPES.items() for word in words}


class Port(NamedTuple):
    """A tensor that a layer reads or writes: its shape, and its type by one of our names (``"fp32"``, ``"uint8"``, ...)."""

    shape: Shape
    dtype: str

    @property
    def elements(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> float:
        """What of it goes through memory; a type that is not known counts as four bytes."""
        return self.elements * _TYPES.get(self.dtype, (32, ()))[0] / 8


@dataclass(frozen=True)
class Layer:
    """One step of a run.

    Args:
        name: The engine's name for it, mostly that of a node in the file.
        kind: The engine's own word for what it does: ``"Convolution"``, ``"Reorder"``, ``"FusedConv"``.
        kernel: What ran it, such as ``"brgconv_avx512_amx_I8"``; empty where the engine does not tell.
        times_ms: Its time in each run.
        inputs, outputs: What it reads, weights too, and writes; empty where the engine does not tell.
        operations: Of convolutions and matrix products: two for each multiply-accumulate. 0: none, or not told.
    """

    name: str
    kind: str
    kernel: str
    times_ms: Sequence[float]
    inputs: Sequence[Port] = field(default=())
    outputs: Sequence[Port] = field(default=())
    operations: float = 0.0

    @property
    def ms(self) -> float:
        """The median of its times."""
        return statistics.median(self.times_ms)


def type_named(word: str) -> str:
    """Our name for an engine's word for a type; the word itself where it is not known."""
    return _BY_WORD.get(word.lower(), word.lower())


def operations_of(kind: str, inputs: Sequence[Port], outputs: Sequence[Port], *, weight: int = 1) -> float:
    """Operations of a convolution or a matrix product, two for each multiply-accumulate; 0 for any other kind of layer.

    Args:
        kind: The engine's word.
        inputs, outputs: Its ports; channels second.
        weight: Which of the inputs holds the weights: O x I x kernel, transposed I x O x kernel, in groups with their number
            before (OpenVINO); of a product K x N or N x K.
    """
    word = kind.lower()
    if len(inputs) <= weight or not outputs:
        return 0.0
    data, weights, result = inputs[0].shape, inputs[weight].shape, outputs[0].shape
    if word in ("deconvolution", "convtranspose") and len(data) == 4:
        return 2.0 * math.prod(data) * math.prod(weights[1:])
    if "conv" in word and "convert" not in word and len(result) == 4:
        return 2.0 * math.prod(result) * math.prod(weights[len(weights) - 3 :])
    if ("matmul" in word or "gemm" in word or word == "fullyconnected") and data:
        return 2.0 * math.prod(result) * data[-1]
    return 0.0
