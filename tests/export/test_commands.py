"""The commands: JSON keys, exit codes, one line for an error."""

import json
import shutil
import sys

import pytest
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.export import onnx_export


@pytest.fixture(scope="module")
def run():
    runner, app = CliRunner(), build_app()
    return lambda *words: runner.invoke(app, [str(word) for word in words])


@pytest.fixture
def traced(exports, monkeypatch):
    monkeypatch.setattr(onnx_export, "trace", lambda *_: None)
    monkeypatch.setattr(onnx_export, "finished", lambda *_: (exports / "small.onnx").read_bytes())
    return exports


def test_export_prints_one_object(traced, tmp_path, run):
    out = tmp_path / "x.onnx"
    result = run(
        "export", "--weights", traced / "small.safetensors", "-o", out, "--reference", tmp_path / "x.npz",
        "--reference-size", "32x40", "--json",
    )  # fmt: skip
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert set(report) >= {"ok", "artefact", "report", "precision", "verified"}
    assert report["reference"] == str(tmp_path / "x.npz")
    assert "next: ufa verify" in result.stderr


def test_export_names_what_it_wrote(traced, tmp_path, run):
    result = run("export", "--weights", traced / "small.safetensors", "-o", tmp_path / "x.onnx")
    assert result.exit_code == 0
    assert f"wrote {tmp_path / 'x.onnx'}" in result.stdout.replace("\n", "")


@pytest.mark.parametrize(
    "words",
    [
        ("export", "--weights", "none.safetensors", "-o", "x.onnx"),
        ("build", "none.onnx", "-o", "x.engine", "--static", "8x8"),
        ("build", "none.onnx", "-o", "x.engine"),
        ("build", "none.onnx", "-o", "x.engine", "--min", "9x9", "--opt", "8x8", "--max", "9x9"),
        ("verify", "none.onnx", "--against", "none.safetensors"),
        ("verify", "none.onnx"),
        ("verify", "none.onnx", "--against", "a", "--reference", "b"),
        ("calibrate", "none.onnx", "-o", "x.onnx"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_build_prints_one_object(exports, tmp_path, run):
    pytest.importorskip("tensorrt_rtx")
    out = tmp_path / "x.engine"
    result = run(
        "build",
        exports / "half.onnx",
        "-o",
        out,
        "--static",
        "64x64",
        "--target",
        "sm75,sm86",
        "--flavor",
        "tensorrt-rtx",
        "--json",
    )
    report = json.loads(result.stdout)
    assert set(report) >= {
        "ok",
        "artefact",
        "report",
        "precision",
        "verified",
        "flavor",
        "version",
        "profiles",
        "layers",
        "seconds",
    }
    assert report["compute_capability"] == ["sm75", "sm86"]
    assert report["verified"] is None


def test_verify_writes_report_and_heat_map(exports, tmp_path, run):
    result = run(
        "verify", exports / "small.onnx", "--against", exports / "small.safetensors", "--size", "33x47",
        "--backend", "onnxruntime", "-o", tmp_path, "--json",
    )  # fmt: skip
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert set(report) >= {"ok", "artefact", "reference", "pairs", "worst", "tolerance"}
    assert {path.name for path in tmp_path.iterdir()} == {"small.onnx.verify.json", "small.onnx.worst.png"}


def test_verify_exits_with_1_when_it_falls_short(exports, tmp_path, run):
    import numpy as np
    import onnx

    model = onnx.load(exports / "small.onnx")
    tensor = next(tensor for tensor in model.graph.initializer if "head.weight" in tensor.name)
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) + np.float32(np.nan), tensor.name))
    onnx.save(model, tmp_path / "bad.onnx")
    result = run(
        "verify",
        tmp_path / "bad.onnx",
        "--against",
        exports / "small.safetensors",
        "--size",
        "33x47",
        "--backend",
        "onnxruntime",
    )
    assert result.exit_code == 1
    assert "NaN or infinity" in result.stderr


def test_a_provider_that_is_not_there_is_one_line_with_its_mend(exports, run, monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    given = ("--against", exports / "small.safetensors", "--size", "33x47")
    result = run("verify", exports / "small.onnx", *given, "--backend", "onnxruntime", "--provider", "cuda")
    assert result.exit_code == 2
    assert "ufafuse[gpu]" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    result = run("verify", exports / "small.onnx", *given, "--backend", "openvino", "--provider", "cuda")
    assert (result.exit_code, "--backend onnxruntime" in result.stderr) == (2, True)


def test_packed_results_need_no_pytorch(exports, tmp_path, run, monkeypatch):
    run_export = run("export", "--weights", exports / "small.safetensors", "-o", tmp_path / "none" / "x.onnx")
    assert run_export.exit_code == 2
    from ufafuse.export.verify import pack_reference

    shutil.copy(exports / "small.onnx", tmp_path)
    pack_reference(exports / "small.safetensors", tmp_path / "small.npz", sizes=[(32, 40)])
    for name in [name for name in sys.modules if name.split(".")[0] in ("torch", "onnx")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = run("verify", tmp_path / "small.onnx", "--reference", tmp_path / "small.npz", "--backend", "onnxruntime", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["ok"]
