"""Real engines on a real GPU, for each flavour that is installed: built here, run here. ``pytest -m gpu``."""

import importlib.util
import threading
import time

import numpy as np
import pytest

from ufafuse.runtime.artefact import manifest_path
from ufafuse.runtime.backends.tensorrt import cuda
from ufafuse.runtime.backends.tensorrt.drivers import BINDINGS, installed_bindings
from ufafuse.runtime.backends.tensorrt.execution import cache_path
from ufafuse.runtime.checks.tolerances import tolerance_for
from ufafuse.runtime.errors import BackendError, ModelError, UfaError
from ufafuse.runtime.machine import gpus
from ufafuse.runtime.models import model_path
from ufafuse.runtime.session import SessionOptions, open_session

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not gpus(), reason="no NVIDIA GPU here (nvidia-smi finds none)"),
    pytest.mark.skipif(not installed_bindings(), reason="neither PyCUDA nor cuda-python is installed"),
]


@pytest.fixture(params=BINDINGS, autouse=True)
def binding(request, monkeypatch):
    """Every test with each binding of CUDA that is installed."""
    if request.param not in installed_bindings():
        pytest.skip(f"{request.param} is not installed")
    monkeypatch.setattr(cuda, "installed_bindings", lambda: [request.param])
    monkeypatch.setattr(cuda, "_retained", {})  # contexts are the binding's own objects


SIZES = [(16, 16), (33, 47), (64, 64), (32, 48)]


def expected(inputs):
    return inputs["near"] / 4 + 3 * inputs["far"] / 4


@pytest.fixture(params=["tensorrt", "tensorrt-rtx"])
def build(request, tmp_path):
    """Build an engine of one flavour from an ONNX file, sizes as (min, opt, max)."""
    if importlib.util.find_spec(request.param.replace("-", "_")) is None:
        pytest.skip(f"{request.param} is not installed")
    from ufafuse.export.build_options import BuildOptions
    from ufafuse.export.builder import TensorRt
    from ufafuse.export.engine import engine_from_onnx
    from ufafuse.export.profiles import Profile

    targets = ()
    if request.param == "tensorrt-rtx":
        here = "sm" + gpus()[0]["compute_cap"].replace(".", "")
        known = TensorRt(request.param).targets()
        if here not in known and "current" not in known:
            pytest.skip(f"TensorRT-RTX does not build for {here}")
        targets = (here if here in known else "current",)

    def work(onnx, *profiles):
        out = tmp_path / "x.engine"
        options = BuildOptions(tuple(Profile(*sizes) for sizes in profiles), flavor=request.param, targets=targets)
        try:
            engine_from_onnx(onnx, out, options, force=True)
        except UfaError as error:
            if targets != ("current",):
                raise
            pytest.skip(f"TensorRT-RTX has no name for {here}, and does not build for it as `current` either: {error}")
        return out

    return work


@pytest.fixture
def engine(build, tiny_onnx):
    return build(tiny_onnx, ((16, 16), (32, 48), (64, 64)), ((64, 64), (128, 128), (256, 256)))


def test_sizes_in_both_profiles_agree_with_numpy(engine, frames):
    with open_session(engine) as session:
        for height, width in [*SIZES, (200, 256), *SIZES]:
            inputs = frames(height, width)
            result = session.run_with_map(**inputs)
            np.testing.assert_allclose(result.fused, expected(inputs), atol=1e-3)  # TF32 may be in use
            np.testing.assert_allclose(result.map, inputs["near"].mean(1, keepdims=True), atol=1e-3)


def test_repeated_sizes_stay_right_with_and_without_graphs(engine, frames, monkeypatch):
    from ufafuse.runtime.backends.tensorrt import cuda_graphs

    for with_graphs in (cuda_graphs.available(), False):
        monkeypatch.setattr(cuda_graphs, "available", lambda: with_graphs)  # noqa: B023 - used within the turn
        with open_session(engine) as session:
            for seed in range(24):
                inputs = frames(*SIZES[seed // 3 % len(SIZES)], seed=seed)
                np.testing.assert_allclose(session.run(**inputs), expected(inputs), atol=1e-3)


def test_threads_share_a_session(engine, frames):
    failures = []

    def work(first):
        for seed in range(first, first + 25):
            inputs = frames(*SIZES[seed % len(SIZES)], seed=seed)
            if np.abs(session.run(**inputs) - expected(inputs)).max() > 1e-3:
                failures.append(seed)

    with open_session(engine) as session:
        threads = [threading.Thread(target=work, args=(100 * index,)) for index in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_opening_and_closing_leaves_the_memory_as_it_was(engine, frames):
    def free():
        with session._gpu.active():
            driver = session._gpu._driver
            return driver.call("cuMemGetInfo") if driver.name == "cuda-python" else driver._cuda.mem_get_info()[0]

    found = []
    for _ in range(6):
        with open_session(engine) as session:
            session.run(**frames(200, 256))
        found.append(free())
    assert found[-1] >= found[1] - (8 << 20)  # what the first one loaded (modules, kernels) stays


def test_a_session_closed_in_another_thread(engine, frames):
    session = open_session(engine)
    threads = [threading.Thread(target=lambda: session.run(**frames())), threading.Thread(target=session.close)]
    for thread in threads:
        thread.start()
        thread.join()
    with pytest.raises(BackendError, match="closed"):
        session.run(**frames())


def test_outside_the_profiles(engine, frames):
    with open_session(engine) as session, pytest.raises(BackendError, match="--static 300x300"):
        session.run(**frames(300, 300))


def test_compiled_kernels_are_kept(engine):
    import json

    if json.loads(manifest_path(engine).read_text())["extra"]["flavor"] != "tensorrt-rtx":
        pytest.skip("classic TensorRT keeps its kernels in the plan")
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        open_session(engine).close()
        seconds.append(time.perf_counter() - start)
    assert cache_path(engine).stat().st_size > 0
    assert seconds[1] < seconds[0]


def test_a_damaged_engine(engine):
    data = bytearray(engine.read_bytes())
    data[len(data) // 2] ^= 0xFF
    engine.write_bytes(data)
    with pytest.raises(ModelError, match="is not the engine that its manifest describes"):
        open_session(engine)


def test_the_bundled_network_agrees_with_the_cpu(build, capsys):
    """The whole network, and what it costs: the times are printed, not judged."""
    engine = build(model_path(), ((256, 256), (520, 520), (520, 520)))
    noise = np.random.default_rng(0)
    near, far = (noise.random((1, 3, 520, 520), np.float32) for _ in range(2))
    with open_session(model_path(), backend="onnxruntime", options=SessionOptions(provider="cpu")) as reference:
        truth = reference.run(near, far)
    with open_session(engine) as session:
        fused = session.run(near, far)
        rows = []
        for _ in range(50):
            start = time.perf_counter()
            session.run(near, far)
            rows.append({"whole_ms": 1000 * (time.perf_counter() - start), **session.last_timing})
        medians = {name: round(float(np.median([row[name] for row in rows])), 3) for name in rows[0]}
        why = session.why
    assert np.isfinite(fused).all()
    assert -10 * np.log10(np.mean((fused - truth) ** 2)) >= tolerance_for("fp16", "float").psnr  # TF32 may be in use
    with capsys.disabled():
        print(f"\n520 x 520, {why}: {medians}")  # noqa: T201 - the figures are what this test is run for
