"""Opening a model file in what runs it: the runtime's engines, or PyTorch for formats that need it."""

import importlib
from pathlib import Path

from ufafuse.runtime import session as runtime
from ufafuse.runtime.artefact import check_files, read_manifest
from ufafuse.runtime.errors import BackendError
from ufafuse.runtime.kinds import kind_of
from ufafuse.runtime.session import Session, SessionOptions

_OF_TORCH = {
    "torchscript": ("torchscript", "TorchScriptSession"),
    "executorch": ("executorch", "ExecuTorchSession"),
}


def open_artefact(model: Path, *, backend: str = "auto", options: SessionOptions | None = None) -> Session:
    """As `open_session`, of every kind of file that can be run here."""
    kind = kind_of(model)
    if kind is None or kind.name not in _OF_TORCH:
        return runtime.open_session(model, backend=backend, options=options)
    if backend not in ("auto", kind.name):
        raise BackendError(f"{backend} cannot run {model.name}, which runs {kind.elsewhere}: omit `backend`.")
    manifest = read_manifest(model)
    check_files(model, manifest.extra.get("files_sha256"))
    module, name = _OF_TORCH[kind.name]
    kind_of_session: type[Session] = getattr(importlib.import_module(f"ufafuse.export.formats.{module}"), name)
    return kind_of_session(model, manifest, options or SessionOptions(), f"a file for {kind.name}")
