"""ONNX Runtime: the engine that runs anywhere."""

from pathlib import Path
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

from ufafuse.runtime.artefact import Manifest
from ufafuse.runtime.errors import BackendError, ModelError
from ufafuse.runtime.session import Session, SessionOptions

_ERRORS_ONLY = 3


class OnnxRuntimeSession(Session):
    """An ONNX file on ONNX Runtime. The arithmetic is the file's own: it has no bf16 for a float32 graph."""

    backend = "onnxruntime"

    def __init__(self, model: Path, manifest: Manifest, options: SessionOptions, why: str) -> None:
        self.manifest, self.why = manifest, why
        self.precision = manifest.precision
        if options.precision not in (None, manifest.precision):
            raise BackendError(
                f"ONNX Runtime runs {model.name} as {manifest.precision}, not {options.precision}: "
                f"give a file of that precision, or --backend openvino for bf16."
            )
        settings = ort.SessionOptions()
        settings.log_severity_level = _ERRORS_ONLY
        if options.threads is not None:
            settings.intra_op_num_threads = options.threads
        try:
            self._session = ort.InferenceSession(str(model), settings, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelError(f"ONNX Runtime cannot load {model}: {error}") from error
        self._outputs = [output.name for output in self._session.get_outputs()]

    def infer(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph; see `Session.infer`."""
        try:
            values = self._session.run(self._outputs, inputs)
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed: {error}") from error
        return dict(zip(self._outputs, values, strict=True))
