"""A GPU made of host memory, and PyCUDA and cuda-python over it.

Stricter than the real ones: work on a stream runs only when somebody waits for it (so a missing wait shows as a wrong
result), memory that pending work needs cannot be freed, everything asks for a current context, and a name that the real
module does not have raises AttributeError. `World.live` tells what was not given back.
"""

import collections
import contextlib
import gc
import itertools
import json
import threading
import types
import weakref
from pathlib import Path

import numpy as np

SURFACES = json.loads(Path(__file__).with_name("surfaces.json").read_text())


class World:
    """The state behind all fakes of one test: what lives, what was called, what is to fail."""

    def __init__(self):
        self.calls = []
        self.faults = collections.defaultdict(list)
        self.lock = threading.RLock()
        self.stacks = threading.local()
        self.memory = {}
        self.streams = weakref.WeakValueDictionary()
        self.objects = collections.defaultdict(weakref.WeakSet)
        self.retained = 0
        self.numbers = itertools.count(0x1000, 0x100)
        self.clock = itertools.count()

    def fail(self, call, answer):
        """The next ``call`` raises ``answer``, or returns it where it is no exception."""
        self.faults[call].append(answer)

    def call(self, name, default=None):
        """Note a vendor call; its injected answer, or ``default``."""
        with self.lock:
            self.calls.append(name)
            if not self.faults[name]:
                return default
            answer = self.faults[name].pop(0)
        if isinstance(answer, BaseException):
            raise type(answer)(*answer.args)  # a new one: it keeps the frames it went through alive
        return answer

    def stack(self):
        if not hasattr(self.stacks, "value"):
            self.stacks.value = []
        return self.stacks.value

    def current(self):
        """The context of this thread; complains as PyCUDA does where there is none."""
        if not self.stack():
            raise self.errors.LogicError(
                "explicit_context_dependent failed: invalid device context - no currently active context?"
            )
        return self.stack()[-1]

    def allocate(self, count):
        address = next(self.numbers) << 20
        self.memory[address] = np.zeros(count, np.uint8)
        return address

    def bytes_at(self, address, count):
        """The device bytes from ``address``; an address that is not allocated or too small is a crash on a real GPU."""
        block = self.memory.get(address)
        if block is None or block.size < count:
            raise self.errors.LaunchError("an illegal memory access was encountered")
        return block[:count]

    def pending(self):
        return [work for stream in self.streams.values() for work in stream._work]

    def live(self):
        """How many of each kind have not been given back."""
        if any(map(len, self.objects.values())):
            gc.collect()  # an error that was raised keeps the frames it went through alive until then
        kinds = {kind: len(alive) for kind, alive in self.objects.items() if len(alive)}
        return {"device": len(self.memory), **kinds} if self.memory else kinds

    def strict(self, surface, kind, members, base=object):
        """A class with ``members``; it has the names of the real one and no other, read or written."""
        names = frozenset(SURFACES[surface][kind])
        unknown = {name for name in members if not name.startswith("_")} - names
        assert not unknown, f"{surface} {kind} has no {unknown}"

        def read(self, name):
            if not name.startswith("_") and name not in names:
                raise AttributeError(f"{surface}: {kind} has no attribute {name!r}")
            return base.__getattribute__(self, name)

        def write(self, name, value):
            if not name.startswith("_") and name not in names:
                raise AttributeError(f"{surface}: {kind} has no attribute {name!r}")
            base.__setattr__(self, name, value)

        return type(kind, (base,), {"__getattribute__": read, "__setattr__": write, **members})

    def module(self, name, surface, members):
        """A module whose names are among the real one's."""
        unknown = {key for key in members if not key.startswith("__")} - set(SURFACES[surface]["module"])
        assert not unknown, f"{surface} has no {unknown}"
        module = types.ModuleType(name)
        vars(module).update(members)
        return module


def make_pycuda(world, capability=(8, 6), name="Fake RTX"):
    """The module ``pycuda.driver``."""
    surface = "pycuda 2026.1"

    class Error(Exception):
        pass

    errors = {kind: type(kind, (Error,), {}) for kind in ("LogicError", "MemoryError", "RuntimeError", "LaunchError")}
    world.errors = types.SimpleNamespace(Error=Error, **errors)

    def push(self):
        world.call("push")
        world.stack().append(self)

    def pop():
        world.call("pop")
        if not world.stack():
            raise world.errors.LogicError("cannot pop non-current context")
        world.stack().pop()

    Context = world.strict(
        surface, "Context", {"push": push, "pop": staticmethod(pop), "detach": lambda self: world.call("detach")}
    )

    def retain(self):
        world.call("retain_primary_context")
        world.retained += 1
        return Context()

    device_members = {
        "__init__": lambda self, ordinal: world.call("Device"),
        "name": lambda self: name,
        "compute_capability": lambda self: capability,
        "retain_primary_context": retain,
    }
    members = {
        "init": lambda flags=0: world.call("init"),
        "Device": world.strict(surface, "Device", device_members),
        "Context": Context,
        "Error": Error,
        **errors,
        **_streams(world, surface),
        **_memory(world, surface),
    }
    return world.module("pycuda.driver", surface, members)


def _streams(world, surface):
    return {"Stream": _stream_class(world, surface), "Event": _event_class(world, surface)}


def _stream_class(world, surface):
    def stream_init(self, flags=0):
        world.current()
        world.call("Stream")
        self._work = collections.deque()
        self._capturing = None
        self._handle = next(world.numbers)
        world.streams[self._handle] = self
        world.objects["stream"].add(self)

    def run_until(self, done):
        """Run this stream's work in order until ``done`` answers true."""
        while not done() and self._work:
            self._work.popleft()()

    def synchronize(self):
        world.current()
        world.call("Stream.synchronize")
        assert self._capturing is None, "a capturing stream cannot be waited for"
        with world.lock:
            self._run_until(lambda: False)

    def wait_for_event(self, event):
        world.current()
        self._work.append(event._reach)

    return world.strict(
        surface,
        "Stream",
        {
            "__init__": stream_init,
            "_run_until": run_until,
            "synchronize": synchronize,
            "wait_for_event": wait_for_event,
            "handle": property(lambda self: self._handle),
        },
    )


def _event_class(world, surface):
    def event_init(self, flags=0):
        world.current()
        world.call("Event")
        self._stream, self._time = None, None
        world.objects["event"].add(self)

    def record(self, stream=None):
        world.current()
        assert stream is not None, "the default stream synchronises everything"
        self._stream, self._time = stream, None
        stream._work.append(self._pass)

    def passed(self):
        self._time = next(world.clock)

    def reach(self):
        """Run the stream that the event was recorded on, up to the event."""
        if self._stream is not None:
            self._stream._run_until(lambda: self._time is not None)

    def event_synchronize(self):
        world.current()
        world.call("Event.synchronize")
        with world.lock:
            self._reach()

    def time_till(self, other):
        if self._time is None or other._time is None:
            raise world.errors.LogicError("cuEventElapsedTime failed: invalid value")
        return float(other._time - self._time)

    return world.strict(
        surface,
        "Event",
        {
            "__init__": event_init,
            "_pass": passed,
            "_reach": reach,
            "record": record,
            "synchronize": event_synchronize,
            "time_till": time_till,
        },
    )


def _memory(world, surface):
    def free_device(self):
        world.current()
        world.call("free")
        if self._address not in world.memory:
            raise world.errors.LogicError("freed twice")
        assert not any(getattr(work, "needs", None) == self._address for work in world.pending()), "freed while in use"
        del world.memory[self._address]

    Allocation = world.strict(surface, "DeviceAllocation", {"__int__": lambda self: self._address, "free": free_device})

    def mem_alloc(count):
        world.current()
        world.call("mem_alloc")
        allocation = Allocation()
        allocation._address = world.allocate(count)
        return allocation

    def free_host(self):
        world.current()
        assert self._bytes is not None, "freed twice"
        self._bytes = None
        world.objects["page-locked"].discard(self)

    Locked = world.strict(surface, "PagelockedHostAllocation", {"free": free_host})

    def pagelocked_empty(shape, dtype, order="C", mem_flags=0):
        world.current()
        world.call("pagelocked_empty")
        owner = Locked()
        owner._bytes = np.zeros(shape, dtype)
        type(owner).__array_interface__ = property(lambda self: self._bytes.__array_interface__)
        world.objects["page-locked"].add(owner)
        array = np.asarray(owner)
        assert array.base is owner
        return array

    def copy(name, device, host, stream, into_device):
        world.current()
        world.call(name)
        assert isinstance(_root(host), Locked), "asynchronous copies need page-locked memory"

        def work():
            block = world.bytes_at(device, host.nbytes)
            if into_device:
                block[:] = host
            else:
                host[:] = block

        work.needs = device
        stream._work.append(work)

    return {
        "mem_alloc": mem_alloc,
        "pagelocked_empty": pagelocked_empty,
        "memcpy_htod_async": lambda dest, src, stream: copy("memcpy_htod_async", dest, src, stream, True),
        "memcpy_dtoh_async": lambda dest, src, stream: copy("memcpy_dtoh_async", src, dest, stream, False),
    }


def _root(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return array


def make_cuda_python(world):
    """The module ``cuda.bindings.driver``: the driver's own functions over the same machine as PyCUDA's objects."""
    surface = "cuda.bindings 13.5"
    attributes = {name: name for name in SURFACES[surface]["CUdevice_attribute"]}
    results = {name: number for number, name in enumerate(SURFACES[surface]["CUresult"])}
    members = {
        "CUresult": types.SimpleNamespace(**results),
        "CUdevice_attribute": types.SimpleNamespace(**attributes),
        "cuGetErrorString": lambda code: (0, world.said.encode()),
        **_graphs(world),
        **{name: _answering(world, results, function) for name, function in _devices(world).items()},
        **{name: _answering(world, results, function) for name, function in _queues(world).items()},
        **{name: _answering(world, results, function) for name, function in _pieces(world).items()},
    }
    return world.module("cuda.bindings.driver", surface, members)


def _answering(world, results, function):
    """A function that answers with a code and its values where PyCUDA raises."""

    def answer(*arguments):
        try:
            value = function(*arguments)
        except world.errors.Error as error:
            world.said = str(error)
            short = isinstance(error, world.errors.MemoryError)
            return (results["CUDA_ERROR_OUT_OF_MEMORY" if short else "CUDA_ERROR_INVALID_VALUE"], None)
        return (results["CUDA_SUCCESS"],) if value is None else (results["CUDA_SUCCESS"], value)

    return answer


def _devices(world):
    def retain(device):
        world.call("retain_primary_context")
        world.retained += 1
        return types.SimpleNamespace(device=device)

    def push(context):
        world.call("push")
        world.stack().append(context)

    def pop():
        world.call("pop")
        if not world.stack():
            raise world.errors.LogicError("cannot pop non-current context")
        return world.stack().pop()

    def device(ordinal):
        world.call("Device")
        return ordinal

    return {
        "cuInit": lambda flags: world.call("init"),
        "cuDeviceGet": device,
        "cuDeviceGetName": lambda length, _: b"Fake RTX".ljust(length, b"\0"),
        "cuDeviceGetAttribute": lambda attribute, _: 8 if attribute.endswith("MAJOR") else 6,
        "cuDevicePrimaryCtxRetain": retain,
        "cuDevicePrimaryCtxRelease": lambda _: world.call("detach"),
        "cuCtxPushCurrent": push,
        "cuCtxPopCurrent": pop,
        "cuCtxGetCurrent": world.current,
    }


def _queues(world):
    """Streams and events: PyCUDA's, which live until they are destroyed."""
    kept = {}

    def make(kind):
        def function(flags):
            assert flags == 0
            made = getattr(world.driver, kind)()
            handle = made._handle if kind == "Stream" else next(world.numbers)
            kept[handle] = made
            return handle

        return function

    def destroy(handle):
        world.current()
        del kept[handle]

    def wait(stream, event, flags):
        assert flags == 0
        kept[stream].wait_for_event(kept[event])

    world.queues = kept
    return {
        "cuStreamCreate": make("Stream"),
        "cuStreamDestroy": destroy,
        "cuStreamSynchronize": lambda stream: kept[stream].synchronize(),
        "cuStreamWaitEvent": wait,
        "cuEventCreate": make("Event"),
        "cuEventRecord": lambda event, stream: kept[event].record(kept[stream]),
        "cuEventSynchronize": lambda event: kept[event].synchronize(),
        "cuEventElapsedTime": lambda start, end: kept[start].time_till(kept[end]),
        "cuEventDestroy": destroy,
    }


def _pieces(world):
    """Memory, by address: the device's, and page-locked memory of this process."""
    device, locked = {}, {}

    def allocate(count):
        made = world.driver.mem_alloc(count)
        device[int(made)] = made
        return int(made)

    def free(address):
        device[address].free()
        del device[address]

    def lock(count, flags):
        assert flags == 0
        array = world.driver.pagelocked_empty(count, np.uint8)
        locked[array.ctypes.data] = array
        return array.ctypes.data

    def unlock(address):
        locked.pop(address).base.free()

    def host(address, count):
        start, array = next((start, array) for start, array in locked.items() if start <= address < start + array.size)
        return array[address - start : address - start + count]

    def copy_in(target, source, count, stream):
        world.driver.memcpy_htod_async(target, host(source, count), world.queues[stream])

    def copy_out(target, source, count, stream):
        world.driver.memcpy_dtoh_async(host(target, count), source, world.queues[stream])

    return {
        "cuMemAlloc": allocate,
        "cuMemFree": free,
        "cuMemHostAlloc": lock,
        "cuMemFreeHost": unlock,
        "cuMemcpyHtoDAsync": copy_in,
        "cuMemcpyDtoHAsync": copy_out,
    }


def _graphs(world):
    """The part of cuda-python that PyCUDA lacks."""
    modes = types.SimpleNamespace(**{name: name for name in SURFACES["cuda.bindings 13.5"]["CUstreamCaptureMode"]})
    live = world.objects["graph"]

    class Handle:
        def __init__(self, work):
            self.work = work
            live.add(self)

    def begin(stream, mode):
        code = world.call("cuStreamBeginCapture", 0)
        if code == 0:
            assert mode == modes.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
            assert not world.streams[stream]._work, "captured before the stream was idle"
            world.streams[stream]._capturing = []
        return (code,)

    def end(stream):
        work, world.streams[stream]._capturing = world.streams[stream]._capturing, None
        code = world.call("cuStreamEndCapture", 0)
        return (code, Handle(work)) if code == 0 else (code, None)

    def instantiate(graph, flags):
        code = world.call("cuGraphInstantiate", 0)
        return (code, Handle(graph.work)) if code == 0 else (code, None)

    def launch(executable, stream):
        world.current()
        world.streams[stream]._work.extend(executable.work)
        return (world.call("cuGraphLaunch", 0),)

    def destroy(name):
        def function(handle):
            world.current()
            live.remove(handle)
            return (world.call(name, 0),)

        return function

    return {
        "CUstreamCaptureMode": modes,
        "cuStreamBeginCapture": begin,
        "cuStreamEndCapture": end,
        "cuGraphInstantiate": instantiate,
        "cuGraphLaunch": launch,
        "cuGraphExecDestroy": destroy("cuGraphExecDestroy"),
        "cuGraphDestroy": destroy("cuGraphDestroy"),
    }


@contextlib.contextmanager
def balanced(world):
    """Nothing stays on this thread's context stack: a thread that ends with something on it ends the process."""
    before = len(world.stack())
    yield
    assert len(world.stack()) == before
