"""LiteRT, formerly TensorFlow Lite: the engine of Android, in ``.tflite`` files."""

import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.artefact import Manifest
from ufafuse.runtime.cores import usable_cores
from ufafuse.runtime.errors import BackendError, ModelError
from ufafuse.runtime.session import Session, SessionOptions, check_given, check_own_precision, check_tensors


class LiteRtSession(Session):
    """A ``.tflite`` file on LiteRT's CPU kernels (XNNPACK). One run at a time."""

    backend = "litert"

    @classmethod
    def check(cls, model: Path, manifest: Manifest, options: SessionOptions) -> None:
        """Refuse another arithmetic than the file's own."""
        check_own_precision("LiteRT", model, manifest, options)

    def __init__(self, model: Path, manifest: Manifest, options: SessionOptions, why: str) -> None:
        self.manifest, self.precision, self.why = manifest, manifest.precision, why
        self._running = threading.Lock()
        try:
            self._engine: Any = import_module("ai_edge_litert.interpreter").Interpreter(
                str(model), num_threads=options.threads or usable_cores()
            )
            self._engine.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"LiteRT cannot load {model.name} ({error}): export it again.") from error
        (signature,) = self._engine.get_signature_list().values()
        self._run = self._engine.get_signature_runner()
        # A graph's tensors are called args_0, args_1 and output_0, output_1: in the order that the manifest names them in.
        names = (list(manifest.extra.get(key, ())) for key in ("inputs", "outputs"))
        self._inputs, self._outputs = (
            dict(zip(names_of, sorted(signature[key], key=_number), strict=False))
            for names_of, key in zip(names, ("inputs", "outputs"), strict=True)
        )
        check_tensors(model, manifest, self._inputs, self._outputs)

    def infer(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph; see `Session.infer`."""
        check_given(inputs, self._inputs, floats=True)
        with self._running:
            if self._run is None:
                raise BackendError("the session was closed: open it again.")
            try:
                found = self._run(**{self._inputs[name]: np.ascontiguousarray(value) for name, value in inputs.items()})
            except (ValueError, RuntimeError) as error:
                raise BackendError(f"LiteRT failed: {error}") from error
        return {name: np.array(found[own]) for name, own in self._outputs.items()}

    def close(self) -> None:
        """Let go of the network. May be called twice."""
        with self._running:
            self._run = self._engine = None


def _number(name: str) -> int:
    return int(name.rsplit("_", 1)[-1])
