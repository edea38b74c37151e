"""Where an artefact begins to differ: every tensor inside it beside PyTorch's, or beside another artefact's."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.export.onnx_file import load_graph
from ufafuse.export.tensors import PROBED, Tensors, tensors_of_file, tensors_of_network
from ufafuse.network.base import Network
from ufafuse.runtime.artefact import Manifest, read_manifest
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.fixed import filled_up, fixed_batch
from ufafuse.runtime.frames import BGR_BYTES
from ufafuse.runtime.packing import pack

EQUAL_DB = 200.0  # stands for the infinite ratio of equal tensors
# A tensor that lies below was not only rounded: measured on the bundled networks, whose worst tensors lie above.
FLOORS_DB = {"fp32": 60.0, "fp16": 25.0, "bf16": 10.0, "int8": 5.0}
# What is left when a tensor is rounded once: a tensor that stands higher owes nothing to what it was computed from.
_ROUNDED_DB = {"fp32": 130.0, "fp16": 70.0, "bf16": 45.0, "int8": 40.0}
_ROLES = ("whole", "encode")
# Of a graph of halves: casts shift the numbers that the exporter gives to sums and products, but not those of these steps.
_SURE = ("conv2d", "leaky_relu", "pixel_shuffle", "sigmoid", "tanh", "amax", "output")
_TWINS = {"conv2d": "Conv", "leaky_relu": "LeakyRelu", "pixel_shuffle": "DepthToSpace", "sigmoid": "Sigmoid", "tanh": "Tanh"}
_TWINS |= {"amax": "ReduceMax", "mean": "ReduceMean", "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "cat": "Concat"}
_TWINS |= {"maximum": "Max", "minimum": "Min", "exp": "Exp", "neg": "Neg", "pad": "Pad", "upsample_bilinear2d": "Resize"}
_TWINS |= {"avg_pool2d": "AveragePool", "clamp": "Clip", "slice": "Slice"}
_SUFFIX = re.compile(r"(\.dequantized|\.quantized)?$")


@dataclass(frozen=True)
class TensorRow:
    """One tensor.

    Args:
        tensor: Its name.
        operator: The ONNX operator that gives it.
        layer: The network's layer, where it is a convolution's.
        shape: Its shape.
        snr_db: How far the reference stands above the difference, 20 log10 of their RMS.
        max_abs: Greatest difference of any element.
        lost_db: By how much that is less than in the worst of what it was computed from, or than rounding explains.
        finite: Neither has NaN or infinity.
    """

    tensor: str
    operator: str
    layer: str
    shape: tuple[int, ...]
    snr_db: float
    max_abs: float
    lost_db: float
    finite: bool


def compare_layers(
    artefact: Path,
    reference: Network | Path,
    near: NDArray[np.uint8],
    far: NDArray[np.uint8],
    *,
    backend: str = "onnxruntime",
    precision: str | None = None,
) -> dict[str, Any]:
    """Hold every tensor of an ONNX file against the reference's tensor of the same name, in the order they are computed.

    Args:
        artefact: A file of `ufa export` or `ufa calibrate`.
        reference: The network that it came from, which PyTorch runs in float32; or another such file.
        near, far: H x W x 3 uint8, BGR: one pair.
        backend: ``"onnxruntime"`` or ``"openvino"``.
        precision: As `tensors_of_file`.

    Returns:
        ``backend``, ``size``, ``floor_db``, ``compared``, ``rows`` (see `TensorRow`), ``first``: the first row below the floor
        (None where there is none), ``largest_loss``: the row that loses most.

    Raises:
        InputError: The file is an engine, or another graph than those for pairs or for a frame's features.
        BackendError: The engine failed.
    """
    manifest = read_manifest(artefact)
    _check(artefact, manifest, backend)
    inputs = _inputs(manifest, near, far)
    found = tensors_of_file(artefact, inputs, backend=backend, precision=precision)
    if isinstance(reference, Path):
        other = read_manifest(reference)
        _check(reference, other, backend)
        wanted = tensors_of_file(reference, _inputs(other, near, far), backend=backend, precision=precision)
        kinds = None if other.precision == manifest.precision else dict.fromkeys(wanted, "")
    else:
        wanted, kinds = tensors_of_network(reference, manifest, inputs)
    arithmetic = "bf16" if precision == "bf16" and manifest.precision == "fp32" else manifest.precision
    rows = _rows(artefact, manifest, found, wanted, kinds, _ROUNDED_DB[arithmetic])
    floor = FLOORS_DB[arithmetic]
    first = next((row for row in rows if row.snr_db < floor or not row.finite), None)
    return {
        "backend": backend,
        "size": list(near.shape[:2]),
        "floor_db": floor,
        "compared": len(rows),
        "first": None if first is None else asdict(first),
        "largest_loss": asdict(max(rows, key=lambda row: row.lost_db)) if rows else None,
        "rows": [asdict(row) for row in rows],
    }


def _check(path: Path, manifest: Manifest, backend: str) -> None:
    if manifest.kind != "onnx":
        raise InputError(f"`layers`: {path.name} is {manifest.kind}, whose tensors cannot be looked at: give the .onnx file.")
    if manifest.role not in _ROLES:
        raise InputError(f"`layers`: {path.name} is a companion for tiles or scores: give the graph for pairs.")
    if backend not in PROBED:
        raise InputError(f"`layers` are looked at in {' or '.join(PROBED)}: give one of them as `backend`.")


def _inputs(manifest: Manifest, near: NDArray[np.uint8], far: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    frames = {"near": pack(near, BGR_BYTES, manifest.io), "far": pack(far, BGR_BYTES, manifest.io)}
    if manifest.role == "encode":
        frames = {"frame": frames["near"]}
    return filled_up(frames, fixed_batch(manifest))


def _rows(
    artefact: Path,
    manifest: Manifest,
    found: Tensors,
    wanted: Tensors,
    kinds: Mapping[str, str] | None,
    rounded_db: float,
) -> list[TensorRow]:
    graph = load_graph(artefact).graph
    rows: dict[str, TensorRow] = {}
    made_by = {name: node for node in graph.node for name in node.output}
    equalised = bool(manifest.extra.get("equalised"))
    for node in graph.node:
        for name in node.output:
            kind = "" if kinds is None else kinds.get(name, "")
            if not _comparable(name, node.op_type, kind, found, wanted, half=manifest.precision == "fp16", named=kinds is None):
                continue
            own, reference = found[name].astype(np.float64), wanted[name].astype(np.float64)
            if equalised:
                reference = _equalised_like(own, reference)
            finite = bool(np.isfinite(own).all() and np.isfinite(reference).all())
            ratio = snr_db(own, reference) if finite else -EQUAL_DB
            before = [rows[each].snr_db for each in _sources(node, made_by, rows)]
            rows[name] = TensorRow(
                name,
                node.op_type,
                _SUFFIX.sub("", node.input[1]).removesuffix(".weight") if node.op_type == "Conv" else "",
                own.shape,
                round(ratio, 2),
                float(np.abs(own - reference).max()) if finite else float("inf"),
                round(min([*before, rounded_db]) - ratio, 2),
                finite,
            )
    return list(rows.values())


def _comparable(name: str, operator: str, kind: str, found: Tensors, wanted: Tensors, *, half: bool, named: bool) -> bool:
    """Whether two tensors of one name are the same step."""
    if name not in found or name not in wanted or found[name].shape != wanted[name].shape or not found[name].size:
        return False
    if named or kind == "output":
        return True
    return _TWINS.get(kind) == operator and (not half or kind in _SURE)


def _sources(node: Any, made_by: Mapping[str, Any], rows: Mapping[str, TensorRow]) -> list[str]:  # noqa: ANN401 - protobuf's
    """The nearest tensors before a node that were compared."""
    waiting, seen, nearest = list(node.input), set(), []
    while waiting:
        name = waiting.pop()
        if name in rows:
            nearest.append(name)
        elif name in made_by and name not in seen:
            seen.add(name)
            waiting += made_by[name].input
    return nearest


def snr_db(own: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """20 log10 of the RMS of a reference over that of the difference; within +-`EQUAL_DB`."""
    noise, signal = float(np.sqrt(np.mean((own - reference) ** 2))), float(np.sqrt(np.mean(reference**2)))
    if noise == 0:
        return EQUAL_DB
    # Differences of frames that are alike have no signal; what then counts is how far from nothing the noise is.
    return float(np.clip(20 * np.log10(max(signal, 1e-3) / noise), -EQUAL_DB, EQUAL_DB))


def _equalised_like(own: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """The reference with its channels enlarged by the powers of two that calibration may have enlarged the file's by."""
    if own.ndim != 4:
        return reference
    axes = (0, 2, 3)
    both, power = (own * reference).sum(axes), (reference * reference).sum(axes)
    ratio = np.where((both > 0) & (power > 0), both / np.maximum(power, 1e-30), 1.0)
    factor = np.exp2(np.clip(np.rint(np.log2(ratio)), 0, 6))  # they are 1 to 64
    return np.asarray(reference * factor[None, :, None, None])
