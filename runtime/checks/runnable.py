"""Whether this machine can run a model file, told without running it."""

from pathlib import Path

from ufafuse.runtime.artefact import Manifest, check_files, check_graph
from ufafuse.runtime.errors import UfaError
from ufafuse.runtime.session import choose_backend


def why_not_here(path: Path, manifest: Manifest) -> str | None:
    """Why this machine cannot run an artefact, and what mends it; ``None`` where it can.

    Everything is checked that its manifest knows: that the graph, or the file and its parts, are those that it was written
    for; of an engine the flavour and release of TensorRT, and the GPU. That it loads, and is right, only `ufa info --self-test`
    and `ufa verify` tell.
    """
    if manifest.kind == "weights":
        return f"weights are exported first: run `ufa export --weights {path} -o {path.with_suffix('.onnx').name}`."
    try:
        check_files(path, manifest.extra.get("files_sha256"))
        check_graph(path, manifest)
        backend, _ = choose_backend(path, "auto")
        if backend == "tensorrt":
            _check_engine(path, manifest)
    except UfaError as error:
        return str(error)
    return None


def _check_engine(path: Path, manifest: Manifest) -> None:
    """The checks that a session makes before it loads the plan, in its order. Raises: ModelError, BackendError."""
    from ufafuse.runtime.backends.tensorrt.cuda import Gpu
    from ufafuse.runtime.backends.tensorrt.execution import load_module
    from ufafuse.runtime.backends.tensorrt.facts import EngineFacts

    facts = EngineFacts.from_manifest(path, manifest)
    facts.check_plan(path.read_bytes())
    facts.check_version(load_module(facts).__version__)
    gpu = Gpu()
    facts.check_gpu(gpu.name, gpu.capability)
