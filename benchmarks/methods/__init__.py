"""Methods to compare with, each as its paper says, found by name: classical ones, and the networks of the paper's tables."""

from functools import lru_cache
from importlib import import_module

from ufafuse.benchmarks.methods.base import Method
from ufafuse.runtime.errors import InputError

_FAMILIES = ("spatial", "pyramid", "wavelets", "directional", "sparse", "matting", "gradients", "variation")
RIVAL = "rival-"  # begins the name of a network

__all__ = ["RIVAL", "Method", "is_rival", "labels", "method", "methods", "missing_rivals"]


def _of(families: tuple[str, ...]) -> dict[str, Method]:
    found = (import_module(f"{__name__}.{family}").METHODS for family in families)
    return {method.name: method for family in found for method in family}


@lru_cache(maxsize=1)
def _classical() -> dict[str, Method]:
    return _of(_FAMILIES)


@lru_cache(maxsize=1)
def _rivals() -> dict[str, Method]:
    return _of(("rivals",))


def methods() -> dict[str, Method]:
    """Every method that can run here, by name, in the order that tables list them: rivals where their weights are at hand."""
    return _classical() | {name: entry for name, entry in _rivals().items() if not _missing(name)}


def labels() -> dict[str, str]:
    """Of every method, whether it can run here or not, the name that the paper's tables or its literature have for it."""
    return {name: entry.label for name, entry in (_classical() | _rivals()).items()}


def missing_rivals() -> dict[str, str]:
    """Why each rival that cannot run here cannot."""
    return {name: why for name in _rivals() if (why := _missing(name))}


def is_rival(name: str) -> bool:
    """Whether this is the name of a network of the paper's tables."""
    return name in _rivals()


def _missing(name: str) -> str:
    from ufafuse.benchmarks.methods.rivals import missing

    return missing(name)


def method(name: str) -> Method:
    """The method of that name. Raises: InputError, naming those there are, or what a rival lacks."""
    known = _classical() | _rivals()
    if name not in known:
        raise InputError(f"there is no method {name!r}: choose from {', '.join(known)}.")
    if is_rival(name) and (why := _missing(name)):
        raise InputError(why)
    return known[name]
