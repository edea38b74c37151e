"""How far a quantised graph lies from the graph it was made from, on frames it was not calibrated on."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.calibration.crops import PairCrop
from ufafuse.calibration.ranges import model_inputs
from ufafuse.export.onnx_file import stamped
from ufafuse.runtime.checks.tolerances import psnr
from ufafuse.runtime.errors import BackendError
from ufafuse.runtime.session import SessionOptions, installed, open_session

if TYPE_CHECKING:
    import onnx

_ENGINES = ("onnxruntime", "openvino")


def cpu_engines() -> list[str]:
    """The CPU engines installed here: a quantised file has to hold on each of them.

    Raises:
        BackendError: There is none.
    """
    engines = [engine for engine in _ENGINES if installed(engine)]
    if not engines:
        raise BackendError("no CPU engine is installed to calibrate with: run `pip install 'ufafuse[cpu]'`.")
    return engines


class GraphJudge:
    """Compares graphs with one source graph on the same frames.

    Args:
        source: The file to be quantised; its own results, on ONNX Runtime or else OpenVINO in float32, are the reference.
        crops: The frames.
        threads: CPU threads; None: the engines choose.
    """

    def __init__(self, source: Path, crops: Sequence[PairCrop], *, threads: int | None = None) -> None:
        self.engines = cpu_engines()
        self._threads = threads
        with open_session(source, backend=self.engines[0], options=self._options("fp32")) as session:
            self._io = session.manifest.io
            self._inputs = [model_inputs(crop, self._io) for crop in crops]
            self._expected = [_levels(session.infer(inputs)["fused"]) for inputs in self._inputs]

    def _options(self, precision: str | None) -> SessionOptions:
        # ONNX Runtime has the file's own arithmetic; OpenVINO would otherwise take bf16 where it can.
        return SessionOptions(precision=precision if self.engines[0] == "openvino" else None, threads=self._threads)

    def worst(self, model: "onnx.ModelProto", engines: Sequence[str] | None = None) -> float:
        """Worst PSNR in dB over frames and engines of an ``onnx.ModelProto`` with a manifest; 0 where it is not finite."""
        with tempfile.TemporaryDirectory(prefix="ufafuse-") as folder:
            path = Path(folder) / "candidate.onnx"
            path.write_bytes(stamped(model))
            return min(self.on_engine(path, engine) for engine in engines or self.engines)

    def on_engine(self, path: Path, engine: str) -> float:
        """Worst PSNR in dB of a file on one engine."""
        with open_session(path, backend=engine, options=SessionOptions(threads=self._threads)) as session:
            return min(
                agreement(_levels(session.infer(inputs)["fused"]), expected)
                for inputs, expected in zip(self._inputs, self._expected, strict=True)
            )


def _levels(fused: NDArray[Any]) -> NDArray[np.float32]:
    return fused.astype(np.float32) if fused.dtype == np.uint8 else fused * np.float32(255)


def agreement(result: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """PSNR in dB of results in 8-bit levels; 0 where one is no number."""
    return psnr(float(np.square(result - expected, dtype=np.float64).mean())) if np.isfinite(result).all() else 0.0
