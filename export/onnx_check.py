"""Finishing an exported graph, and holding it against PyTorch."""

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ufafuse.export.describing import describe
from ufafuse.export.form import FREE, Form
from ufafuse.export.onnx_file import stamped
from ufafuse.export.opencv_graph import for_opencv
from ufafuse.export.opencv_session import OpenCvSession
from ufafuse.export.opsets import lowered
from ufafuse.export.signatures import Signature
from ufafuse.export.stack_check import StackRun, stack_cases
from ufafuse.export.synthetic import STRESS_SIZE, check_sizes, stress_frames, synthetic_pair
from ufafuse.export.tile_check import TileRun, averages_limit
from ufafuse.export.verify import reference_cases
from ufafuse.network.base import Network
from ufafuse.network.model import FusionNet
from ufafuse.runtime.arrays import Bytes
from ufafuse.runtime.artefact import Manifest, read_manifest
from ufafuse.runtime.checks.cases import Case, bgr_levels, in_words, rounded, verify_cases
from ufafuse.runtime.checks.maps import compare_maps
from ufafuse.runtime.checks.tolerances import Tolerance, compare, tolerance_for
from ufafuse.runtime.errors import CheckFailed, ModelError
from ufafuse.runtime.fixed import filled_up, fixed_batch, fixed_size
from ufafuse.runtime.frames import check_pair
from ufafuse.runtime.manifest_entries import STACK_ROLES
from ufafuse.runtime.packing import pack, to_planes
from ufafuse.runtime.parameters import Size
from ufafuse.runtime.session import Session, open_session

if TYPE_CHECKING:
    import onnx


_LARGE = 1 << 18  # pixels: in PyTorch's float64 larger frames take seconds each
_HARDEST = ("black and white", "checkerboard")


def finished(model: "onnx.ModelProto", manifest: Manifest, signature: Signature, form: Form = FREE) -> bytes:
    """Infer shapes, simplify, assert that the free dimensions are free, add the manifest, run the checker.

    Args:
        model: An ``onnx.ModelProto`` of `trace`.
        manifest: What the file is to say of itself.
        signature: Its inputs and outputs.
        form: Its opset, and whom it is for.

    Returns:
        The serialised file.

    Raises:
        ModelError: A dimension that was to be free is not, or the opset lacks what an operator needs.
    """
    import onnx
    import onnxslim

    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    outputs = {value.name: copy.deepcopy(value.type) for value in model.graph.output}
    slim: Any = onnxslim.slim  # it gives what it was given, and its annotation says four things
    model = slim(model)
    for value in model.graph.output:  # it takes a map of one channel that weighs three for one of three
        value.type.CopyFrom(outputs[value.name])
    del model.graph.value_info[:]  # inferred, symbolic, four fifths of a small file, and inferred anew by every reader
    for value, dims in zip(model.graph.input, signature.free.values(), strict=True):
        for position, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param != dims.get(position, ""):
                raise ModelError(f"dimension {position} of {value.name} became {dim.dim_param or dim.dim_value} in the export.")
    _name_output_dims(model, signature)
    model = lowered(for_opencv(model) if form.opencv else model, form.opset)
    model.graph.name = f"{manifest.variant}-{manifest.extra['role']}"
    describe(model, manifest)
    for key, text in manifest.to_metadata().items():
        model.metadata_props.add(key=key, value=text)
    onnx.checker.check_model(model, full_check=True)
    return stamped(model)


def _name_output_dims(model: "onnx.ModelProto", signature: Signature) -> None:
    """Name outputs' sizes after the inputs', from which they follow: shape inference cannot see that pad and crop cancel."""
    for value in model.graph.output:
        dims = value.type.tensor_type.shape.dim
        free = [dim for dim in dims if dim.dim_param or not dim.HasField("dim_value")]
        for dim, name in zip(free, signature.outputs[value.name], strict=True):
            dim.dim_param = name


def verify_graph(path: Path, net: Network, sizes: Iterable[Size] | None = None) -> dict[str, Any]:
    """Run an exported file on ONNX Runtime against PyTorch in float32.

    Args:
        path: The file; its manifest says which graph it is.
        net: The network that it came from.
        sizes: (height, width) of the frames; by default `check_sizes`, for a file of one size that. Frames that are black,
            white, noise or a checkerboard come on top, by the same tolerance (of large frames the hardest two).

    Returns:
        ``ok``, ``backend``, ``role``, ``pairs`` (a row a size), ``worst``, ``tolerance``; of a file for OpenCV the same for
        its dnn module as ``opencv``.

    Raises:
        CheckFailed: The file differs by more than the tolerance, or is not finite somewhere.
    """
    manifest = read_manifest(path)
    pairs = check_pairs(net, manifest, sizes)
    with open_session(path, backend="onnxruntime") as session:
        report = _verified(session, net, path, pairs)
    if manifest.extra.get("opencv"):
        with OpenCvSession(path, manifest) as session:
            report["opencv"] = _verified(session, net, path, pairs)
    return report


def check_pairs(net: Network, manifest: Manifest, sizes: Iterable[Size] | None) -> list[tuple[str, Bytes, Bytes]]:
    """(name, near, far) of what a graph is checked with."""
    only = fixed_size(manifest)
    if only is None:
        chosen, stress = list(sizes if sizes is not None else check_sizes(net.spec.stride)), STRESS_SIZE
    else:
        chosen, stress = [only], only
    pairs = [(f"{h}x{w}", *synthetic_pair(h, w, seed=seed)) for seed, (h, w) in enumerate(chosen)]
    frames = stress_frames(*stress)
    if stress[0] * stress[1] > _LARGE:
        frames = {name: frames[name] for name in _HARDEST}
    return pairs + [(name, *pair) for name, pair in frames.items()]


def _verified(session: Session, net: Network, path: Path, pairs: Sequence[tuple[str, Bytes, Bytes]]) -> dict[str, Any]:
    """The report of one engine. Raises: CheckFailed."""
    role = session.manifest.role
    if role == "means":
        tiles = TileRun(net)
        rows = [_row_of(name, frame) | tiles.averages_of(session, frame) for name, frame, _ in pairs]
        limit: dict[str, Any] = {"relative": averages_limit(session.precision)}
        worst = max(rows, key=lambda row: row["relative"])
    elif role in STACK_ROLES:
        stacks = stack_cases(net, pairs, noise=session.precision == "fp32")
        found = verify_cases(session, stacks, artefact=path, reference=path, run=StackRun(net)).report
        rows, limit, worst = found["pairs"], found["tolerance"], found["worst"]
    else:
        cases = reference_cases(net, pairs, noise=session.precision == "fp32")
        rows = [_fused_row(session, net, case) for case in cases]
        limit = tolerance_for(session.precision, session.manifest.io).to_dict()
        worst = min(rows, key=lambda row: row["psnr"])
    if not all(row["ok"] for row in rows):
        bad = next(row for row in rows if not row["ok"])
        where = "" if session.backend == "onnxruntime" else f" on {session.backend}"
        far = _in_words(bad, limit, session.precision)
        raise CheckFailed(f"the exported {role} graph differs from PyTorch{where} at {bad['name']}: {far}.")
    return {"ok": True, "backend": session.backend, "role": role, "pairs": rows, "worst": worst, "tolerance": limit}


def _in_words(row: dict[str, Any], limit: dict[str, Any], precision: str) -> str:
    """By how much a row differs, and what it may."""
    if not row["finite"] or not row.get("map", row)["finite"]:
        return "it is not finite there"
    if "relative" in row:
        return f"{row['relative']:.1e} of the averages, allowed: {limit['relative']:g}"
    if Tolerance(**limit).met_by(row):
        row, limit = row["map"], tolerance_for(precision, "float").to_dict()
        return f"its map weighs the frames {row['psnr']:.1f} dB, {row['max_abs']:.3g} levels off; allowed: {in_words(limit)}"
    return f"{row['psnr']:.1f} dB, {row['max_abs']:.3g} levels; allowed: {in_words(limit)}"


def _fused_row(session: Session, net: Network, case: Case) -> dict[str, Any]:
    """Fuse one pair as the last of a batch whose others are black, where it takes several: batches must not mix."""
    kind = check_pair(case.near, case.far)
    uint8 = session.manifest.io == "uint8"
    inputs: dict[str, NDArray[Any]] = {}
    for name, frame in (("near", case.near), ("far", case.far)):
        inputs[name] = pack(frame, kind, session.manifest.io)
        if session.manifest.role == "tile":
            assert isinstance(net, FusionNet)
            with torch.inference_mode():
                inputs[f"means_{name}"] = net.means(net.encode(torch.from_numpy(to_planes(frame, kind)))).numpy()
    outputs = session.infer(filled_up(inputs, fixed_batch(session.manifest) or 2))
    fused = outputs["fused"][-1:]
    result = fused[0].astype(np.float32) if uint8 else bgr_levels(fused)
    row = {"name": case.name, "size": list(case.near.shape[:2]), **compare(result, rounded(case.reference, uint8=uint8))}
    row |= {"noise": case.noise}
    assert case.weight is not None
    frames, weight = (case.near, case.far), outputs["map"][-1, 0]
    told = compare_maps(weight, case.weight, frames, arithmetic=session.precision, noise=case.weight_noise)
    return {**row, "map": told, "ok": tolerance_for(session.precision, session.manifest.io).met_by(row) and told["ok"]}


def _row_of(name: str, frame: Bytes) -> dict[str, Any]:
    return {"name": name, "size": list(frame.shape[:2])}
