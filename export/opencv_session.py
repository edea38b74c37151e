"""Running an ONNX file in OpenCV's dnn module, to check one that was made for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.export.onnx_file import load_graph
from ufafuse.runtime.artefact import Manifest
from ufafuse.runtime.errors import BackendError, ModelError
from ufafuse.runtime.opencv import set_log_level
from ufafuse.runtime.session import Session


class OpenCvSession(Session):
    """An ONNX file in ``cv2.dnn``. One run at a time.

    Winograd's convolutions, which it takes by itself, are off: they cost a digit or two, which is the module's own and says
    nothing about the file.

    Raises:
        ModelError: OpenCV cannot load the file.
    """

    backend = "opencv"

    def __init__(self, model: Path, manifest: Manifest) -> None:
        self.manifest, self.precision, self.why = manifest, manifest.precision, "asked for"
        self._outputs = [value.name for value in load_graph(model).graph.output]
        try:
            with _quiet():
                self._net = cv2.dnn.readNetFromONNX(str(model))
        except cv2.error as error:
            raise ModelError(f"OpenCV {cv2.__version__} cannot load {model.name}: {_last_line(error)}") from error
        if hasattr(self._net, "enableWinograd"):
            self._net.enableWinograd(useWinograd=False)

    def infer(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph; see `Session.infer`."""
        try:
            for name, value in inputs.items():
                self._net.setInput(value, name)
            with _quiet():
                results = self._net.forward(self._outputs)
        except cv2.error as error:
            raise BackendError(f"OpenCV {cv2.__version__} failed: {_last_line(error)}") from error
        return {name: np.array(value) for name, value in zip(self._outputs, results, strict=True)}


@contextmanager
def _quiet() -> Iterator[None]:
    """It prints what it then raises."""
    before = set_log_level(0)
    try:
        yield
    finally:
        set_log_level(before)


def _last_line(error: cv2.error) -> str:
    lines = [line.strip(" >\t") for line in str(error).splitlines() if line.strip(" >\t")]
    return lines[-1] if lines else "it does not say why"
