"""Multi-focus image fusion: frames at different focus in, one that is sharp everywhere out.

What most programs need is here; everything else is in the packages `ufafuse.runtime`, `ufafuse.train` and so on. Nothing is
imported before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ufafuse.runtime.fuser import Fuser
    from ufafuse.runtime.stack import fuse_stack
    from ufafuse.runtime.stacks.options import StackOptions

    __version__: str

__all__ = ["Fuser", "StackOptions", "__version__", "fuse_stack"]

_HOME = {"Fuser": "runtime.fuser", "StackOptions": "runtime.stacks.options", "fuse_stack": "runtime.stack"}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - not before it is asked for

        return version("ufafuse")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """Also the names that are imported when they are asked for, which completion and `help` would not see otherwise."""
    return sorted({*globals(), *__all__})
