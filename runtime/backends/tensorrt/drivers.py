"""What is asked of a binding of CUDA's driver, and which binding there is.

PyCUDA is compiled when it is installed, with CUDA's headers and a C++ compiler; cuda-python comes as wheels. Either serves;
where both are installed PyCUDA is taken.
"""

import importlib.util
from abc import ABC, abstractmethod
from typing import Any, TypeAlias

from ufafuse.runtime.arrays import Bytes

Binding: TypeAlias = Any  # an object of a binding, which has no types

# The modules, the first that is installed is taken.
BINDINGS = {"PyCUDA": "pycuda.driver", "cuda-python": "cuda.bindings.driver"}
INSTALL = "run `pip install cuda-python` (wheels), or `pip install pycuda` (it needs the CUDA toolkit)"


class Driver(ABC):
    """A binding of CUDA's driver. All but `retained` and `described` is called while a context is current.

    Attributes:
        name: One of `BINDINGS`.
        error: What its calls raise.
        memory_error: Of these, what says that memory ran out.
    """

    name: str
    error: type[Exception]
    memory_error: type[Exception]

    @abstractmethod
    def retained(self, ordinal: int) -> Binding:
        """A GPU's primary context, retained: ``push()`` makes it current in this thread; ``pop()``; ``detach()`` lets it go."""

    @abstractmethod
    def described(self, ordinal: int) -> tuple[str, tuple[int, int]]:
        """A GPU's name and compute capability, such as (8, 6)."""

    @abstractmethod
    def stream(self) -> Binding:
        """A new stream: ``handle``, ``synchronize()``, ``wait_for_event(event)``."""

    @abstractmethod
    def event(self) -> Binding:
        """A new event with a time stamp: ``record(stream)``, ``synchronize()``, ``time_till(event)`` in ms."""

    @abstractmethod
    def copy_in(self, device: int, host: Bytes, stream: Binding) -> None:
        """Queue a copy of page-locked bytes to the address ``device``."""

    @abstractmethod
    def copy_out(self, host: Bytes, device: int, stream: Binding) -> None:
        """Queue a copy from the address ``device`` into page-locked bytes."""

    @abstractmethod
    def device_bytes(self, count: int) -> Binding:
        """``count`` bytes of device memory: ``int(it)`` is the address, ``it.free()`` gives it back."""

    @abstractmethod
    def locked_bytes(self, count: int) -> Bytes:
        """``count`` bytes of page-locked host memory; ``.base.free()`` gives it back."""


def installed_bindings() -> list[str]:
    """Which bindings can be found, the one that is taken first; none is imported."""
    return [name for name, module in BINDINGS.items() if _found(module)]


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a parent package is missing, or cannot be loaded
        return False
