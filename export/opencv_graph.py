"""Writing a graph of fixed sizes as OpenCV's dnn module computes it, found by trying (4.9 to 5.0).

- Its classic importer takes no Unsqueeze of several axes: a Reshape says the same.
- Before 5.0 it does not look at a convolution's weights for its size, which torch before 2.8 leaves to them.
- Its new engine (5.0) keeps features in blocks of channels, and fails where such a tensor meets one of a single channel: a
  convolution of ones repeats the one channel, which is exact.
- Its bilinear Resize reads beyond the end of a picture of one row or one column, and gives what it finds there: along such a
  side there is nothing to interpolate, and the pixels are repeated.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

_ELEMENTWISE = ("Add", "Sub", "Mul", "Div")
_CONVOLUTIONS = ("Conv", "ConvTranspose")


def for_opencv(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Rewrite ``model``, whose sizes are fixed, in place."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.input, *inferred.output, *inferred.value_info)
    }
    weights = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    nodes: list[Any] = []
    for node in model.graph.node:
        if node.op_type == "Unsqueeze":
            _as_reshape(node, shapes, model.graph)
        elif node.op_type in _CONVOLUTIONS and all(entry.name != "kernel_shape" for entry in node.attribute):
            node.attribute.append(onnx.helper.make_attribute("kernel_shape", weights[node.input[1]][2:]))
        elif node.op_type == "Resize":
            nodes += _repeating_single(node, shapes, model.graph)
        elif node.op_type in _ELEMENTWISE:
            nodes += _repeating(node, shapes, model.graph)
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _repeating_single(node: Any, shapes: dict[str, list[int]], graph: Any) -> list[Any]:  # noqa: ANN401
    """The resize that repeats the one row or column there is; to the node the other side is left."""
    import onnx

    given, wanted = shapes[node.input[0]], shapes[node.output[0]]
    if len(given) != 4 or 1 not in given[2:]:
        return []
    between = [*given[:2], *(out if side == 1 else side for side, out in zip(given[2:], wanted[2:], strict=True))]
    name = f"{node.output[0]}_row"
    for what, start, end in (("once", given, between), ("rest", between, wanted)):
        factors = np.array([out / side for side, out in zip(start, end, strict=True)], np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(factors, f"{name}_{what}"))
    plain = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    repeat = onnx.helper.make_node("Resize", [node.input[0], "", f"{name}_once"], [name], **plain)
    node.input[:] = [name, "", f"{name}_rest"]
    return [repeat]


def _as_reshape(node: Any, shapes: dict[str, list[int]], graph: Any) -> None:  # noqa: ANN401 - protobuf's
    import onnx

    name = f"{node.output[0]}_shape"
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(shapes[node.output[0]], np.int64), name))
    node.op_type, node.input[1] = "Reshape", name


def _repeating(node: Any, shapes: dict[str, list[int]], graph: Any) -> list[Any]:  # noqa: ANN401
    """The convolution that repeats the operand of one channel, where the other one has several; the node takes its result."""
    import onnx

    first, second = (shapes.get(name, []) for name in node.input)
    if len(first) != 4 or len(second) != 4 or first[2:] != second[2:] or min(first[1], second[1]) != 1:
        return []
    channels = max(first[1], second[1])
    if channels == 1:
        return []
    narrow = 0 if first[1] == 1 else 1
    name, ones = f"{node.output[0]}_repeated", f"{node.output[0]}_ones"
    graph.initializer.append(onnx.numpy_helper.from_array(np.ones((channels, 1, 1, 1), np.float32), ones))
    repeat = onnx.helper.make_node("Conv", [node.input[narrow], ones], [name], kernel_shape=[1, 1])
    node.input[narrow] = name
    return [repeat]
