"""The part that ships to the device: frames in, fused frames out. NumPy, OpenCV and one inference engine."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ufafuse.runtime.fuser import Fuser
    from ufafuse.runtime.session import Session, open_session

__all__ = ["Fuser", "Session", "open_session"]

_HOME = {"Fuser": "fuser", "Session": "session", "open_session": "session"}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
