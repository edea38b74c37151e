"""ncnn, by its makers' converter pnnx: ``X.ncnn.param``, a text of layers, and ``X.ncnn.bin``, their weights."""

import importlib.util
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from ufafuse.export.formats.base import SourceGraph, run_tool
from ufafuse.export.unbatched import unbatched
from ufafuse.runtime.errors import BackendError

if TYPE_CHECKING:
    import onnx

_COUNTS = 2  # where a layer's line has the numbers of its inputs and outputs; their names follow


def convert(source: SourceGraph, out: Path) -> None:
    """Write ``out`` and its weights; tensors keep their names."""
    import onnx

    graph = with_slices(unbatched(source.onnx()))
    with TemporaryDirectory() as folder:
        onnx.save(graph, Path(folder) / "graph.onnx")
        run_tool("ncnn", [_pnnx(), "graph.onnx", f"fp16={int(source.half)}"], Path(folder))
        made = [Path(folder) / f"graph.ncnn.{part}" for part in ("param", "bin")]
        if not all(path.is_file() for path in made):
            raise BackendError("ncnn's converter wrote no network: it knows an operator of this graph no more.")
        names = {f"in{index}": name for index, name in enumerate(source.signature.inputs)}
        names |= {f"out{index}": name for index, name in enumerate(source.signature.outputs)}
        out.write_text(renamed(made[0].read_text(encoding="utf-8"), names), encoding="utf-8")
        out.with_suffix(".bin").write_bytes(made[1].read_bytes())


def _pnnx() -> str:
    """The converter's program; its Python module would load PyTorch only to call it."""
    found = importlib.util.find_spec("pnnx")
    assert found is not None
    assert found.submodule_search_locations is not None
    return str(Path(found.submodule_search_locations[0]) / "pnnx")


def renamed(text: str, names: dict[str, str]) -> str:
    """A ``.param`` file whose tensors have other names; layers and weights are as they were."""
    head, lines = text.splitlines()[:_COUNTS], text.splitlines()[_COUNTS:]
    told = []
    for line in lines:
        words = line.split()
        first = _COUNTS + 2
        last = first + int(words[_COUNTS]) + int(words[_COUNTS + 1])
        words[first:last] = [names.get(word, word) for word in words[first:last]]
        if words[0] == "Input":
            words[1] = words[first]
        told.append(" ".join(words))
    return "\n".join([*head, *told]) + "\n"


def with_slices(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Write each Split as slices: of equal parts pnnx loses the sizes, and ncnn ends the process over it."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes = {value.name: value.type.tensor_type.shape.dim for value in (*inferred.value_info, *inferred.output)}
    nodes = []
    for node in model.graph.node:
        if node.op_type != "Split":
            nodes.append(node)
            continue
        axis, start = next((entry.i for entry in node.attribute if entry.name == "axis"), 0), 0
        for output in node.output:
            end = start + shapes[output][axis].dim_value
            bounds = {f"{output}_start": start, f"{output}_end": end, f"{output}_axis": axis}
            for name, value in bounds.items():
                model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([value], np.int64), name))
            nodes.append(onnx.helper.make_node("Slice", [node.input[0], *bounds], [output]))
            start = end
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
