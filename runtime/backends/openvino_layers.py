"""OpenVINO's counters: the time of each node of the graph that it really runs, with that graph's shapes and types.

A node's time comes from the run (``get_profiling_info``), its kernel, shapes and types from the compiled network's own graph
(``get_runtime_model``), where nodes that were fused into another have gone and reorders have come.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from ufafuse.runtime.layers import Layer, Port, operations_of, type_named

COUNTED = {"PERF_COUNT": True}
_MS = 1e3


def layers_of(compiled: Any, run: Callable[[], Any], runs: int, before: Callable[[], None]) -> list[Layer]:  # noqa: ANN401 - openvino's types are its own
    """Each node that is executed, in the order of execution.

    Args:
        compiled: A network that was compiled with `COUNTED`.
        run: Runs it once and gives the request that did.
        runs: How often; one run more comes first and is not counted.
        before: Called before each counted run.
    """
    run()
    each: list[dict[str, float]] = []
    for _ in range(runs):
        before()
        spent: dict[str, float] = defaultdict(float)
        for entry in run().get_profiling_info():
            spent[entry.node_name] += entry.real_time.total_seconds() * _MS
        each.append(spent)
    # What took less than a microsecond in a run is told as not run, as are nodes that were fused into others.
    times = {name: [spent.get(name, 0.0) for spent in each] for spent in each for name, value in spent.items() if value > 0}
    nodes = compiled.get_runtime_model().get_ordered_ops()
    return [_layer(node, times[node.get_friendly_name()]) for node in nodes if node.get_friendly_name() in times]


def _layer(node: Any, times_ms: list[float]) -> Layer:  # noqa: ANN401 - as above
    kind = _told(node, "layerType")
    inputs = [_port(source.get_source_output()) for source in node.inputs()]
    outputs = [_port(output) for output in node.outputs()]
    return Layer(
        node.get_friendly_name(),
        kind,
        _told(node, "primitiveType"),
        times_ms,
        inputs,
        outputs,
        operations_of(kind, inputs, outputs),
    )


def _port(output: Any) -> Port:  # noqa: ANN401 - as above
    """A node's output; of its types the node itself tells, one for each output."""
    shape = output.get_partial_shape()
    types = _told(output.get_node(), "outputPrecisions").split(",")
    word = types[min(output.get_index(), len(types) - 1)]
    return Port(tuple(shape.to_shape()) if shape.is_static else (), type_named(word))


def _told(node: Any, key: str) -> str:  # noqa: ANN401 - as above
    found = node.get_rt_info()
    return str(found[key].astype(str)) if key in found else ""
