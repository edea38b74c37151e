"""LiteRT (formerly TensorFlow Lite), by its makers' converter of PyTorch programs."""

from importlib import import_module
from pathlib import Path

import torch

from ufafuse.export.formats.base import SourceGraph, hushed
from ufafuse.runtime.errors import BackendError


def convert(source: SourceGraph, out: Path) -> None:
    """Write ``out``; its one signature has the graph's tensors in their order."""
    try:
        with hushed(), torch.no_grad():
            import_module("litert_torch").convert(source.module, source.examples()).export(str(out))
    except RuntimeError as error:
        raise BackendError(f"LiteRT's converter failed: {str(error).splitlines()[0]}") from error
