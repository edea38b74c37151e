"""CUDA graphs through the optional package cuda-python: a whole network launched by one call.

PyCUDA knows no graphs. The driver API of ``cuda.bindings`` works in the context that is current, whichever binding made it so,
and takes the stream handles of either. Every function there answers with a tuple that begins with an error code.
"""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

from ufafuse.runtime.errors import BackendError

MODULE = "cuda.bindings.driver"


def available() -> bool:
    """Whether cuda-python is installed."""
    try:
        return importlib.util.find_spec(MODULE) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False


class CaptureError(BackendError):
    """This network cannot be captured; it runs without a graph all the same."""


class CudaGraph:
    """One captured run: fixed shapes, fixed addresses."""

    def __init__(self, stream: int, enqueue: Callable[[], None]) -> None:
        """Capture what ``enqueue`` puts on ``stream``.

        The work has been queued for real once before (TensorRT defers what a new shape changes to the next enqueue), and
        the stream is idle.

        Raises:
            CaptureError: Something in it cannot be captured.
        """
        self._driver = importlib.import_module(MODULE)
        self._graph: Any = None
        self._executable: Any = None
        # Only this thread's calls can break the capture: others may allocate and copy meanwhile.
        mode = self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call("cuStreamBeginCapture", stream, mode)
        try:
            enqueue()
        except BackendError as error:
            self._abandon(stream)
            raise CaptureError(f"the network cannot be captured: {error}") from error
        (self._graph,) = self._call("cuStreamEndCapture", stream)
        try:
            (self._executable,) = self._call("cuGraphInstantiate", self._graph, 0)
        except CaptureError:
            self.close()
            raise

    def _abandon(self, stream: int) -> None:
        """End a capture that failed, or the stream stays unusable; the code says no more than the failure did."""
        _, graph = self._driver.cuStreamEndCapture(stream)
        if graph:
            self._call("cuGraphDestroy", graph)

    def launch(self, stream: int) -> None:
        """Queue the captured work. Raises: CaptureError."""
        self._call("cuGraphLaunch", self._executable, stream)

    def close(self) -> None:
        """Destroy the graph; may be called twice. Inside `Gpu.active`, and when it does not run."""
        executable, self._executable = self._executable, None
        graph, self._graph = self._graph, None
        if executable is not None:
            self._call("cuGraphExecDestroy", executable)
        if graph is not None:
            self._call("cuGraphDestroy", graph)

    def _call(self, name: str, *arguments: Any) -> tuple[Any, ...]:  # noqa: ANN401 - cuda-python has no types
        try:
            code, *values = getattr(self._driver, name)(*arguments)
        except RuntimeError as error:  # cuda-python's word for a driver that lacks the function
            raise CaptureError(f"{name} failed ({error})") from error
        if code != self._driver.CUresult.CUDA_SUCCESS:
            raise CaptureError(f"{name} failed with {code}")
        return tuple(values)
