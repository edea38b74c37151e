"""CUDA through PyCUDA: the one file that imports it.

PyCUDA's context stack belongs to a thread, and a thread that ends with something on it ends the process. It frees an object
only while the very context object that it was born under is on top, so there is one such object a process.

Source: PyCUDA's src/cpp/cuda.hpp (classes context, primary_context, context_dependent).
"""

import numpy as np

from ufafuse.runtime.arrays import Bytes
from ufafuse.runtime.backends.tensorrt.drivers import Binding, Driver


class PyCuda(Driver):
    """PyCUDA's own objects are what is asked for. Raises: ImportError, where it or NVIDIA's driver cannot be loaded."""

    name = "PyCUDA"

    def __init__(self) -> None:
        import pycuda.driver as cuda  # pyright: ignore[reportMissingImports] - nothing to be had without CUDA's headers

        self._cuda = cuda
        self.error, self.memory_error = cuda.Error, cuda.MemoryError

    def retained(self, ordinal: int) -> Binding:
        """See `Driver.retained`."""
        self._cuda.init()
        return self._cuda.Device(ordinal).retain_primary_context()

    def described(self, ordinal: int) -> tuple[str, tuple[int, int]]:
        """See `Driver.described`."""
        device = self._cuda.Device(ordinal)
        return device.name(), device.compute_capability()

    def stream(self) -> Binding:
        """See `Driver.stream`."""
        return self._cuda.Stream()

    def event(self) -> Binding:
        """See `Driver.event`."""
        return self._cuda.Event()

    def copy_in(self, device: int, host: Bytes, stream: Binding) -> None:
        """See `Driver.copy_in`."""
        self._cuda.memcpy_htod_async(device, host, stream)

    def copy_out(self, host: Bytes, device: int, stream: Binding) -> None:
        """See `Driver.copy_out`."""
        self._cuda.memcpy_dtoh_async(host, device, stream)

    def device_bytes(self, count: int) -> Binding:
        """See `Driver.device_bytes`."""
        return self._cuda.mem_alloc(count)

    def locked_bytes(self, count: int) -> Bytes:
        """See `Driver.locked_bytes`."""
        return self._cuda.pagelocked_empty(count, np.uint8)
