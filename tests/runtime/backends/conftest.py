"""Models and machines for the backends' tests: tiny ONNX files, engine files, and a fake GPU with its libraries."""

import hashlib
import importlib.machinery
import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from ufafuse.runtime.artefact import METADATA_KEY, Manifest
from ufafuse.runtime.backends.tensorrt import cuda, cuda_graphs

RELEASES = {
    "tensorrt 10.3": ("tensorrt", "10.3.0.26"),
    "tensorrt 10.16": ("tensorrt", "10.16.1.11"),
    "tensorrt 11.4": ("tensorrt", "11.4.0.106"),
    "tensorrt_rtx 1.7": ("tensorrt-rtx", "1.7.1.116"),
}


def _load(name):
    spec = importlib.util.spec_from_file_location(f"ufafuse_tests_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_fake_cuda, _fake_tensorrt = _load("fake_cuda"), _load("fake_tensorrt")


def _put(monkeypatch, name, module):
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    monkeypatch.setitem(sys.modules, name, module)


def _make_findable(monkeypatch, module):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: module.__spec__ if name == module.__name__ else find(name, *a)
    )


def _take_away(monkeypatch, *names):
    """Make ``find_spec`` and ``import`` say that these are not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in names else find(name, *a))
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def _put_cuda_python(monkeypatch, world):
    driver = _fake_cuda.make_cuda_python(world)
    for name in ("cuda", "cuda.bindings"):
        package = types.ModuleType(name)
        package.__path__ = []
        _put(monkeypatch, name, package)
    _put(monkeypatch, "cuda.bindings.driver", driver)
    _make_findable(monkeypatch, driver)
    return driver


@pytest.fixture
def take_away(monkeypatch):
    return lambda *names: _take_away(monkeypatch, *names)


@pytest.fixture(params=["PyCUDA", "cuda-python"])
def world(request, monkeypatch):
    """A machine with a GPU and one binding of CUDA, each in turn; nothing is left on its context stack or alive at the end."""
    world = _fake_cuda.World()
    world.binding = request.param
    world.driver = _fake_cuda.make_pycuda(world)  # with cuda-python, what its functions work on
    _take_away(monkeypatch, "tensorrt", "tensorrt_rtx", "pycuda.driver", "cuda.bindings.driver")
    if world.binding == "PyCUDA":
        package = types.ModuleType("pycuda")
        package.driver = world.driver
        _put(monkeypatch, "pycuda", package)
        _put(monkeypatch, "pycuda.driver", world.driver)
        _make_findable(monkeypatch, world.driver)
    else:
        _put_cuda_python(monkeypatch, world)
        monkeypatch.setattr(cuda_graphs, "available", lambda: False)  # unless a test is about graphs
    monkeypatch.setattr(cuda, "_retained", {})
    with _fake_cuda.balanced(world):
        yield world
    assert world.live() == {}


def _install(monkeypatch, world, name):
    flavor, version = RELEASES[name]
    module = _fake_tensorrt.make_tensorrt(world, name, version)
    _put(monkeypatch, module.__name__, module)
    _make_findable(monkeypatch, module)
    return types.SimpleNamespace(flavor=flavor, version=version, module=module, is_rtx=flavor == "tensorrt-rtx")


@pytest.fixture(params=RELEASES)
def release(request, world, monkeypatch):
    """Each flavour and release in turn, installed."""
    return _install(monkeypatch, world, request.param)


@pytest.fixture(params=[name for name in RELEASES if "rtx" not in name])
def classic(request, world, monkeypatch):
    """Each release of classic TensorRT in turn, installed."""
    return _install(monkeypatch, world, request.param)


@pytest.fixture
def rtx(world, monkeypatch):
    """TensorRT-RTX, installed."""
    return _install(monkeypatch, world, "tensorrt_rtx 1.7")


@pytest.fixture
def with_graphs(world, monkeypatch):
    """cuda-python, installed."""
    if world.binding == "cuda-python":
        monkeypatch.setattr(cuda_graphs, "available", lambda: True)
        return sys.modules["cuda.bindings.driver"]
    return _put_cuda_python(monkeypatch, world)


@pytest.fixture
def engine_file(tmp_path):
    """Write an engine of the fake TensorRT and its manifest; keywords change the plan or, with ``extra``, the manifest."""

    def write(release, *, extra=None, name="ufa.engine", precision="fp32", **plan):
        plan = {"dtype": "FLOAT", "io": "float", "profiles": [[[16, 16], [32, 48], [64, 64]]], **plan}
        path = tmp_path / name
        path.write_text(json.dumps(plan))
        profiles = [{"min": low, "opt": best, "max": high, "batch": [1, 1, 1]} for low, best, high in plan["profiles"]]
        facts = {
            "flavor": release.flavor,
            "version": release.version,
            "compute_capability": ["sm86"],
            "profiles": profiles,
            "onnx": "ufa.onnx",
            "plan_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            **(extra or {}),
        }
        manifest = Manifest(kind="engine", variant="ufa", precision=precision, io=plan["io"], extra=facts)
        path.with_name(path.name + ".json").write_text(manifest.to_metadata()[METADATA_KEY])
        return path

    return write


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory):
    """An ONNX file that mixes two frames as the fake engines do, N, H and W free."""
    onnx = pytest.importorskip("onnx")
    make = onnx.helper
    frame, plane = ["batch", 3, "height", "width"], ["batch", 1, "height", "width"]
    values = {"near": frame, "far": frame, "fused": frame, "map": plane}
    ports = {name: make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in values.items()}
    constants = [
        make.make_tensor("quarter", onnx.TensorProto.FLOAT, [], [0.25]),
        make.make_tensor("rest", onnx.TensorProto.FLOAT, [], [0.75]),
        make.make_tensor("channels", onnx.TensorProto.INT64, [1], [1]),
    ]
    nodes = [
        make.make_node("Mul", ["near", "quarter"], ["a"]),
        make.make_node("Mul", ["far", "rest"], ["b"]),
        make.make_node("Add", ["a", "b"], ["fused"]),
        make.make_node("ReduceMean", ["near", "channels"], ["map"], keepdims=1),
    ]
    graph = make.make_graph(nodes, "mix", [ports["near"], ports["far"]], [ports["fused"], ports["map"]], constants)
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 20)], ir_version=10)
    manifest = Manifest(kind="onnx", variant="mix", precision="fp32")
    make.set_model_props(model, manifest.to_metadata())
    path = tmp_path_factory.mktemp("models") / "mix.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def frames():
    """Make one pair of float frames, N x 3 x H x W."""

    def make(height=32, width=48, *, seed=0, dtype=np.float32):
        noise = np.random.default_rng(seed)
        if dtype == np.uint8:
            return {name: noise.integers(0, 256, (1, height, width, 3), np.uint8) for name in ("near", "far")}
        return {name: noise.random((1, 3, height, width), np.float32).astype(dtype) for name in ("near", "far")}

    return make
