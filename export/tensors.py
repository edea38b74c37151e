"""Every tensor inside a graph, by name: of an ONNX file in an engine, and of the PyTorch graph it was exported from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from ufafuse.export.form import Form
from ufafuse.export.graphs import Io, io_of
from ufafuse.export.onnx_file import load_graph
from ufafuse.export.signatures import graph_kind, signature
from ufafuse.export.tracing import program_of, renumbered
from ufafuse.network.base import Network
from ufafuse.runtime.artefact import Manifest
from ufafuse.runtime.errors import BackendError
from ufafuse.runtime.fixed import fixed_batch, fixed_size

if TYPE_CHECKING:
    import onnx

Tensors = dict[str, NDArray[Any]]
PROBED = ("onnxruntime", "openvino")


def tensors_of_file(path: Path, inputs: Mapping[str, NDArray[Any]], *, backend: str, precision: str | None = None) -> Tensors:
    """What every node of an ONNX file gives, floating-point tensors only.

    Args:
        path: The file.
        inputs: Arrays by input name.
        backend: One of `PROBED`. ONNX Runtime runs the graph as it stands, without its optimisations.
        precision: OpenVINO's arithmetic: ``"bf16"`` or ``"fp32"``; None: fp32.

    Raises:
        BackendError: The engine cannot show its tensors, or failed.
    """
    model = load_graph(path)
    names = [name for node in model.graph.node for name in node.output if name]
    try:
        found = _in_openvino(path, names, inputs, precision) if backend == "openvino" else _in_onnxruntime(model, names, inputs)
    except Exception as error:  # neither has a base class of its own
        raise BackendError(
            f"{backend} does not show the tensors of {path.name}: {str(error).strip().splitlines()[-1]}"
        ) from error
    return {name: value for name, value in found.items() if value.dtype.kind == "f"}


def _in_onnxruntime(model: "onnx.ModelProto", names: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> Tensors:
    import onnxruntime as ort

    told = {value.name for value in model.graph.output}
    for name in names:
        if name not in told:
            model.graph.output.add(name=name)
    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    results: Any = session.run(list(names), dict(inputs))
    return dict(zip(names, results, strict=True))


def _in_openvino(path: Path, names: Sequence[str], inputs: Mapping[str, NDArray[Any]], precision: str | None) -> Tensors:
    from ufafuse.runtime.backends.openvino_api import ov

    core = ov.Core()
    model = core.read_model(str(path))
    present = {name for operator in model.get_ordered_ops() for port in operator.outputs() for name in port.get_names()}
    told = {name for port in model.outputs for name in port.get_names()}
    model.add_outputs([name for name in names if name in present and name not in told])
    kind = {"bf16": "bf16"}.get(precision or "", "f32")
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": kind})
    results = compiled(dict(inputs))
    return {name: results[port] for port in compiled.outputs for name in port.get_names() if name in set(names)}


def tensors_of_network(net: Network, manifest: Manifest, inputs: Mapping[str, NDArray[Any]]) -> tuple[Tensors, dict[str, str]]:
    """What PyTorch computes in float32 at every step of the graph that a file was exported as.

    Args:
        net: The network.
        manifest: The file's: its role, io and form.
        inputs: Arrays by input name.

    Returns:
        The tensors by the names that the exporter gives them, and the kind of step that each comes from, such as ``"conv2d"``.
    """
    role, layout = manifest.role, io_of(manifest)
    form = Form(size=fixed_size(manifest), batch=fixed_batch(manifest))
    known = signature(role, layout, net.spec, form)
    recorder = _Recorder(_traced(net, (role, layout, form)))
    with torch.inference_mode():
        results = recorder.run(*(torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in known.inputs))
    outputs = dict(zip(known.outputs, results if isinstance(results, tuple | list) else (results,), strict=True))
    tensors = recorder.found | {name: value.numpy() for name, value in outputs.items()}
    return tensors, recorder.kinds | dict.fromkeys(outputs, "output")


_Kind = tuple[str, Io, Form]
_TRACED: "WeakKeyDictionary[Network, tuple[list[tuple[int, int]], dict[_Kind, torch.fx.GraphModule]]]" = WeakKeyDictionary()


def _traced(net: Network, kind: _Kind) -> torch.fx.GraphModule:
    """The steps of the network as they are exported; traced once for one file after another: it takes longer than all else."""
    tensors = [*net.parameters(), *net.buffers()]
    weights = [(value.data_ptr(), 0 if value.is_inference() else value._version) for value in tensors]  # noqa: SLF001
    if net not in _TRACED or _TRACED[net][0] != weights:
        _TRACED[net] = weights, {}
    traced = _TRACED[net][1]
    if kind not in traced:
        role, layout, form = kind
        known = signature(role, layout, net.spec, form)
        program = renumbered(program_of(graph_kind(role, net.spec)(net, io=layout), known.inputs, known.free))
        traced[kind] = program.module()
    return traced[kind]


class _Recorder(torch.fx.Interpreter):
    """Runs a traced module and keeps what each step gives."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module)
        self.found: Tensors = {}
        self.kinds: dict[str, str] = {}

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401
        """As the base class's, without the exporter's guards: they hold sizes apart that the steps do not."""
        return None if target == "_guards_fn" else super().call_module(target, args, kwargs)

    def run_node(self, n: torch.fx.Node) -> Any:  # noqa: ANN401 - as the base class
        """As the base class's."""
        result = super().run_node(n)
        if n.op == "call_function" and isinstance(result, torch.Tensor) and result.dtype.is_floating_point:
            self.found[n.name] = result.numpy()
            self.kinds[n.name] = str(n.target).removeprefix("aten.").split(".")[0]
        return result
