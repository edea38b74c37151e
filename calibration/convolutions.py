"""The convolutions of an exported graph, by the names that its weights have in the network.

Ranges, tables and choices speak of layers by these names (``encoder.0.1.0``, ``head``), which the whole graph and its tiling
companions share; tensor names differ from file to file.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ufafuse.runtime.errors import ModelError

if TYPE_CHECKING:
    import onnx

_PREFIX, _SUFFIX = "net.", ".weight"
# Averages over channels, written as convolutions, of which nothing is learnt and nothing gained in int8; and what compares
# the frames themselves: of their differences, int8 would leave steps of two levels. Nor is enlarging learnt.
_EXACT = (".mean.weight", "detail.level.weight", "detail.local.weight", ".enlarging.weight")


@dataclass(frozen=True)
class ConvLayer:
    """One convolution.

    Args:
        name: Of the module.
        node: Name of its ONNX node.
        source, weight, result: Names of its input, weight and output tensors.
        joined: Its input is a concatenation.
    """

    name: str
    node: str
    source: str
    weight: str
    result: str
    joined: bool


def conv_layers(model: "onnx.ModelProto") -> list[ConvLayer]:
    """The network's convolutions in an ``onnx.ModelProto`` that may be quantised, in order.

    Raises:
        ModelError: There is none, the graph is quantised already, or it is not one of `ufa export`.
    """
    made_by = {output: node for node in model.graph.node for output in node.output}
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        raise ModelError("the graph has quantisers already: calibrate the fp32 or fp16 file it was made from.")
    layers = [
        ConvLayer(
            name=node.input[1].removeprefix(_PREFIX).removesuffix(_SUFFIX),
            node=node.name,
            source=node.input[0],
            weight=node.input[1],
            result=node.output[0],
            joined=_is_joined(made_by, node.input[0]),
        )
        for node in model.graph.node
        if node.op_type == "Conv" and not node.input[1].endswith(_EXACT)
    ]
    if not layers or len({layer.name for layer in layers}) != len(layers):
        raise ModelError(f"the graph has {len(layers)} convolutions of unclear names: export it with `ufa export`.")
    return layers


def _is_joined(made_by: dict[str, Any], tensor: str) -> bool:
    """Whether a tensor comes straight (casts aside) out of a concatenation."""
    node = made_by.get(tensor)
    while node is not None and node.op_type == "Cast":
        node = made_by.get(node.input[0])
    return node is not None and node.op_type == "Concat"
