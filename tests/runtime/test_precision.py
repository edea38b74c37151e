"""Where time counts, int8 is taken if a bundled network and this machine have it."""

import pytest

from ufafuse.runtime import machine, precision
from ufafuse.runtime.models import has_int8
from ufafuse.runtime.precision import quick_precision


@pytest.mark.parametrize(
    ("model", "given", "bytes_are_fast", "expected"),
    [
        ("ufa-edge", {"asked": None, "backend": "openvino"}, True, "int8"),
        (None, {"backend": "openvino"}, True, "int8"),
        (None, {"backend": "onnxruntime"}, True, None),
        (None, {}, False, None),
        (None, {"asked": "fp32"}, True, "fp32"),
        ("mine.onnx", {}, True, None),
    ],
)
def test_int8_is_taken_where_it_gains(model, given, bytes_are_fast, expected, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(precision, "multiplies_bytes", lambda: bytes_are_fast)
    assert quick_precision(model, **given) == expected


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
