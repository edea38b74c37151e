"""CUDA through cuda-python (``cuda.bindings``), whose functions are the driver's own: each answers with a code and its values.

It has no objects that own anything, so the few that are needed are here: they give back what they hold when they are let go
of, as PyCUDA's do. A driver that is missing, or lacks a function, is a RuntimeError.
"""

import contextlib
import importlib
from typing import Any

import numpy as np

from ufafuse.runtime.arrays import Bytes
from ufafuse.runtime.backends.tensorrt.drivers import BINDINGS, Binding, Driver

_NAME_BYTES = 256


class CudaError(Exception):
    """A call that failed."""


class CudaMemoryError(CudaError):
    """Memory ran out."""


class CudaPython(Driver):
    """cuda-python. Raises: ImportError, where it cannot be loaded."""

    name = "cuda-python"
    error, memory_error = CudaError, CudaMemoryError

    def __init__(self) -> None:
        self._cuda = importlib.import_module(BINDINGS[self.name])

    def call(self, name: str, *arguments: Any) -> Any:  # noqa: ANN401 - whatever the driver answers with
        """One of the driver's functions: its value, or None. Raises: CudaError."""
        try:
            code, *values = getattr(self._cuda, name)(*arguments)
        except RuntimeError as error:
            raise CudaError(f"{name} failed: {' '.join(str(error).split())}") from error
        results = self._cuda.CUresult
        if code != results.CUDA_SUCCESS:
            kind = CudaMemoryError if code == results.CUDA_ERROR_OUT_OF_MEMORY else CudaError
            raise kind(f"{name} failed: {self._meaning(code)}")
        return values[0] if values else None

    def _meaning(self, code: Any) -> str:  # noqa: ANN401 - a CUresult
        _, text = self._cuda.cuGetErrorString(code)
        return text.decode() if text else str(code)

    def retained(self, ordinal: int) -> Binding:
        """See `Driver.retained`."""
        self.call("cuInit", 0)
        return _Context(self, self.call("cuDeviceGet", ordinal))

    def described(self, ordinal: int) -> tuple[str, tuple[int, int]]:
        """See `Driver.described`."""
        device = self.call("cuDeviceGet", ordinal)
        name: bytes = self.call("cuDeviceGetName", _NAME_BYTES, device)
        kinds = self._cuda.CUdevice_attribute
        major = self.call("cuDeviceGetAttribute", kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device)
        minor = self.call("cuDeviceGetAttribute", kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device)
        return name.split(b"\0")[0].decode(), (int(major), int(minor))

    def stream(self) -> Binding:
        """See `Driver.stream`."""
        return _Stream(self)

    def event(self) -> Binding:
        """See `Driver.event`."""
        return _Event(self)

    def copy_in(self, device: int, host: Bytes, stream: Binding) -> None:
        """See `Driver.copy_in`."""
        self.call("cuMemcpyHtoDAsync", device, host.ctypes.data, host.nbytes, stream.handle)

    def copy_out(self, host: Bytes, device: int, stream: Binding) -> None:
        """See `Driver.copy_out`."""
        self.call("cuMemcpyDtoHAsync", host.ctypes.data, device, host.nbytes, stream.handle)

    def device_bytes(self, count: int) -> Binding:
        """See `Driver.device_bytes`."""
        return _DeviceBytes(self, count)

    def locked_bytes(self, count: int) -> Bytes:
        """See `Driver.locked_bytes`."""
        return np.asarray(_LockedBytes(self, count))


class _Context:
    """A GPU's primary context, retained."""

    def __init__(self, driver: CudaPython, device: Any) -> None:  # noqa: ANN401 - a CUdevice
        self._driver, self._device = driver, device
        self._handle = driver.call("cuDevicePrimaryCtxRetain", device)

    def push(self) -> None:
        self._driver.call("cuCtxPushCurrent", self._handle)

    def pop(self) -> None:
        self._driver.call("cuCtxPopCurrent")

    def detach(self) -> None:
        self._driver.call("cuDevicePrimaryCtxRelease", self._device)


class _Queued:
    """What is destroyed when nobody holds it any more, in the context that it was born under, wherever that happens."""

    def __init__(self, driver: CudaPython, made_by: str, destroyed_by: str) -> None:
        self._driver, self._destroyed_by = driver, destroyed_by
        self._context = driver.call("cuCtxGetCurrent")
        self.handle = int(driver.call(made_by, 0))

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            with contextlib.suppress(CudaError):  # the GPU may be gone
                self._driver.call("cuCtxPushCurrent", self._context)
                try:
                    self._driver.call(self._destroyed_by, self.handle)
                finally:
                    self._driver.call("cuCtxPopCurrent")


class _Stream(_Queued):
    def __init__(self, driver: CudaPython) -> None:
        super().__init__(driver, "cuStreamCreate", "cuStreamDestroy")

    def synchronize(self) -> None:
        self._driver.call("cuStreamSynchronize", self.handle)

    def wait_for_event(self, event: "_Event") -> None:
        self._driver.call("cuStreamWaitEvent", self.handle, event.handle, 0)


class _Event(_Queued):
    def __init__(self, driver: CudaPython) -> None:
        super().__init__(driver, "cuEventCreate", "cuEventDestroy")

    def record(self, stream: _Stream) -> None:
        self._driver.call("cuEventRecord", self.handle, stream.handle)

    def synchronize(self) -> None:
        self._driver.call("cuEventSynchronize", self.handle)

    def time_till(self, other: "_Event") -> float:
        return float(self._driver.call("cuEventElapsedTime", self.handle, other.handle))


class _DeviceBytes:
    def __init__(self, driver: CudaPython, count: int) -> None:
        self._driver = driver
        self._address = int(driver.call("cuMemAlloc", count))

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        self._driver.call("cuMemFree", self._address)


class _LockedBytes:
    """Page-locked memory that NumPy makes an array of, whose ``base`` this is."""

    def __init__(self, driver: CudaPython, count: int) -> None:
        self._driver = driver
        self._address = int(driver.call("cuMemHostAlloc", count, 0))
        self.__array_interface__ = {"shape": (count,), "typestr": "|u1", "data": (self._address, False), "version": 3}

    def free(self) -> None:
        self._driver.call("cuMemFreeHost", self._address)
