"""ExecuTorch: PyTorch's own files for phones and boards, lowered to XNNPACK."""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from ufafuse.export.formats.base import SourceGraph, hushed
from ufafuse.runtime.artefact import Manifest
from ufafuse.runtime.errors import BackendError, ModelError
from ufafuse.runtime.session import Session, SessionOptions, check_own_precision


def convert(source: SourceGraph, out: Path) -> None:
    """Write ``out``: what XNNPACK has runs there, the rest in ExecuTorch's own kernels."""
    with hushed():
        partitioner = import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner").XnnpackPartitioner
        lower: Any = import_module("executorch.exir").to_edge_transform_and_lower
        lowered = lower(_in_order(source), partitioner=[partitioner()])
        out.write_bytes(lowered.to_executorch().buffer)


def _in_order(source: SourceGraph) -> torch.export.ExportedProgram:
    """The graph with each permuted tensor brought into its new order in memory too.

    Else its order is handed on to what is computed from it; XNNPACK's results have their channels first all the same, and the
    kernels in between refuse to mix the two.
    """
    module = source.program().module()
    assert isinstance(module, torch.fx.GraphModule)
    for node in list(module.graph.nodes):
        if node.target == torch.ops.aten.permute.default:
            with module.graph.inserting_after(node):
                ordered = module.graph.call_function(torch.ops.aten.contiguous.default, (node,))
            node.replace_all_uses_with(ordered, delete_user_cb=lambda user, own=ordered: user is not own)
    module.recompile()
    return torch.export.export(module, source.examples())


class ExecuTorchSession(Session):
    """A ``.pte`` file in ExecuTorch's runtime for Python, on the CPU; how many threads it takes is its own."""

    backend = "executorch"

    def __init__(self, model: Path, manifest: Manifest, options: SessionOptions, why: str = "asked for") -> None:
        check_own_precision("ExecuTorch", model, manifest, options)
        self.manifest, self.precision, self.why = manifest, manifest.precision, why
        self._inputs, self._outputs = manifest.extra["inputs"], manifest.extra["outputs"]
        with hushed():
            runtime: Any = import_module("executorch.runtime").Runtime
            try:
                self._program: Any = runtime.get().load_program(model)
                self._method: Any = self._program.load_method("forward")
            except (RuntimeError, ValueError) as error:
                raise ModelError(f"ExecuTorch cannot load {model.name} ({error}): export it again.") from error

    def infer(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph; see `Session.infer`."""
        try:
            found = self._method.execute([torch.from_numpy(inputs[name]) for name in self._inputs])
        except RuntimeError as error:
            raise BackendError(f"ExecuTorch failed: {str(error).strip().splitlines()[-1]}") from error
        # Its memory is overwritten by the next run.
        return {name: tensor.numpy().copy() for name, tensor in zip(self._outputs, found, strict=True)}
