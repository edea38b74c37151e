"""One rule for the arithmetic that nobody asked for."""

import pytest

from ufafuse.runtime import machine, precision
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.models import bundled, has_int8
from ufafuse.runtime.precision import preferred_precision


@pytest.mark.parametrize(
    ("model", "given", "bytes_are_fast", "expected", "why"),
    [
        ("ufa-edge", {"backend": "openvino"}, True, "int8", "int8 gains here"),
        (None, {"backend": "openvino"}, True, "int8", "int8 gains here"),
        (None, {"backend": "onnxruntime"}, True, None, "onnxruntime gains nothing by int8"),
        (None, {}, False, None, "this CPU gains nothing by int8"),
        (None, {"asked": "fp32"}, True, "fp32", "fp32 asked for"),
        ("mine.onnx", {}, True, None, "the model has no int8 file bundled"),
    ],
)
def test_speed_takes_int8_where_it_gains(model, given, bytes_are_fast, expected, why, monkeypatch):
    pytest.importorskip("openvino")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(precision, "multiplies_bytes", lambda: bytes_are_fast)
    choice = preferred_precision(model, prefer="speed", **given)
    assert choice.precision == expected
    assert why in choice.why


@pytest.mark.parametrize(
    ("flags", "gaining"),
    [({"avx2"}, {"ufa-edge", "ufa-nano"}), ({"avx2", "avx512_vnni"}, {"ufa", "ufa-edge", "ufa-nano"}), ({"sse4_2"}, set())],
)
def test_what_is_taken_for_speed_and_told_to_be_faster_is_so_of_each_network(flags, gaining, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(machine, "_cpuinfo", lambda: {"name": "a CPU", "flags": flags})
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    names = [name for name in bundled() if has_int8(name)]
    assert {name for name in names if preferred_precision(name, backend="openvino").faster} == gaining
    chosen = {name: preferred_precision(name, backend="openvino", prefer="speed") for name in names}
    assert {name for name in names if chosen[name].precision == "int8"} == gaining
    assert ("ufa gains nothing by int8 on this CPU" in chosen["ufa"].why) == (flags == {"avx2"})


@pytest.mark.parametrize("fast", [True, False])
def test_quality_leaves_float_to_the_engine_and_knows_what_is_faster(fast, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(precision, "multiplies_bytes", lambda: fast)
    assert preferred_precision(None, backend="openvino") == (None, "", fast)


def test_an_unknown_preference():
    with pytest.raises(InputError, match="`prefer=both` is not known: choose quality or speed"):
        preferred_precision(None, prefer="both")


def test_only_bundled_names_have_an_int8_file(tmp_path):
    assert has_int8()
    assert has_int8("ufa-nano")
    assert not has_int8("unknown")
    assert not has_int8(tmp_path / "ufa-edge.onnx")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx2"}, True),
        ({"avx2", "avx512f"}, True),
        ({"avx512_vnni"}, True),
        ({"sse4_2"}, False),
        ({"asimddp"}, False),
        (set(), False),
    ],
)
def test_which_cpus_multiply_bytes(flags, expected, monkeypatch):
    monkeypatch.setattr(machine, "_cpuinfo", lambda: {"name": "a CPU", "flags": flags})
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    assert machine.multiplies_bytes() is expected
