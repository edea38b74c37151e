"""A GPU and its memory, through whichever binding of CUDA's driver is installed (see `drivers`).

One context for everything: the GPU's primary context, which TensorRT and every other library that uses CUDA's runtime
live in too. Contexts are current in a thread, and nothing stays current: every use happens inside `Gpu.active`, which
pushes, and pops whatever happens.
"""

import atexit
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Bytes
from ufafuse.runtime.backends.tensorrt.drivers import INSTALL, Binding, Driver, installed_bindings
from ufafuse.runtime.errors import BackendError

# The process has one primary context a GPU, whatever we do, and CUDA's runtime keeps it until the process ends. So do
# we: PyCUDA cannot release it in a thread other than the one that retained it.
_retained: dict[int, Binding] = {}
_retaining = threading.Lock()


def open_driver() -> Driver:
    """The binding that is installed.

    Raises:
        BackendError: None is, or it cannot be loaded: without NVIDIA's driver, say.
    """
    found = installed_bindings()
    if not found:
        raise BackendError(f"TensorRT engines need PyCUDA or cuda-python, and neither is installed: {INSTALL}.")
    name = found[0]
    try:
        if name == "PyCUDA":
            from ufafuse.runtime.backends.tensorrt.pycuda import PyCuda

            return PyCuda()
        from ufafuse.runtime.backends.tensorrt.cuda_python import CudaPython

        return CudaPython()
    except ImportError as error:
        mend = "install NVIDIA's driver" if "libcuda" in str(error) else INSTALL
        raise BackendError(f"TensorRT engines need {name} and an NVIDIA GPU, but {error}: {mend}.") from error


class Gpu:
    """One NVIDIA GPU: its name, its memory, its streams. Methods that touch the GPU are called inside `active`.

    Args:
        ordinal: Which of the GPUs that CUDA shows (``CUDA_VISIBLE_DEVICES`` chooses and orders them).

    Raises:
        BackendError: A binding of CUDA, the driver or the GPU is missing.
    """

    def __init__(self, ordinal: int = 0) -> None:
        self._driver = open_driver()
        try:
            with _retaining:
                if ordinal not in _retained:
                    _retained[ordinal] = context = self._driver.retained(ordinal)
                    atexit.register(context.detach)  # PyCUDA's destructor would take it for a context of its own making
            self.name, self.capability = self._driver.described(ordinal)
        except self._driver.error as error:
            raise BackendError(f"no NVIDIA GPU can be used here ({error}): check `nvidia-smi`.") from error
        self.binding = self._driver.name
        self._context = _retained[ordinal]

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Make the GPU's context current in this thread for the block; may be nested.

        Raises:
            BackendError: A CUDA call in the block failed.
        """
        try:
            self._context.push()
            try:
                yield
            finally:
                self._context.pop()
        except self._driver.memory_error as error:
            raise BackendError(
                f"the {self.name} has no memory left for frames of this size ({error}): "
                "give a smaller `tile`, or close what else uses the GPU."
            ) from error
        except self._driver.error as error:
            raise BackendError(f"the {self.name} failed ({error}): check `nvidia-smi`, then start again.") from error

    def stream(self) -> Binding:
        """A new stream."""
        return self._driver.stream()

    def event(self) -> Binding:
        """A new event with a time stamp."""
        return self._driver.event()

    def copy_in(self, device: int, host: Bytes, stream: Binding) -> None:
        """Queue a copy of page-locked bytes to the address ``device``."""
        self._driver.copy_in(device, host, stream)

    def copy_out(self, host: Bytes, device: int, stream: Binding) -> None:
        """Queue a copy from the address ``device`` into page-locked bytes."""
        self._driver.copy_out(host, device, stream)

    def device_bytes(self, count: int) -> Binding:
        """``count`` bytes of device memory: ``int(it)`` is the address, ``it.free()`` gives it back."""
        return self._driver.device_bytes(count)

    def locked_bytes(self, count: int) -> Bytes:
        """``count`` bytes of page-locked host memory; ``.base.free()`` gives it back."""
        return self._driver.locked_bytes(count)


class DeviceBuffer:
    """One tensor's place: device memory, and page-locked host memory of the same size where it is copied.

    It grows when more is asked for than it holds, and never shrinks.
    """

    def __init__(self, gpu: Gpu, *, with_host: bool = True) -> None:
        self._gpu = gpu
        self._with_host = with_host
        self._device: Binding = None
        self._host: Bytes | None = None
        self.capacity = 0

    def reserve(self, count: int) -> bool:
        """Hold at least ``count`` bytes; true when that moved the buffer. Inside `Gpu.active`."""
        if count <= self.capacity:
            return False
        self.free()  # first, so that the old and the new one never stand side by side
        self._device = self._gpu.device_bytes(count)
        if self._with_host:
            self._host = self._gpu.locked_bytes(count)
        self.capacity = count
        return True

    @property
    def address(self) -> int:
        """The device address."""
        return int(self._device)

    def host(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The page-locked memory seen as an array; valid until the buffer moves or is freed."""
        assert self._host is not None
        count = int(np.prod(shape)) * dtype.itemsize
        return self._host[:count].view(dtype).reshape(shape)

    def free(self) -> None:
        """Give the memory back; may be called twice. Inside `Gpu.active`."""
        device, self._device = self._device, None
        host, self._host = self._host, None
        self.capacity = 0
        try:
            if device is not None:
                device.free()
        finally:
            if host is not None:
                host.base.free()  # type: ignore[union-attr]
