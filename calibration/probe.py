"""Looking at tensors inside a graph."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.errors import ModelError

if TYPE_CHECKING:
    import onnx


class Probe:
    """Runs a graph and gives inner tensors.

    Args:
        model: An ``onnx.ModelProto``; it is not changed.
        tensors: Names of the tensors to give.

    Raises:
        ModelError: ONNX Runtime does not take the graph.
    """

    def __init__(self, model: "onnx.ModelProto", tensors: Sequence[str]) -> None:
        import onnx
        import onnxruntime as ort

        self._tensors = list(dict.fromkeys(tensors))
        watched = copy.deepcopy(model)
        known = {value.name for value in (*watched.graph.output, *watched.graph.input)}
        watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self._tensors if name not in known)
        try:
            self._session = ort.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
        except Exception as error:  # what it raises has no base class of its own
            raise ModelError(f"the graph cannot be run ({' '.join(str(error).split())[:200]}): export it again.") from error
        self._outputs = [name for name in self._tensors if name in {output.name for output in self._session.get_outputs()}]

    def __call__(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The tensors' values for one set of inputs; a watched graph input is given back."""
        values = dict(zip(self._outputs, map(np.asarray, self._session.run(self._outputs, inputs)), strict=True))
        return {**{name: inputs[name] for name in self._tensors if name in inputs}, **values}
