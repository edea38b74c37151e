"""From weights to ONNX files that are verified before they get their names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from ufafuse.export.form import FREE, Form
from ufafuse.export.graphs import HALF_NOTE, io_of
from ufafuse.export.half import Islands
from ufafuse.export.islands import choose_islands
from ufafuse.export.onnx_check import finished, verify_graph
from ufafuse.export.signatures import graph_kind, signature
from ufafuse.export.tracing import trace
from ufafuse.export.verify import check_references
from ufafuse.network.base import Network
from ufafuse.network.spec import OCTAVES, RivalSpec, Spec
from ufafuse.network.weights import load_weights
from ufafuse.runtime.artefact import Manifest, atomic_write, read_manifest, sha256_of, tool_versions, write_json
from ufafuse.runtime.callbacks import OnStep, ignored
from ufafuse.runtime.errors import InputError, ModelError
from ufafuse.runtime.manifest_entries import STACK_ROLES, TILE_ROLES
from ufafuse.runtime.memory.tiled import check_same_weights
from ufafuse.runtime.parameters import Size
from ufafuse.runtime.values import check_instance, check_size, check_value, is_path, is_switch, type_in_text
from ufafuse.runtime.writing import check_new, check_parent, together

PRECISIONS = ("fp32", "fp16")
IOS = ("float", "uint8")


@dataclass(frozen=True)
class Companions:
    """Where the graphs beside ``X.onnx`` lie: those for exact tiling, and those for stacks, of a network that gathers.

    Args:
        means, tile: ``X.means.onnx`` and ``X.tile.onnx``.
        encode, common, score: ``X.encode.onnx``, ``X.common.onnx`` and ``X.score.onnx``.
    """

    means: Path
    tile: Path
    encode: Path
    common: Path
    score: Path

    @classmethod
    def of(cls, out: Path) -> "Companions":
        """Those beside ``out``."""
        return cls(*(out.with_name(f"{out.stem}.{role}.onnx") for role in (*TILE_ROLES, *STACK_ROLES)))


def report_path(artefact: Path) -> Path:
    """Where the report of an ONNX file lies: ``X.onnx.json``."""
    return artefact.with_name(artefact.name + ".json")


def onnx_from_weights(
    weights: str | Path,
    out: str | Path,
    *,
    precision: str = "fp32",
    io: str = "float",
    tiles: bool = False,
    form: Form = FREE,
    sizes: Iterable[Size] | None = None,
    force: bool = False,
    on_step: OnStep = ignored,
) -> dict[str, Any]:
    """Export a network, verify the file against PyTorch, and only then give it its name.

    Args:
        weights: A ``.safetensors`` file of `ufa train`.
        out: Ends in ``.onnx``. Inputs ``near`` and ``far``, outputs ``fused`` and ``map`` (the near frame's weight,
            N x 1 x H x W float32); N, H and W are free and shared, unless ``form`` fixes them. Of a network that gathers, the
            graphs for stacks of any number of frames lie beside it (`Companions`).
        precision: ``"fp32"``, or ``"fp16"``: the tensors are half, with small float32 islands (see `graphs`); inputs and
            outputs keep the types of the io layout.
        io: ``"float"`` (N x 3 x H x W float32, RGB, [0, 1]) or ``"uint8"`` (N x H x W x 3, BGR; rounded and clamped).
        tiles: Also write the `Companions` for exact tiling.
        form: The opset and what is fixed; a graph for OpenCV is run there too.
        sizes: (height, width) of the frames to verify with; by default odd ones, the stride's and the smallest; of a form
            with a size only that.
        force: Replace existing files.
        on_step: Told before each step what it is, how many are done, and of how many.

    Returns:
        ``ok``, ``artefact``, ``report``, ``precision``, ``io``, ``opset``, ``static`` and ``batch`` where they are fixed,
        ``files``, ``verified`` (a report of `verify_graph` for each file), and ``warnings`` where companions of another export
        lie beside it.

    Raises:
        InputError: An option is not known or of another type, or a path has a wrong suffix.
        ModelError: The weights are broken, or the exporter fixed a dimension that is to be free.
        CheckFailed: A file differs from PyTorch by more than the tolerance; no file is left behind.
        OutputError: A file cannot be written.
    """
    check_value("weights", weights, is_path)
    check_value("out", out, is_path)
    check_value("tiles", tiles, is_switch)
    check_instance("form", form, Form)
    weights, out, sizes = Path(weights), Path(out), checked_sizes(sizes)
    _check_options(out, precision, io)
    net = load_weights(weights)
    _check_form(form, net.spec, precision, tiles=tiles)
    if form.size is not None:
        check_references("static", [form.size], net.spec, batch=form.batch or 1)
    roles = _roles(out, net.spec, tiles=tiles)
    check_parent(out)
    for path in (*roles.values(), report_path(out)):  # before minutes are spent
        check_new(path, force=force)
    islands = choose_islands(net) if precision == "fp16" else None
    manifest = graph_manifest(net, weights, io, islands, form)
    with together() as files:
        verified = _write_verified(net, manifest, islands, roles, form, sizes, force=force, on_step=on_step)
        lengths = {path: files.now_at(path).stat().st_size for path in roles.values()}
        report = {
            "ok": True,
            "artefact": str(out),
            "report": str(report_path(out)),
            "precision": precision,
            "io": io,
            "weights": str(weights),
            "weights_sha256": manifest.weights_sha256,
            **form.to_dict(),
            "files": {path.name: {"role": role, "bytes": lengths[path]} for role, path in roles.items()},
            "verified": verified,
        }
        if told := _left_beside(out, roles, manifest):
            report["warnings"] = [told]
        write_json(report_path(out), report, force=force)
    return report


def checked_sizes(sizes: Iterable[Size] | None) -> list[Size] | None:
    """The sizes to verify with, as a list; None: those by default. Raises: InputError for what is no height and width."""
    if sizes is None:
        return None
    if not isinstance(sizes, Iterable):
        raise InputError(f"`sizes` is {type_in_text(sizes)}: give a list of (height, width).")
    return [check_size(size, "sizes") for size in sizes]


def _roles(out: Path, spec: Spec, *, tiles: bool) -> dict[str, Path]:
    """The graphs to write, the model's own first."""
    beside = Companions.of(out)
    if spec.gathers:
        return {"whole": out, **{role: getattr(beside, role) for role in STACK_ROLES}}
    return {"whole": out, "means": beside.means, "tile": beside.tile} if tiles else {"whole": out}


def _left_beside(out: Path, roles: Mapping[str, Path], manifest: Manifest) -> str:
    """What to tell of companions that lay beside ``out`` before and were made with another model; often nothing."""
    others = []
    for path in vars(Companions.of(out)).values():
        if path in roles.values() or not path.is_file():
            continue
        try:
            check_same_weights(path, read_manifest(path), out, manifest)
        except ModelError:
            others.append(path.name)
    if not others:
        return ""
    return (
        f"{' and '.join(others)} lay beside {out.name} before, of another export, and {out.name} does not run with them: "
        "remove them, or make them anew."
    )


def _check_options(out: Path, precision: str, io: str) -> None:
    if out.suffix != ".onnx":
        raise InputError(f"{out} must end in .onnx, or as the format that `formats` names does; `ufa build` makes engines.")
    if precision not in PRECISIONS:
        mend = "run `ufa calibrate` on an exported fp32 file" if precision == "int8" else f"choose {' or '.join(PRECISIONS)}"
        raise InputError(f"`precision={precision}` cannot be exported: {mend}.")
    if io not in IOS:
        raise InputError(f"`io={io}` is not known: choose {' or '.join(IOS)}.")


def _check_form(form: Form, spec: Spec, precision: str, *, tiles: bool) -> None:
    """Raises: InputError for options that do not go together; ModelError where the network has no such form."""
    if isinstance(spec, RivalSpec) and (tiles or precision != "fp32"):
        option = "tiles" if tiles else f"precision={precision}"
        raise ModelError(f"`{option}`: {spec.name}, a network to compare with, is exported whole and in fp32: omit it.")
    if tiles and not spec.channel:
        raise InputError(f"`tiles`: {spec.name} has no global averages, its tiles are exact without companions.")
    if tiles and (form.size is not None or form.batch not in (None, 1)):
        option = "static" if form.size is not None else "batch"
        raise InputError(f"`tiles`: tiles come one at a time and in several sizes: omit `{option}`, or `tiles`.")
    if form.opencv and precision != "fp32":
        raise InputError(f"`opencv`: OpenCV's dnn computes in float32: omit `precision={precision}`.")


def _write_verified(
    net: Network,
    manifest: Manifest,
    islands: Islands | None,
    roles: Mapping[str, Path],
    form: Form,
    sizes: Iterable[Size] | None,
    *,
    force: bool,
    on_step: OnStep,
) -> dict[str, Any]:
    """Trace, write and verify each graph; within `together`, by which all of them get their names, or none."""
    verified = {}
    for number, (role, path) in enumerate(roles.items()):
        with atomic_write(path, force=force) as temporary:
            on_step(f"tracing {path.name}", 2 * number, 2 * len(roles))
            _write_graph(net, role, manifest, islands, form, temporary)
            on_step(f"checking {path.name}", 2 * number + 1, 2 * len(roles))
            verified[path.name] = verify_graph(temporary, net, sizes)
    return verified


def graph_manifest(net: Network, weights: Path, io: str, islands: Islands | None, form: Form) -> Manifest:
    """What an exported file says of itself, but for its role."""
    spec = net.spec
    return Manifest(
        kind="onnx",
        variant=spec.name,
        precision="fp32" if islands is None else "fp16",
        io=io,
        spec=spec.to_dict(),
        weights_sha256=sha256_of(weights),
        tools=tool_versions("torch", "onnx", "onnxscript", "onnxslim"),
        extra={
            **form.to_dict(),
            **({"opencv": cv2.__version__} if form.opencv else {}),
            "stride": spec.stride,
            "halo": spec.halo,
            "strides": [spec.fold * 2**scale for scale in range(len(spec.widths))],
            "widths": list(spec.widths),
            "global_means": spec.channel,
            **(_gathering(spec) if spec.gathers else {}),
            **({} if islands is None else {"float32": {"always": HALF_NOTE, **islands.to_dict()}}),
            **{key: value for key, value in read_manifest(weights).extra.items() if key == "data"},
        },
    )


def _gathering(spec: Spec) -> dict[str, Any]:
    """What the manifest says of a network that gathers."""
    return {
        "gathers": True,
        "encode_halo": spec.encode_halo,
        "score_halo": spec.score_halo,
        "octaves": list(OCTAVES),
    }


def _write_graph(net: Network, role: str, manifest: Manifest, islands: Islands | None, form: Form, path: Path) -> None:
    """Trace one of the graphs into ``path``, with its manifest."""
    io = io_of(manifest)
    module = graph_kind(role, net.spec)(net, io=io, half=islands)
    known = signature(role, io, net.spec, form)
    entry = Manifest(**{**vars(manifest), "extra": {**manifest.extra, "role": role}})
    traced = trace(module, known.inputs, list(known.outputs), known.free, form.opset)
    path.write_bytes(finished(traced, entry, known, form))
