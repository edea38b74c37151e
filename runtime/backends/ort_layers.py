"""ONNX Runtime's counters: the time of each node, from the trace that a session of its own writes."""

import json
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ufafuse.runtime.errors import BackendError
from ufafuse.runtime.layers import Layer, Port, operations_of, type_named

_SUFFIX = "_kernel_time"
_QUANTISED_WEIGHT = 3  # QLinearConv and QLinearMatMul: data, its scale and zero point, then the weights


def layers_of(
    open_with: Callable[[str], Any], run: Callable[[Any], object], runs: int, before: Callable[[], None]
) -> list[Layer]:
    """Each node, in the order of execution.

    Args:
        open_with: Opens a session that writes its trace to files of this prefix.
        run: Runs a session once.
        runs: How often; one run more comes first and is not counted.
        before: Called before each counted run.

    Raises:
        BackendError: The trace tells nothing of nodes.
    """
    with tempfile.TemporaryDirectory(prefix="ufafuse-") as folder:
        session = open_with(str(Path(folder) / "trace"))
        run(session)
        for _ in range(runs):
            before()
            run(session)
        trace = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for event in trace:
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
            nodes[event["args"].get("node_index", ""), event["name"].removesuffix(_SUFFIX)].append(event)
    if not nodes:
        raise BackendError("ONNX Runtime's trace tells nothing of its nodes: this build has no counters.")
    return [_layer(name, events, runs + 1) for (_, name), events in nodes.items()]


def _layer(name: str, events: list[dict[str, Any]], runs: int) -> Layer:
    each = max(1, len(events) // runs)  # a node inside a loop comes several times a run
    spent = [event["dur"] / 1e3 for event in events]
    times = [sum(spent[start : start + each]) for start in range(0, len(spent), each)]
    args = events[-1]["args"]
    kind = str(args["op_name"])
    inputs, outputs = (_ports(args.get(f"{side}_type_shape", [])) for side in ("input", "output"))
    weight = _QUANTISED_WEIGHT if kind.startswith("QLinear") else 1
    operations = operations_of(kind, inputs, outputs, weight=weight)
    return Layer(name, kind, str(args.get("provider", "")), times[1:] or times, inputs, outputs, operations)


def _ports(entries: list[dict[str, list[int]]]) -> list[Port]:
    return [Port(tuple(shape), type_named(word)) for entry in entries for word, shape in entry.items()]
