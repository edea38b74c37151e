"""Opening a model file in what runs it: the runtime's engines, or PyTorch for formats that need it."""

import importlib
from pathlib import Path

from ufafuse.runtime import session as runtime
from ufafuse.runtime.artefact import Manifest, check_files, read_manifest
from ufafuse.runtime.errors import BackendError
from ufafuse.runtime.kinds import kind_of
from ufafuse.runtime.session import Session, SessionOptions, check_own_precision

OF_TORCH = {  # the module, its session, and what runs it
    "torchscript": ("torchscript", "TorchScriptSession", "PyTorch"),
    "executorch": ("executorch", "ExecuTorchSession", "ExecuTorch"),
}


def check_elsewhere(model: Path, manifest: Manifest, *, backend: str, options: SessionOptions) -> None:
    """Refuse what a file of PyTorch's own formats is not run by, or in. Raises: BackendError."""
    kind = kind_of(model)
    assert kind is not None
    if backend not in ("auto", kind.name):
        raise BackendError(f"{backend} cannot run {model.name}, which runs {kind.elsewhere}: omit `backend`.")
    check_own_precision(OF_TORCH[kind.name][2], model, manifest, options)


def open_artefact(model: Path, *, backend: str = "auto", options: SessionOptions | None = None) -> Session:
    """As `open_session`, of every kind of file that can be run here."""
    kind, options = kind_of(model), options or SessionOptions()
    if kind is None or kind.name not in OF_TORCH:
        return runtime.open_session(model, backend=backend, options=options)
    manifest = read_manifest(model)
    check_elsewhere(model, manifest, backend=backend, options=options)
    check_files(model, manifest.extra.get("files_sha256"))
    module, name, _ = OF_TORCH[kind.name]
    kind_of_session: type[Session] = getattr(importlib.import_module(f"ufafuse.export.formats.{module}"), name)
    return kind_of_session(model, manifest, options, f"a file for {kind.name}")
