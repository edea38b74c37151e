"""The one file that knows PyCUDA: contexts are pushed and popped, memory grows and goes."""

import sys
import threading

import numpy as np
import pytest

from ufafuse.runtime.backends.tensorrt.cuda import Buffer, Gpu
from ufafuse.runtime.errors import BackendError


def test_a_gpu_and_its_name(world):
    gpu = Gpu()
    assert (gpu.name, gpu.capability) == ("Fake RTX", (8, 6))


def test_active_pops_whatever_happens_and_may_be_nested(world):
    gpu = Gpu()
    with gpu.active(), gpu.active():
        assert len(world.stack()) == 2
    with pytest.raises(ValueError, match="ours"), gpu.active():
        raise ValueError("ours")
    with pytest.raises(BackendError, match="failed"), gpu.active():
        raise world.driver.LaunchError("cuLaunch failed")
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
    with pytest.raises(world.driver.LogicError, match="no currently active context"):
        gpu.stream()
    with gpu.active():
        stream = gpu.stream()
        with pytest.raises(AttributeError):
            stream.sync()
        with pytest.raises(AttributeError):
            stream.name = "mine"


def test_a_buffer_grows_when_needed_and_frees_once(world):
    gpu = Gpu()
    with gpu.active():
        buffer = Buffer(gpu)
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
        buffer = Buffer(gpu, with_host=False)
        buffer.reserve(100)
        assert "pagelocked_empty" not in world.calls
        buffer.free()


def test_out_of_memory_names_the_way_out(world):
    gpu = Gpu()
    world.fail("mem_alloc", world.driver.MemoryError("cuMemAlloc failed: out of memory"))
    with pytest.raises(BackendError, match="`tile`"), gpu.active():
        Buffer(gpu).reserve(100)


@pytest.mark.parametrize("call", ["init", "Device", "retain_primary_context"])
def test_no_gpu(world, call):
    world.fail(call, world.driver.RuntimeError("cuInit failed: no CUDA-capable device is detected"))
    with pytest.raises(BackendError, match="nvidia-smi"):
        Gpu()


def test_no_pycuda(world, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    with pytest.raises(BackendError, match="pip install pycuda"):
        Gpu()


def test_no_driver(world, monkeypatch):
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "pycuda.driver":
                raise ImportError("libcuda.so.1: cannot open shared object file")

    monkeypatch.delitem(sys.modules, "pycuda.driver")
    monkeypatch.delattr(sys.modules["pycuda"], "driver")
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    monkeypatch.setattr(sys.modules["pycuda"], "__path__", [], raising=False)
    with pytest.raises(BackendError, match="install NVIDIA's driver"):
        Gpu()


def test_pycuda_is_imported_in_one_file_only():
    from pathlib import Path

    import ufafuse.runtime

    folder = Path(ufafuse.runtime.__file__).parent
    users = [path.relative_to(folder).as_posix() for path in folder.rglob("*.py") if "import pycuda" in path.read_text()]
    assert users == ["backends/tensorrt/cuda.py"]
    assert "autoinit\n" not in (folder / users[0]).read_text()
