"""ONNX Runtime's own: providers, the arena, cores for threads."""

import os
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort
import pytest

from ufafuse.runtime.backends import onnxruntime as backend
from ufafuse.runtime.backends import ort_providers
from ufafuse.runtime.errors import BackendError, InputError, ModelError
from ufafuse.runtime.session import SessionOptions, open_session

on_linux = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="threads are bound to cores on Linux only")


class FakeSession:
    """Stands for ``onnxruntime.InferenceSession``: keeps what it was given, uses the providers it is told to."""

    used = ()
    last = None
    broken = ""

    def __init__(self, path, settings, providers, enable_fallback=1):
        type(self).last = self
        assert not enable_fallback  # or what a provider cannot load is replaced by the CPU, with a word on stdout
        self.settings, self.providers, self.fallback = settings, providers, True
        if self.broken:
            raise RuntimeError(self.broken)

    def disable_fallback(self):
        self.fallback = False

    def get_providers(self):
        return list(self.used or [name for name, _ in self.providers])

    def get_inputs(self):
        return [SimpleNamespace(name=name) for name in ("near", "far")]

    def get_outputs(self):
        return [SimpleNamespace(name="fused")]


@pytest.fixture
def nvidia(monkeypatch, tmp_path):
    """An onnxruntime-gpu that is not there."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: list(ort_providers.PROVIDERS.values()))
    monkeypatch.setattr(ort, "InferenceSession", FakeSession)
    monkeypatch.setattr(FakeSession, "used", ())
    monkeypatch.setenv("UFAFUSE_CACHE", str(tmp_path / "cache"))
    return FakeSession


def test_tensorrt_gets_a_place_for_its_engines_and_cuda_behind_it(nvidia, tiny_onnx, tmp_path):
    with open_session(tiny_onnx, backend="onnxruntime", options=SessionOptions(provider="tensorrt")) as session:
        assert "tensorrt provider" in session.why
        names = [name for name, _ in nvidia.last.providers]
        assert names == ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
        options = nvidia.last.providers[0][1]
        assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "1"
        assert options["trt_engine_cache_path"].startswith(str(tmp_path / "cache"))
        assert (tmp_path / "cache" / "onnxruntime").is_dir()
        assert options["trt_fp16_enable"] == "0"  # the file is fp32
        assert not nvidia.last.fallback


def test_what_a_provider_says_is_told(nvidia, tiny_onnx, monkeypatch):
    monkeypatch.setattr(nvidia, "broken", "CUDA failure 35: the driver is too old")
    with pytest.raises(BackendError, match=r"cannot run .*onnx on the cuda provider: CUDA failure 35"):
        open_session(tiny_onnx, backend="onnxruntime", options=SessionOptions(provider="cuda"))


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        ("cuda", ["CPUExecutionProvider"]),
        ("tensorrt", ["CUDAExecutionProvider", "CPUExecutionProvider"]),
        ("tensorrt", ["CPUExecutionProvider"]),
    ],
)
def test_a_provider_that_fell_back_is_an_error(nvidia, tiny_onnx, monkeypatch, asked, used):
    monkeypatch.setattr(nvidia, "used", used)
    with pytest.raises(BackendError, match=f"provider={asked}`: ONNX Runtime fell back to {used[0]}"):
        open_session(tiny_onnx, backend="onnxruntime", options=SessionOptions(provider=asked))


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this onnxruntime has CUDA")
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_built_in_names_the_package(tiny_onnx, provider):
    with pytest.raises(BackendError, match=r"pip install 'ufafuse\[gpu\]'"):
        open_session(tiny_onnx, backend="onnxruntime", options=SessionOptions(provider=provider))


def test_an_unknown_provider(tiny_onnx):
    with pytest.raises(InputError, match="choose one of cpu, cuda, tensorrt"):
        open_session(tiny_onnx, backend="onnxruntime", options=SessionOptions(provider="rocm"))


def test_bf16_is_openvinos(tiny_onnx):
    with pytest.raises(BackendError, match="backend=openvino"):
        open_session(tiny_onnx, backend="onnxruntime", options=SessionOptions(precision="bf16"))


@on_linux
@pytest.mark.parametrize(
    ("cores", "threads", "expected"),
    [
        ({0, 1, 2, 3}, None, (4, "2;3;4")),
        ({4, 6}, 2, (2, "7")),
        ({0, 1}, 4, (4, "2;1;2")),
        ({5}, None, (1, "")),
        ({0, 1, 2}, 1, (1, "")),
    ],
)
def test_each_thread_but_the_callers_gets_a_core(monkeypatch, cores, threads, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
    assert backend._affinities(threads) == expected


def test_pinning_where_the_system_cannot(monkeypatch, tiny_onnx):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    with pytest.raises(BackendError, match="Linux only"):
        open_session(tiny_onnx, backend="onnxruntime", options=SessionOptions(pin=True))


def test_settings_reach_the_engine():
    settings = backend._settings(SessionOptions(threads=3))
    assert settings.intra_op_num_threads == 3
    assert not settings.enable_mem_pattern


def test_a_file_that_is_no_model(tiny_onnx, tmp_path):
    path = tmp_path / "cut.onnx"
    path.write_bytes(tiny_onnx.read_bytes()[:-30])
    with pytest.raises(ModelError, match=r"cut\.onnx"):
        open_session(path, backend="onnxruntime")


def test_a_result_is_what_the_file_says(tiny_onnx, frames):
    inputs = frames()
    with open_session(tiny_onnx, backend="onnxruntime", options=SessionOptions(provider="cpu", threads=1)) as session:
        assert session.precision == "fp32"
        np.testing.assert_allclose(session.run(**inputs), inputs["near"] / 4 + 3 * inputs["far"] / 4, atol=1e-6)
