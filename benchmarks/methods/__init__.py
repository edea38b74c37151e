"""Classical multi-focus fusion methods, each as its paper says, found by name."""

from functools import lru_cache
from importlib import import_module

from ufafuse.benchmarks.methods.base import Method
from ufafuse.runtime.errors import InputError

_FAMILIES = ("spatial", "pyramid", "wavelets", "directional", "sparse", "matting", "gradients")

__all__ = ["Method", "method", "methods"]


@lru_cache(maxsize=1)
def methods() -> dict[str, Method]:
    """Every method by name, in the order that tables list them."""
    families = (import_module(f"{__name__}.{family}").METHODS for family in _FAMILIES)
    return {method.name: method for family in families for method in family}


def method(name: str) -> Method:
    """The method of that name. Raises: InputError, naming those there are."""
    known = methods()
    if name not in known:
        raise InputError(f"there is no method {name!r}: choose from {', '.join(known)}.")
    return known[name]
