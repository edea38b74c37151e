"""Explicit quantisers (Q/DQ) in a graph, such that one file runs on ONNX Runtime, OpenVINO and TensorRT.

What the three demand, found by trying:

- TensorRT takes symmetric int8 only (zero points 0) and no quantised biases; TensorRT-RTX's parser refuses others.
- OpenVINO (2026.4) computes nonsense where a quantiser follows a concatenation: it moves the quantiser before it and loses
  its scale (the result is rounded to whole numbers). A clip to the quantiser's own range in between changes no value, and
  OpenVINO leaves both where they are; ONNX Runtime removes the clip again.
- ONNX Runtime computes in int8 only where results are quantised too: without, the paper's network was slower than in float32
  (0.27 s against 0.22 s a 128 x 128 pair and core; 0.12 s with). OpenVINO, which `auto` takes on CPUs, is faster without
  (`ufa-edge`: by 4 %, and 6 dB nearer to float32), and TensorRT fuses convolution and activation: hence
  `QuantizerOptions.outputs`, which is off by default.
- A CPU without VNNI adds two products in 16 bits: 2 x 255 x 127 is too much, and OpenVINO then saturates (2 % RMS a layer).
  Weights of 7 bits cannot overflow: `QuantizerOptions.weight_bits`.

NNCF and ModelOpt, which do this too, were tried with their defaults on 32 windows of the Lytro pairs: `ufa-edge` came out at
35 to 47 dB of float32 (NNCF 3.4) and 46 to 54 dB (ModelOpt 0.47) on four whole pairs, where the file that is made here has 65
to 72 dB, and on one core of ONNX Runtime they took 1.3 times (NNCF) and 2.8 times its time.
"""

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.calibration.convolutions import ConvLayer, conv_layers
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.machine import adds_bytes_in_16_bits
from ufafuse.runtime.values import check_fields

if TYPE_CHECKING:
    import onnx

_LEVELS = 127
_SMALLEST_SCALE = 1e-6  # of a layer that only ever saw zeros


@dataclass(frozen=True)
class QuantizerOptions:
    """How quantisers are placed.

    Args:
        weight_bits: 7 (weights in [-63, 63]), or 8.
        outputs: Quantise the results of convolutions too, not only their inputs.
    """

    weight_bits: int = 7
    outputs: bool = False

    def __post_init__(self) -> None:
        """Raises: InputError for other widths."""
        check_fields(self)
        if self.weight_bits not in (7, 8):
            raise InputError(f"`weight_bits={self.weight_bits}` is not known: choose 7 or 8.")


def saturation(options: QuantizerOptions) -> list[str]:
    """What to tell of weights that are too large for this CPU's products; nothing where they are not."""
    if options.weight_bits == 7 or not adds_bytes_in_16_bits():
        return []
    return [
        "weights of 8 bits saturate on this CPU, which has no VNNI: engines compute less exactly with them here, "
        "and the figures are of that. `weight_bits=7` is exact on every CPU."
    ]


@dataclass(frozen=True)
class Range:
    """The values that a layer's input and output took: (lowest, highest) of each."""

    source: tuple[float, float]
    result: tuple[float, float]

    def joined(self, other: "Range") -> "Range":
        """The range of what was seen here and there."""
        pairs = ((self.source, other.source), (self.result, other.result))
        source, result = ((min(one[0], two[0]), max(one[1], two[1])) for one, two in pairs)
        return Range(source, result)


def with_quantizers(
    model: "onnx.ModelProto",
    ranges: Mapping[str, Range],
    names: Collection[str],
    options: QuantizerOptions,
) -> Any:  # noqa: ANN401
    """A copy of ``model`` in which the named layers compute in int8.

    Args:
        model: A float32 or float16 ``onnx.ModelProto``.
        ranges: Of every named layer.
        names: Layers to quantise; the others stay as they are.
        options: See `QuantizerOptions`.

    Returns:
        The new ``onnx.ModelProto``: symmetric int8 activations with one scale a tensor, symmetric int8 weights with one
        scale an output channel, biases as they were.
    """
    quantised = copy.deepcopy(model)
    writer = _Writer(quantised)
    for layer in conv_layers(model):
        if layer.name in names:
            writer.quantise(layer, ranges[layer.name], options)
    writer.finish()
    return quantised


class _Writer:
    """Adds quantisers to one graph; nodes are inserted in order at the end."""

    def __init__(self, model: "onnx.ModelProto") -> None:
        import onnx

        self._onnx = onnx
        self._graph = model.graph
        self._nodes = {node.name: node for node in model.graph.node}
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._before: dict[str, list[Any]] = {}
        self._after: dict[str, list[Any]] = {}
        self._sources: dict[str, str] = {}

    def quantise(self, layer: ConvLayer, seen: Range, options: QuantizerOptions) -> None:
        """Quantise one layer's input, weights and, if asked, output."""
        node, weight = self._nodes[layer.node], self._weights[layer.weight]
        values = self._onnx.numpy_helper.to_array(weight)
        before = self._before.setdefault(layer.node, [])
        if layer.source not in self._sources:
            self._sources[layer.source] = f"{layer.source}.dequantized"
            before += self._activation(layer.source, self._sources[layer.source], seen.source, values.dtype, clip=layer.joined)
        node.input[0] = self._sources[layer.source]
        before.append(self._weight(layer, values, options.weight_bits))
        node.input[1] = f"{layer.weight}.dequantized"
        if options.outputs:
            node.output[0] = f"{layer.result}.float"
            self._after[layer.node] = self._activation(node.output[0], layer.result, seen.result, values.dtype, clip=False)

    def _activation(self, source: str, result: str, seen: tuple[float, float], dtype: Any, *, clip: bool) -> list[Any]:  # noqa: ANN401
        """[Clip], QuantizeLinear, DequantizeLinear from ``source`` to ``result``."""
        scale = np.asarray(max(_SMALLEST_SCALE, abs(seen[0]), abs(seen[1])) / _LEVELS, dtype)
        names = [self._constant(f"{result}.scale", scale), self._constant(f"{result}.zero", np.int8(0))]
        make, nodes = self._onnx.helper.make_node, []
        if clip:
            top = scale * np.asarray(_LEVELS, dtype)
            ends = [self._constant(f"{result}.lowest", -top), self._constant(f"{result}.highest", top)]
            nodes.append(make("Clip", [source, *ends], [f"{result}.clipped"], name=f"{result}.clip"))
            source = f"{result}.clipped"
        nodes.append(make("QuantizeLinear", [source, *names], [f"{result}.int8"], name=f"{result}.quantize"))
        nodes.append(make("DequantizeLinear", [f"{result}.int8", *names], [result], name=f"{result}.dequantize"))
        return nodes

    def _weight(self, layer: ConvLayer, values: NDArray[Any], bits: int) -> Any:  # noqa: ANN401
        """Replace a weight by int8 values and a DequantizeLinear over its output channels."""
        levels = 2 ** (bits - 1) - 1
        top = np.abs(values.astype(np.float32)).reshape(len(values), -1).max(axis=1)
        scale = np.maximum(top / levels, _SMALLEST_SCALE).astype(values.dtype)
        shape = (-1, *[1] * (values.ndim - 1))
        int8 = np.clip(np.rint(values.astype(np.float32) / scale.astype(np.float32).reshape(shape)), -levels, levels)
        self._graph.initializer.remove(self._weights[layer.weight])
        inputs = [
            self._constant(f"{layer.weight}.int8", int8.astype(np.int8)),
            self._constant(f"{layer.weight}.scale", scale),
            self._constant(f"{layer.weight}.zero", np.zeros(len(scale), np.int8)),
        ]
        name = f"{layer.weight}.dequantized"
        return self._onnx.helper.make_node("DequantizeLinear", inputs, [name], name=f"{layer.weight}.dequantize", axis=0)

    def _constant(self, name: str, value: Any) -> str:  # noqa: ANN401
        self._graph.initializer.append(self._onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def finish(self) -> None:
        """Put the new nodes beside their convolutions."""
        ordered = []
        for node in self._graph.node:
            ordered += [*self._before.get(node.name, ()), node, *self._after.get(node.name, ())]
        del self._graph.node[:]
        self._graph.node.extend(ordered)
