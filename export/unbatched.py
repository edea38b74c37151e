"""Writing a graph of one pair without a batch: the two frames, which go through the encoder as a batch of two, go apart.

ncnn has no batch at all, and compilers for NPUs take no slices of one (Rockchip's list of operators says ``batchsize: 1``).
What is computed is the same; a reader that keeps weights by their use keeps the encoder's twice.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.errors import ModelError

if TYPE_CHECKING:
    import onnx

_ENDS = ("near", "far")


def unbatched(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Rewrite ``model``, whose sizes are fixed and whose batch is one, in place.

    Raises:
        ModelError: The graph does with its batch of two what cannot be taken apart.
    """
    import onnx

    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    apart = _Apart(constants)
    nodes = [each for node in model.graph.node for each in apart.of(node)]
    made = {output for node in nodes for output in node.output}
    for value in model.graph.output:
        if value.name not in made:
            raise ModelError(f"the graph's output {value.name} is a part of a batch: it cannot be written without one.")
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.value_info[:]
    return model


class _Apart:
    """Goes through the nodes in their order, and knows which tensors have been taken apart."""

    def __init__(self, constants: dict[str, NDArray[Any]]) -> None:
        self._constants = constants
        self._halves: dict[str, tuple[str, str]] = {}
        self._names: dict[str, str] = {}  # of parts of a batch, and which half they are

    def of(self, node: Any) -> list[Any]:  # noqa: ANN401 - protobuf's
        """The nodes in the place of one."""
        for index, name in enumerate(node.input):
            node.input[index] = self._names.get(name, name)
        if node.op_type == "Concat" and _attribute(node, "axis") == 0:
            return self._joined(node)
        if not any(name in self._halves for name in node.input):
            return [node]
        if node.op_type == "Slice" and self._axes(node) == [0]:
            return self._part(node)
        if node.op_type == "Split" and _attribute(node, "axis") == 0:
            self._names.update(zip(node.output, self._halves[node.input[0]], strict=True))
            return []
        return self._twice(node)

    def _joined(self, node: Any) -> list[Any]:  # noqa: ANN401
        if len(node.input) != len(_ENDS) or any(name in self._halves for name in node.input):
            raise ModelError(f"the graph joins {len(node.input)} tensors to a batch: only two frames can be taken apart.")
        self._halves[node.output[0]] = (node.input[0], node.input[1])
        return []

    def _axes(self, node: Any) -> list[int]:  # noqa: ANN401
        return [int(axis) for axis in self._constants[node.input[3]]] if len(node.input) > 3 else []

    def _part(self, node: Any) -> list[Any]:  # noqa: ANN401
        first, last = (int(self._constants[node.input[at]][0]) for at in (1, 2))
        chosen = self._halves[node.input[0]][first:last]
        if len(chosen) != 1:
            raise ModelError(f"the graph takes items {first} to {last} of a batch of two: that cannot be taken apart.")
        self._names[node.output[0]] = chosen[0]
        return []

    def _twice(self, node: Any) -> list[Any]:  # noqa: ANN401
        import onnx

        copies = []
        for index, end in enumerate(_ENDS):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = f"{node.name}_{end}" if node.name else ""
            copy.input[:] = [self._halves[name][index] if name in self._halves else name for name in node.input]
            copy.output[:] = [f"{name}_{end}" for name in node.output]
            copies.append(copy)
        for name, *pair in zip(node.output, *(copy.output for copy in copies), strict=True):
            self._halves[name] = (pair[0], pair[1])
        return copies


def _attribute(node: Any, name: str) -> Any:  # noqa: ANN401
    import onnx

    return next((onnx.helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), 0)


def batch_free(model: "onnx.ModelProto") -> bool:
    """Whether every tensor of a graph of fixed sizes has a first dimension of one (constants aside)."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    values = (*inferred.input, *inferred.output, *inferred.value_info)
    firsts = np.array([value.type.tensor_type.shape.dim[0].dim_value for value in values if value.type.tensor_type.shape.dim])
    return bool((firsts == 1).all())
