"""TensorRT's counters: the time of each layer from a profiler, and what the layer is from the engine's inspector.

A context with a profiler runs layer after layer, waits for each, and is never part of a CUDA graph. The inspector knows kinds,
shapes and kernels of an engine that was built with ``ProfilingVerbosity.DETAILED``, as `ufa build` does; of any other engine
only names come.
"""

import contextlib
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ufafuse.runtime.backends.tensorrt.vendor import Vendor
from ufafuse.runtime.layers import Layer, Port, type_named


def profiler(module: Vendor) -> Vendor:
    """An object that a context reports its layers' times to; its class can only be made once the module is known."""

    class Times(module.IProfiler):
        """Sums the milliseconds of each layer of the run under way."""

        def __init__(self) -> None:
            module.IProfiler.__init__(self)
            self.spent: dict[str, float] = defaultdict(float)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            """Called by the library, for each layer in the order of execution."""
            self.spent[layer_name] += ms

        def taken(self) -> dict[str, float]:
            """The times of the run that has ended, once."""
            spent, self.spent = self.spent, defaultdict(float)
            return dict(spent)

    return Times()


@contextlib.contextmanager
def without_graphs(module: Vendor, config: Vendor) -> Iterator[None]:
    """Let a context that is made meanwhile run without CUDA graphs of the library's own, where it makes such."""
    strategies = getattr(module, "CudaGraphStrategy", None)
    if config is None or strategies is None:
        yield
        return
    before = config.cuda_graph_strategy
    config.cuda_graph_strategy = strategies.DISABLED
    try:
        yield
    finally:
        config.cuda_graph_strategy = before


def described(module: Vendor, engine: Vendor, context: Vendor) -> dict[str, dict[str, Any]]:
    """What the inspector knows of each layer, by its name; nothing where it does not tell."""
    inspector = engine.create_engine_inspector()
    if inspector is None:
        return {}
    inspector.execution_context = context  # so that free sizes are those of this run
    text = inspector.get_engine_information(module.LayerInformationFormat.JSON)
    try:
        entries = json.loads(text)["Layers"]
    except (ValueError, TypeError, KeyError):
        return {}
    return {str(entry["Name"]): entry for entry in entries if isinstance(entry, dict) and "Name" in entry}


def layers_from(runs: Sequence[Mapping[str, float]], known: Mapping[str, Mapping[str, Any]]) -> list[Layer]:
    """Each layer with its times, in the order of execution.

    Args:
        runs: Of each run, milliseconds by layer.
        known: From `described`.
    """
    return [_layer(name, [run[name] for run in runs if name in run], known.get(name, {})) for name in runs[-1]]


def _layer(name: str, times_ms: list[float], entry: Mapping[str, Any]) -> Layer:
    # A kernel of the library's own (CaskConvolution) tells what it computes as its parameters' type.
    kind = str(entry.get("ParameterType") or entry.get("LayerType") or "layer")
    inputs, outputs = (_ports(entry.get(side, [])) for side in ("Inputs", "Outputs"))
    kernel = str(entry.get("TacticName") or "")
    return Layer(name, kind, kernel, times_ms, inputs, outputs, _operations(kind, inputs, outputs, entry))


def _ports(entries: Sequence[Mapping[str, Any]]) -> list[Port]:
    ports = []
    for entry in entries:
        words = str(entry.get("Format/Datatype") or entry.get("Datatype") or "").replace(",", " ").split()
        kinds = [type_named(word) for word in words]
        known = [kind for word, kind in zip(words, kinds, strict=True) if kind != word.lower() or kind in ("fp16", "int8")]
        ports.append(Port(tuple(entry.get("Dimensions", [])), known[-1] if known else ""))
    return ports


def _operations(kind: str, inputs: Sequence[Port], outputs: Sequence[Port], entry: Mapping[str, Any]) -> float:
    """Two for each multiply-accumulate; each weight is used once for each place of the result (transposed: of the source)."""
    weights = entry.get("Weights", {})
    count = weights.get("Count", 0) if isinstance(weights, dict) else 0
    if "conv" not in kind.lower() or not count or not inputs or not outputs:
        return 0.0
    shape = inputs[0].shape if kind.lower().startswith("deconv") else outputs[0].shape
    return 2.0 * count * math.prod((*shape[:1], *shape[2:]))
