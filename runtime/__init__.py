"""The part that ships to the device: frames in, fused frames out. NumPy, OpenCV and one inference engine."""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if os.name == "nt":  # where the first import of what locks files would fail with a name that says nothing
    raise ImportError("ufafuse runs on Linux: on Windows, install and run it inside WSL.")

if TYPE_CHECKING:
    from ufafuse.runtime.fuser import Fuser
    from ufafuse.runtime.session import Session, open_session

# ONNX Runtime (from 1.29 on) tells its maker over the network what is run, by the model's name, and writes an identifier into
# the user's cache, unless this stands before it is imported. A camera over an assembly line must do neither; 0 allows it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["Fuser", "Session", "open_session"]

_HOME = {"Fuser": "fuser", "Session": "session", "open_session": "session"}
_MOVED = {  # modules that 0.1.0 had here
    "align": "registration.align",
    "gain": "registration.gain",
    "budget": "memory.budget",
    "tiling": "memory.tiling",
    "verify": "checks.cases",
    "selftest": "checks.selftest",
    "tolerances": "checks.tolerances",
}


def __getattr__(name: str) -> object:
    if name not in _HOME and name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_HOME.get(name) or _MOVED[name]}")
    except (ImportError, AttributeError) as error:
        from ufafuse.runtime import opencv

        text = opencv.sentence(error)
        if text is None:
            raise
        raise ImportError(text, name="cv2") from error
    return getattr(module, name) if name in _HOME else module


def __dir__() -> list[str]:
    """Also the names that are imported when they are asked for, which completion and `help` would not see otherwise."""
    return sorted({*globals(), *__all__})
