"""The TensorRT runtime: every call into ``tensorrt`` and ``tensorrt_rtx``, and all in which their releases differ.

======================  ========================  =====================  =====================================
what                    tensorrt 10.3 to 10.16    tensorrt 11            tensorrt_rtx 1.4 and later
======================  ========================  =====================  =====================================
kernels                 in the plan               in the plan            compiled on first use, kept in a
                                                                         runtime cache
context from            an allocation strategy    the same               a runtime configuration
size of the scratch     device_memory_size_v2     device_memory_size_v2  device_memory_size_v2
                        (from 10.1 on)
CUDA graphs             captured by us            captured by us         captured by itself (from 1.2 on):
                                                                         its plans do not allow others to
set_optimization_       raises where it fails     raises or answers      raises or answers False
profile_async                                     False
======================  ========================  =====================  =====================================

All contexts of an engine share one scratch memory of the size that the largest profile needs, as NVIDIA advises for
contexts that never run at the same time; ours are queued on one stream. Every call that answers with bool or None is
checked where it stands, and what the library logged is part of the error.

Sources: the bindings' code of 10.x; tensorrt_lean 11.4 and tensorrt_rtx 1.7 by inspection; "Optimizing TensorRT-RTX
performance", section "Limitations of CUDA Graphs".
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ufafuse.runtime.artefact import apart, atomic_write
from ufafuse.runtime.backends.tensorrt import counters, vendor
from ufafuse.runtime.backends.tensorrt.facts import EngineFacts
from ufafuse.runtime.backends.tensorrt.vendor import Vendor
from ufafuse.runtime.errors import BackendError, ModelError, OutputError

Shape: TypeAlias = tuple[int, ...]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineTensor:
    """One input or output of an engine.

    Args:
        name: Its name.
        dtype: As NumPy knows it.
        is_input: Whether it goes in.
        ranges: For an input: (min, opt, max) shapes of each profile.
    """

    name: str
    dtype: np.dtype[Any]
    is_input: bool
    ranges: tuple[tuple[Shape, Shape, Shape], ...] = ()


def load_module(facts: EngineFacts) -> Vendor:
    """The flavour's module. Raises: BackendError, when it is not installed or cannot be loaded."""
    if not vendor.is_installed(facts.flavor):
        raise BackendError(
            f"{facts.path} is an engine of {facts.flavor}, which is not installed: "
            f"run `pip install 'ufafuse[{vendor.EXTRAS[facts.flavor]}]'`."
        )
    return vendor.load(facts.flavor)


class Engine:
    """A deserialised plan. Everything here runs inside `Gpu.active`.

    An engine file is code: it is loaded from the path that the user gave and from nowhere else.

    Args:
        module: From `load_module`.
        facts: The engine's identity, all checked.
        plan: The file's bytes.

    Raises:
        BackendError: The library has no runtime for this machine.
        ModelError: It refuses the plan.
    """

    def __init__(self, module: Vendor, facts: EngineFacts, plan: bytes) -> None:
        self.facts = facts
        self._trt = module
        self._is_rtx = facts.flavor == "tensorrt-rtx"
        self.captures_graphs_itself = self._is_rtx and hasattr(module, "CudaGraphStrategy")
        self._logger = vendor.recorder(module)
        self._config: Vendor = None
        self._cache: Vendor = None
        self._saved = b""
        try:
            self._runtime: Vendor = module.Runtime(self._logger)
        except (RuntimeError, TypeError) as error:  # pybind11's words for a factory that returned nothing
            raise self.failed(f"{facts.flavor} cannot start here ({error})") from error
        if facts.version_compatible:
            self._runtime.engine_host_code_allowed = True  # such a plan brings the lean runtime with it
        self._engine: Vendor = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise ModelError(f"{facts.path} is refused by {facts.flavor}{self._logger.told()}: run `{facts.command}`.")
        if self._is_rtx:
            self._configure()

    def tensors(self) -> dict[str, EngineTensor]:
        """Inputs and outputs by name. Raises: ModelError, for a type that NumPy does not know."""
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        return {name: self._tensor(name) for name in names}

    def _tensor(self, name: str) -> EngineTensor:
        kind = self._engine.get_tensor_dtype(name)
        try:
            dtype = np.dtype(self._trt.nptype(kind))
        except TypeError as error:
            raise ModelError(f"{self.facts.path}: tensor {name} is {kind}, which cannot be handed over.") from error
        if self._engine.get_tensor_mode(name) != self._trt.TensorIOMode.INPUT:
            return EngineTensor(name, dtype, is_input=False)
        # Outputs must not be asked for: the binding makes a tuple of a shape of -1 dimensions.
        profiles = range(self._engine.num_optimization_profiles)
        shapes = [[tuple(shape) for shape in self._engine.get_tensor_profile_shape(name, i)] for i in profiles]
        if not all(len(three) == 3 for three in shapes):
            raise self.failed(f"{self.facts.path} does not tell the sizes it was built for")
        return EngineTensor(name, dtype, is_input=True, ranges=tuple((low, best, high) for low, best, high in shapes))

    @property
    def scratch_bytes(self) -> int:
        """Device memory that a run needs beside inputs and outputs."""
        return int(self._engine.device_memory_size_v2)

    def context(self, scratch: int) -> "Context":
        """A new execution context that works in the device memory at ``scratch``. Raises: BackendError."""
        return Context(self, self._context(scratch))

    def _context(self, scratch: int) -> Vendor:
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if self._config is not None:
            self._config.set_execution_context_allocation_strategy(strategy)
            context = self._engine.create_execution_context(self._config)
        else:
            context = self._engine.create_execution_context(strategy)
        if context is None:
            raise self.failed(f"{self.facts.path}: no execution context could be made")
        if self.scratch_bytes:
            context.set_device_memory(scratch, self.scratch_bytes)
        return context

    def counting(self, scratch: int) -> "CountingContext":
        """As `context`, one that tells the time of each layer. Raises: BackendError."""
        with counters.without_graphs(self._trt, self._config):
            return CountingContext(self, self._context(scratch), counters.profiler(self._trt))

    def described(self, context: Vendor) -> dict[str, dict[str, Any]]:
        """What is known of each layer in a context whose shapes are set, by name; see `counters.described`."""
        return counters.described(self._trt, self._engine, context)

    def failed(self, what: str) -> BackendError:
        """An error that says what failed and what the library had to say about it."""
        return BackendError(f"{what}{self._logger.told()}.")

    def _configure(self) -> None:
        """TensorRT-RTX: compiled kernels are kept beside the engine, and compiled before a run rather than during some."""
        self._config = self._engine.create_runtime_config()
        if self._config is None:
            raise self.failed(f"{self.facts.path}: no runtime configuration could be made")
        strategies = getattr(self._trt, "DynamicShapesKernelSpecializationStrategy", None)
        if strategies is not None:
            # The default compiles in the background and changes kernels between two frames: results and times would
            # change while a line runs.
            self._config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        if self.captures_graphs_itself:
            self._config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self._cache = self._config.create_runtime_cache()
        if self._cache is None:
            raise self.failed(f"{self.facts.path}: no runtime cache could be made")
        path = cache_path(self.facts.path)
        if path.is_file():
            self._saved = path.read_bytes()
            if not self._cache.deserialize(self._saved):
                _log.info("%s is of another GPU, driver or release: kernels are compiled anew", path)
                self._saved = b""
        if not self._config.set_runtime_cache(self._cache):
            raise self.failed(f"{self.facts.path}: the runtime cache was refused")

    def save_cache(self) -> str:
        """Keep the kernels compiled so far beside the engine, where there are new ones; an empty text or why it failed.

        A folder that cannot be written to is no reason not to fuse: the next start is slower, that is all.
        """
        if self._cache is None:
            return ""
        blob = self._cache.serialize()
        if blob is None:
            return f"compiled kernels are not kept{self._logger.told()}"
        data = bytes(blob)
        if data == self._saved:
            return ""
        try:
            with apart(), atomic_write(cache_path(self.facts.path), force=True) as temporary:
                temporary.write_bytes(data)
        except OutputError as error:
            return f"compiled kernels are not kept ({error})"
        self._saved = data
        return ""

    def close(self) -> None:
        """Let go of everything, in the order that the library asks for; may be called twice."""
        self._cache = None
        self._config = None
        self._engine = None
        self._runtime = None


class Context:
    """One execution context: shapes and addresses of one run. Used by one thread at a time, inside `Gpu.active`."""

    def __init__(self, engine: Engine, context: Vendor) -> None:
        self._engine = engine
        self._context: Vendor = context

    def set_shapes(self, profile: int, shapes: Mapping[str, Shape], stream: int) -> None:
        """Choose the profile and the inputs' shapes, which are within it. Raises: BackendError."""
        if self._context.active_optimization_profile != profile:
            try:
                changed = self._context.set_optimization_profile_async(profile, stream)
            except RuntimeError as error:
                raise self._engine.failed(f"profile {profile} was refused ({error})") from error
            if not changed:
                raise self._engine.failed(f"profile {profile} was refused")
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise self._engine.failed(f"the shape {shape} of {name} was refused")
        unresolved = self._context.infer_shapes()
        if unresolved:
            raise self._engine.failed(f"no shape could be computed for {', '.join(unresolved)}")

    def shape(self, name: str) -> Shape:
        """An output's shape for the inputs' shapes. Raises: BackendError, where it is not known before the run."""
        shape = tuple(self._context.get_tensor_shape(name))
        if any(size < 0 for size in shape):
            raise self._engine.failed(f"the shape {shape} of {name} is not known")
        return shape

    def bind(self, name: str, address: int) -> None:
        """Tell where a tensor lies on the device. Raises: BackendError."""
        if not self._context.set_tensor_address(name, address):
            raise self._engine.failed(f"the address of {name} was refused")

    def enqueue(self, stream: int) -> None:
        """Queue one run. Raises: BackendError."""
        if not self._context.execute_async_v3(stream):
            raise self._engine.failed(f"{self._engine.facts.path.name} could not be run")

    def close(self) -> None:
        """Let go of the context."""
        self._context = None


class CountingContext(Context):
    """A context that runs layer after layer and tells how long each took."""

    def __init__(self, engine: Engine, context: Vendor, times: Vendor) -> None:
        super().__init__(engine, context)
        self._times = times
        self._context.profiler = times

    def taken(self) -> dict[str, float]:
        """The milliseconds of each layer of the run that has ended. Raises: BackendError, when none was told."""
        spent: dict[str, float] = self._times.taken()
        if not spent:
            raise self._engine.failed(f"{self._engine.facts.path.name} told no layer's time")
        return spent

    def described(self) -> dict[str, dict[str, Any]]:
        """What is known of each layer, by name."""
        return self._engine.described(self._context)


def cache_path(engine: Path) -> Path:
    """Where TensorRT-RTX's compiled kernels are kept: beside the engine. Like the engine, this file is code."""
    return engine.with_name(engine.name + ".kernels")
