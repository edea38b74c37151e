"""What the machine is, and which backends it can run."""

import json
import stat

import pytest

from ufafuse.runtime import machine as module
from ufafuse.runtime.backends.tensorrt import drivers
from ufafuse.runtime.machine import backends, gpus, machine


def test_as_json():
    found = machine()
    assert json.loads(json.dumps(found)) == found
    told = {"system", "architecture", "python", "cpu", "cores", "features", "memory_mib", "gpus"}
    assert found.keys() == told | {"usable_cores", "cpu_quota", "memory_limit_mib"}
    assert found["cores"] >= 1
    assert found["memory_mib"] > 100


@pytest.mark.parametrize(
    ("architecture", "flags", "expected"),
    [
        ("x86_64", {"avx2", "avx_vnni"}, {"AVX2": True, "AVX-512": False, "VNNI": True, "BF16": False, "AMX": False}),
        ("AMD64", set(), {"AVX2": False, "AVX-512": False, "VNNI": False, "BF16": False, "AMX": False}),
        ("aarch64", {"asimd", "bf16"}, {"NEON": True, "DOTPROD": False, "BF16": True, "I8MM": False}),
        ("riscv64", {"v"}, {}),
    ],
)
def test_only_the_architectures_own_features(architecture, flags, expected):
    assert module._features(architecture, flags) == expected


def fake_smi(folder, monkeypatch, script):
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


def test_gpus_as_the_driver_names_them(tmp_path, monkeypatch):
    fake_smi(tmp_path, monkeypatch, "echo 'NVIDIA RTX A2000, 550.54, 6138 MiB, 8.6'")
    expected = {"name": "NVIDIA RTX A2000", "driver_version": "550.54", "memory.total": "6138 MiB", "compute_cap": "8.6"}
    assert gpus() == [expected]


def test_a_driver_that_fails(tmp_path, monkeypatch):
    fake_smi(tmp_path, monkeypatch, "echo 'no devices were found'; exit 9")
    assert gpus() == []
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.2)
    fake_smi(tmp_path, monkeypatch, "exec /bin/sleep 20")
    assert gpus() == []
    monkeypatch.setenv("PATH", "")
    assert gpus() == []


def test_why_a_backend_is_not_there(monkeypatch):
    monkeypatch.setattr(module, "gpus", list)
    monkeypatch.setattr(module, "installed", lambda _name: False)
    found = backends()
    assert not any(state["available"] for state in found.values())
    assert found["openvino"]["why_not"] == "not installed: pip install 'ufafuse[cpu]'"
    monkeypatch.setattr(module, "installed", lambda _name: True)
    found = backends()
    assert found["onnxruntime"]["available"]
    assert found["tensorrt"] == {
        "available": False,
        "version": found["tensorrt"]["version"],
        "why_not": "no NVIDIA GPU or no driver was found",
    }
    monkeypatch.setattr(module, "gpus", lambda: [{"name": "a GPU"}])
    monkeypatch.setattr(drivers, "installed_bindings", list)
    assert "pip install cuda-python" in backends()["tensorrt"]["why_not"]
    monkeypatch.setattr(drivers, "installed_bindings", lambda: ["cuda-python"])
    assert backends()["tensorrt"]["available"]
