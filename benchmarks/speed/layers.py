"""Where the time of a network goes: its layers by kind, and the share of the machine's limit that each kind reaches."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ufafuse.export.timing import Samples, timed
from ufafuse.runtime.layers import Layer, Port

Peaks = Mapping[str, Any]

# What engines call their layers, in small letters: whole words, then beginnings.
_WORDS = {
    "element-wise": "add sub mul div neg abs min max pow sqrt exp log tanh sigmoid relu leakyrelu prelu elu gelu silu swish "
    "hardswish hardsigmoid clip clamp where select round floor ceil sum mean equal less greater not and or eltwise math "
    "subgraph softmax pointwise pointwisev2 activation elementwise unary batchnormalization quickgelu biasgelu mvn",
    "quantising": "quantizelinear dequantizelinear dynamicquantizelinear fakequantize quantize dequantize qlinearadd "
    "qlinearmul",
    "change of type": "cast convert",
    "change of layout": "reorder reorderinput reorderoutput transpose permute shuffle reformat noop",
    "moving": "concat concatenation qlinearconcat split slice stridedslice variadicsplit pad depthtospace spacetodepth tile "
    "expand broadcast gather gathernd scatter reshape flatten squeeze unsqueeze identity shufflechannels memoryinput "
    "memoryoutput copy",
    "resizing": "resize upsample interpolate",
}
_BEGINNINGS = {
    "conv": "convolution",
    "fusedconv": "convolution",
    "nhwc": "convolution",
    "qlinearconv": "convolution",
    "groupconv": "convolution",
    "deconv": "convolution",
    "cask": "convolution",
    "binaryconv": "convolution",
    "matmul": "matrix product",
    "fusedmatmul": "matrix product",
    "qlinearmatmul": "matrix product",
    "gemm": "matrix product",
    "qgemm": "matrix product",
    "fullyconnected": "matrix product",
    "matrixmultiply": "matrix product",
    "reduce": "reduction",
    "globalaveragepool": "reduction",
    "globalmaxpool": "reduction",
    "averagepool": "pooling",
    "maxpool": "pooling",
    "pool": "pooling",
    "avgpool": "pooling",
}
_BY_WORD = {word: group for group, words in _WORDS.items() for word in words.split()}
_SHAPES, _SHAPES_MOST = "shapes", 16  # arithmetic on a few whole numbers: sizes, axes, starts of slices
_SHOWN = 3  # of the engine's own words for a kind


def group_of(layer: Layer) -> str:
    """What kind of work a layer is, by one of our names whatever the engine; the engine's own word where we know none."""
    word = layer.kind.lower()
    numbers = [port for port in (*layer.inputs, *layer.outputs) if port.dtype not in ("int64", "int32")]
    if layer.outputs and all(_few_numbers(port) for port in layer.outputs) and (not numbers or word in ("shape", "shapeof")):
        return _SHAPES
    if word in _BY_WORD:
        return _BY_WORD[word]
    return next((group for start, group in _BEGINNINGS.items() if word.startswith(start)), layer.kind)


def _few_numbers(port: Port) -> bool:
    return port.dtype in ("int64", "int32") and port.elements <= _SHAPES_MOST


def arithmetic_of(layer: Layer) -> str | None:
    """What a layer multiplies in: its first input's type; None for a layer without operations."""
    if not layer.operations or not layer.inputs:
        return None
    kind = layer.inputs[0].dtype
    return "int8" if kind == "uint8" else kind


def counted(runner: Any, inputs: Sequence[Any], runs: int) -> tuple[list[Layer], dict[str, float]]:  # noqa: ANN401 - a Runner
    """A runner's layers, and beside them, in turn, its time without counters.

    Returns:
        The layers, and ``p50_ms`` and so on as `Samples.statistics` gives them.

    Raises:
        BackendError: The engine has no counters here.
    """
    plain = Samples()
    runner.run(*inputs)
    layers = runner.layers(inputs, runs, lambda: plain.times_ms.append(timed(lambda: runner.run(*inputs))))
    return layers, plain.statistics()


def profile_entry(layers: Sequence[Layer], plain: Mapping[str, float], peaks: Peaks | None) -> dict[str, Any]:
    """The report of one network: its layers, and their sums by kind.

    Args:
        layers: From `counted`.
        plain: Likewise.
        peaks: Of the device, as `peaks.measure_peaks` gives them; None where they are not known.

    Returns:
        ``p50_ms`` (without counters), ``layers_ms`` (the sum of all layers), ``runs``, ``limit_ms``, ``of_limit``, ``kinds``
        and ``layers``, the longest first. A layer's limit is the longer of its operations at the peak of a matrix product in
        its arithmetic and its bytes at the speed of a large copy; data that stays in a cache can beat the latter.
    """
    total = sum(layer.ms for layer in layers)
    rows = [_row(layer, total, peaks) for layer in layers]
    kinds = sorted((_kind(name, members, total) for name, members in _by_kind(rows).items()), key=_longest)
    limit = _sum(row["limit_ms"] for row in rows)
    return {
        "p50_ms": plain["p50_ms"],
        "layers_ms": round(total, 4),
        "runs": len(layers[0].times_ms) if layers else 0,
        "limit_ms": limit,
        "of_limit": _share(limit, total),
        "kinds": kinds,
        "layers": sorted(rows, key=_longest),
    }


def _row(layer: Layer, total: float, peaks: Peaks | None) -> dict[str, Any]:
    arithmetic = arithmetic_of(layer)
    moved = sum(port.bytes for port in (*layer.inputs, *layer.outputs))
    compute, memory = _limits(layer.operations, arithmetic, moved, peaks)
    limit = None if compute is None or memory is None else max(compute, memory)
    return {
        "name": layer.name,
        "kind": group_of(layer),
        "engine_kind": layer.kind,
        "kernel": layer.kernel,
        "arithmetic": arithmetic,
        "ms": round(layer.ms, 4),
        "share": round(layer.ms / total, 4) if total else 0.0,
        "gop": round(layer.operations / 1e9, 4),
        "mib": round(moved / 2**20, 3),
        "limit_ms": None if limit is None else round(limit, 4),
        "of_limit": _share(limit, layer.ms),
        "bound": None if compute is None or memory is None else "compute" if compute >= memory else "memory",
        "shape": list(layer.outputs[0].shape) if layer.outputs else None,
    }


def _limits(operations: float, arithmetic: str | None, moved: float, peaks: Peaks | None) -> tuple[float | None, float | None]:
    """The least milliseconds for the operations and for the bytes; None where it cannot be said."""
    if peaks is None or moved == 0:  # the engine tells no shapes
        return None, None
    if arithmetic is None:
        return 0.0, moved / peaks["copy_gbs"] / 1e6
    peak = peaks["gemm"].get(arithmetic, {}).get("gops")
    return None if peak is None else operations / peak / 1e6, moved / peaks["copy_gbs"] / 1e6


def _by_kind(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        name = f"{row['kind']} {row['arithmetic']}" if row["arithmetic"] else row["kind"]
        kinds.setdefault(name, []).append(row)
    return kinds


def _kind(name: str, rows: Sequence[Mapping[str, Any]], total: float) -> dict[str, Any]:
    ms = sum(row["ms"] for row in rows)
    limit = _sum(row["limit_ms"] for row in rows)
    by_memory = sum(row["limit_ms"] or 0 for row in rows if row["bound"] == "memory")
    words: dict[str, float] = {}
    for row in rows:
        words[row["engine_kind"]] = words.get(row["engine_kind"], 0.0) + row["ms"]
    return {
        "kind": name,
        "engine_kinds": sorted(words, key=lambda word: -words[word])[:_SHOWN],
        "layers": len(rows),
        "ms": round(ms, 4),
        "share": round(ms / total, 4) if total else 0.0,
        "gop": round(sum(row["gop"] for row in rows), 4),
        "mib": round(sum(row["mib"] for row in rows), 3),
        "limit_ms": limit,
        "of_limit": _share(limit, ms),
        "bound": None if limit is None else "memory" if by_memory > limit / 2 else "compute",
    }


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum, or None where one is not known."""
    known: list[float] = []
    for value in values:
        if value is None:
            return None
        known.append(value)
    return round(sum(known), 4)


def _share(limit: float | None, ms: float) -> float | None:
    return round(limit / ms, 4) if limit is not None and ms > 0 else None


def _longest(row: Mapping[str, Any]) -> float:
    return -float(row["ms"])
