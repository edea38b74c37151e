"""TensorRT's runtime over the fake GPU: an engine that mixes two frames, for each flavour and release.

A plan is JSON: {"dtype", "profiles": [[min, opt, max] of height and width], "io": "float" | "uint8"}. It computes
fused = near / 4 + 3 * far / 4 and map = the mean of near's channels.
"""

import json

import numpy as np

KINDS = {"FLOAT": np.float32, "HALF": np.float16, "UINT8": np.uint8, "BF16": None}


def make_tensorrt(world, surface, version):
    """The module ``tensorrt`` or ``tensorrt_rtx``; ``surface`` is its key in surfaces.json."""
    is_rtx = "rtx" in surface

    def strict(kind, members):
        return world.strict(surface, kind, members)

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

        def __init__(self):
            self._ready = True

    def runtime_init(self, logger):
        world.current()
        assert logger._ready, "the logger's own constructor was not called"
        world.call("Runtime")
        self._logger = logger
        self._host_code = False
        world.objects["runtime"].add(self)

    def deserialize(self, plan):
        world.current()
        if world.call("deserialize_cuda_engine", True) is None:
            self._logger.log(ILogger.ERROR, "deserialization  failed")
            self._logger.log(ILogger.WARNING, "not worth mentioning")
            return None
        assert self._host_code or not json.loads(plan).get("host_code"), "host code is not allowed"
        return _engine(world, strict, module, is_rtx)(json.loads(plan), self._logger)

    def allow(self, value):
        self._host_code = value

    members = {
        "ILogger": ILogger,
        "Runtime": strict(
            "Runtime",
            {
                "__init__": runtime_init,
                "deserialize_cuda_engine": deserialize,
                "engine_host_code_allowed": property(lambda self: self._host_code, allow),
            },
        ),
        "TensorIOMode": strict("TensorIOMode", {"INPUT": "in", "OUTPUT": "out"}),
        "DataType": type("DataType", (), {name: name for name in KINDS}),
        "ExecutionContextAllocationStrategy": strict("ExecutionContextAllocationStrategy", {"USER_MANAGED": "user"}),
        "nptype": _nptype,
        "__version__": version,
    }

    class IProfiler:  # to be derived from, so its instances have names of their own
        def __init__(self):
            self._ready = True

    def inspect(self, form):
        assert form == module.LayerInformationFormat.JSON
        assert self.execution_context._shapes, "inspected before the shapes were set: free sizes would be unknown"
        return world.call("get_engine_information", json.dumps(self.execution_context._plan.get("layers", {"Layers": ["mix"]})))

    members["IProfiler"] = IProfiler
    members["LayerInformationFormat"] = strict("LayerInformationFormat", {"JSON": "json"})
    members["EngineInspector"] = strict("EngineInspector", {"get_engine_information": inspect, "execution_context": None})
    if is_rtx:
        members["DynamicShapesKernelSpecializationStrategy"] = strict(
            "DynamicShapesKernelSpecializationStrategy", {"EAGER": "eager"}
        )
        members["CudaGraphStrategy"] = strict("CudaGraphStrategy", {"WHOLE_GRAPH_CAPTURE": "whole", "DISABLED": "off"})
    module = world.module("tensorrt_rtx" if is_rtx else "tensorrt", surface, members)
    return module


def _nptype(kind):
    if KINDS[kind] is None:
        raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
    return KINDS[kind]


def _layout(plan, size):
    """Shapes of the tensors for (N, H, W)."""
    count, height, width = size
    uint8 = plan["io"] == "uint8"
    frame = (count, height, width, 3) if uint8 else (count, 3, height, width)
    return {"near": frame, "far": frame, "fused": frame, "map": (count, 1, height, width)}


def _size(plan, shape):
    return (shape[0], *(shape[1:3] if plan["io"] == "uint8" else shape[2:4]))


def _engine(world, strict, module, is_rtx):
    names = ["near", "far", "fused", "map"]

    def init(self, plan, logger):
        self._plan, self._logger = plan, logger
        world.objects["engine"].add(self)

    def dtype(self, name):
        return "FLOAT" if name == "map" and self._plan["dtype"] == "UINT8" else self._plan["dtype"]

    def mode(self, name):
        return module.TensorIOMode.INPUT if name in ("near", "far") else module.TensorIOMode.OUTPUT

    def profile_shape(self, name, index):
        assert name in ("near", "far"), "an output has no profile: the real binding crashes here"
        answer = world.call("get_tensor_profile_shape", True)
        return [_layout(self._plan, (1, *size))[name] for size in self._plan["profiles"][index]] if answer else []

    def context(self, config_or_strategy):
        world.current()
        strategy = config_or_strategy._allocation if is_rtx else config_or_strategy
        assert strategy == "user"
        if world.call("create_execution_context", True) is None:
            return None
        made = _context(world, strict)(self)
        made._cache = config_or_strategy._cache if is_rtx else None
        made._graphs = is_rtx and config_or_strategy.cuda_graph_strategy != "off"
        return made

    members = {
        "__init__": init,
        "num_io_tensors": 4,
        "num_optimization_profiles": property(lambda self: len(self._plan["profiles"])),
        "device_memory_size_v2": property(lambda self: self._plan.get("scratch", 64)),
        "get_tensor_name": lambda self, index: names[index],
        "get_tensor_dtype": dtype,
        "get_tensor_mode": mode,
        "get_tensor_profile_shape": profile_shape,
        "create_execution_context": context,
        "create_engine_inspector": lambda self: world.call("create_engine_inspector", module.EngineInspector()),
    }
    if is_rtx:
        members["create_runtime_config"] = lambda self: world.call("create_runtime_config", _config(world, strict)())
    return strict("ICudaEngine", members)


def _config(world, strict):
    class Blob(bytes):
        pass

    def cache_init(self):
        self._kernels = b""
        world.objects["cache"].add(self)

    def deserialize(self, blob):
        world.current()
        fits = world.call("IRuntimeCache.deserialize", blob.startswith(b"kernels"))
        if fits:
            self._kernels = bytes(blob)
        return fits

    Cache = strict(
        "IRuntimeCache",
        {
            "__init__": cache_init,
            "deserialize": deserialize,
            "serialize": lambda self: world.call("IRuntimeCache.serialize", Blob(self._kernels)),
        },
    )

    def config_init(self):
        self._cache = None

    def set_cache(self, cache):
        self._cache = cache
        return world.call("set_runtime_cache", True)

    def set_strategy(self, strategy):
        self._allocation = strategy

    return strict(
        "IRuntimeConfig",
        {
            "__init__": config_init,
            "create_runtime_cache": lambda self: world.call("create_runtime_cache", Cache()),
            "set_runtime_cache": set_cache,
            "set_execution_context_allocation_strategy": set_strategy,
            "cuda_graph_strategy": None,
            "dynamic_shapes_kernel_specialization_strategy": None,
        },
    )


def _context(world, strict):
    return strict("IExecutionContext", {**_shaping(world), **_running(world)})


def _shaping(world):
    """The half of a context that is told shapes and addresses."""

    def init(self, engine):
        self._engine, self._plan = engine, engine._plan
        self._profile, self._shapes, self._addresses = 0, {}, {}
        self._scratch, self._flushed, self._graphs = None, None, False
        world.objects["context"].add(self)

    def set_profile(self, index, stream):
        world.current()
        assert world.streams[stream]
        answer = world.call("set_optimization_profile_async", True)
        if answer:
            self._profile, self._shapes = index, {}
        return answer

    def set_shape(self, name, shape):
        low, _, high = self._plan["profiles"][self._profile]
        size = _size(self._plan, shape)[1:]
        inside = all(a <= b <= c for a, b, c in zip(low, size, high, strict=True))
        answer = world.call("set_input_shape", inside)
        if answer:
            self._shapes[name] = tuple(shape)
        return answer

    def infer(self):
        missing = [name for name in ("near", "far") if name not in self._shapes]
        return world.call("infer_shapes", missing or ([] if self._shapes["near"] == self._shapes["far"] else ["fused"]))

    def get_shape(self, name):
        return world.call("get_tensor_shape", _layout(self._plan, _size(self._plan, self._shapes["near"]))[name])

    def set_address(self, name, address):
        self._addresses[name] = address
        return world.call("set_tensor_address", True)

    def set_memory(self, address, size):
        world.bytes_at(address, size)
        self._scratch = address, size

    return {
        "__init__": init,
        "active_optimization_profile": property(lambda self: self._profile),
        "set_optimization_profile_async": set_profile,
        "set_input_shape": set_shape,
        "infer_shapes": infer,
        "get_tensor_shape": get_shape,
        "set_tensor_address": set_address,
        "set_device_memory": set_memory,
        "profiler": None,
    }


def _reports(world):
    def report(self, stream, capturing):
        """A run with a profiler is waited for, layer by layer."""
        assert not capturing, "a context with a profiler cannot be captured"
        assert not self._graphs, "what runs as one graph has no layers to time"
        stream.synchronize()
        assert self.profiler._ready, "the profiler's own constructor was not called"
        for layer in world.call("report_layer_time", [("mix", 1.5), ("average", 0.25)]):
            self.profiler.report_layer_time(*layer)

    return report


def _running(world):
    """The half of a context that runs."""

    def execute(self, handle):
        world.current()
        stream = world.streams[handle]
        shapes, addresses = dict(self._shapes), dict(self._addresses)
        capturing = stream._capturing is not None
        if world.call("execute_async_v3", True) is not True:
            return False
        if capturing:
            assert self._flushed == shapes, "captured before the new shape was flushed by a run"
        self._flushed = shapes

        def work():
            assert self._shapes == shapes and self._addresses == addresses, "a graph outlived its context's shapes"
            self._compute()

        if self._cache is not None:
            self._cache._kernels = b"kernels " + repr(sorted(shapes.items())).encode()
        (stream._capturing if capturing else stream._work).append(work)
        if self.profiler is not None:
            self._report(stream, capturing)
        return True

    def compute(self):
        layout = _layout(self._plan, _size(self._plan, self._shapes["near"]))
        arrays = {}
        for name, shape in layout.items():
            kind = np.dtype(KINDS[self._engine.get_tensor_dtype(name)])
            block = world.bytes_at(self._addresses[name], int(np.prod(shape)) * kind.itemsize)
            arrays[name] = block.view(kind).reshape(shape)
        if self._scratch is not None:
            world.bytes_at(*self._scratch)[:] = 1
        near, far = (arrays[name].astype(np.float32) for name in ("near", "far"))
        arrays["fused"][...] = near / 4 + 3 * far / 4
        mean = near.mean(axis=3 if self._plan["io"] == "uint8" else 1)
        arrays["map"][...] = mean[:, None]

    return {"_compute": compute, "_report": _reports(world), "execute_async_v3": execute}
