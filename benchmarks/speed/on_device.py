"""Fair peers on a device: PyTorch and ONNX Runtime with their frames there, the copies and the computation timed apart.

On a GPU they run as well as they can be run without building anything: in half precision, channels last, through
``torch.compile`` with CUDA graphs, with inputs and outputs bound. On a CPU the same code runs, so that it is tried everywhere.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ufafuse.benchmarks.speed.inputs import batch
from ufafuse.benchmarks.speed.runners import Runner, RunnerSpec, require, weights_beside
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import BackendError

DEVICES = ("cuda", "cpu")
EAGER, CHANNELS_LAST, COMPILED = "torch on device", "torch channels-last on device", "torch.compile on device"
BOUND, GRAPHS = "onnxruntime bound", "onnxruntime bound, graphs"
_WARM = 3  # runs before a CUDA graph is captured and replayed, and cuDNN has chosen its algorithms
_PARTS = ("h2d_ms", "compute_ms", "d2h_ms")
_PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


def peers_on(device: str) -> list[tuple[str, str]]:
    """The kinds and arithmetic of the peers on a device: half precision is fp16 on a GPU, bf16 on a CPU."""
    half = "fp16" if device == "cuda" else "bf16"
    torch = [(EAGER, "fp32"), (EAGER, half), (CHANNELS_LAST, half), (COMPILED, "fp32"), (COMPILED, half)]
    return [*torch, (BOUND, "fp32"), *([(GRAPHS, "fp32")] if device == "cuda" else [])]


def found_device() -> str | None:
    """``"cuda"`` where PyTorch sees a GPU; nothing elsewhere."""
    try:
        import torch
    except ImportError:
        return None
    return "cuda" if torch.cuda.is_available() else None


def check_device(kind: str, device: str) -> None:
    """Refuse a peer of this kind where its engine cannot use the device, or is not installed. Raises: BackendError."""
    if kind in (BOUND, GRAPHS):
        require("onnxruntime")
        import onnxruntime as ort

        if _PROVIDERS[device] not in ort.get_available_providers():
            raise BackendError(f"the installed ONNX Runtime has no {_PROVIDERS[device]}: pip install 'ufafuse[gpu]'.")
        return
    require("torch")
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise BackendError(f"{kind} needs a GPU that PyTorch can use, and there is none: give `device=cpu`.")


class OnDevice(Runner):
    """A peer whose run is three parts: frames to the device, the computation, the result back."""

    def __init__(self, spec: RunnerSpec, name: str) -> None:
        assert spec.device in DEVICES
        self.spec, self.device = spec, spec.device
        self.backend = f"{name} {self.device}"
        self._spent: dict[str, list[float]] = {part: [] for part in _PARTS}
        self._warm = False

    @property
    def feed(self) -> str:
        """Pairs of one arithmetic, batch and maker."""
        return f"{type(self).__name__} {self.device} {self.precision} {self.spec.batch}"

    def host_arrays(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """So many copies of the pair as the batch has, N x 3 x H x W, RGB, float32 in [0, 1]."""
        near, far = batch("float", *size)
        return np.repeat(near, self.spec.batch, axis=0), np.repeat(far, self.spec.batch, axis=0)

    def run(self, *given: Any) -> None:  # noqa: ANN401 - two batches of frames
        """Fuse one batch of pairs, from the host's memory to the host's memory."""
        if not self._warm:
            for _ in range(_WARM):
                self._timed(*given)
            self._warm = True
            return
        for part, value in zip(_PARTS, self._timed(*given), strict=True):
            self._spent[part].append(value)

    def _timed(self, near: Any, far: Any) -> tuple[float, float, float]:  # noqa: ANN401 - as above
        raise NotImplementedError

    def device_times(self) -> dict[str, float]:
        """The median of each part over the runs so far."""
        return {part: round(statistics.median(values), 4) for part, values in self._spent.items() if values}


class TorchOnDevice(OnDevice):
    """PyTorch on the weights beside the ONNX file."""

    def __init__(self, spec: RunnerSpec) -> None:
        require("torch")
        import torch

        from ufafuse.network.weights import load_weights

        names = {EAGER: "torch", CHANNELS_LAST: "torch channels-last", COMPILED: "torch.compile"}
        graphs = ", graphs" if spec.kind == COMPILED and spec.device == "cuda" else ""
        super().__init__(spec, names[spec.kind] + graphs)
        self.precision = spec.precision or "fp32"
        check_device(spec.kind, self.device)
        weights = weights_beside(spec)
        if spec.threads is not None:
            torch.set_num_threads(spec.threads)
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = False  # fp32 is fp32; who takes less takes half precision
        self._torch = torch
        self._dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[self.precision]
        self._memory = torch.contiguous_format if spec.kind == EAGER else torch.channels_last
        net: Any = load_weights(weights).to(self.device, self._dtype)
        net = net.to(memory_format=self._memory)
        self._net: Callable[..., Any] = net
        if spec.kind == COMPILED:
            torch.compiler.reset()
            self._net = torch.compile(net, dynamic=False, mode="reduce-overhead" if self.device == "cuda" else None)
        self._marks = _CudaMarks(torch) if self.device == "cuda" else _HostMarks()

    def inputs(self, size: tuple[int, int]) -> tuple[Any, ...]:
        """Tensors in the host's memory, page-locked for a GPU."""
        tensors = (self._torch.from_numpy(array).to(self._dtype) for array in self.host_arrays(size))
        return tuple(tensor.pin_memory() if self.device == "cuda" else tensor for tensor in tensors)

    def _timed(self, near: Any, far: Any) -> tuple[float, float, float]:  # noqa: ANN401 - tensors
        with self._torch.inference_mode():
            self._marks.set(0)
            there = [
                tensor.to(self.device, non_blocking=True, copy=True).contiguous(memory_format=self._memory)
                for tensor in (near, far)
            ]
            self._marks.set(1)
            if self.spec.kind == COMPILED and self.device == "cuda":
                self._torch.compiler.cudagraph_mark_step_begin()
            fused = self._net(*there)
            self._marks.set(2)
            fused.to("cpu", copy=True)
            self._marks.set(3)
        return self._marks.parts()


class _HostMarks:
    """Moments of a run, by the clock."""

    def __init__(self) -> None:
        self._at = [0.0] * 4

    def set(self, number: int) -> None:
        self._at[number] = time.perf_counter()

    def parts(self) -> tuple[float, float, float]:
        first, second, third, last = self._at
        return (second - first) * 1e3, (third - second) * 1e3, (last - third) * 1e3


class _CudaMarks:
    """Moments of a run, as the GPU comes to them."""

    def __init__(self, torch: Any) -> None:  # noqa: ANN401 - the module
        self._at = [torch.cuda.Event(enable_timing=True) for _ in range(4)]

    def set(self, number: int) -> None:
        self._at[number].record()

    def parts(self) -> tuple[float, float, float]:
        self._at[3].synchronize()
        first, second, third, last = self._at
        return first.elapsed_time(second), second.elapsed_time(third), third.elapsed_time(last)


class OnnxRuntimeBound(OnDevice):
    """ONNX Runtime with its inputs and its output bound to memory of the device; as CUDA graphs where asked for."""

    def __init__(self, spec: RunnerSpec) -> None:
        require("onnxruntime")
        import onnxruntime as ort

        super().__init__(spec, spec.kind)
        check_device(spec.kind, self.device)
        provider = _PROVIDERS[self.device]
        manifest = read_manifest(Path(spec.artefact))
        if manifest.io != "float":
            raise BackendError(f"{spec.kind} is for networks that take float frames.")
        self.precision = manifest.precision
        settings = ort.SessionOptions()
        settings.log_severity_level = 3
        if spec.threads is not None:
            settings.intra_op_num_threads = spec.threads
        options = {"enable_cuda_graph": "1"} if spec.kind == GRAPHS and self.device == "cuda" else {}
        try:
            self._session = ort.InferenceSession(spec.artefact, settings, providers=[(provider, options)])
        except Exception as error:
            raise BackendError(f"ONNX Runtime refuses {Path(spec.artefact).name} on {self.device}: {error}") from error
        if self._session.get_providers()[0] != provider:
            raise BackendError(f"ONNX Runtime fell back to {self._session.get_providers()[0]}: {provider} does not start.")
        self._ort = ort
        self._binding: Any = None
        self._there: list[Any] = []

    def inputs(self, size: tuple[int, int]) -> tuple[Any, ...]:
        """Arrays in the host's memory."""
        return self.host_arrays(size)

    def _timed(self, near: Any, far: Any) -> tuple[float, float, float]:  # noqa: ANN401 - arrays
        binding = self._bound(near, far)
        marks = _HostMarks()
        marks.set(0)
        for value, array in zip(self._there, (near, far), strict=False):
            value.update_inplace(array)
        binding.synchronize_inputs()
        marks.set(1)
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        marks.set(2)
        self._there[2].numpy()
        marks.set(3)
        return marks.parts()

    def _bound(self, near: Any, far: Any) -> Any:  # noqa: ANN401 - as above; ONNX Runtime's
        if self._binding is not None and self._there[0].shape() == list(near.shape):
            return self._binding
        of = self._ort.OrtValue
        self._there = [of.ortvalue_from_numpy(array, self.device, 0) for array in (near, far)]
        self._there.append(of.ortvalue_from_shape_and_type(list(near.shape), near.dtype, self.device, 0))
        binding = self._session.io_binding()
        for name, value in zip(("near", "far"), self._there, strict=False):
            binding.bind_ortvalue_input(name, value)
        binding.bind_ortvalue_output("fused", self._there[2])
        self._binding = binding
        return binding
