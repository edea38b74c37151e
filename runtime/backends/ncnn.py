"""ncnn: a small engine for Arm boards and phones, without a batch and of one layer a line of text.

float32 files are computed in float32; of files of halves the arithmetic is left to ncnn, which takes half where the CPU has it.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.artefact import Manifest
from ufafuse.runtime.backends.quietly import stdout_to_stderr
from ufafuse.runtime.cores import usable_cores
from ufafuse.runtime.errors import BackendError, ModelError
from ufafuse.runtime.session import Session, SessionOptions, check_given, check_own_precision, check_tensors

ncnn: Any = import_module("ncnn")  # its types know neither nets nor tensors


class NcnnSession(Session):
    """``X.ncnn.param`` and ``X.ncnn.bin`` on ncnn, on the CPU. One pair at a time; tensors have the names of the ONNX file."""

    backend = "ncnn"

    @classmethod
    def check(cls, model: Path, manifest: Manifest, options: SessionOptions) -> None:
        """Refuse another arithmetic than the file's own."""
        check_own_precision("ncnn", model, manifest, options)

    def __init__(self, model: Path, manifest: Manifest, options: SessionOptions, why: str) -> None:
        self.manifest, self.precision, self.why = manifest, manifest.precision, why
        self._net: Any = ncnn.Net()
        self._net.opt.num_threads = options.threads or usable_cores()
        half = manifest.precision == "fp16"
        for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
            setattr(self._net.opt, name, half and name != "use_bf16_storage")
        with stdout_to_stderr():
            if self._net.load_param(str(model)) or self._net.load_model(str(model.with_suffix(".bin"))):
                raise ModelError(f"ncnn {ncnn.__version__} cannot load {model.name}: export it again with this release.")
        check_tensors(model, manifest, self._net.input_names(), self._net.output_names())
        self._inputs, self._outputs = sorted(self._net.input_names()), list(self._net.output_names())

    def infer(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph; see `Session.infer`."""
        net = self._net
        if net is None:
            raise BackendError("the session was closed: open it again.")
        check_given(inputs, self._inputs, floats=True)
        run = net.create_extractor()
        # Arrays stay alive until they are copied: a Mat made of one does not hold it.
        arrays = {name: np.ascontiguousarray(_without_batch(name, value), np.float32) for name, value in inputs.items()}
        for name, array in arrays.items():
            run.input(name, ncnn.Mat(array).clone())
        results = {}
        for name in self._outputs:
            failed, result = run.extract(name)
            if failed:
                raise BackendError(f"ncnn failed at {name} (error {failed}): are the frames of the size it was exported for?")
            results[name] = np.array(result)[np.newaxis]
        return results

    def close(self) -> None:
        """Let go of the network. May be called twice."""
        self._net = None


def _without_batch(name: str, value: NDArray[Any]) -> NDArray[Any]:
    if len(value) != 1:
        raise BackendError(f"ncnn takes one pair at a time, {name} has {len(value)}: run them one by one.")
    return value[0]
