"""What running an engine and building one ask of both flavours alike: their modules, and a logger that keeps complaints."""

import importlib
import importlib.util
from typing import Any, TypeAlias

from ufafuse.runtime.errors import BackendError

Vendor: TypeAlias = Any  # an object of the vendor's module, which has no types

EXTRAS = {"tensorrt": "gpu", "tensorrt-rtx": "rtx"}  # what pip installs each with
FLAVORS = tuple(EXTRAS)
_MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_OLDEST = 10  # strong typing, and names for tensors instead of numbers
_SHOWN_MESSAGES = 3


def is_installed(flavor: str) -> bool:
    """Whether a flavour's module can be found; it is not imported."""
    return importlib.util.find_spec(_MODULES[flavor]) is not None


def load(flavor: str) -> Vendor:
    """Import a flavour's module, which is installed. Raises: BackendError, when it cannot be loaded, or is too old."""
    try:
        module = importlib.import_module(_MODULES[flavor])
    except (ImportError, OSError) as error:
        raise BackendError(f"{flavor} is installed but cannot be loaded: {error}.") from error
    major = str(module.__version__).split(".", maxsplit=1)[0]
    if flavor == "tensorrt" and major.isdigit() and int(major) < _OLDEST:
        raise BackendError(
            f"tensorrt {module.__version__} is too old, {_OLDEST} or newer is needed: its own trtexec builds from a file of "
            "`ufa export --opset 17`."
        )
    return module


def recorder(module: Vendor) -> Vendor:
    """A logger that keeps the library's errors; its class can only be made once the module is known."""

    class Recorder(module.ILogger):
        """Keeps errors and says nothing; `told` gives the last few, once."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.messages: list[str] = []

        def log(self, severity: Vendor, msg: str) -> None:
            """Called by the library, from any thread."""
            if severity in (module.ILogger.INTERNAL_ERROR, module.ILogger.ERROR):
                self.messages.append(" ".join(msg.split()))

        def told(self) -> str:
            """The last errors as a clause, or nothing."""
            last, self.messages = self.messages[-_SHOWN_MESSAGES:], []
            return f": {'; '.join(last)}" if last else ""

    return Recorder()
