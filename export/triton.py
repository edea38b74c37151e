"""A model repository for NVIDIA Triton: a folder a model, each with its ``config.pbtxt`` and numbered versions.

Written as text, so that nothing of Triton's is needed here; the tests read it with Triton's own protobuf messages.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ufafuse.export.profiles import dim_size, is_free
from ufafuse.runtime.artefact import Manifest, atomic_write, read_manifest
from ufafuse.runtime.errors import InputError, ModelError
from ufafuse.runtime.fixed import fixed_size
from ufafuse.runtime.onnx_summary import GraphPort, summary_of
from ufafuse.runtime.parameters import Size
from ufafuse.runtime.writing import make_folder, together

BACKENDS = ("onnxruntime", "openvino")  # of an ONNX file; an engine has its own
MOST_PAIRS = 8  # that are put together
_DELAY_US = 2000  # that a pair waits for others at most
_WARM_SIZE = (256, 256)
Entries: TypeAlias = Mapping[str, Sequence[int]]  # of a profile in an engine's manifest
_TYPES = {"float32": "TYPE_FP32", "uint8": "TYPE_UINT8", "float16": "TYPE_FP16"}


@dataclass(frozen=True)
class _Model:
    """One folder of the repository: its configuration, and what the file is called that it serves."""

    name: str
    config: str
    file: str


def repository_from(onnx: Path, folder: Path, *, engine: Path | None = None) -> list[Path]:
    """Lay a model out for Triton; a model that is there already gets one version more.

    Args:
        onnx: A file of `ufa export`, also one that has its name only when a block of `together` ends. Where batches are free
            in it, Triton puts up to `MOST_PAIRS` pairs of one size together, but not for OpenVINO, whose backend takes
            ``max_batch_size`` for the only batch that it runs; where they are fixed, a request is such a batch.
        folder: The repository; made if missing.
        engine: An engine built from ``onnx``: then the one model is this, for the ``tensorrt`` backend; None: one model for
            each of `BACKENDS`.

    Returns:
        The files written.

    Raises:
        InputError: A model of this name with another configuration is there.
        ModelError: A tensor has a type or size that Triton has no word for.
        OutputError: A file cannot be written.
    """
    check_repository(onnx, folder)
    profile = None if engine is None else read_manifest(engine).extra["profiles"][0]
    with together() as files:
        lies_at = files.now_at(onnx)
        models = _models(onnx.stem, lies_at, profile)
        for model in models:
            _check(folder / model.name, model.config)
        source = lies_at if engine is None else engine
        return [path for model in models for path in _written(folder / model.name, model, source)]


def _models(named: str, onnx: Path, profile: Entries | None) -> list[_Model]:
    """What is to lie in the repository: an engine of this profile, or for ``None`` one model for each of `BACKENDS`."""
    manifest, stem = read_manifest(onnx), named.replace(".", "-")
    backends, file = (BACKENDS, "model.onnx") if profile is None else (("tensorrt",), "model.plan")
    names = {backend: f"{stem}-{backend}" for backend in backends}
    return [_Model(name, _config(name, backend, onnx, manifest, profile), file) for backend, name in names.items()]


def check_repository(onnx: Path, folder: Path, *, profiles: Sequence[Entries] = ()) -> None:
    """Refuse, before any work is spent on it, what cannot be laid out.

    Args:
        onnx: The model's file, there already or to be.
        folder: The repository.
        profiles: Those that an engine of it is to have, as its manifest will tell them; none: it is no engine.

    Raises:
        InputError: The folder is a file, the model's name is none that a configuration can hold, Triton would serve the
            first of several profiles only, or an engine's model of another configuration is there.
        ModelError: A tensor of an engine's source has a type or size that Triton has no word for.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"`triton={folder}` is no folder: name one, which is made if it is missing.")
    if not onnx.stem.isprintable() or set(onnx.stem) & set('"\\'):
        raise InputError(f"`triton` names the model after {onnx.name}: use no quotes, backslashes and line ends.")
    if len(profiles) > 1:
        raise InputError(
            f"`triton`: of an engine's {len(profiles)} profiles only the first would be served: build it with one."
        )
    for model in _models(onnx.stem, onnx, profiles[0]) if profiles else ():
        _check(folder / model.name, model.config)


def _check(folder: Path, config: str) -> None:
    known = folder / "config.pbtxt"
    if folder.exists() and (not known.is_file() or _said(known.read_text(encoding="utf-8", errors="replace")) != _said(config)):
        raise InputError(f"{folder} holds a model of another configuration: give another folder as `triton`, or remove it.")


def _said(config: str) -> list[str]:
    """What a configuration says, without its comments."""
    return [line for line in config.splitlines() if not line.startswith("#")]


def _written(folder: Path, model: _Model, source: Path) -> Iterator[Path]:
    versions = [int(each.name) for each in folder.glob("*") if each.name.isdecimal()] if folder.is_dir() else []
    version = folder / str(max(versions, default=0) + 1)
    make_folder(version)
    with atomic_write(version / model.file) as temporary:
        shutil.copyfile(source, temporary)
    with atomic_write(folder / "config.pbtxt", force=True) as temporary:  # the last: with it the model is there
        temporary.write_text(model.config, encoding="utf-8")
    yield from (version / model.file, folder / "config.pbtxt")


def _config(name: str, backend: str, onnx: Path, manifest: Manifest, profile: Entries | None) -> str:
    """The text of ``config.pbtxt``."""
    summary = summary_of(onnx)
    most = 0 if backend == "openvino" else _most_pairs(summary.inputs, profile)
    fixed = _fixed(profile)
    warm = fixed_size(manifest) or (_WARM_SIZE if profile is None else (profile["opt"][0], profile["opt"][1]))
    lines = [
        f"# {manifest.variant}, {manifest.precision}, {manifest.io} io; the newest version of the weights "
        f"{manifest.weights_sha256[:12]}. Made by ufafuse.",
        f'name: "{name}"',
        f'backend: "{backend}"',
        f'default_model_filename: "{"model.onnx" if profile is None else "model.plan"}"',
        f"max_batch_size: {most}",
        *_ports("input", summary.inputs, most, fixed),
        *_ports("output", summary.outputs, most, fixed),
        "version_policy { latest { num_versions: 1 } }",
    ]
    if backend == "openvino":  # on a machine with a GPU Triton would ask for that, and the backend refuses
        lines.append("instance_group { count: 1 kind: KIND_CPU }")
    if most > 1:
        lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {_DELAY_US} }}")
    pairs = 1 if most or profile is None else profile["batch"][1]
    return "\n".join([*lines, *_warmup(summary.inputs, most, pairs, warm)]) + "\n"


def _most_pairs(inputs: Sequence[GraphPort], profile: Entries | None) -> int:
    """Triton's ``max_batch_size``: 0 where the first size is no batch of 1 and more, as Triton then takes it to be."""
    if any(port.shape[:1] != ("batch",) for port in inputs):
        return 0
    if profile is None:
        return MOST_PAIRS
    fewest, _, most = profile["batch"]
    return most if fewest == 1 else 0


def _fixed(profile: Entries | None) -> dict[str, int]:
    """The sizes that an engine takes only one of, by the names of dimensions."""
    if profile is None:
        return {}
    least, most = ((*profile["min"], profile["batch"][0]), (*profile["max"], profile["batch"][2]))
    return {name: low for name, low, high in zip(("height", "width", "batch"), least, most, strict=True) if low == high}


def _ports(kind: str, ports: Sequence[GraphPort], most: int, fixed: Mapping[str, int]) -> Iterator[str]:
    for port in ports:
        dims = ", ".join(str(_dim(each, fixed)) for each in (port.shape[1:] if most else port.shape))
        yield f'{kind} {{ name: "{port.name}" data_type: {_type(port)} dims: [ {dims} ] }}'


def _dim(size: int | str, fixed: Mapping[str, int]) -> int:
    if isinstance(size, int):
        return size
    if not is_free(size):
        raise ModelError(f"a dimension {size!r} is none of ours: export the file again.")
    if size.split("_", maxsplit=1)[0] not in fixed:  # height_4 is a quarter of the height
        return -1
    return dim_size(size, fixed.get("batch", 1), fixed.get("height", 1), fixed.get("width", 1))


def _warmup(inputs: Sequence[GraphPort], most: int, pairs: int, size: Size) -> Iterator[str]:
    """A request of noise, before the first real one: engines compile and measure with it."""
    yield "model_warmup {"
    yield f'  name: "{size[0]}x{size[1]}"'
    yield "  batch_size: 1"  # of models without batches too, says Triton
    for port in inputs:
        shape = [each if isinstance(each, int) else dim_size(each, pairs, *size) for each in port.shape]
        dims = ", ".join(map(str, shape[1:] if most else shape))
        yield f'  inputs {{ key: "{port.name}" value {{ data_type: {_type(port)} dims: [ {dims} ] random_data: true }} }}'
    yield "}"


def _type(port: GraphPort) -> str:
    if port.type not in _TYPES:
        raise ModelError(f"{port.name} is {port.type}, which is not served: export the file again.")
    return _TYPES[port.type]
