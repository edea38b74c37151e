"""Contenders by their kinds."""

from collections.abc import Callable

from ufafuse.benchmarks.speed.contenders import (
    Contender,
    MethodContender,
    OnnxRuntimeDefault,
    OpenVinoDefault,
    SessionContender,
    Spec,
    TorchContender,
)
from ufafuse.benchmarks.speed.on_device import (
    BOUND,
    CHANNELS_LAST,
    COMPILED,
    EAGER,
    GRAPHS,
    OnnxRuntimeBound,
    TorchOnDevice,
)

CLASSES: dict[str, Callable[[Spec], Contender]] = {
    "session": SessionContender,
    "torch": TorchContender,
    "torch.compile": TorchContender,
    "onnxruntime default": OnnxRuntimeDefault,
    "openvino default": OpenVinoDefault,
    "method": MethodContender,
    EAGER: TorchOnDevice,
    CHANNELS_LAST: TorchOnDevice,
    COMPILED: TorchOnDevice,
    BOUND: OnnxRuntimeBound,
    GRAPHS: OnnxRuntimeBound,
}


def open_contender(spec: Spec) -> Contender:
    """Load a contender. Raises: UfaError, saying why it cannot be timed here."""
    return CLASSES[spec.kind](spec)
