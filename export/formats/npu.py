"""ONNX as compilers for NPUs take it: sizes fixed, no batch, an opset they know, and only operators of their published lists.

The compilers want releases of NumPy and PyTorch of their own; what they do with the file is on the page about NPUs.
"""

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ufafuse.export.formats.base import SourceGraph
from ufafuse.export.formats.ncnn import with_slices
from ufafuse.export.onnx_file import stamped
from ufafuse.export.unbatched import batch_free, unbatched
from ufafuse.runtime.errors import ModelError

if TYPE_CHECKING:
    import onnx

_MINUS_ONE = "minus_one"


def convert(source: SourceGraph, out: Path) -> None:
    """Write ``out``, whose every operator is on the list of the format that its manifest names."""
    import onnx

    graph = unbatched(source.onnx())
    if not batch_free(graph):
        raise ModelError("the graph has tensors of several items, which NPUs do not take: export it as plain ONNX.")
    listed = operators_for(source.manifest.extra["format"])
    for operator, otherwise in _OTHERWISE.items():
        if operator in not_listed(graph, listed):
            graph = otherwise(graph)
    if strange := not_listed(graph, listed):
        raise ModelError(f"{listed['title']} {listed['release']} does not list {', '.join(strange)}, which this network needs.")
    onnx.checker.check_model(without_leftovers(graph), full_check=True)
    out.write_bytes(stamped(graph))


def with_products(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Write each Neg of a float32 graph as a product with -1, in place."""
    import onnx

    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1], np.float32), _MINUS_ONE))
    for node in model.graph.node:
        if node.op_type == "Neg":
            node.op_type = "Mul"
            node.input.append(_MINUS_ONE)
    return model


def without_leftovers(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Leave out, in place, the constants that nothing takes any more: ONNX Runtime would warn of each one at each start."""
    taken = {name for node in model.graph.node for name in node.input}
    constants = [tensor for tensor in model.graph.initializer if tensor.name in taken]
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants)
    return model


# What does the work of operators that a list may lack.
_OTHERWISE: dict[str, "Callable[[onnx.ModelProto], onnx.ModelProto]"] = {"Split": with_slices, "Neg": with_products}


def operators_for(name: str) -> dict[str, Any]:
    """A compiler's published list: ``title``, ``release``, ``source``, ``opset`` (at most), ``operators``."""
    found: dict[str, Any] = json.loads(
        (resources.files("ufafuse.export.formats") / "operators.json").read_text(encoding="utf-8")
    )[name]
    return found


def not_listed(model: "onnx.ModelProto", listed: dict[str, Any]) -> list[str]:
    """Operators of a graph that a list does not have."""
    return sorted({node.op_type for node in model.graph.node} - set(listed["operators"]))
