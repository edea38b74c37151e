"""Which arithmetic to take where time counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ufafuse.runtime.machine import multiplies_bytes
from ufafuse.runtime.models import has_int8, model_path
from ufafuse.runtime.session import choose_backend

if TYPE_CHECKING:
    from pathlib import Path


def quick_precision(model: str | Path | None, *, backend: str = "auto", asked: str | None = None) -> str | None:
    """The precision that was asked for; else int8 where a bundled network has such a file and this machine gains by it.

    For what waits for nobody (a live frame that comes too late is lost) and for what fuses many times (a stack). int8 files
    are only bundled within 45 dB of the float ones. They are made for OpenVINO (and TensorRT): ONNX Runtime is slower with
    them than with float ones.

    Args:
        model: As `Fuser` takes it.
        backend: One of `ufafuse.runtime.session.BACKENDS`.
        asked: One of `ufafuse.runtime.session.PRECISIONS`, or nothing.
    """
    if asked is not None or not has_int8(model) or not multiplies_bytes():
        return asked
    chosen, _ = choose_backend(model_path(model), backend)
    return "int8" if chosen == "openvino" else None
