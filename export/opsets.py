"""Writing a graph in an older opset than torch's exporter does, which begins at 18.

`onnx.version_converter` has no way down past Pad of opset 18, so the few operators that our graphs use are taken down here.
None of them means anything else in the older opset: what is left out says the default, and axes move from an input to an
attribute. Every node is then held against the older opset's own schema, so that nothing slips through that it does not know.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.errors import ModelError

if TYPE_CHECKING:
    import onnx

TRACED_FROM = 18  # the oldest opset that torch's exporter writes by itself

Constants = Mapping[str, NDArray[Any]]

# Attributes that came later, and the values at which they change nothing.
_NEW: dict[str, dict[str, tuple[Any, ...]]] = {
    "Resize": {"antialias": (0,), "keep_aspect_ratio_policy": (b"stretch",)},
    "Split": {"num_outputs": ()},
    "ReduceMax": {"noop_with_empty_axes": (0,)},
    "ReduceMean": {"noop_with_empty_axes": (0,)},
    "AveragePool": {"dilations": ([1, 1],)},
    "Reshape": {"allowzero": (0,)},
    "Cast": {"saturate": (1,)},
    "QuantizeLinear": {"saturate": (1,)},
}


def lowered(model: "onnx.ModelProto", opset: int) -> "onnx.ModelProto":
    """Take ``model`` down to ``opset``, in place; newer ones it leaves as they are.

    Raises:
        ModelError: An operator needs what the opset does not have.
    """
    import onnx

    (entry,) = (entry for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if entry.version > opset:
        constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        nodes: list[Any] = []
        for node in model.graph.node:
            nodes += _LOWER.get(node.op_type, _as_it_is)(node, constants, model.graph, opset)
        for node in nodes:
            _without_new(node, opset)
            _check(node, opset)
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        entry.version = opset
    _drop_unused(model.graph)
    model.ir_version = onnx.helper.find_min_ir_version_for([entry])  # older readers refuse newer ones unread
    return model


def _as_it_is(node: Any, _constants: Constants, _graph: Any, _opset: int) -> list[Any]:  # noqa: ANN401 - protobuf's
    return [node]


def _reduced(node: Any, constants: Constants, _graph: Any, opset: int) -> list[Any]:  # noqa: ANN401
    """Axes were an attribute before 18."""
    import onnx

    if opset < 18 and len(node.input) > 1 and node.input[1]:
        axes = [int(axis) for axis in constants[node.input[1]]]
        del node.input[1:]
        node.attribute.append(onnx.helper.make_attribute("axes", axes))
    return [node]


def _shape(node: Any, _constants: Constants, graph: Any, opset: int) -> list[Any]:  # noqa: ANN401
    """A part of a shape is a slice of it before 15."""
    import onnx

    ends = {entry.name: entry.i for entry in node.attribute}
    if opset >= 15 or not ends:
        return [node]
    name = node.output[0]
    whole = onnx.helper.make_node("Shape", [node.input[0]], [f"{name}_whole"])
    bounds = {"start": ends.get("start", 0), "end": ends.get("end", np.iinfo(np.int64).max)}
    for key, value in bounds.items():
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([value], np.int64), f"{name}_{key}"))
    part = onnx.helper.make_node("Slice", [f"{name}_whole", f"{name}_start", f"{name}_end"], [name])
    return [whole, part]


_LOWER: dict[str, Callable[[Any, Constants, Any, int], list[Any]]] = {
    "ReduceMax": _reduced,
    "ReduceMean": _reduced,
    "Shape": _shape,
}


def _without_new(node: Any, opset: int) -> None:  # noqa: ANN401
    """Leave out attributes that the opset does not know, where they say what it does anyway."""
    import onnx

    known = onnx.defs.get_schema(node.op_type, opset, "").attributes
    for entry in list(node.attribute):
        silent = _NEW.get(node.op_type, {}).get(entry.name)
        if entry.name not in known and silent is not None:
            value = onnx.helper.get_attribute_value(entry)
            if not silent or value in silent:
                node.attribute.remove(entry)


def _check(node: Any, opset: int) -> None:  # noqa: ANN401
    """Raises: ModelError for an attribute, or more inputs, than the opset's schema has."""
    import onnx

    schema = onnx.defs.get_schema(node.op_type, opset, "")
    strange = [entry.name for entry in node.attribute if entry.name not in schema.attributes]
    if strange or len(node.input) > schema.max_input:
        what = f"attribute {strange[0]}" if strange else f"input {len(node.input)}"
        raise ModelError(f"the graph needs {what} of {node.op_type}, which opset {opset} does not have: take a newer one.")


def _drop_unused(graph: Any) -> None:  # noqa: ANN401
    """Constants that no node reads any more."""
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    if len(kept) < len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(kept)
