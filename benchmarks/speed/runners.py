"""What is timed: our own sessions, the same network run the plain way by others, and the classical methods."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ufafuse.benchmarks.speed.inputs import batch, graph_inputs
from ufafuse.runtime.errors import BackendError, InputError
from ufafuse.runtime.layers import Layer

OURS, PEER, CLASSICAL = "ours", "peer", "classical"
_GROUPS = {"session": OURS, "method": CLASSICAL}


@dataclass(frozen=True)
class RunnerSpec:
    """A runner before it is loaded; can be handed to another process as JSON.

    Args:
        kind: ``"session"``, ``"method"``, or a peer: ``"torch"``, ``"torch.compile"``, ``"onnxruntime default"``,
            ``"openvino default"``, or one of `on_device.peers_on`.
        artefact: A model file's path, or a method's name.
        backend: For a session.
        precision: For a session; None: the backend chooses.
        threads: CPU threads; None: the engine chooses.
        streams: Of a session: runs at once that it is made ready for.
        provider: Of an ONNX Runtime session: its execution provider.
        device: Of a peer on a device, see `on_device`: ``"cuda"`` or ``"cpu"``.
        batch: Pairs in a run.
    """

    kind: str
    artefact: str
    backend: str = "auto"
    precision: str | None = None
    threads: int | None = None
    streams: int | None = None
    provider: str = "cpu"
    device: str | None = None
    batch: int = 1

    @property
    def group(self) -> str:
        """``"ours"``, ``"peer"`` or ``"classical"``."""
        return _GROUPS.get(self.kind, PEER)

    def to_json(self) -> dict[str, Any]:
        """For `RunnerSpec(**...)` in another process."""
        return asdict(self)


class Runner(ABC):
    """A loaded runner.

    Attributes:
        spec: What it was made from.
        backend: The engine in use.
        precision: The arithmetic in use, such as ``"int8+fp32"``.
        layout: How `run` takes frames; see `inputs.batch`.
        fuses: Whether a run gives a fused frame; graphs for tiles and stacks are a step of that.
    """

    spec: RunnerSpec
    backend: str
    precision: str
    layout: str = "float"
    fuses: bool = True

    @abstractmethod
    def run(self, *given: Any) -> None:  # noqa: ANN401 - two frames, or all inputs of a graph by name
        """Fuse one pair, or run the graph once, and wait for the result."""

    @property
    def feed(self) -> str:
        """Runners of one feed take the same `inputs`."""
        return self.layout

    def inputs(self, size: tuple[int, int]) -> tuple[Any, ...]:
        """What `run` takes, for frames of this (height, width)."""
        return batch(self.layout, *size)

    def layers(self, given: Sequence[Any], runs: int, before: Callable[[], None]) -> list[Layer]:  # noqa: ARG002 - for others
        """The time of each layer, see `Session.layers`. Raises: BackendError, where there are no counters."""
        raise BackendError(f"{self.backend} tells no time for each layer.")

    def device_times(self) -> dict[str, float]:
        """Where an engine on a GPU says how the last run was spent: names such as ``compute_ms``; empty otherwise."""
        return {}

    def close(self) -> None:
        """Free what it holds."""


class SessionRunner(Runner):
    """One of the runtime's own sessions."""

    def __init__(self, spec: RunnerSpec) -> None:
        from ufafuse.export.formats.opening import open_artefact
        from ufafuse.runtime.frames import BGR_BYTES
        from ufafuse.runtime.memory.tiled import layout_for
        from ufafuse.runtime.session import SessionOptions

        self.spec = spec
        options = SessionOptions(
            precision=spec.precision, threads=spec.threads, provider=spec.provider, streams=spec.streams, cache=False
        )
        self._session = open_artefact(Path(spec.artefact), backend=spec.backend, options=options)
        self.backend, self.precision = self._session.backend, self._session.precision
        if spec.provider != "cpu":
            self.backend += f" {spec.provider}"
        self.layout = layout_for(self._session, BGR_BYTES)
        self.fuses = self._session.manifest.role == "whole"

    @property
    def feed(self) -> str:
        """A graph that is a step of something has inputs of its own."""
        return f"{self.layout} {self.spec.batch}" if self.fuses else f"{self.spec.artefact} {self.layout}"

    def inputs(self, size: tuple[int, int]) -> tuple[Any, ...]:
        """Two frames (or batches of them), or the graph's inputs by name."""
        if not self.fuses:
            return (graph_inputs(self._session.manifest, self.layout, size),)
        near, far = batch(self.layout, *size)
        return (
            (near, far) if self.spec.batch == 1 else tuple(np.repeat(array, self.spec.batch, axis=0) for array in (near, far))
        )

    def run(self, *given: Any) -> None:  # noqa: ANN401 - as above
        """Fuse one pair, or run the graph once."""
        if self.fuses:
            self._session.run(*given)
        else:
            self._session.infer(*given)

    def layers(self, given: Sequence[Any], runs: int, before: Callable[[], None]) -> list[Layer]:
        """The session's own counters."""
        inputs = {"near": given[0], "far": given[1]} if self.fuses else given[0]
        return self._session.layers(inputs, runs=runs, only_fused=self.fuses, before=before)

    def device_times(self) -> dict[str, float]:
        """The session's own split, where it has one."""
        return dict(self._session.last_timing)

    def close(self) -> None:
        """Free the engine."""
        self._session.close()


class TorchRunner(Runner):
    """PyTorch on the weights beside the ONNX file: eager, or through ``torch.compile``; float32, as it comes."""

    def __init__(self, spec: RunnerSpec) -> None:
        require("torch")
        import torch

        from ufafuse.network.weights import load_weights

        self.spec, self.backend, self.precision = spec, spec.kind, "fp32"
        net = load_weights(weights_beside(spec))
        if spec.threads is not None:
            torch.set_num_threads(spec.threads)
        self._torch = torch
        self._net: Callable[..., Any] = net
        if spec.kind == "torch.compile":
            torch.compiler.reset()  # else a second size in one process would be compiled for sizes in general, which is slower
            self._net = torch.compile(net, dynamic=False)

    def run(self, *given: Any) -> None:  # noqa: ANN401 - as above
        """Fuse one pair."""
        near, far = given
        with self._torch.inference_mode():
            self._net(self._torch.from_numpy(near), self._torch.from_numpy(far)).numpy()


class OnnxRuntimeDefault(Runner):
    """ONNX Runtime as its documentation's first example uses it."""

    def __init__(self, spec: RunnerSpec) -> None:
        require("onnxruntime")
        import onnxruntime as ort

        from ufafuse.runtime.artefact import read_manifest

        self.spec, self.backend = spec, spec.kind
        manifest = read_manifest(Path(spec.artefact))
        self.precision, self.layout = manifest.precision, manifest.io
        settings = ort.SessionOptions()
        if spec.threads is not None:
            settings.intra_op_num_threads = spec.threads
        self._session = ort.InferenceSession(spec.artefact, settings, providers=ort.get_available_providers())

    def run(self, *given: Any) -> None:  # noqa: ANN401 - as above
        """Fuse one pair."""
        near, far = given
        self._session.run(None, {"near": near, "far": far})


class OpenVinoDefault(Runner):
    """OpenVINO as its documentation's first example uses it, on the CPU."""

    def __init__(self, spec: RunnerSpec) -> None:
        require("openvino")
        from ufafuse.runtime.artefact import read_manifest
        from ufafuse.runtime.backends.openvino_api import ov

        self.spec, self.backend = spec, spec.kind
        manifest = read_manifest(Path(spec.artefact))
        self.precision, self.layout = manifest.precision, manifest.io
        settings = {} if spec.threads is None else {"INFERENCE_NUM_THREADS": spec.threads}
        self._compiled = ov.Core().compile_model(spec.artefact, "CPU", settings)
        if str(self._compiled.get_property("INFERENCE_PRECISION_HINT")) == "<Type: 'bfloat16'>":
            self.precision = "bf16" if manifest.precision == "fp32" else f"{manifest.precision}+bf16"

    def run(self, *given: Any) -> None:  # noqa: ANN401 - as above
        """Fuse one pair."""
        near, far = given
        self._compiled({"near": near, "far": far})


class MethodRunner(Runner):
    """A method that is no session: a classical one, mostly on one core, or a rival in PyTorch with what follows it."""

    layout = "picture"

    def __init__(self, spec: RunnerSpec) -> None:
        from ufafuse.benchmarks.methods import is_rival, method

        self.spec = spec
        self.backend, self.precision = ("torch", "fp32") if is_rival(spec.artefact) else ("numpy", "fp64")
        self._method = method(spec.artefact)

    def run(self, *given: Any) -> None:  # noqa: ANN401 - as above
        """Fuse one pair."""
        near, far = given
        self._method.fuse(near, far)


def weights_beside(spec: RunnerSpec) -> Path:
    """The weights that an ONNX file was made from. Raises: InputError, where they do not lie beside it."""
    weights = Path(spec.artefact).with_suffix(".safetensors")
    if not weights.is_file():
        raise InputError(f"{spec.kind} needs the weights {weights}: put them beside the ONNX file.")
    return weights


def require(module: str) -> None:
    """Raises: BackendError, where a package is not installed."""
    if importlib.util.find_spec(module) is None:
        raise BackendError(f"{module} is not installed.")
