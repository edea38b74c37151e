"""Runners by their kinds."""

from collections.abc import Callable

from ufafuse.benchmarks.speed.on_device import (
    BOUND,
    CHANNELS_LAST,
    COMPILED,
    EAGER,
    GRAPHS,
    OnnxRuntimeBound,
    TorchOnDevice,
)
from ufafuse.benchmarks.speed.runners import (
    MethodRunner,
    OnnxRuntimeDefault,
    OpenVinoDefault,
    Runner,
    RunnerSpec,
    SessionRunner,
    TorchRunner,
)

CLASSES: dict[str, Callable[[RunnerSpec], Runner]] = {
    "session": SessionRunner,
    "torch": TorchRunner,
    "torch.compile": TorchRunner,
    "onnxruntime default": OnnxRuntimeDefault,
    "openvino default": OpenVinoDefault,
    "method": MethodRunner,
    EAGER: TorchOnDevice,
    CHANNELS_LAST: TorchOnDevice,
    COMPILED: TorchOnDevice,
    BOUND: OnnxRuntimeBound,
    GRAPHS: OnnxRuntimeBound,
}


def open_runner(spec: RunnerSpec) -> Runner:
    """Load a runner. Raises: UfaError, saying why it cannot be timed here."""
    return CLASSES[spec.kind](spec)
