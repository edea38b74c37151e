"""A GPU through PyCUDA and through cuda-python: contexts are pushed and popped, memory grows and goes."""

import sys
import threading
import types

import numpy as np
import pytest

from ufafuse.runtime.backends.tensorrt import cuda
from ufafuse.runtime.backends.tensorrt.cuda import DeviceBuffer, Gpu
from ufafuse.runtime.backends.tensorrt.cuda_python import CudaError, CudaPython
from ufafuse.runtime.backends.tensorrt.drivers import BINDINGS, installed_bindings
from ufafuse.runtime.errors import BackendError
from ufafuse.runtime.machine import gpus


def test_a_gpu_and_its_name(world):
    gpu = Gpu()
    assert (gpu.name, gpu.capability) == ("Fake RTX", (8, 6))


def test_active_pops_whatever_happens_and_may_be_nested(world):
    gpu = Gpu()
    with gpu.active(), gpu.active():
        assert len(world.stack()) == 2
    with pytest.raises(ValueError, match="ours"), gpu.active():
        raise ValueError("ours")
    error = gpu._driver.error if world.binding == "cuda-python" else world.driver.LaunchError
    with pytest.raises(BackendError, match="failed"), gpu.active():
        raise error("cuLaunch failed")
    assert world.stack() == []


def test_each_thread_has_its_own_stack_and_one_context_serves_all(world):
    gpu, found = Gpu(), []

    def work():
        with gpu.active():
            found.append(world.current())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(context) for context in found}) == 1
    assert world.retained == 1


def test_many_threads_retain_the_context_once(world):
    threads = [threading.Thread(target=Gpu) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.retained == 1


def test_the_context_is_released_when_the_process_ends(world, monkeypatch):
    at_exit = []
    monkeypatch.setattr("atexit.register", at_exit.append)
    Gpu()
    assert "detach" not in world.calls
    (release,) = at_exit
    release()
    assert world.calls.count("detach") == 1


def test_the_fake_is_as_strict_as_the_real_one(world):
    gpu = Gpu()
    with pytest.raises(gpu._driver.error, match="no currently active context"):
        gpu.stream()
    with gpu.active():
        stream = gpu.stream()
        with pytest.raises(AttributeError):
            stream.sync()
        if world.binding == "PyCUDA":
            with pytest.raises(AttributeError):
                stream.name = "mine"


def test_what_is_let_go_of_outside_of_the_context_is_given_back(world):
    gpu = Gpu()
    with gpu.active():
        held = [gpu.stream(), gpu.event()]
    assert len(world.live()) == 2
    held.clear()
    assert world.live() == {}
    assert world.stack() == []


def test_a_buffer_grows_when_needed_and_frees_once(world):
    gpu = Gpu()
    with gpu.active():
        buffer = DeviceBuffer(gpu)
        assert buffer.reserve(100)
        assert not buffer.reserve(40)
        view = buffer.host((5, 5), np.dtype(np.float32))
        assert view.shape == (5, 5)
        assert buffer.reserve(200)
        assert len(world.memory) == 1
        del view
        buffer.free()
        buffer.free()
        assert buffer.capacity == 0


def test_device_only_buffers_lock_no_host_memory(world):
    gpu = Gpu()
    with gpu.active():
        buffer = DeviceBuffer(gpu, with_host=False)
        buffer.reserve(100)
        assert "pagelocked_empty" not in world.calls
        buffer.free()


def test_out_of_memory_names_the_way_out(world):
    gpu = Gpu()
    world.fail("mem_alloc", world.driver.MemoryError("cuMemAlloc failed: out of memory"))
    with pytest.raises(BackendError, match="`tile`"), gpu.active():
        DeviceBuffer(gpu).reserve(100)


@pytest.mark.parametrize("call", ["init", "Device", "retain_primary_context"])
def test_no_gpu(world, call):
    world.fail(call, world.driver.RuntimeError("cuInit failed: no CUDA-capable device is detected"))
    with pytest.raises(BackendError, match="nvidia-smi"):
        Gpu()


def test_no_binding_at_all(world, take_away):
    take_away("pycuda.driver", "cuda.bindings.driver")
    with pytest.raises(
        BackendError, match=r"neither is installed: run `pip install cuda-python` \(wheels\), or `pip install pycuda`"
    ):
        Gpu()
    assert installed_bindings() == []


def test_a_binding_that_cannot_be_loaded(world, monkeypatch):
    monkeypatch.setitem(sys.modules, BINDINGS[world.binding], None)
    with pytest.raises(BackendError, match=f"need {world.binding} and an NVIDIA GPU, but .*pip install cuda-python"):
        Gpu()


def test_pycuda_goes_first(world):
    assert installed_bindings() == [world.binding]
    assert Gpu().binding == world.binding


def test_a_driver_that_is_missing_under_pycuda(monkeypatch):
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "pycuda.driver":
                raise ImportError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(cuda, "installed_bindings", lambda: ["PyCUDA"])
    package = types.ModuleType("pycuda")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.delitem(sys.modules, "pycuda.driver", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(BackendError, match="install NVIDIA's driver"):
        Gpu()


def test_a_driver_that_is_missing_under_cuda_python(world):
    if world.binding != "cuda-python":
        pytest.skip("PyCUDA says so when it is imported")
    world.fail("init", RuntimeError('"cuda" is an NVIDIA driver library:\n ensure the NVIDIA display driver is installed'))
    with pytest.raises(BackendError, match=r"no NVIDIA GPU can be used here \(cuInit failed: .*display driver is installed\)"):
        Gpu()


def test_the_real_cuda_python_takes_what_is_given_to_it():
    """Without a driver every call fails, but only after the real module has taken its arguments."""
    pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed (x86-64 and 64-bit Arm Linux)")
    if gpus():
        pytest.skip("there is a GPU here: test_gpu.py runs it")
    driver = CudaPython()
    host = np.zeros(4, np.uint8)
    stream = types.SimpleNamespace(handle=5)
    for call in (
        lambda: driver.retained(0),
        lambda: driver.described(0),
        lambda: driver.copy_in(7, host, stream),
        lambda: driver.copy_out(host, 7, stream),
        lambda: driver.device_bytes(16),
        lambda: driver.locked_bytes(16),
        driver.stream,
        driver.event,
    ):
        with pytest.raises(CudaError, match="failed"):
            call()
    for name, arguments in {
        "cuCtxPushCurrent": [0],
        "cuCtxPopCurrent": [],
        "cuDevicePrimaryCtxRelease": [0],
        "cuStreamCreate": [0],
        "cuStreamDestroy": [5],
        "cuStreamSynchronize": [5],
        "cuStreamWaitEvent": [5, 6, 0],
        "cuEventCreate": [0],
        "cuEventRecord": [6, 5],
        "cuEventSynchronize": [6],
        "cuEventElapsedTime": [6, 6],
        "cuEventDestroy": [6],
        "cuMemFree": [7],
        "cuMemFreeHost": [8],
    }.items():
        with pytest.raises(CudaError, match=f"{name} failed"):
            driver.call(name, *arguments)


def test_pycuda_is_imported_in_one_file_only():
    from pathlib import Path

    import ufafuse.runtime

    folder = Path(ufafuse.runtime.__file__).parent
    users = [path.relative_to(folder).as_posix() for path in folder.rglob("*.py") if "import pycuda" in path.read_text()]
    assert users == ["backends/tensorrt/pycuda.py"]
    assert "autoinit\n" not in (folder / users[0]).read_text()
