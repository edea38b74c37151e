"""From weights to a file of another format, which is run in its own runtime before it gets its name."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ufafuse.export.form import Form
from ufafuse.export.formats.base import Format, SourceGraph
from ufafuse.export.formats.opening import open_artefact
from ufafuse.export.graphs import io_of
from ufafuse.export.onnx_check import check_pairs
from ufafuse.export.onnx_export import graph_manifest
from ufafuse.export.signatures import graph_kind, signature
from ufafuse.export.stack_check import StackRun, stack_cases
from ufafuse.export.verify import check_references, reference_cases
from ufafuse.network.base import Network
from ufafuse.network.spec import Spec
from ufafuse.network.weights import load_weights
from ufafuse.runtime.artefact import (
    METADATA_KEY,
    Manifest,
    atomic_write,
    hashes_of,
    manifest_path,
    read_manifest,
    tool_versions,
    write_json,
)
from ufafuse.runtime.callbacks import OnStep, ignored
from ufafuse.runtime.checks.cases import Case, verify_cases
from ufafuse.runtime.checks.everywhere import own_precision
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.kinds import beside, kind_of
from ufafuse.runtime.manifest_entries import STACK_ROLES
from ufafuse.runtime.session import SessionOptions
from ufafuse.runtime.writing import check_new, check_parent, put_folder, together

Cases = dict[str, list[Case]]  # by what they depend on


def format_from_weights(
    weights: Path,
    out: Path,
    chosen: Format,
    *,
    precision: str = "fp32",
    io: str = "float",
    form: Form,
    force: bool = False,
    cases: Cases | None = None,
    on_step: OnStep = ignored,
) -> dict[str, Any]:
    """Convert a network, run the file in its own runtime, compare with PyTorch, and only then give it its name.

    Args:
        weights: A ``.safetensors`` file of `ufa train`.
        out: Ends in the format's suffix. Of a network that gathers, the graphs for stacks lie beside it (``X.encode``,
            ``X.common``, ``X.score``). The manifest of each lies beside it too (``X.json``).
        chosen: One of `ufafuse.export.formats.known.FORMATS`.
        precision: What the stored tensors are; inputs and outputs keep the types of the io layout.
        io: As `ufafuse.export.onnx_export.onnx_from_weights`.
        form: What is fixed.
        force: Replace existing files.
        cases: Filled with what PyTorch computes; given for several formats of one network it is computed once.
        on_step: Told before each step what it is, how many are done, and of how many.

    Returns:
        As `onnx_from_weights`, with ``format``; ``verified`` is None where the file cannot be run here (``not_run`` says why).

    Raises:
        InputError: An option does not fit the format, or a path has a wrong suffix.
        BackendError: The converter is not installed, or fails.
        ModelError: The weights are broken.
        CheckFailed: A file differs from PyTorch by more than the tolerance; no file is left behind.
        OutputError: A file cannot be written.
    """
    weights, out = Path(weights), Path(out)
    _check(out, chosen, precision, io, form)
    chosen.require()
    net = load_weights(weights)
    if form.size is not None:
        check_references("static", [form.size], net.spec, batch=form.batch or 1)
    roles = _roles(out, net.spec)
    check_parent(out)
    for path in roles.values():
        for each in (*_files(path), manifest_path(path)):
            check_new(each, force=force)
    base = _base(net, weights, chosen, precision, io, form)
    with TemporaryDirectory(prefix="ufafuse-") as folder:
        verified = {}
        for number, (role, path) in enumerate(roles.items()):
            on_step(f"converting {path.name}", 2 * number, 2 * len(roles))
            temporary = Path(folder) / path.name
            _convert(net, role, base, chosen, form, temporary)
            on_step(f"checking {path.name}", 2 * number + 1, 2 * len(roles))
            verified[path.name] = None if chosen.why_not_run else _verified(net, temporary, {} if cases is None else cases)
        made = {role: Path(folder) / path.name for role, path in roles.items()}
        files = {each.name: {"role": role, "bytes": _size(each)} for role, path in made.items() for each in _files(path)}
        told = {
            "ok": True,
            "artefact": str(out),
            "report": str(manifest_path(out)),
            "format": chosen.name,
            "precision": precision,
            "io": io,
            "weights": str(weights),
            "weights_sha256": base.weights_sha256,
            **_fixed(form),
            "files": files,
            "verified": None if chosen.why_not_run else verified,
            **({"not_run": chosen.why_not_run} if chosen.why_not_run else {}),
        }
        with together():
            for role, path in roles.items():
                _put(made[role], path, force=force)
            if chosen.kind == "onnx":  # the manifest is inside, and a report beside it as beside other ONNX files
                write_json(manifest_path(out), told)
    return told


def _check(out: Path, chosen: Format, precision: str, io: str, form: Form) -> None:
    """Raises: InputError for options that the format does not have."""
    title, problem = chosen.title, ""
    if not out.name.endswith(chosen.suffix):
        problem = f"-o {out} must end in {chosen.suffix} for `formats={chosen.name}`"
    elif precision not in chosen.precisions:
        problem = f"`precision={precision}`: {title} files are written in {' or '.join(chosen.precisions)}"
    elif io not in chosen.ios:
        problem = f"`io={io}`: {title} files take {' or '.join(chosen.ios)}"
    elif form.opencv:
        problem = f"`opencv` is for ONNX files: omit it, or `formats={chosen.name}`"
    elif form.size is None and not chosen.free:
        problem = f"{title} files are made for frames of one size: add `static=520x520`, the size of your frames"
    elif form.batch not in (None, 1) and not chosen.several:
        problem = f"`batch={form.batch}`: {title} files take one pair at a time here: omit `batch`"
    if problem:
        raise InputError(f"{problem}.")


def _roles(out: Path, spec: Spec) -> dict[str, Path]:
    """The graphs to write, the model's own first; `Companions` of a network that gathers."""
    return {"whole": out, **({role: beside(out, role) for role in STACK_ROLES} if spec.gathers else {})}


def _fixed(form: Form) -> dict[str, Any]:
    return {key: value for key, value in form.to_dict().items() if key != "opset"}


def _base(net: Network, weights: Path, chosen: Format, precision: str, io: str, form: Form) -> Manifest:
    """What the manifests of all its graphs say."""
    made = graph_manifest(net, weights, io, None, form)
    extra = {key: value for key, value in made.extra.items() if key != "opset"}
    tools = tool_versions("torch", "onnx", "onnxslim", *chosen.packages)
    return Manifest(**{**vars(made), "kind": chosen.kind, "precision": precision, "tools": tools, "extra": extra})


def _convert(net: Network, role: str, base: Manifest, chosen: Format, form: Form, out: Path) -> None:
    """Write one graph, and the manifest beside it."""
    io = io_of(base)
    known = signature(role, io, net.spec, form)
    names = {"role": role, "inputs": list(known.inputs), "outputs": list(known.outputs)}
    names |= {"format": chosen.name} if chosen.kind == "onnx" else {}
    manifest = Manifest(**{**vars(base), "extra": {**base.extra, **names}})
    chosen.convert(SourceGraph(graph_kind(role, net.spec)(net, io=io), known, form, manifest), out)
    if chosen.kind == "onnx":  # it has room for its manifest
        return
    full = Manifest(**{**vars(manifest), "extra": {**manifest.extra, "files_sha256": hashes_of(out)}})
    manifest_path(out).write_text(full.to_metadata()[METADATA_KEY] + "\n", encoding="utf-8")


def _verified(net: Network, path: Path, cases: Cases) -> dict[str, Any]:
    """Run a file against PyTorch in float32; the report. Raises: CheckFailed."""
    manifest = read_manifest(path)
    stacks = manifest.role in STACK_ROLES
    known = cases.setdefault(json.dumps([stacks, manifest.precision, manifest.extra.get("static")]), [])
    if not known:
        pairs = check_pairs(net, manifest, None)
        known += (stack_cases if stacks else reference_cases)(net, pairs, noise=manifest.precision == "fp32")
    # OpenVINO would compute in bfloat16 where the CPU has it, which says nothing of the file.
    backend = "onnxruntime" if manifest.kind == "onnx" else "auto"
    options = SessionOptions(precision=own_precision(manifest, manifest.kind), cache=False)
    with open_artefact(path, backend=backend, options=options) as session:
        findings = verify_cases(session, known, artefact=path, reference=path, run=StackRun(net) if stacks else None)
    findings.require()
    told = {key: findings.report[key] for key in ("ok", "backend", "precision", "pairs", "worst", "tolerance")}
    return {"role": manifest.role, **told}


def _files(path: Path) -> list[Path]:
    """The files of an artefact that users see: the parts of a folder are its own."""
    kind = kind_of(path)
    assert kind is not None
    return [path] if path.is_dir() else kind.files(path)


def _size(path: Path) -> int:
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file()) if path.is_dir() else path.stat().st_size


def _put(made: Path, out: Path, *, force: bool) -> None:
    """Copy what was made and checked to where it is to lie, the manifest last. Raises: OutputError."""
    if made.is_dir():
        put_folder(made, out, force=force)
    for each in [] if made.is_dir() else _files(made):
        with atomic_write(out.with_name(each.name), force=force) as temporary:
            shutil.copyfile(each, temporary)
    if manifest_path(made).is_file():
        with atomic_write(manifest_path(out), force=True) as temporary:
            shutil.copyfile(manifest_path(made), temporary)
