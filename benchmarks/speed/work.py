"""What a network has to do at one size: operations and bytes, counted from its ONNX graph."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ufafuse.benchmarks.speed.inputs import graph_inputs
from ufafuse.network.spec import Spec
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import InputError

_COUNTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
_SAME_NUMBERS = ("DequantizeLinear", "QuantizeLinear", "Cast", "Transpose", "Reshape", "Identity")
"""Layers that may lie between a stored weight and the convolution that uses it."""


@dataclass(frozen=True)
class Work:
    """Operations and traffic of one run.

    Args:
        flop: In floating-point convolutions and matrix products (2 per multiply-accumulate; all else is below 1 %).
        int8_op: In those whose inputs and weights are int8.
        elements: Read and written by these layers, input and output of each.
        weights: Numbers in the weights.
        io_bytes: Of the frames in and the results out.
        parameters: What the network has learnt, by its description; of a file without one, the weights and biases of these
            layers, each stored one once, however often it is used. (A graph made for speed stores some twice.)
    """

    flop: float
    int8_op: float
    elements: float
    weights: float
    io_bytes: float
    parameters: int

    def least_bytes(self, precision: str) -> float:
        """What any implementation has to move: frames, results and weights once."""
        return self.io_bytes + self.weights * _BYTES[precision]

    def layer_bytes(self, precision: str) -> float:
        """What moves when every layer reads its input from memory and writes its output there."""
        return self.least_bytes(precision) + self.elements * _BYTES[precision]


def count_work(model: Path, size: tuple[int, int]) -> Work:
    """Count the work of an ONNX file on one pair of ``size`` (height, width), or on one frame where it takes one.

    The shapes inside come from one run in ONNX Runtime that returns shapes only: the graphs slice and pad by computed amounts,
    which static shape inference gives up on.

    Raises:
        InputError: The file is no ONNX file of ours, or onnx and onnxruntime are not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise InputError("counting a network's work needs onnx: pip install 'ufafuse[bench,cpu]'.") from error
    manifest = read_manifest(model)
    graph = onnx.load(str(model))
    counted = [node for node in graph.graph.node if node.op_type in _COUNTED]
    feed = graph_inputs(manifest, manifest.io, size)
    outputs = [] if manifest.role == "whole" else [value.name for value in graph.graph.output]
    shapes = _shapes(graph, counted, outputs, feed)
    quantised = {output for node in graph.graph.node if node.op_type == "DequantizeLinear" for output in node.output}
    flop = int8_op = elements = 0.0
    for node in counted:
        work = 2.0 * float(np.prod(shapes[node.output[0]])) * _reach(node, shapes[node.input[1]])
        if {node.input[0], node.input[1]} <= quantised:
            int8_op += work
        else:
            flop += work
        elements += float(np.prod(shapes[node.input[0]]) + np.prod(shapes[node.output[0]]))
    weights = float(sum(np.prod(tensor.dims) for tensor in graph.graph.initializer))
    pixel_bytes = (2 + 1) * 3 * (1 if manifest.io == "uint8" else 4)  # two frames in and one out, three channels
    io_bytes = float(size[0] * size[1] * pixel_bytes)
    if outputs:
        io_bytes = float(sum(array.nbytes for array in feed.values()) + 4 * sum(np.prod(shapes[name]) for name in outputs))
    parameters = Spec.from_dict(manifest.spec).parameters if manifest.spec else _parameters(graph, counted)
    return Work(flop, int8_op, elements, weights, io_bytes, parameters)


def _parameters(graph: Any, counted: list[Any]) -> int:  # noqa: ANN401 - protobuf
    stored = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph.graph.initializer}
    makers = {output: node for node in graph.graph.node for output in node.output}

    def origin(name: str) -> str:
        while name not in stored and name in makers and makers[name].op_type in _SAME_NUMBERS:
            name = makers[name].input[0]
        return name

    names = {origin(name) for node in counted for name in node.input[1:] if name}
    return sum(stored.get(name, 0) for name in names)


def _reach(node: Any, weight: tuple[int, ...]) -> float:  # noqa: ANN401 - an onnx.NodeProto
    """Multiply-accumulates per output number."""
    if node.op_type == "MatMul":
        return weight[-2]
    if node.op_type == "Gemm":
        turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        return weight[1] if turned else weight[0]
    if node.op_type == "ConvTranspose":
        strides = next((attribute.ints for attribute in node.attribute if attribute.name == "strides"), (1, 1))
        return float(weight[0] * np.prod(weight[2:]) / np.prod(strides))
    return float(np.prod(weight[1:]))  # channels per group times the kernel


def _shapes(
    graph: Any,  # noqa: ANN401 - protobuf
    nodes: list[Any],
    outputs: list[str],
    feed: dict[str, Any],
) -> dict[str, tuple[int, ...]]:
    import onnx

    try:
        import onnxruntime as ort
    except ImportError as error:
        raise InputError("counting a network's work needs onnxruntime: pip install 'ufafuse[cpu]'.") from error
    names = sorted({name for node in nodes for name in (node.input[0], node.input[1], node.output[0])} | set(outputs))
    probe = onnx.ModelProto()
    probe.CopyFrom(graph)
    del probe.graph.output[:]
    for number, name in enumerate(names):
        probe.graph.node.append(onnx.helper.make_node("Shape", [name], [f"shape {number}"]))
        probe.graph.output.append(onnx.helper.make_tensor_value_info(f"shape {number}", onnx.TensorProto.INT64, None))
    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    session = ort.InferenceSession(probe.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    values = map(np.asarray, session.run(None, feed))
    return {name: tuple(int(side) for side in value) for name, value in zip(names, values, strict=True)}
