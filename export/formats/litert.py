"""LiteRT (formerly TensorFlow Lite), by its makers' converter of PyTorch programs."""

import contextlib
import io
import logging
import warnings
from importlib import import_module
from pathlib import Path

import torch

from ufafuse.export.formats.base import Source
from ufafuse.runtime.backends.quietly import stdout_to_stderr
from ufafuse.runtime.errors import BackendError


def convert(source: Source, out: Path) -> None:
    """Write ``out``; its one signature has the graph's tensors in their order."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            stdout_to_stderr(),
        ):
            warnings.simplefilter("ignore")
            litert_torch = import_module("litert_torch")
            with torch.no_grad():
                litert_torch.convert(source.module, source.examples()).export(str(out))
    except RuntimeError as error:
        raise BackendError(f"LiteRT's converter failed: {str(error).splitlines()[0]}") from error
    finally:
        logging.disable(before)
