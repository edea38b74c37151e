"""A strict stand-in for the builder half of the ``tensorrt`` module.

Its names are the real bindings' own, of four releases: `read_surfaces.py` asked the modules and wrote
``tensorrt_surfaces.json``. A name that a release does not have raises AttributeError, on reading and on assigning alike; a
name that it has and the fake does not act out raises NotImplementedError.
"""

import json
import types
from dataclasses import dataclass
from pathlib import Path

SURFACES = json.loads(Path(__file__).with_name("tensorrt_surfaces.json").read_text())
ENUMS = ("BuilderFlag", "NetworkDefinitionCreationFlag", "MemoryPoolType", "HardwareCompatibilityLevel", "ProfilingVerbosity")
TYPES = ("LayerType", "DataType")
PLAN = b"a serialised engine"


@dataclass
class World:
    """What happens in a build.

    gpu: whether there is one to build on. errors: (node name, operator, text) of each parser error. layers: what the parsed
    network consists of, as `conv` and `dequantize` make them. refuses: the builder logs this and answers None. stale_cache:
    the timing cache is of another GPU. steps: of the one phase that the progress monitor hears of.
    """

    gpu: bool = True
    errors: tuple = ()
    layers: tuple = ()
    refuses: str = ""
    stale_cache: bool = False
    steps: int = 3


def make_tensorrt(release, **world):
    """The module of one release (a key of `SURFACES`) in a `World`; its ``calls`` say what was asked of it."""
    trt = types.ModuleType("tensorrt")
    trt.__version__ = release
    trt.calls = []
    trt.world = World(**world)
    trt.strict = lambda name, members, own=(): _strict(trt, name, [*SURFACES[release][name], *own], members)
    for name in (*ENUMS, *TYPES):
        setattr(trt, name, _enum(trt, name, SURFACES[release][name]))
    severities = {"INTERNAL_ERROR": 0, "ERROR": 1, "WARNING": 2, "INFO": 3, "VERBOSE": 4}
    trt.ILogger = trt.strict("ILogger", {"__init__": lambda self: None, **severities}, own=("messages", "told"))
    trt.IProgressMonitor = trt.strict("IProgressMonitor", {"__init__": lambda self: None}, own=("steps",))
    _add_parser(trt)
    _add_builder(trt)
    return trt


def _strict(trt, name, names, members):
    """A class whose instances have exactly the given names."""
    unknown = [key for key in members if not key.startswith("_") and key not in names]
    assert not unknown, f"the fake acts out {unknown}, which {name} of {trt.__version__} does not have"

    def get(self, key):
        if key in names:
            raise NotImplementedError(f"the fake {name} does not act out {key}")
        raise AttributeError(f"tensorrt {trt.__version__} has no {name}.{key}")

    def put(self, key, value):
        if not key.startswith("_") and key not in names:
            raise AttributeError(f"tensorrt {trt.__version__} has no {name}.{key}")
        object.__setattr__(self, key, value)

    return type(name, (), {"__getattr__": get, "__setattr__": put, **members})


def _enum(trt, name, names):
    """An enum: an int for every member, and AttributeError for the rest."""

    class Meta(type):
        def __getattr__(cls, key):
            raise AttributeError(f"tensorrt {trt.__version__} has no {name}.{key}")

    return Meta(name, (), {member: index for index, member in enumerate(names)})


def _add_parser(trt):
    def init(self, network, logger):
        self._network = network

    def parse(self, path):
        self._network._layers = [make(trt) for make in trt.world.layers]
        return not trt.world.errors

    def get_error(self, index):
        node, operator, text = trt.world.errors[index]
        answers = {"node_name": node, "node_operator": operator, "desc": text, "node": index}
        return trt.strict("ParserError", {key: lambda self, value=value: value for key, value in answers.items()})()

    members = {"__init__": init, "parse_from_file": parse, "get_error": get_error, "num_errors": len(trt.world.errors)}
    trt.OnnxParser = trt.strict("OnnxParser", members)


def _config(trt):
    def create_cache(self, data):
        trt.calls.append(("cache", bytes(data)))
        return trt.strict("TimingCache", {"serialize": lambda cache: b"timings"})()

    def set_cache(self, cache, ignore_mismatch):
        self._cache = cache
        return not trt.world.stale_cache

    def add_profile(self, profile):
        trt.calls.append(("profile", dict(profile._shapes)))
        return 0

    members = {
        "set_memory_pool_limit": lambda self, pool, size: trt.calls.append(("pool", pool, size)),
        "set_flag": lambda self, flag: trt.calls.append(("flag", flag)),
        "clear_flag": lambda self, flag: trt.calls.append(("clear", flag)),
        "create_timing_cache": create_cache,
        "set_timing_cache": set_cache,
        "get_timing_cache": lambda self: self._cache,
        "add_optimization_profile": add_profile,
    }
    return trt.strict("BuilderConfig", members)()


def _profile(trt):
    def init(self):
        self._shapes = {}

    def set_shape(self, name, low, best, high):
        self._shapes[name] = (low, best, high)

    return trt.strict("OptimizationProfile", {"__init__": init, "set_shape": set_shape})()


def _add_builder(trt):
    network = trt.strict(
        "NetworkDefinition",
        {"get_layer": lambda self, index: self._layers[index], "num_layers": property(lambda self: len(self._layers))},
    )

    def init(self, logger):
        if not trt.world.gpu:
            logger.log(trt.ILogger.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._logger = logger

    def create_network(self, flags=0):
        trt.calls.append(("create_network", flags))
        return network()

    def build(self, network, config):
        trt.config, monitor = config, config.progress_monitor
        monitor.phase_start("building", None, trt.world.steps)
        for step in range(trt.world.steps):
            if not monitor.step_complete("building", step):
                return None
        monitor.phase_finish("building")
        if trt.world.refuses:
            self._logger.log(trt.ILogger.ERROR, trt.world.refuses)
            return None
        return bytearray(PLAN)

    members = {
        "__init__": init,
        "create_network": create_network,
        "create_builder_config": lambda self: _config(trt),
        "create_optimization_profile": lambda self: _profile(trt),
        "build_serialized_network": build,
    }
    trt.Builder = trt.strict("Builder", members)


def _tensor(trt, name, dtype):
    return trt.strict("Tensor", {"name": name, "dtype": getattr(trt.DataType, dtype)})()


def _layer(trt, kind, name, source, result):
    members = {
        "type": getattr(trt.LayerType, kind),
        "name": name,
        "get_input": lambda self, index: source,
        "get_output": lambda self, index: result,
    }
    return trt.strict("Layer", members)()


def conv(name, dtype="FLOAT", source="frame"):
    """A convolution whose result has a type."""
    return lambda trt: _layer(trt, "CONVOLUTION", name, _tensor(trt, source, "FLOAT"), _tensor(trt, f"{name}.out", dtype))


def dequantize(result):
    """A dequantiser that gives the named tensor."""
    return lambda trt: _layer(
        trt, "DEQUANTIZE", f"{result}.dq", _tensor(trt, f"{result}.int8", "INT8"), _tensor(trt, result, "FLOAT")
    )
