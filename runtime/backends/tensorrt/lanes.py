"""What one frame needs on its way through the GPU: buffers, a stream for its copies, events, an execution context.

Two lanes are page-locked double buffering: while one frame is computed, the next one is copied in and the one before is
copied out.

    stream of the lane     copy in  |                     | copy out
    stream of the session           | compute (one frame after another, they share the scratch memory)
"""

import contextlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.backends.tensorrt.cuda import DeviceBuffer, Gpu
from ufafuse.runtime.backends.tensorrt.cuda_graphs import CudaGraph
from ufafuse.runtime.backends.tensorrt.execution import Context, CountingContext, Engine, EngineTensor, Shape

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Stream: TypeAlias = Any  # bindings of CUDA have no types
Event: TypeAlias = Any

# Each graph has an execution context of its own; a camera needs one, a frame cut in tiles about four.
MOST_GRAPHS = 4


class Launch(NamedTuple):
    """What is to run: a profile of the engine and the inputs' shapes, which are within it."""

    profile: int
    shapes: tuple[tuple[str, Shape], ...]


class _Captured(NamedTuple):
    graph: CudaGraph
    context: Context
    shapes: dict[str, Shape]


class Lane:
    """Buffers, events and contexts of one frame on its way. Used by one thread at a time, inside `Gpu.active`.

    The order of a frame: `prepare`, `copy_in`, `compute`, `copy_out`, `outputs`, `timing`; `capture` afterwards if at all.
    `prepare`, `compute` and `capture` queue on the session's stream: only one thread may be in them.

    Args:
        gpu: Where it lives.
        engine: What it runs.
        scratch: The address of the engine's scratch memory.
    """

    def __init__(self, gpu: Gpu, engine: Engine, scratch: int) -> None:
        self._gpu = gpu
        self._engine = engine
        self._scratch = scratch
        self._tensors = engine.tensors()
        self._buffers = {name: DeviceBuffer(gpu) for name in self._tensors}
        self._shapes: dict[str, Shape] = {}
        self._captured: OrderedDict[Launch, _Captured] = OrderedDict()
        self._graph: CudaGraph | None = None
        self._context: Context = engine.context(scratch)
        self._stream: Stream = gpu.stream()
        self._begin: Event = gpu.event()
        self._copied: Event = gpu.event()
        self._started: Event = gpu.event()
        self._computed: Event = gpu.event()
        self._end: Event = gpu.event()
        self.last_job: Launch | None = None

    def has_graph(self, job: Launch) -> bool:
        """Whether this job is captured."""
        return job in self._captured

    def prepare(self, job: Launch, stream: Stream) -> None:
        """Make room for a job and point its context to that room. Raises: BackendError."""
        captured = self._captured.get(job)
        self._graph = captured.graph if captured else None
        if captured:
            self._captured.move_to_end(job)
            self._shapes = captured.shapes
            return
        self._shapes = self._shape_all(self._context, job, stream)
        moved = [self._buffers[t.name].reserve(_count(t, self._shapes[t.name])) for t in self._tensors.values()]
        if any(moved):
            self._forget_graphs()  # they hold the old addresses
        self._bind_all(self._context)

    def copy_in(self, inputs: Arrays) -> None:
        """Fill the page-locked buffers (converting where the engine's type differs) and queue the copies."""
        for name, array in inputs.items():
            np.copyto(self._host(name), array, casting="same_kind")
        self._begin.record(self._stream)
        for name in inputs:
            self._gpu.copy_in(self._buffers[name].address, self._bytes(name), self._stream)
        self._copied.record(self._stream)

    def compute(self, stream: Stream) -> None:
        """Queue the run behind the copies. Raises: BackendError."""
        stream.wait_for_event(self._copied)
        self._started.record(stream)
        if self._graph is not None:
            self._graph.launch(stream.handle)
        else:
            self._context.enqueue(stream.handle)
        self._computed.record(stream)

    def copy_out(self) -> None:
        """Queue the copies of the outputs behind the run."""
        self._stream.wait_for_event(self._computed)
        for name in self._outputs():
            self._gpu.copy_out(self._bytes(name), self._buffers[name].address, self._stream)
        self._end.record(self._stream)

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Wait for the frame and give new arrays; half becomes float32, which is what sessions speak."""
        self._end.synchronize()
        results = {}
        for name in self._outputs():
            host = self._host(name)
            results[name] = host.astype(np.float32) if host.dtype == np.float16 else host.copy()
        return results

    def timing(self) -> dict[str, float]:
        """Milliseconds that the last frame took on the GPU: ``h2d_ms``, ``compute_ms``, ``d2h_ms``."""
        return {
            "h2d_ms": self._begin.time_till(self._copied),
            "compute_ms": self._started.time_till(self._computed),
            "d2h_ms": self._computed.time_till(self._end),
        }

    def capture(self, job: Launch, stream: Stream) -> None:
        """Make the job that has just run a CUDA graph, for the next time.

        It gets a context of its own: a graph stays valid only while its context keeps its shapes. Raises: CaptureError.
        """
        context = self._engine.context(self._scratch)
        shapes = self._shape_all(context, job, stream)
        self._bind_all(context)
        context.enqueue(stream.handle)  # what a new shape changes is deferred to the first run, and cannot be captured
        stream.synchronize()
        try:
            graph = CudaGraph(stream.handle, lambda: context.enqueue(stream.handle))
        except BaseException:
            context.close()
            raise
        self._captured[job] = _Captured(graph, context, shapes)
        while len(self._captured) > MOST_GRAPHS:
            self._forget(self._captured.popitem(last=False)[1])

    def count(self, job: Launch, inputs: Arrays, context: CountingContext, stream: Stream) -> dict[str, float]:
        """Run a job in a context that counts, and wait for it: the milliseconds of each layer. Raises: BackendError."""
        self.prepare(job, stream)
        context.set_shapes(job.profile, dict(job.shapes), stream.handle)
        self._bind_all(context)
        self.copy_in(inputs)
        stream.wait_for_event(self._copied)
        context.enqueue(stream.handle)
        stream.synchronize()
        return context.taken()

    def drain(self) -> None:
        """Wait until nothing of a frame that failed is under way."""
        self._stream.synchronize()

    def close(self) -> None:
        """Give everything back, in the order that TensorRT and PyCUDA ask for; may be called twice."""
        self._graph = None
        with contextlib.ExitStack() as last_first:
            last_first.callback(self._drop_stream)
            for buffer in self._buffers.values():
                last_first.callback(buffer.free)
            last_first.callback(self._context.close)
            self._forget_graphs()

    def _shape_all(self, context: Context, job: Launch, stream: Stream) -> dict[str, Shape]:
        context.set_shapes(job.profile, dict(job.shapes), stream.handle)
        return {**dict(job.shapes), **{name: context.shape(name) for name in self._outputs()}}

    def _bind_all(self, context: Context) -> None:
        for name, buffer in self._buffers.items():
            context.bind(name, buffer.address)

    def _drop_stream(self) -> None:
        self._begin = self._copied = self._started = self._computed = self._end = None
        self._stream = None

    def _outputs(self) -> list[str]:
        return [tensor.name for tensor in self._tensors.values() if not tensor.is_input]

    def _host(self, name: str) -> NDArray[Any]:
        return self._buffers[name].host(self._shapes[name], self._tensors[name].dtype)

    def _bytes(self, name: str) -> NDArray[np.uint8]:
        count = _count(self._tensors[name], self._shapes[name])
        return self._buffers[name].host((count,), np.dtype(np.uint8))

    def _forget_graphs(self) -> None:
        while self._captured:
            self._forget(self._captured.popitem()[1])

    def _forget(self, captured: _Captured) -> None:
        captured.graph.close()
        captured.context.close()


def _count(tensor: EngineTensor, shape: Shape) -> int:
    """Bytes of a tensor."""
    return int(np.prod(shape)) * tensor.dtype.itemsize
