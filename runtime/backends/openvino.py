"""OpenVINO: the fastest engine on x86-64 CPUs, with bf16 where the CPU has it."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.artefact import Manifest
from ufafuse.runtime.backends.crowd import Crowd
from ufafuse.runtime.backends.forked import check_process
from ufafuse.runtime.backends.openvino_api import PrePostProcessor, ops, ov
from ufafuse.runtime.backends.openvino_cache import KeptNetworks
from ufafuse.runtime.backends.openvino_layers import COUNTED, layers_of
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.cores import usable_cores
from ufafuse.runtime.errors import NO_THREADS, NOT_ENOUGH, BackendError, ModelError, is_shortage, lacks_threads
from ufafuse.runtime.layers import Layer
from ufafuse.runtime.session import Session, SessionOptions, check_given, check_tensors, is_carried

Inputs: TypeAlias = tuple[tuple[str, tuple[int, ...], str], ...]  # names, shapes and dtypes
RunKey: TypeAlias = tuple[Inputs, bool, int]  # and whether only the fused picture is wanted, and the streams

_PICTURES = frozenset(("near", "far", "frame"))
_FUSED = "fused"
_TITLE = "OpenVINO"
_WHITE = 255.0
_TYPES = {"fp32": "f32", "bf16": "bf16"}

# Why one compiled network a size, and not one for all sizes. Two Zen 3 cores, AVX2, fp32, least of 5 to 15 runs, and what
# the process held afterwards:
#     ufa-edge  520 x 520     free sizes  268 ms  209 MB     fixed size  252 ms  174 MB
#     ufa-edge  1080 x 1920   free sizes 1132 ms  758 MB     fixed size 1018 ms  523 MB
#     ufa       520 x 520     free sizes 2759 ms  647 MB     fixed size 2701 ms  388 MB
# With AVX-512 and bf16 (Zen 4, one thread, ufa-edge) the fixed size wins 16 % at 520 x 520 and 18 % at 480 x 640.
# The first frame of a size pays the compiler (50 ms for ufa, 130 to 400 ms for ufa-edge), about what the first run of free
# sizes costs more than its later ones. Inputs are read where they lie, and outputs written into arrays made for each run: the
# request's own memory would be overwritten by the next frame, and copying from it costs 0.5 of 16.5 ms (520 x 520, int8, two
# Zen 4 cores) and 20 of 484 ms (2160 x 3840). Where only the fused picture is wanted, the network has no map among its results:
# 169, 172 and 174 ms instead of 180 (1536 x 2048, int8, two cores with AMX), and not one sample changes in 20 Lytro pairs.
#
# Frames of a few columns or rows are computed in fp32 whatever was asked for: with bf16 on a CPU with AMX, frames of up to 8
# columns came out as NaN (OpenVINO 2026.4). They are so small that it costs nothing.
_NARROW = 32
_CARRIED = np.dtype(np.uint16)  # of bfloat16's bits; no network of ours takes or gives such numbers otherwise
_KEPT_SIZES = 2
_KEPT_CROWDED = 4  # each size for one run at a time, and for several
_KEPT_SIZES_LEAN = 6  # the sizes of the tiles of one frame; they hold no activations between runs


@lru_cache(maxsize=1)  # it loads the plugin anew each time
def cpu_capabilities() -> tuple[str, ...]:
    """What OpenVINO finds on this CPU, such as ``("FP32", "INT8", "BF16")``."""
    return tuple(ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _tensor(array: NDArray[Any]) -> Any:  # noqa: ANN401 - openvino's types are its own
    """The array's memory as OpenVINO sees it; bits of bfloat16 numbers as such."""
    if array.dtype == _CARRIED:
        return ov.Tensor(array, ov.Shape(array.shape), ov.Type.bf16)
    return ov.Tensor(array, shared_memory=True)


def _dtype(port: Any) -> np.dtype[Any]:  # noqa: ANN401 - openvino's types are its own
    """Of the arrays that a port's tensors lie in."""
    kind = port.get_element_type()
    return _CARRIED if kind == ov.Type.bf16 else np.dtype(kind.to_dtype())


class _Request:
    """One run at a time, with its results written where the caller wants them."""

    def __init__(self, request: Any) -> None:  # noqa: ANN401 - as below
        self._request = request
        self._own: dict[str, Any] = {}

    @property
    def counters(self) -> Any:  # noqa: ANN401 - as below
        """What tells the time of each node of the last run."""
        return self._request

    def infer(self, inputs: dict[str, NDArray[Any]], results: dict[str, NDArray[Any]]) -> None:
        for name, array in results.items():
            self._own.setdefault(name, self._request.get_tensor(name))
            self._request.set_tensor(name, _tensor(array))
        given = {name: _tensor(array) if array.dtype == _CARRIED else array for name, array in inputs.items()}
        try:
            self._request.infer(given, share_inputs=True, share_outputs=True)
        finally:
            for name in results:  # or the request would hold on to what is the caller's now
                self._request.set_tensor(name, self._own[name])


class _Compiled:
    """The network compiled for one size, and the requests that wait for work; each is one thread's at a time."""

    def __init__(self, compiled: Any, names: Sequence[str]) -> None:  # noqa: ANN401 - openvino's types are its own
        """Take the compiled network and its results' names: its own may be of what a fixed size has optimised away."""
        self._compiled = compiled
        self._outputs = {name: (tuple(port.shape), _dtype(port)) for name, port in zip(names, compiled.outputs, strict=True)}
        self._idle: list[_Request] = []
        self._releasing = threading.Lock()

    def infer(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs, in arrays of their own."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = _Request(self._compiled.create_infer_request())
        results = {name: np.empty(*kind) for name, kind in self._outputs.items()}
        request.infer(inputs, results)
        self._idle.append(request)
        return results

    def counted(self, inputs: dict[str, NDArray[Any]]) -> Any:  # noqa: ANN401 - as above
        """Run once; the request that did, whose counters tell about that run."""
        self.infer(inputs)
        return self._idle[-1].counters

    def infer_and_release(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        with self._releasing:  # nothing may run while its memory goes
            results = self.infer(inputs)
            self._idle.clear()
            self._compiled.release_memory()
        return results


class OpenVinoSession(Session):
    """An ONNX file on OpenVINO's CPU plugin, compiled for each size when it first comes (see above).

    float32 parts run in bf16 by themselves where the CPU has it. ``pin`` binds each thread to a core; ``lean`` gives the
    activations' memory back after every run.
    """

    backend = "openvino"

    @classmethod
    def check(cls, model: Path, manifest: Manifest, options: SessionOptions) -> None:
        """Refuse another engine's provider, and arithmetic that the CPU or the file does not have."""
        if options.provider != "cpu":
            raise BackendError(f"`provider={options.provider}` is ONNX Runtime's: add `backend=onnxruntime`.")
        _arithmetic(model, manifest, options, native_bf16="BF16" in cpu_capabilities())

    def __init__(self, model: Path, manifest: Manifest, options: SessionOptions, why: str) -> None:
        self._capabilities = cpu_capabilities()
        arithmetic = _arithmetic(model, manifest, options, native_bf16="BF16" in self._capabilities)
        self.manifest = manifest
        self.precision = f"int8+{arithmetic}" if manifest.precision == "int8" else arithmetic
        self.why = f"{why}; {'bf16 found on this CPU' if arithmetic == 'bf16' else f'{arithmetic} arithmetic'}"
        self._settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _TYPES[arithmetic],
            "ENABLE_CPU_PINNING": options.pin,
        }
        if options.threads is not None:
            self._settings["INFERENCE_NUM_THREADS"] = options.threads
        if options.carry and arithmetic == "bf16":
            self.carries = _CARRIED.name
        self._lean = options.lean
        # Under a memory budget one frame is fused at a time, and a second network would not be within it.
        self._crowd = Crowd(1 if options.lean else options.streams, options.threads or usable_cores())
        self._kept = _KEPT_SIZES_LEAN if options.lean else _KEPT_SIZES
        self._core = ov.Core()
        self._compiling = threading.Lock()
        self._by_task: OrderedDict[RunKey, _Compiled] = OrderedDict()
        try:
            # Under a memory budget many sizes of windows come, once each.
            self._kept_networks = KeptNetworks(model) if options.cache and not options.lean else None
            self._network: Any = self._core.read_model(str(model))
        except (RuntimeError, ValueError, OSError) as error:  # the second where its own words quote bytes of a damaged file
            raise ModelError(f"OpenVINO cannot load {model}: {_last_line(error)}") from error
        ports = {port.get_any_name(): port for port in self._network.inputs}
        check_tensors(model, manifest, ports, [port.get_any_name() for port in self._network.outputs])
        self._inputs = {name: (port.get_element_type().to_dtype(), port.get_partial_shape()) for name, port in ports.items()}
        self._pictures = _PICTURES & set(ports) if manifest.io == "float" else frozenset()
        self.takes_byte_planes = bool(self._pictures)

    def run(self, near: NDArray[Any], far: NDArray[Any]) -> NDArray[Any]:
        """Fuse one batch of pairs; the map is not made."""
        return self._infer({"near": near, "far": far}, only_fused=True)[_FUSED]

    def infer(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph; see `Session.infer`."""
        return self._infer(inputs, only_fused=False)

    def _infer(self, inputs: dict[str, NDArray[Any]], *, only_fused: bool) -> dict[str, NDArray[Any]]:
        self._check(inputs)
        try:
            with self._crowd.entered() as streams:
                compiled = self._compiled_for((_kinds(inputs), only_fused, streams))
                return compiled.infer_and_release(inputs) if self._lean else compiled.infer(inputs)
        except (RuntimeError, TypeError) as error:
            raise BackendError(f"OpenVINO failed: {_last_line(error)}") from error

    def prepare(self, size: tuple[int, int], *, want_map: bool = False, floats: bool = False) -> None:
        """Compile the network for one pair of this size, of 8 bits or as floats."""
        check_process(_TITLE)
        try:
            self._compiled_for(self._pair_of(size, want_map=want_map, floats=floats))
        except RuntimeError as error:
            raise BackendError(f"OpenVINO failed: {_last_line(error)}") from error

    def prepared(self, size: tuple[int, int], *, want_map: bool = False, floats: bool = False) -> bool:
        """Whether the network is compiled for such a pair already; see `Session.prepared`."""
        return self._pair_of(size, want_map=want_map, floats=floats) in self._by_task

    def _pair_of(self, size: tuple[int, int], *, want_map: bool, floats: bool) -> RunKey:
        shape = (1, *size, 3) if self.manifest.io == "uint8" else (1, 3, *size)
        dtype = "float32" if floats else "uint8"
        return (("far", shape, dtype), ("near", shape, dtype)), not want_map, self._crowd.at_first

    def prepare_inputs(self, inputs: Mapping[str, tuple[tuple[int, ...], str]]) -> None:
        """Compile the network for these shapes and dtypes."""
        check_process(_TITLE)
        try:
            kinds = tuple((name, shape, dtype) for name, (shape, dtype) in sorted(inputs.items()))
            self._compiled_for((kinds, False, self._crowd.at_first))
        except RuntimeError as error:
            raise BackendError(f"OpenVINO failed: {_last_line(error)}") from error

    def release(self) -> None:
        """Forget what was compiled; frames under way are finished first."""
        with self._compiling:
            self._by_task.clear()

    def layers(
        self, inputs: dict[str, NDArray[Any]], *, runs: int, only_fused: bool = False, before: Callable[[], None] = ignored
    ) -> list[Layer]:
        """The time of each node; see `Session.layers`."""
        self._check(inputs)
        with self._compiling:
            if self._network is None:
                raise BackendError("the session was closed: open it again.")
            try:
                network, names = self._compile((_kinds(inputs), only_fused, 1), COUNTED)
            except RuntimeError as error:
                raise BackendError(f"OpenVINO failed: {_last_line(error)}") from error
        compiled = _Compiled(network, names)
        return layers_of(network, lambda: compiled.counted(inputs), runs, before)

    def _check(self, inputs: dict[str, NDArray[Any]]) -> None:
        """OpenVINO itself would leave a missing input's size free, take any rank, and convert bytes to 0.0 .. 255.0."""
        check_process(_TITLE)
        check_given(inputs, self._inputs)
        levels = all(inputs[name].dtype == np.uint8 for name in self._pictures)
        for name, array in inputs.items():
            dtype, shape = self._inputs[name]
            if levels and name in self._pictures:
                dtype = np.dtype(np.uint8)
            elif array.dtype == self.carries and is_carried(name):
                dtype = array.dtype
            if array.dtype != dtype or not shape.compatible(ov.PartialShape(list(array.shape))):
                given = f"{array.dtype} {list(array.shape)}"
                raise BackendError(f"OpenVINO failed: {name} is {given}, the model takes {dtype} {shape.to_string()}.")

    def close(self) -> None:
        """Let go of the networks; frames under way are finished first. May be called twice."""
        with self._compiling:
            self._network = None
            self._by_task.clear()

    def _compiled_for(self, task: RunKey) -> _Compiled:
        """The network for this task; compiles it, and forgets those that were not used for longest."""
        with self._compiling:
            if self._network is None:
                raise BackendError("the session was closed: open it again.")
            if task in self._by_task:
                self._by_task.move_to_end(task)
                return self._by_task[task]
            while len(self._by_task) >= (_KEPT_CROWDED if self._crowd.seen else self._kept):
                self._by_task.popitem(last=False)  # before the new one, so that they never stand side by side
            compiled = _Compiled(*self._kept_or_compiled(task))
            self._by_task[task] = compiled
            return compiled

    def _kept_or_compiled(self, task: RunKey) -> tuple[Any, list[str]]:
        """The network as it was kept by an earlier process, or compiled and kept; and its results' names."""
        kept, settings = self._kept_networks, self._settings_for(task)
        if kept is None:
            return self._compile(task, {})
        name = kept.name_for([*task, self.carries], settings, self._capabilities)
        network = kept.load(self._core, name, settings)
        if network is not None:
            return network, self._names(task)
        network, names = self._compile(task, {})
        if not kept.trouble:
            kept.keep(network, name)
            if kept.trouble:
                self.why += f"; the compiled network is not kept: {kept.trouble}"
        return network, names

    def _names(self, task: RunKey) -> list[str]:
        return [_FUSED] if task[1] else [port.get_any_name() for port in self._network.outputs]

    def _settings_for(self, task: RunKey) -> dict[str, Any]:
        inputs, _, streams = task
        settings = self._settings | ({"INFERENCE_PRECISION_HINT": "f32"} if self._narrow(inputs) else {})
        return settings | ({"NUM_STREAMS": streams} if streams > 1 else {})

    def _compile(self, task: RunKey, more: Mapping[str, Any]) -> tuple[Any, list[str]]:
        """The network compiled for this task, with ``more`` settings, and its results' names."""
        inputs, only_fused, _ = task
        network, names = self._network.clone(), self._names(task)
        network.reshape({name: list(shape) for name, shape, _ in inputs})
        if only_fused:
            _leave_only_fused(network)
        if self._pictures & {name for name, _, dtype in inputs if dtype == "uint8"}:
            network = _of_levels(network, self._pictures)
        if self.carries == _CARRIED.name:
            network = _carrying(network, [name for name, _, dtype in inputs if dtype == _CARRIED.name])
        return self._core.compile_model(network, "CPU", {**self._settings_for(task), **more}), names

    def _narrow(self, inputs: Inputs) -> bool:
        """Whether the pictures have fewer columns or rows than bf16 kernels are safe with."""
        first = 1 if self.manifest.io == "uint8" else 2
        return any(min(shape[first : first + 2]) < _NARROW for name, shape, _ in inputs if name in _PICTURES)


def _kinds(inputs: Mapping[str, NDArray[Any]]) -> Inputs:
    # In one order, or a task that is given in another would be compiled for itself.
    return tuple((name, array.shape, array.dtype.name) for name, array in sorted(inputs.items()))


def _leave_only_fused(network: Any) -> None:  # noqa: ANN401 - openvino's types are its own
    for result in network.get_results():
        if _FUSED not in result.output(0).get_names():
            network.remove_result(result)


def _of_levels(network: Any, pictures: Collection[str]) -> Any:  # noqa: ANN401 - openvino's types are its own
    """A float network that takes and gives uint8. Its conversions run on all threads, in OpenVINO's own kernels."""
    steps = PrePostProcessor(network)
    for name in pictures:
        steps.input(name).tensor().set_element_type(ov.Type.u8)
        steps.input(name).preprocess().convert_element_type(ov.Type.f32).scale(_WHITE)
    if any(_FUSED in port.get_names() for port in network.outputs):
        steps.output(_FUSED).postprocess().custom(_rounded)
        steps.output(_FUSED).tensor().set_element_type(ov.Type.u8)
    return steps.build()


def _carrying(network: Any, taken: Sequence[str]) -> Any:  # noqa: ANN401 - openvino's types are its own
    """A network that takes these tensors, and gives what it hands on, in bfloat16, as it computes them.

    Of the frame-sized tensors between the graphs for stacks that is half the memory, and a conversion less on either side:
    encoding a frame of 3 megapixels takes 19 ms instead of 25 (two Zen 5 cores). The next graph would round them all the same.
    """
    steps = PrePostProcessor(network)
    for name in taken:
        steps.input(name).tensor().set_element_type(ov.Type.bf16)
    for index, port in enumerate(network.outputs):
        if any(map(is_carried, port.get_names())):
            steps.output(index).tensor().set_element_type(ov.Type.bf16)
    return steps.build()


def _rounded(fused: Any) -> Any:  # noqa: ANN401 - as above
    """To whole levels from 0 to 255, as `ufafuse.runtime.packing.from_planes` does it."""
    scaled = ops.multiply(fused, ops.constant(np.float32(_WHITE)))
    return ops.round(ops.clamp(scaled, 0.0, _WHITE), "half_to_even").output(0)


def _arithmetic(model: Path, manifest: Manifest, options: SessionOptions, *, native_bf16: bool) -> str:
    """The type of the graph's floating-point parts: what was asked, or bf16 where it is native, or fp32."""
    asked = options.precision
    if asked == "int8":
        if manifest.precision != "int8":
            raise BackendError(f"{model.name} is {manifest.precision}: run `ufa calibrate {model.name}` for an int8 one.")
        asked = None
    if asked == "bf16" and not native_bf16:
        raise BackendError("`precision=bf16` asks for instructions that this CPU does not have: use fp32 or int8.")
    if asked == "fp16":
        raise BackendError("OpenVINO computes float16 in float32 on a CPU: use fp32 or bf16.")
    return asked or ("bf16" if native_bf16 else "fp32")


def _last_line(error: Exception) -> str:
    """Of OpenVINO's many lines the last, which says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    if is_shortage(error):
        return f"{NOT_ENOUGH} ({last}): give a bound for it (`max_memory`), or free some."
    return f"{NO_THREADS}." if lacks_threads(error) else last
