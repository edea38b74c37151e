"""The GPU providers of ONNX Runtime: their options, and that a silent fall-back is an error."""

import os
import types
from pathlib import Path

import pytest

from ufafuse.runtime.backends.ort_providers import check_provider, engine_cache_folder, provider_list
from ufafuse.runtime.errors import BackendError, InputError, OutputError

ALL = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.fixture
def everything_built_in(monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ALL)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "")  # so that what a test sets is undone
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")


def test_cpu_needs_nothing():
    assert provider_list("cpu") == [("CPUExecutionProvider", {})]


def test_cuda_leaves_the_rest_to_the_cpu(everything_built_in):
    (name, options), (last, _) = provider_list("cuda", device=1)
    assert (name, last) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert options["device_id"] == "1"


def test_float32_is_not_rounded_to_tf32(everything_built_in, tmp_path, monkeypatch):
    assert provider_list("cuda")[0][1]["use_tf32"] == "0"
    assert "NVIDIA_TF32_OVERRIDE" not in os.environ
    provider_list("tensorrt", cache=tmp_path)
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    provider_list("tensorrt", cache=tmp_path)
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "1"


def test_tensorrt_keeps_its_engines(everything_built_in, tmp_path):
    model = tmp_path / "line.onnx"
    model.write_bytes(b"a network")
    (name, options), *others = provider_list("tensorrt", model=model, cache=tmp_path / "engines")
    assert name == "TensorrtExecutionProvider"
    assert [other for other, _ in others] == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "1"
    kept = Path(options["trt_engine_cache_path"])
    assert kept.is_relative_to(tmp_path / "engines")
    assert kept.is_dir()
    assert provider_list("tensorrt", model=model, cache=tmp_path / "engines")[0][1] == options


def test_engines_of_another_network_in_a_file_of_the_same_name_are_not_taken(everything_built_in, tmp_path):
    model, seen = tmp_path / "line.onnx", []
    for network in (b"a network", b"trained anew"):
        model.write_bytes(network)
        seen.append(provider_list("tensorrt", model=model, cache=tmp_path)[0][1]["trt_engine_cache_path"])
    assert seen[0] != seen[1]
    assert provider_list("tensorrt", cache=tmp_path)[0][1]["trt_engine_cache_enable"] == "0"


@pytest.mark.parametrize(("precision", "half", "int8"), [("fp32", "0", "0"), ("fp16", "1", "0"), ("int8", "0", "1")])
def test_tensorrt_may_not_go_below_the_files_precision(precision, half, int8, everything_built_in, tmp_path):
    options = provider_list("tensorrt", precision=precision, cache=tmp_path)[0][1]
    assert (options["trt_fp16_enable"], options["trt_int8_enable"]) == (half, int8)


def test_the_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("UFAFUSE_CACHE", str(tmp_path))
    assert engine_cache_folder() == tmp_path
    monkeypatch.delenv("UFAFUSE_CACHE")
    assert engine_cache_folder().name == "ufafuse"


def test_a_cache_that_cannot_be_made_is_an_error(everything_built_in, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="UFAFUSE_CACHE"):
        provider_list("tensorrt", cache=tmp_path / "file" / "engines")


def test_unknown_and_missing_providers_are_refused(monkeypatch):
    import onnxruntime

    with pytest.raises(InputError, match="provider=rocm"):
        provider_list("rocm")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(BackendError, match=r"ufafuse\[gpu\]"):
        provider_list("cuda")


def test_a_silent_fall_back_is_an_error():
    session = types.SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])
    check_provider(session, "cpu")
    for asked in ("cuda", "tensorrt"):
        with pytest.raises(BackendError, match="fell back to CPUExecutionProvider"):
            check_provider(session, asked)
    check_provider(types.SimpleNamespace(get_providers=lambda: ALL), "tensorrt")
