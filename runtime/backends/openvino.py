"""OpenVINO: the fastest engine on x86-64 CPUs, with bf16 where the CPU has it."""

import threading
from pathlib import Path
from typing import Any

import openvino as ov
from numpy.typing import NDArray

from ufafuse.runtime.artefact import Manifest
from ufafuse.runtime.errors import BackendError, ModelError
from ufafuse.runtime.session import Session, SessionOptions

_TYPES = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def cpu_capabilities() -> list[str]:
    """What OpenVINO finds on this CPU, such as ``["FP32", "INT8", "BF16"]``."""
    return list(ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


class OpenVinoSession(Session):
    """An ONNX file on OpenVINO's CPU plugin. float32 parts run in bf16 by themselves where the CPU has it."""

    backend = "openvino"

    def __init__(self, model: Path, manifest: Manifest, options: SessionOptions, why: str) -> None:
        core = ov.Core()
        native_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        arithmetic = _arithmetic(model, manifest, options, native_bf16=native_bf16)
        self.manifest = manifest
        self.precision = f"int8+{arithmetic}" if manifest.precision == "int8" else arithmetic
        self.why = f"{why}; {'bf16 found on this CPU' if arithmetic == 'bf16' else f'{arithmetic} arithmetic'}"
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _TYPES[arithmetic],
            "ENABLE_CPU_PINNING": options.pin,
        }
        if options.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = options.threads
        try:
            self._compiled = core.compile_model(core.read_model(str(model)), "CPU", settings)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot load {model}: {_first_line(error)}") from error
        self._outputs = [output.get_any_name() for output in self._compiled.outputs]
        self._local = threading.local()

    def infer(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph; see `Session.infer`. Each thread has a request of its own."""
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        try:
            values = self._local.request.infer(inputs, share_inputs=True)
        except RuntimeError as error:
            raise BackendError(f"OpenVINO failed: {_first_line(error)}") from error
        return {name: values[name].copy() for name in self._outputs}


def _arithmetic(model: Path, manifest: Manifest, options: SessionOptions, *, native_bf16: bool) -> str:
    """The type of the graph's floating-point parts: what was asked, or bf16 where it is native, or fp32."""
    asked = options.precision
    if asked == "int8":
        if manifest.precision != "int8":
            raise BackendError(f"{model.name} is {manifest.precision}: run `ufa calibrate {model.name}` for an int8 one.")
        asked = None
    if asked == "bf16" and not native_bf16:
        raise BackendError("--precision bf16 asks for instructions that this CPU has not: use fp32 or int8.")
    if asked == "fp16":
        raise BackendError("OpenVINO computes float16 in float32 on a CPU: use fp32 or bf16.")
    return asked or ("bf16" if native_bf16 else "fp32")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
