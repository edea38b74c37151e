"""The commands: JSON keys, exit codes, one line for an error."""

import json
import shutil
import sys

import pytest
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.export import onnx_export
from ufafuse.export.onnx_file import stamped


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


@pytest.mark.parametrize(
    "words",
    [
        ("--reference", "there.npz"),
        ("--reference", "r.txt"),
        ("--reference", "none/r.npz"),
        ("--reference", "r.npz", "--pairs", "none"),
        ("--reference", "r.npz", "--static", "24x32", "--reference-size", "32x24"),
        ("--triton", "there.npz"),
    ],
)
def test_an_export_comes_with_all_that_was_asked_beside_it_or_not_at_all(words, traced, tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.npz").touch()
    result = run("export", "--weights", traced / "small.safetensors", "-o", "x.onnx", *words)
    assert result.exit_code == 2, result.output
    assert [path.name for path in tmp_path.iterdir()] == ["there.npz"]


def test_results_are_packed_at_the_one_size_of_a_file(exports, tmp_path, run):
    source, out, packed = exports / "small.safetensors", tmp_path / "x.onnx", tmp_path / "x.npz"
    assert run("export", "--weights", source, "-o", out, "--static", "24x40", "--reference", packed).exit_code == 0
    result = run("verify", out, "--reference", packed, "--json")
    assert (result.exit_code, json.loads(result.stdout)["worst"]["size"]) == (0, [24, 40]), result.output


@pytest.mark.parametrize("words", [("--precision", "fp16"), ("--io", "uint8"), ("--tiles",)])
def test_options_of_one_file_are_refused_where_all_are_made(words, exports, tmp_path, run):
    result = run("export", "--all", "--weights", exports / "small.safetensors", "-o", tmp_path / "all", *words)
    assert (result.exit_code, words[0] in result.stderr) == (2, True), result.output
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize(
    "words", [("-o", "out"), ("--max-pairs", "2"), ("--threads", "1"), ("--size", "32x32", "--size", "40x40")]
)
def test_options_without_effect_on_two_files_are_refused(words, exports, run):
    result = run("verify", exports / "small.onnx", "--against", exports / "half.onnx", "--layers", *words)
    assert (result.exit_code, "one pair" in " ".join(result.stderr.split())) == (2, True), result.output


@pytest.mark.parametrize("digits", ["\u00b2", "\u0663", "9" * 5000])
@pytest.mark.parametrize("option", ["--batch", "--opset"])
def test_digits_that_are_no_number_are_one_line(option, digits, exports, tmp_path, run):
    name, source = ("build", (exports / "small.onnx",)) if option == "--batch" else ("export", ("--weights", "ufa-nano"))
    suffix = "engine" if name == "build" else "onnx"
    result = run(name, *source, "-o", tmp_path / f"x.{suffix}", "--static", "32x32", option, digits)
    assert (result.exit_code, result.stderr.startswith(f"error: {option} ")) == (2, True), result.output


def test_the_next_command_can_be_copied(traced, tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("export", "--weights", traced / "small.safetensors", "-o", "-a b.onnx")
    assert "next: ufa verify './-a b.onnx' --against" in " ".join(result.stdout.split()), result.output


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
    (tmp_path / "bad.onnx").write_bytes(stamped(model))
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
