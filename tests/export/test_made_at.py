"""With ``SOURCE_DATE_EPOCH`` what is exported twice is the same, byte for byte; a time that is none is refused at once."""

import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

from ufafuse.commands.cli import build_app
from ufafuse.export.form import Form
from ufafuse.export.formats.exporting import format_from_weights
from ufafuse.export.formats.known import format_named
from ufafuse.export.onnx_export import onnx_from_weights
from ufafuse.runtime.artefact import made_at, read_manifest
from ufafuse.runtime.errors import InputError

EPOCH, TIME = "1700000000", "2023-11-14T22:13:20+00:00"
FORM = Form(size=(48, 64))


def exported(weights, out, name):
    if name == "onnx":
        onnx_from_weights(weights, out)
    else:
        format_from_weights(weights, out, format_named(name), form=FORM)
    return {path.name: path.read_bytes() for path in out.parent.iterdir()}


def by_the_command(weights, out):
    command = "from ufafuse.commands.cli import main; main()"
    asked = ["export", "--weights", str(weights), "--static", "48x64", "-o", out.name]
    subprocess.run([sys.executable, "-c", command, *asked], check=True, capture_output=True, cwd=out.parent)
    return {path.name: path.read_bytes() for path in out.parent.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("file", ["x.xml", "x.torchscript"])
def test_names_are_counted_through_a_process_so_each_has_its_own(monkeypatch, exports, tmp_path, file):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)
    made = []
    for run in ("1", "2"):
        (tmp_path / run).mkdir()
        made.append(by_the_command(exports / "small.safetensors", tmp_path / run / file))
    assert made[0] == made[1]
    assert read_manifest(tmp_path / "1" / file).created == TIME


@pytest.mark.parametrize(("name", "file"), [("onnx", "x.onnx"), ("ncnn", "x.ncnn.param")])
def test_what_is_exported_twice_is_the_same(monkeypatch, exports, tmp_path, name, file):
    if name != "onnx" and format_named(name).missing:
        pytest.skip(f"needs {format_named(name).missing[0]}")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)
    made = []
    for run in ("1", "2"):
        (tmp_path / run).mkdir()
        made.append(exported(exports / "small.safetensors", tmp_path / run / file, name))
    assert read_manifest(tmp_path / "1" / file).created == TIME
    assert made[0].keys() == made[1].keys()
    assert [one for one in made[0] if made[0][one] != made[1][one] and one != f"{file}.json"] == []
    # the report of an ONNX file names the folder that it was asked for in
    assert name == "onnx" or made[0] == made[1]


def test_without_it_the_time_is_now(monkeypatch):
    for value in (None, ""):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", value) if value is not None else monkeypatch.delenv("SOURCE_DATE_EPOCH", False)
        assert made_at()[:4] == time.strftime("%Y", time.gmtime())


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "1e9", "253402300800", "9" * 5000, "\u0663", " 1"])
def test_a_time_that_is_none_is_one_sentence(monkeypatch, value):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    with pytest.raises(InputError, match=r"^SOURCE_DATE_EPOCH is .*: give whole seconds since 1970, or unset it\.$"):
        made_at()


@pytest.mark.parametrize(
    "command",
    [
        ["export", "--weights", "ufa-nano", "-o", "x.onnx"],
        ["calibrate", "x.onnx", "--pairs", "p", "-o", "y.onnx"],
        ["build", "x.onnx", "-o", "x.engine"],
        ["train", "--images", "drawn:", "--out", "run"],
    ],
    ids=lambda command: command[0],
)
def test_before_any_work_and_nothing_is_written(monkeypatch, tmp_path, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    result = CliRunner().invoke(build_app(), command)
    assert result.exit_code == 2
    assert "SOURCE_DATE_EPOCH is 'yesterday'" in result.stderr
    assert list(tmp_path.iterdir()) == []
