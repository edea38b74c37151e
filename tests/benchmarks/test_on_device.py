"""Peers on a device, tried on the CPU: the same code, its copies and its computation apart; on a GPU where there is one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ufafuse.benchmarks.speed import bench as bench_module
from ufafuse.benchmarks.speed import device_table, on_device, peaks, report
from ufafuse.benchmarks.speed.bench import bench
from ufafuse.benchmarks.speed.on_device import BOUND, COMPILED, EAGER, GRAPHS, peers_on
from ufafuse.benchmarks.speed.opening import open_runner
from ufafuse.benchmarks.speed.plan import Plan
from ufafuse.benchmarks.speed.runners import PEER, RunnerSpec
from ufafuse.runtime.errors import BackendError, InputError

SIZE = (32, 48)
PARTS = {"h2d_ms", "compute_ms", "d2h_ms"}
NO_GPU = pytest.mark.skipif(on_device.found_device() is None, reason="PyTorch sees no GPU here")
CUDA = pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])
ON_CPU = [pytest.param(*peer, marks=pytest.mark.slow if peer[0] == COMPILED else ()) for peer in peers_on("cpu")]


@pytest.fixture(scope="module")
def network(tiny_onnx, tmp_path_factory):
    """An ONNX file with weights beside it, which need not be its own."""
    pytest.importorskip("torch")
    from ufafuse.network.weights import build_model, save_weights

    folder = tmp_path_factory.mktemp("device")
    shutil.copy(tiny_onnx, folder / "net.onnx")
    save_weights(build_model("ufa-nano", seed=0), folder / "net.safetensors")
    return folder / "net.onnx"


def opened(kind, path, precision, *, batch=1, device="cpu"):
    return open_runner(RunnerSpec(kind, str(path), precision=precision, threads=1, device=device, batch=batch))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("kind", "precision"), ON_CPU)
def test_each_peer_runs_on_the_cpu_and_tells_its_parts(network, kind, precision, batch):
    peer = opened(kind, network, precision, batch=batch)
    assert (peer.spec.group, peer.precision) == (PEER, precision)
    assert peer.backend.endswith(" cpu")
    given = peer.inputs(SIZE)
    assert all(tuple(array.shape) == (batch, 3, *SIZE) for array in given)
    assert peer.device_times() == {}
    for _ in range(3):
        peer.run(*given)
    times = peer.device_times()
    assert set(times) == PARTS
    assert all(value >= 0 for value in times.values())
    assert times["compute_ms"] > 0
    peer.close()


@pytest.mark.gpu
@NO_GPU
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize(("kind", "precision"), peers_on("cuda"))
def test_each_peer_runs_on_a_gpu(network, kind, precision, batch):
    peer = opened(kind, network, precision, batch=batch, device="cuda")
    given = peer.inputs((64, 96))
    for _ in range(5):
        peer.run(*given)
    assert set(peer.device_times()) == PARTS


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_the_bound_result_is_the_engines_own(network, device):
    onnxruntime = pytest.importorskip("onnxruntime")
    peer = opened(BOUND, network, "fp32", batch=2, device=device)
    near, far = peer.inputs(SIZE)
    peer.run(near, far)
    plain = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    wanted = plain.run(["fused"], {"near": near, "far": far})[0]
    assert np.abs(peer._there[2].numpy() - wanted).max() < 1e-3
    peer.run(far, near)  # other frames into the same memory
    assert np.abs(peer._there[2].numpy() - plain.run(["fused"], {"near": far, "far": near})[0]).max() < 1e-3


def test_a_gpu_that_is_not_there_is_a_sentence(network):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(BackendError, match="needs a GPU that PyTorch can use"):
        opened(EAGER, network, "fp16", device="cuda")
    with pytest.raises(BackendError, match="no CUDAExecutionProvider"):
        opened(GRAPHS, network, "fp32", device="cuda")
    assert on_device.found_device() is None
    assert Plan([network])._on_device() == []


class FakeEvent:
    """A moment on a GPU whose clock goes on by what each record is told."""

    now = 0.0

    def __init__(self, *, enable_timing):
        assert enable_timing
        self.at, self.waited = None, False

    def record(self):
        FakeEvent.now += 1.5
        self.at = FakeEvent.now

    def synchronize(self):
        self.waited = True

    def elapsed_time(self, other):
        assert other.at is not None
        return other.at - self.at


def test_on_a_gpu_the_parts_are_those_between_its_events_once_the_last_has_come():
    torch = type("torch", (), {"cuda": type("cuda", (), {"Event": FakeEvent})})
    marks = on_device._CudaMarks(torch)
    for number in range(4):
        marks.set(number)
    assert marks.parts() == (1.5, 1.5, 1.5)
    assert marks._at[3].waited


def test_weights_that_are_missing_are_named(tiny_onnx):
    pytest.importorskip("torch")
    with pytest.raises(InputError, match=r"needs the weights .*tiny\.safetensors"):
        opened(EAGER, tiny_onnx, "fp32")


@pytest.fixture
def measured(network, monkeypatch):
    for name, value in {"_SIDE": 64, "_COPY_MIB": 1, "_REPEATS": 1}.items():
        monkeypatch.setattr(peaks, name, value)
    monkeypatch.setattr(on_device, "peers_on", lambda device: [(EAGER, "fp32"), (BOUND, "fp32")])
    monkeypatch.setattr("ufafuse.benchmarks.speed.plan.peers_on", on_device.peers_on)
    monkeypatch.setattr("ufafuse.benchmarks.speed.plan._PEERS", ())
    plan = Plan(
        [network], [SIZE], ("onnxruntime",), ("fp32",), device="cpu", batches=(1, 2), seconds=0.01, most_runs=3, cold=False
    )
    return bench(plan)


def test_rows_of_batches_tell_pairs_a_second_and_the_limit_of_the_computation_alone(measured):
    schema = json.loads(Path(bench_module.__file__).with_name("schema.json").read_text())
    pytest.importorskip("jsonschema").validate(measured, schema)
    found = {(row["backend"], row.get("batch", 1)): row for row in measured["rows"]}
    assert set(found) == {(name, count) for name in ("onnxruntime", "torch cpu", "onnxruntime bound cpu") for count in (1, 2)}
    least = next(entry["floor_ms"] for entry in measured["floor"]["networks"])
    for (name, count), row in found.items():
        assert row["fps"] == pytest.approx(1e3 * count / row["p50_ms"], rel=0.01)
        assert row["of_floor"] == pytest.approx(count * least / row["p50_ms"], rel=0.02, abs=1e-3)
        if name != "onnxruntime":
            compute = row["device_ms"]["compute_ms"]
            assert row["device"] == "cpu"
            assert row["compute_of_floor"] == pytest.approx(count * least / compute, rel=0.02, abs=1e-3)


def test_the_report_sets_copies_and_computation_beside_each_other(measured):
    text = report.markdown(measured, [])
    assert "The copies and the computation apart:" in text
    assert "| net.onnx | onnxruntime bound cpu | fp32 | 2 |" in text
    assert "torch cpu, batch 2" in text


def test_what_launching_costs_is_told_where_it_costs():
    def row(backend, compute):
        return {"artefact": "x", "precision": "fp16", "backend": backend, "device_ms": {"compute_ms": compute}}

    slow, quick = row("torch cuda", 3.0), row("torch.compile, graphs cuda", 1.0)
    (told,) = device_table.launches([slow, quick])
    assert "take 3.000 ms" in told
    assert "1.000 ms" in told
    assert device_table.launches([row("torch cuda", 1.1), quick]) == []
    assert device_table.launches([slow]) == []


def test_an_unknown_device_is_refused_before_anything_is_measured(network):
    with pytest.raises(InputError, match="`device=tpu` is not known: choose one of cuda, cpu"):
        Plan([network], device="tpu").check()
