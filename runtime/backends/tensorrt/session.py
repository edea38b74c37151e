"""TensorRT and TensorRT-RTX: the engines of NVIDIA GPUs.

An engine file is code: it is loaded only from the path that the user gave, after its manifest was found to fit.
"""

import contextlib
import logging
import math
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.artefact import Manifest
from ufafuse.runtime.backends.tensorrt import cuda_graphs
from ufafuse.runtime.backends.tensorrt.counters import layers_from
from ufafuse.runtime.backends.tensorrt.cuda import DeviceBuffer, Gpu
from ufafuse.runtime.backends.tensorrt.execution import Engine, Shape, load_module
from ufafuse.runtime.backends.tensorrt.facts import EngineFacts, check_precision
from ufafuse.runtime.backends.tensorrt.lanes import Lane, Launch
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.errors import BackendError
from ufafuse.runtime.layers import Layer
from ufafuse.runtime.session import Session, SessionOptions

_LANES = 2  # at least: one frame is copied while another is computed
_log = logging.getLogger(__name__)


class TensorRtSession(Session):
    """An engine on an NVIDIA GPU; usable from any thread, two frames or more under way at a time.

    Of the options ``precision`` means something here, and it has to be the engine's own, and ``streams``, the number of frames
    under way at once, two at least; the others are about CPUs.

    Raises:
        ModelError: The engine is broken, foreign, or built for another release or GPU; the text has the command that
            builds it again.
        BackendError: TensorRT, a binding of CUDA, the driver or the GPU is missing, or refuses.
    """

    backend = "tensorrt"
    on_device = True

    def __init__(self, model: Path, manifest: Manifest, options: SessionOptions, why: str) -> None:
        check_precision(model, manifest, options.precision)
        if options.provider != "cpu":
            raise BackendError(f"`provider={options.provider}` is ONNX Runtime's: omit it for {model.name}.")
        self._facts = EngineFacts.from_manifest(model, manifest)
        plan = model.read_bytes()
        self._facts.check_plan(plan)
        module = load_module(self._facts)
        self._facts.check_version(module.__version__)
        self._gpu = Gpu()
        self._facts.check_gpu(self._gpu.name, self._gpu.capability)
        self.manifest, self.precision = manifest, manifest.precision
        self.why = f"{why}; {self._facts.flavor} {self._facts.version} on {self._gpu.name}, {self._gpu.binding}"
        self._queueing = threading.Lock()  # the runs share one stream, and their kernels must not mingle
        self._idle: queue.LifoQueue[Lane | None] = queue.LifoQueue()  # None: closed; a lone thread keeps to one lane
        self._closing = threading.Lock()
        self._closed = False
        self._count = max(_LANES, options.streams or 0)
        self._lanes: list[Lane] = []
        self._engine: Engine | None = None
        self._scratch = DeviceBuffer(self._gpu, with_host=False)
        self._stream: Any = None
        try:
            with self._gpu.active():
                self._load(module, plan)
        except BaseException:
            self._release()
            raise
        for lane in self._lanes:
            self._idle.put(lane)

    def infer(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the engine; see `Session.infer`. The second run of the same shapes makes a CUDA graph, where they are used.

        Raises:
            BackendError: A tensor is missing, unknown, of a type that the engine does not take or of a shape in none of its
                profiles; the session is closed; or the GPU failed.
        """
        job = self._job(inputs)
        lane = self._idle.get()
        try:
            if lane is None:
                raise BackendError(f"{self._facts.path.name} was closed: open it again.")
            with self._gpu.active():
                results, self.last_timing = self._run(lane, job, inputs)
            return results
        finally:
            self._idle.put(lane)

    def layers(
        self,
        inputs: dict[str, NDArray[Any]],
        *,
        runs: int,
        only_fused: bool = False,  # noqa: ARG002 - an engine computes all of its results
        before: Callable[[], None] = ignored,
    ) -> list[Layer]:
        """The time of each layer; see `Session.layers`. Frames of other threads wait meanwhile."""
        job = self._job(inputs)
        lane = self._idle.get()
        try:
            if lane is None or self._engine is None:
                raise BackendError(f"{self._facts.path.name} was closed: open it again.")
            with self._gpu.active(), contextlib.closing(self._engine.counting(self._scratch.address)) as context:
                counted: list[dict[str, float]] = []
                for number in range(runs + 1):
                    if number:
                        before()
                    with self._queueing:
                        counted.append(lane.count(job, inputs, context, self._stream))
                return layers_from(counted[1:], context.described())
        finally:
            self._idle.put(lane)

    def close(self) -> None:
        """Wait for the frames under way and give everything back; may be called twice, and from any thread."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            for _ in self._lanes:
                self._idle.get()
            self._release()
            self._idle.put(None)

    def _load(self, module: Any, plan: bytes) -> None:  # noqa: ANN401 - the vendor has no types
        """Deserialise, make the lanes and warm every profile, so that no frame pays for it."""
        self._engine = engine = Engine(module, self._facts, plan)
        self._inputs = {name: tensor for name, tensor in engine.tensors().items() if tensor.is_input}
        self._captures = cuda_graphs.available() and not engine.captures_graphs_itself
        self._scratch.reserve(max(1, engine.scratch_bytes))
        self._stream = self._gpu.stream()
        for _ in range(self._count):
            self._lanes.append(Lane(self._gpu, engine, self._scratch.address))
        # The largest first: buffers that grow would take the graphs of the smaller ones with them.
        for job in sorted(self._best_jobs(), key=_volume, reverse=True):
            zeros = {name: np.zeros(shape, self._inputs[name].dtype) for name, shape in job.shapes}
            for lane in self._lanes * (2 if self._captures else 1):
                self._run(lane, job, zeros)
        self._tell(engine.save_cache())

    def _profiles(self) -> range:
        return range(min(len(tensor.ranges) for tensor in self._inputs.values()))

    def _best_jobs(self) -> list[Launch]:
        """Each profile at the size that it is fastest at."""
        inputs = self._inputs.items()
        return [Launch(i, tuple((name, tensor.ranges[i][1]) for name, tensor in inputs)) for i in self._profiles()]

    def _job(self, inputs: dict[str, NDArray[Any]]) -> Launch:
        """The first profile that holds the inputs' shapes."""
        if inputs.keys() != self._inputs.keys():
            given = ", ".join(inputs)
            raise BackendError(f"{self._facts.path.name} takes {', '.join(self._inputs)}; {given} were given.")
        for name, array in inputs.items():
            if array.dtype.kind != self._inputs[name].dtype.kind:
                raise BackendError(f"{self._facts.path.name} takes {name} as {self._inputs[name].dtype}, it is {array.dtype}.")
        shapes = {name: tuple(map(int, array.shape)) for name, array in inputs.items()}
        for profile in self._profiles():
            if all(_within(shape, *self._inputs[name].ranges[profile]) for name, shape in shapes.items()):
                return Launch(profile, tuple(shapes.items()))
        raise self._outside(shapes)

    def _outside(self, shapes: dict[str, Shape]) -> BackendError:
        """The error for shapes that no profile holds: names the first tensor that is at fault by itself, and the ranges."""

        def fits(name: str) -> bool:
            return any(_within(shapes[name], *three) for three in self._inputs[name].ranges)

        name = next((name for name in shapes if not fits(name)), next(iter(shapes)))
        served = " or ".join(f"{_text(low)} to {_text(high)}" for low, _, high in self._inputs[name].ranges)
        size = shapes[name][1:3] if self.manifest.io == "uint8" else shapes[name][2:4]
        return BackendError(
            f"{name} is {_text(shapes[name])}, and {self._facts.path.name} serves {served}: "
            f"run `{self._facts.command_for(size)}`, or give a `tile` that fits."
        )

    def _run(
        self, lane: Lane, job: Launch, inputs: dict[str, NDArray[Any]]
    ) -> tuple[dict[str, NDArray[Any]], dict[str, float]]:
        try:
            with self._queueing:
                lane.prepare(job, self._stream)
            lane.copy_in(inputs)
            with self._queueing:
                lane.compute(self._stream)
            lane.copy_out()
            results = lane.outputs()
        except BaseException:
            with contextlib.suppress(BackendError), self._gpu.active():
                lane.drain()  # copies may be under way, and the next frame writes to the same memory
                self._stream.synchronize()
            raise
        timing = lane.timing()
        self._capture(lane, job)
        return results, timing

    def _capture(self, lane: Lane, job: Launch) -> None:
        """Make a job that came twice in succession a CUDA graph."""
        if not self._captures or lane.has_graph(job):
            return
        if lane.last_job != job:
            lane.last_job = job
            return
        try:
            with self._queueing:
                lane.capture(job, self._stream)
        except cuda_graphs.CaptureError as error:
            self._captures = False
            self._tell(f"no CUDA graphs: {error}")

    def _tell(self, note: str) -> None:
        """Say what works without something that was hoped for."""
        if note:
            _log.warning("%s: %s", self._facts.path.name, note)
            self.why += f"; {note}"

    def _release(self) -> None:
        """Free everything under the GPU's context; each step is tried, whatever fails before it (the GPU may be gone)."""
        engine, self._engine = self._engine, None
        try:
            with self._gpu.active(), contextlib.ExitStack() as last_first:
                if engine is not None:
                    last_first.callback(engine.close)
                last_first.callback(self._drop_stream)
                last_first.callback(self._scratch.free)
                for lane in self._lanes:
                    last_first.callback(lane.close)
                if engine is not None and self._lanes:
                    self._tell(engine.save_cache())
        except BackendError as error:
            _log.warning("%s could not be closed in order: %s", self._facts.path.name, error)

    def _drop_stream(self) -> None:
        self._stream = None


def _within(shape: Shape, low: Shape, _best: Shape, high: Shape) -> bool:
    return len(shape) == len(low) and all(a <= size <= b for a, size, b in zip(low, shape, high, strict=True))


def _volume(job: Launch) -> int:
    return sum(math.prod(shape) for _, shape in job.shapes)


def _text(shape: Shape) -> str:
    return " x ".join(map(str, shape))
