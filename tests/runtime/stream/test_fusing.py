import pytest

from ufafuse.runtime import machine
from ufafuse.runtime.models import has_int8
from ufafuse.runtime.stream import fusing
from ufafuse.runtime.stream.fusing import COPY, Engine, EngineOptions, live_precision


@pytest.mark.parametrize(
    ("model", "fuser", "bytes_are_fast", "expected"),
    [
        ("ufa-edge", {"precision": None, "backend": "openvino"}, True, "int8"),
        (None, {"backend": "openvino"}, True, "int8"),
        (None, {"backend": "onnxruntime"}, True, None),
        (None, {}, False, None),
        (None, {"precision": "fp32"}, True, "fp32"),
        ("mine.onnx", {}, True, None),
        (COPY, {}, True, None),
    ],
)
def test_a_live_run_takes_int8_where_it_gains(model, fuser, bytes_are_fast, expected, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(fusing, "multiplies_bytes", lambda: bytes_are_fast)
    assert live_precision(EngineOptions(model=model, fuser=fuser)) == expected


def test_the_engine_opens_the_int8_file(monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(fusing, "multiplies_bytes", lambda: True)
    with Engine(EngineOptions(fuser={"backend": "openvino"}), wants_map=lambda: False, report=print) as engine:
        assert engine.to_json()["precision"].startswith("int8")


def test_only_bundled_names_have_an_int8_file(tmp_path):
    assert has_int8()
    assert has_int8("ufa-nano")
    assert not has_int8("unknown")
    assert not has_int8(tmp_path / "ufa-edge.onnx")


@pytest.mark.parametrize(("flags", "expected"), [({"avx512_vnni"}, True), ({"asimddp"}, False), (set(), False)])
def test_which_cpus_multiply_bytes(flags, expected, monkeypatch):
    monkeypatch.setattr(machine, "_cpuinfo", lambda: {"name": "a CPU", "flags": flags})
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    assert machine.multiplies_bytes() is expected
