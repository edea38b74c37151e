"""Everything at once, and the table of it."""

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from ufafuse.commands import everything, otherformats
from ufafuse.commands.cli import build_app
from ufafuse.commands.everything import export_all
from ufafuse.export.onnx_export import report_path
from ufafuse.export.overview import ArtefactRow, markdown
from ufafuse.runtime import console
from ufafuse.runtime.backends.tensorrt import vendor
from ufafuse.runtime.errors import CheckFailed, InputError, ModelError, OutputError

ONNX = ("onnx", "engine")


@pytest.fixture
def quick(exports, monkeypatch):
    """Exports of the files that are there already instead of new ones, and no engines."""

    def export(weights, out, *, precision, io, tiles, force):
        name = "half.onnx" if precision == "fp16" else "small.onnx"
        out.write_bytes((exports / name).read_bytes())

    monkeypatch.setattr(everything, "onnx_from_weights", export)
    monkeypatch.setattr(vendor, "is_installed", lambda flavor: False)
    return exports / "small.safetensors"


def test_every_artefact_is_made_checked_and_told(quick, tmp_path):
    told = []
    report = export_all(quick, tmp_path / "out", formats=ONNX, size=(48, 64), done=told.append)
    names = [row["artefact"] for row in report["rows"]]
    assert names == ["small.onnx", "small-uint8.onnx", "small-fp16.onnx", "small-fp16-uint8.onnx"] == told
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    checks = report["rows"][0]["checks"]
    assert checks["onnxruntime"]["ok"]
    assert checks["onnxruntime"]["ms"] > 0
    assert "openvino" not in report["rows"][2]["checks"]
    assert any("ufafuse[gpu]" in line for line in report["left_out"])
    assert (tmp_path / "out" / "small.reference.npz").is_file()
    assert "| onnx |  | small.onnx | fp32 |" in (tmp_path / "out" / "report.md").read_text()


def test_a_run_that_was_cut_off_goes_on(exports, tmp_path, monkeypatch):
    """What is there of the same weights is kept; a file without its report is made again; other weights' are refused."""
    made = []

    def export(weights, out, *, precision, io, tiles, force):
        assert force or not out.exists()
        made.append(out.name)
        source = "half.onnx" if precision == "fp16" else "small.onnx"
        model = onnx.load(exports / source)
        (entry,) = (entry for entry in model.metadata_props if entry.key == "ufafuse")
        entry.value = json.dumps({**json.loads(entry.value), "io": "float" if source == "small.onnx" else "uint8"})
        onnx.save(model, out)
        report_path(out).write_text("{}")

    monkeypatch.setattr(everything, "onnx_from_weights", export)
    monkeypatch.setattr(vendor, "is_installed", lambda flavor: False)
    monkeypatch.setattr(everything, "_VARIANTS", (("", "fp32", "float"), ("-fp16-uint8", "fp16", "uint8")))
    weights, begun = exports / "small.safetensors", []
    first = export_all(weights, tmp_path, formats=ONNX, size=(48, 64))
    assert [row["kept"] for row in first["rows"]] == [False, False]
    again = export_all(weights, tmp_path, formats=ONNX, size=(48, 64), on_step=begun.append)
    assert made == ["small.onnx", "small-fp16-uint8.onnx"]
    assert [row["kept"] for row in again["rows"]] == [True, True]
    assert begun == ["PyTorch", "checking small.onnx", "checking small-fp16-uint8.onnx"]
    report_path(tmp_path / "small.onnx").unlink()
    export_all(weights, tmp_path, formats=ONNX, size=(48, 64))
    assert made[2:] == ["small.onnx"]
    export_all(weights, tmp_path, formats=ONNX, size=(48, 64), force=True)
    assert made[3:] == ["small.onnx", "small-fp16-uint8.onnx"]


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_table_fits_the_terminal(quick, tmp_path, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(console.out, "width", int(columns))
    words = [
        "export",
        "--weights",
        str(quick),
        "-o",
        str(tmp_path / "out"),
        "--all",
        "--format",
        "onnx,engine",
        "--size",
        "48x64",
    ]
    result = CliRunner().invoke(build_app(), words)
    assert result.exit_code == 0, result.output
    table = [line for line in result.stdout.splitlines() if line[:1] in "┏┃┡│└"]
    assert table
    assert max(map(len, table)) <= int(columns)
    assert "small-fp16-uint8.onnx" in result.stdout
    assert "ufafuse[gpu]" in result.stdout  # not taken for markup


PAIRS = Path(__file__).parents[2] / "examples"


def test_int8_is_made_from_real_pairs(quick, exports, tmp_path, monkeypatch):
    made = []

    def calibrated(source, out, options, *, force):
        made.append((source.name, options.pairs))
        out.write_bytes((exports / "small.onnx").read_bytes())

    monkeypatch.setattr(everything, "int8_from_onnx", calibrated)
    report = export_all(quick, tmp_path, formats=ONNX, pairs=PAIRS, size=(48, 64), max_pairs=1)
    assert made == [("small.onnx", PAIRS)]
    assert "small-int8.onnx" in {row["artefact"] for row in report["rows"]}


@pytest.mark.parametrize("error", [CheckFailed("not good enough"), OutputError("another's file is in the way")])
def test_int8_that_cannot_be_made_is_left_out_and_told(error, quick, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(everything, "int8_from_onnx", fail)
    report = export_all(quick, tmp_path, formats=ONNX, pairs=PAIRS, size=(48, 64), max_pairs=1)
    assert f"small-int8.onnx: {error}" in report["left_out"]


def test_what_cannot_be_half_is_left_out_and_the_rest_is_made(quick, tmp_path, monkeypatch):
    export = everything.onnx_from_weights

    def refuse(weights, out, *, precision, **options):
        if out.name == "small-fp16.onnx":
            raise ModelError("it cannot be exported in half precision")
        if precision == "fp16":
            raise OutputError("another's file is in the way")
        export(weights, out, precision=precision, **options)

    monkeypatch.setattr(everything, "onnx_from_weights", refuse)
    report = export_all(quick, tmp_path, formats=ONNX, size=(48, 64))
    assert [row["artefact"] for row in report["rows"]] == ["small.onnx", "small-uint8.onnx"]
    assert "small-fp16.onnx: it cannot be exported in half precision" in report["left_out"]
    assert "small-fp16-uint8.onnx: another's file is in the way" in report["left_out"]


def test_without_the_fp32_file_there_is_nothing(quick, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise ModelError("the weights are broken")

    monkeypatch.setattr(everything, "onnx_from_weights", refuse)
    with pytest.raises(ModelError, match="broken"):
        export_all(quick, tmp_path, formats=ONNX, size=(48, 64))


def test_a_missed_tolerance_is_reported_and_then_raised(quick, tmp_path, monkeypatch):
    def poor(session, cases, **_):
        row = {"psnr": 20.0, "max_abs": 60.0}
        return type("F", (), {"report": {"ok": False, "precision": "fp32", "worst": row, "pairs": [row]}})

    monkeypatch.setattr(everything, "verify_cases", poor)
    with pytest.raises(CheckFailed, match=r"small\.onnx on onnxruntime"):
        export_all(quick, tmp_path, formats=ONNX, size=(48, 64))
    assert "**20.0: too low**" in (tmp_path / "report.md").read_text()


def test_a_folder_that_cannot_be_made_is_refused(quick, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        export_all(quick, tmp_path / "file" / "out")


def test_a_folder_with_files_of_other_weights_is_refused_and_keeps_its_report(quick, tmp_path):
    (tmp_path / "report.json").write_text("of before")
    (tmp_path / "small.torchscript").write_bytes(b"of other weights")
    for formats in (("torchscript",), ("onnx", "torchscript")):
        with pytest.raises(OutputError, match=r"small\.torchscript exists already, and was not made of .*small\.safetensors"):
            export_all(quick, tmp_path, formats=formats, size=(48, 64))
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "small.torchscript"}
    assert (tmp_path / "report.json").read_text() == "of before"


def test_the_table_shows_engines_that_were_not_run(tmp_path):
    engine = tmp_path / "x.rtx.engine"
    engine.write_bytes(b"12")
    row = ArtefactRow(engine, "int8", "float", "sm75, sm86", note="3 of 9 convolutions in half, 6 in int8; not run here")
    text = markdown(
        {
            "weights": "w.safetensors",
            "size": [8, 9],
            "machine": {"cpu": "a CPU", "cores": 2},
            "rows": [row.to_dict()],
            "left_out": ["nothing"],
        }
    )
    assert "| x.rtx.engine | int8 | float | 0.00 | 3 of 9 convolutions in half" in text
    assert "- nothing" in text


@pytest.mark.slow
def test_the_real_thing_makes_engines_too(exports, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    report = export_all(exports / "small.safetensors", tmp_path, formats=ONNX, size=(48, 64))
    engines = [row for row in report["rows"] if row["artefact"].endswith(".engine")]
    assert len(engines) == 4
    assert {row["targets"] for row in engines} == {"sm75, sm86, sm89"}


class TestOtherFormats:
    """A list of formats, each verified in its own runtime; what a run before made is kept; what cannot be made has a reason."""

    @pytest.mark.slow
    def test_a_list_is_made_and_then_kept(self, exports, tmp_path, monkeypatch):
        begun = []
        given = {"formats": ("openvino", "ncnn"), "size": (32, 32), "on_step": begun.append}
        chosen = tuple(each for each in otherformats.FORMATS if each.name in given["formats"])
        monkeypatch.setattr(otherformats, "FORMATS", tuple(replace(each, precisions=("fp32",)) for each in chosen))
        report = export_all(exports / "small.safetensors", tmp_path, **given)
        by_format = {row["format"]: row for row in report["rows"]}
        for name, row in by_format.items():
            assert row["checks"][name]["ok"]
            assert row["runs_on"]
            assert row["argument"].startswith(f"--format {name}")
            assert not row["kept"]
        assert "openvino" in by_format
        made = [what for what in begun if what.startswith("making")]
        assert len(made) == len(by_format)
        again = export_all(exports / "small.safetensors", tmp_path, **given)
        assert all(row["kept"] for row in again["rows"])
        assert [what for what in begun if what.startswith("making")] == made
        other = tmp_path / "small.xml"
        other.with_suffix(".bin").write_bytes(b"torn")
        mended = export_all(exports / "small.safetensors", tmp_path, **given)
        assert [row["kept"] for row in mended["rows"] if row["format"] == "openvino"] == [False]

    def test_what_is_not_installed_has_a_reason(self, exports, tmp_path, monkeypatch):
        absent = replace(otherformats.FORMATS[0], needs=("no_such_module",))
        monkeypatch.setattr(otherformats, "FORMATS", (absent,))
        report = export_all(exports / "small.safetensors", tmp_path, formats=("openvino",), size=(32, 32))
        assert report["rows"] == []
        assert report["left_out"] == ["OpenVINO IR: no_such_module is not installed (pip install 'ufafuse[cpu]')"]

    def test_an_unknown_one_is_refused_before_anything_is_made(self, exports, tmp_path):
        with pytest.raises(InputError, match="`formats=tflite` is not known: choose from onnx, openvino"):
            export_all(exports / "small.safetensors", tmp_path / "out", formats=("tflite",))
        assert not (tmp_path / "out").exists()
