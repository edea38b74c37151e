"""TorchScript: a file that PyTorch runs without this package, from Python and from C++ (libtorch)."""

import warnings
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from ufafuse.export.formats.base import SourceGraph
from ufafuse.runtime.artefact import Manifest
from ufafuse.runtime.errors import BackendError, ModelError
from ufafuse.runtime.session import Session, SessionOptions, check_own_precision


def convert(source: SourceGraph, out: Path) -> None:
    """Trace the module; sizes that its steps are computed from stay free."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of what a trace could fix: the checks run other sizes
        traced = torch.jit.trace(source.module, source.examples(), check_trace=False)
        torch.jit.save(traced, str(out), _extra_files=source.manifest.to_metadata())


class TorchScriptSession(Session):
    """A ``.torchscript`` file in PyTorch, on the CPU."""

    backend = "torchscript"

    def __init__(self, model: Path, manifest: Manifest, options: SessionOptions, why: str = "asked for") -> None:
        check_own_precision("PyTorch", model, manifest, options)
        self.manifest, self.precision, self.why = manifest, manifest.precision, why
        self._inputs, self._outputs = manifest.extra["inputs"], manifest.extra["outputs"]
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._module: Any = torch.jit.load(str(model)).eval()
        except RuntimeError as error:
            raise ModelError(f"PyTorch cannot load {model.name} ({str(error).splitlines()[0]}): export it again.") from error

    def infer(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph; see `Session.infer`."""
        try:
            with torch.inference_mode():
                found = self._module(*(torch.from_numpy(inputs[name]) for name in self._inputs))
        except RuntimeError as error:
            raise BackendError(f"PyTorch failed: {str(error).strip().splitlines()[-1]}") from error
        tensors = [found] if isinstance(found, torch.Tensor) else list(found)
        return {name: tensor.numpy() for name, tensor in zip(self._outputs, tensors, strict=True)}
