"""MNN: Alibaba's engine for phones and small boards."""

import importlib
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.artefact import Manifest
from ufafuse.runtime.backends.quietly import stdout_to_stderr
from ufafuse.runtime.cores import usable_cores
from ufafuse.runtime.errors import BackendError, ModelError
from ufafuse.runtime.session import Session, SessionOptions, check_given, check_own_precision, check_tensors

# Winograd's convolutions, which MNN takes by itself, lose three digits: 0.15 to 2 levels on noise, instead of 0.004.
_WINOGRAD, _OFF = 3, 0


class MnnSession(Session):
    """A ``.mnn`` file on MNN, on the CPU, in float32 (weights of halves are enlarged). One run at a time."""

    backend = "mnn"

    @classmethod
    def check(cls, model: Path, manifest: Manifest, options: SessionOptions) -> None:
        """Refuse another arithmetic than the file's own."""
        check_own_precision("MNN", model, manifest, options)

    def __init__(self, model: Path, manifest: Manifest, options: SessionOptions, why: str) -> None:
        self.manifest, self.precision, self.why = manifest, manifest.precision, why
        self._running = threading.Lock()
        inputs, self._outputs = (list(manifest.extra.get(key, ())) for key in ("inputs", "outputs"))
        check_tensors(model, manifest, inputs, self._outputs)
        self._inputs = inputs
        threads = options.threads or usable_cores()
        with stdout_to_stderr():  # it says what the CPU has
            self._mnn: Any = importlib.import_module("MNN")
            runtime = self._mnn.nn.create_runtime_manager(({"backend": "CPU", "numThread": threads, "precision": "high"},))
            runtime.set_hint(_WINOGRAD, _OFF)
            try:
                self._net: Any = self._mnn.nn.load_module_from_file(str(model), inputs, self._outputs, runtime_manager=runtime)
            except (RuntimeError, ValueError, TypeError) as error:
                raise ModelError(f"MNN cannot load {model.name} ({error}): export it again.") from error

    def infer(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph; see `Session.infer`."""
        check_given(inputs, self._inputs, floats=True)
        with self._running:
            net, expr = self._net, self._mnn.expr
            if net is None:
                raise BackendError("the session was closed: open it again.")
            arrays = [np.ascontiguousarray(inputs[name], np.float32) for name in self._inputs]
            given = [expr.const(array, list(array.shape), expr.data_format.NCHW) for array in arrays]
            results = net.onForward(given)
            if not results:
                raise BackendError("MNN gave no result: are the frames of the size that the file was exported for?")
            found = [np.array(expr.convert(result, expr.data_format.NCHW).read()) for result in results]
        return dict(zip(self._outputs, found, strict=True))

    def close(self) -> None:
        """Let go of the network. May be called twice."""
        with self._running:
            self._net = None
