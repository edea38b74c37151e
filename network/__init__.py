"""The fusion networks: what each is made of, how it starts, and its weights. Needs torch, nothing of training.

The names below are loaded when they are first asked for, so `import ufafuse.network` stays instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ufafuse.network.base import Network
    from ufafuse.network.model import FusionNet
    from ufafuse.network.spec import SPECS, Spec
    from ufafuse.network.stacknet import StackNet
    from ufafuse.network.weights import build_model, load_weights, save_weights

__all__ = ["SPECS", "FusionNet", "Network", "Spec", "StackNet", "build_model", "load_weights", "save_weights"]

_HOME = {
    "SPECS": "spec",
    "FusionNet": "model",
    "Network": "base",
    "StackNet": "stacknet",
    "Spec": "spec",
    "build_model": "weights",
    "load_weights": "weights",
    "save_weights": "weights",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """Also the names that are imported when they are asked for, which completion and `help` would not see otherwise."""
    return sorted({*globals(), *__all__})
