"""From pairs to an int8 file that holds its quality, and everything that must be refused."""

import errno
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from ufafuse.calibration import calibrate, speed
from ufafuse.calibration.calibrate import int8_from_onnx
from ufafuse.calibration.costs import shares_of_work
from ufafuse.calibration.crops import CropOptions, PairCrop
from ufafuse.calibration.judge import cpu_engines
from ufafuse.calibration.options import CalibrationOptions
from ufafuse.calibration.probe import Probe
from ufafuse.calibration.ranges import RangeMethod, measure_ranges
from ufafuse.commands.cli import build_app
from ufafuse.export.onnx_file import load_graph, stamped
from ufafuse.export.verify import verify_against_weights
from ufafuse.runtime.artefact import METADATA_KEY, read_manifest
from ufafuse.runtime.errors import CheckFailed, InputError, ModelError, OutputError
from ufafuse.runtime.memory.tiled import CALIBRATION

CROPS = CropOptions(calibrate=3, judge=2, hard=0, size=48)


@pytest.fixture(scope="module")
def done(exports, pairs, tmp_path_factory):
    folder, steps = tmp_path_factory.mktemp("int8"), []
    options = CalibrationOptions(pairs, crops=CROPS, min_psnr=40.0)
    report = int8_from_onnx(
        exports / "small.onnx", folder / "small-int8.onnx", options, on_step=lambda *step: steps.append(step)
    )
    return folder, report, steps


def test_the_model_and_its_companions_are_quantised_alike(done):
    folder, report, _ = done
    assert set(report["files"]) == {"small-int8.onnx", "small-int8.means.onnx", "small-int8.tile.onnx"}
    scales = []
    for name in report["files"]:
        model = load_graph(folder / name)
        onnx.checker.check_model(model, full_check=True)
        values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        scales.append(values["net.encoder.1.0.0.weight.scale"].tolist())
        assert any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    assert scales[0] == scales[1] == scales[2]


def test_manifests_say_int8_and_what_is_not(done, exports):
    folder, report, _ = done
    for name, role in (("small-int8.onnx", "whole"), ("small-int8.means.onnx", "means"), ("small-int8.tile.onnx", "tile")):
        manifest = read_manifest(folder / name)
        assert (manifest.precision, manifest.extra["role"], manifest.extra["rest"]) == ("int8", role, "fp32")
        assert manifest.weights_sha256 == read_manifest(exports / "small.onnx").weights_sha256
        kept = [row["name"] for row in report["layers"] if row["precision"] != "int8"]
        assert manifest.extra["kept"] == kept


def test_the_report_has_the_table_and_the_picture(done):
    folder, report, steps = done
    assert json.loads((folder / "small-int8.onnx.json").read_text()) == report
    assert set(report) >= {"ok", "artefact", "report", "precision", "verified"}
    assert set(report["layers"][0]) == {"name", "psnr_alone", "share_of_work", "precision"}
    assert sum(row["share_of_work"] for row in report["layers"]) == pytest.approx(1, abs=0.01)
    assert 0 < report["share_int8"] <= 1
    assert Path(report["plot"]).read_bytes().startswith(b"\x89PNG")
    assert min(report["verified"]["psnr"].values()) >= 40
    assert {"measuring ranges"} < {what for what, *_ in steps}


def test_the_report_says_how_long_the_file_takes_beside_its_source(done):
    speed = done[1]["speed"]
    assert (speed["engine"], speed["size"]) == (cpu_engines()[-1], [520, 520])
    assert speed["int8_ms"] > 0
    assert speed["ratio"] == pytest.approx(speed["int8_ms"] / speed["source_ms"], abs=0.02)


def test_parts_that_are_slower_in_int8_stay_as_they_are_where_asked(exports, pairs, tmp_path, done, monkeypatch):
    def slow_head(files, *_, **__):
        graphs = {name: load_graph(path) for name, path in files.items()}
        heads = {name: any(t.name == "net.head.weight.int8" for t in graph.graph.initializer) for name, graph in graphs.items()}
        return {name: 20.0 if head else 10.0 for name, head in heads.items()}

    for module in (calibrate, speed):
        monkeypatch.setattr(module, "race", slow_head)
    options = CalibrationOptions(pairs, crops=CROPS, ranges=Path(done[1]["ranges"]), min_psnr=35.0)
    for only_faster, became in ((False, "int8"), (True, "fp32")):
        chosen = replace(options, only_faster=only_faster)
        report = int8_from_onnx(exports / "small.onnx", tmp_path / f"{became}.onnx", chosen)
        assert next(row["precision"] for row in report["layers"] if row["name"] == "head") == became


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_each_engine_runs_it(backend, done, exports, pairs):
    folder, _, _ = done
    report = verify_against_weights(
        folder / "small-int8.onnx", exports / "small.safetensors", pairs=pairs, max_pairs=2, backend=backend
    ).report
    assert report["precision"].startswith("int8")
    assert report["worst"]["psnr"] > 35


@pytest.mark.parametrize("target", ["sm75", "sm86", "sm89"])
def test_tensorrt_rtx_builds_it(target, done, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    from ufafuse.export.build_options import BuildOptions
    from ufafuse.export.engine import engine_from_onnx
    from ufafuse.export.profiles import Profile

    folder, report, _ = done
    options = BuildOptions((Profile((8, 8), (64, 64), (96, 128)),), "tensorrt-rtx", (target,))
    built = engine_from_onnx(folder / "small-int8.onnx", tmp_path / "x.engine", options)
    assert built["precision"] == "int8"
    assert built["layers"]["int8"] == sum(row["precision"] == "int8" for row in report["layers"])


def test_ranges_are_used_again_for_another_io_and_the_rest_in_half(done, exports, pairs, tmp_path):
    options = CalibrationOptions(pairs, crops=CROPS, ranges=Path(done[1]["ranges"]), min_psnr=35.0)
    again = int8_from_onnx(exports / "half.onnx", tmp_path / "half-int8.onnx", options)
    assert (again["io"], again["rest"]) == ("uint8", "fp16")
    assert set(again["files"]) == {"half-int8.onnx"}


def test_no_choice_that_holds_the_quality_is_a_failed_check(exports, pairs, tmp_path):
    with pytest.raises(CheckFailed, match="no layer can be int8 at 199 dB"):
        int8_from_onnx(exports / "small.onnx", tmp_path / "x.onnx", CalibrationOptions(pairs, crops=CROPS, min_psnr=199))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing_behind(done, exports, pairs, tmp_path, monkeypatch):
    real = Path.write_bytes

    def full(self, data):
        if self.is_relative_to(tmp_path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    options = CalibrationOptions(pairs, crops=CROPS, ranges=Path(done[1]["ranges"]), min_psnr=35.0)
    with pytest.raises(OutputError, match="No space left"):
        int8_from_onnx(exports / "small.onnx", tmp_path / "x.onnx", options)
    assert not list(tmp_path.iterdir())


def test_what_comes_last_failing_leaves_nothing_behind(done, exports, pairs, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OutputError("No space left")

    monkeypatch.setattr(calibrate, "plot", full)
    options = CalibrationOptions(pairs, crops=CROPS, ranges=Path(done[1]["ranges"]), min_psnr=35.0)
    with pytest.raises(OutputError, match="No space left"):
        int8_from_onnx(exports / "small.onnx", tmp_path / "x.onnx", options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x.onnx.json", "x.ranges.json", "x.sensitivity.png", "x.tile.onnx"])
def test_what_lies_beside_is_kept_unless_forced(name, exports, pairs, tmp_path):
    (tmp_path / name).write_text("somebody's")
    with pytest.raises(OutputError, match=f"{re.escape(name)} exists already"):
        int8_from_onnx(exports / "small.onnx", tmp_path / "x.onnx", CalibrationOptions(pairs, crops=CROPS))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "somebody's")]


def test_ranges_that_lie_where_they_are_written_are_used_and_stay(done, exports, pairs, tmp_path):
    shutil.copy(done[1]["ranges"], tmp_path / "x.ranges.json")
    options = CalibrationOptions(pairs, crops=CROPS, ranges=tmp_path / "x.ranges.json", min_psnr=35.0)
    report = int8_from_onnx(exports / "small.onnx", tmp_path / "x.onnx", options)
    assert Path(report["ranges"]).read_bytes() == Path(done[1]["ranges"]).read_bytes()


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"method": RangeMethod("entropy")}, "method"),
        ({"method": RangeMethod("percentile", 99.0)}, "method"),
        ({"equalise": False}, "equalise=False"),
    ],
)
def test_options_of_measuring_are_refused_where_nothing_is_measured(given, name):
    with pytest.raises(InputError, match=f"`{name}` is about measuring"):
        CalibrationOptions(**{"pairs": Path("a"), "ranges": Path("b"), **given})


@pytest.mark.parametrize(("entry", "other"), [("weights_sha256", "1" * 64), ("io", "uint8"), ("precision", "fp16")])
def test_companions_of_another_model_are_not_made_its_own(entry, other, exports, pairs, tmp_path):
    for name in ("small.onnx", "small.means.onnx", "small.tile.onnx"):
        shutil.copy(exports / name, tmp_path)
    stale = onnx.load(tmp_path / "small.tile.onnx")
    (told,) = (each for each in stale.metadata_props if each.key == METADATA_KEY)
    told.value = json.dumps({**json.loads(told.value), entry: other})
    onnx.save(stale, tmp_path / "small.tile.onnx")
    with pytest.raises(ModelError, match=rf"small\.tile\.onnx was not made with small\.onnx: its {entry}"):
        int8_from_onnx(tmp_path / "small.onnx", tmp_path / "x.onnx", CalibrationOptions(pairs, crops=CROPS))
    assert not (tmp_path / "x.onnx").exists()


def test_graphs_of_one_calibration_say_which(done):
    folder, report, _ = done
    entries = [read_manifest(folder / name).extra for name in report["files"]]
    assert all(each.get(entry) == entries[0][entry] for each in entries for entry in CALIBRATION)


def test_the_report_tells_windows_of_several_sizes(exports):
    draw = np.random.default_rng(0)
    frames = [draw.integers(0, 256, (2, height, 32, 3), np.uint8) for height in (32, 20, 24)]
    crops = [PairCrop("", *pair) for pair in frames]
    model = load_graph(exports / "small.onnx")
    seen = measure_ranges(model, read_manifest(exports / "small.onnx"), crops, RangeMethod())
    assert seen.crops == "3 windows of 20x32 to 32x32"


def test_the_model_itself_is_never_replaced(exports, pairs, tmp_path):
    shutil.copy(exports / "small.onnx", tmp_path)
    (tmp_path / "linked.onnx").hardlink_to(tmp_path / "small.onnx")
    before = (tmp_path / "small.onnx").read_bytes()
    for name in ("small.onnx", "linked.onnx"):
        with pytest.raises(OutputError, match="belongs to what is read"):
            int8_from_onnx(tmp_path / "small.onnx", tmp_path / name, CalibrationOptions(pairs, crops=CROPS), force=True)
    assert (tmp_path / "small.onnx").read_bytes() == before


def test_what_cannot_be_calibrated_is_refused(done, exports, pairs, tmp_path):
    options = CalibrationOptions(pairs, crops=CROPS)
    with pytest.raises(InputError, match="is int8 onnx"):
        int8_from_onnx(done[0] / "small-int8.onnx", tmp_path / "x.onnx", options)
    with pytest.raises(InputError, match="companion"):
        int8_from_onnx(exports / "small.tile.onnx", tmp_path / "x.onnx", options)
    with pytest.raises(InputError, match=r"\.onnx"):
        int8_from_onnx(exports / "small.onnx", tmp_path / "x.engine", options)
    with pytest.raises(OutputError, match="force=True"):
        int8_from_onnx(exports / "small.onnx", done[0] / "small-int8.onnx", options)
    with pytest.raises(InputError, match="`keep=tail`: no such layer"):
        int8_from_onnx(exports / "small.onnx", tmp_path / "x.onnx", CalibrationOptions(pairs, keep=("tail",)))
    layers = tuple(row["name"] for row in done[1]["layers"])
    with pytest.raises(InputError, match="`keep` names every layer"):
        int8_from_onnx(exports / "small.onnx", tmp_path / "x.onnx", CalibrationOptions(pairs, crops=CROPS, keep=layers))
    with pytest.raises(OutputError, match="is not a folder"):
        int8_from_onnx(exports / "small.onnx", tmp_path / "none" / "x.onnx", options)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes((exports / "small.onnx").read_bytes()[:-80])
    with pytest.raises(ModelError, match="truncated"):
        int8_from_onnx(broken, tmp_path / "x.onnx", options)
    model = onnx.load(exports / "small.onnx")
    model.graph.node[-1].input[0] = "what no node gives"
    broken.write_bytes(stamped(model))
    with pytest.raises(ModelError, match=r"cannot load .*broken\.onnx"):
        int8_from_onnx(broken, tmp_path / "x.onnx", options)
    with pytest.raises(ModelError, match="cannot be run"):
        Probe(model, [model.graph.output[0].name])


@pytest.mark.parametrize("given", [{}, {"pairs": Path("a"), "images": Path("b"), "masks": Path("c")}, {"images": Path("b")}])
def test_pairs_come_from_one_place(given):
    with pytest.raises(InputError, match="`images` and `masks`"):
        CalibrationOptions(**given)


def test_shares_follow_width_and_resolution(exports):
    shares = shares_of_work(load_graph(exports / "small.onnx"), 4, "float")
    # Both frames, 4 filters of 6 x 6 x 3 at half resolution, against 6 of 3 x 3 x 4 at a quarter of that.
    assert shares["encoder.0.0.0"] / shares["encoder.1.0.0"] == pytest.approx(4 * 6 * 6 * 3 / (6 * 3 * 3 * 4 / 4))


@pytest.mark.parametrize(("method", "hard"), [("minmax", []), ("entropy", ["--hard", 0]), ("percentile", ["--hard", 0])])
def test_the_command_prints_one_object(exports, pairs, tmp_path, method, hard):
    words = ["calibrate", exports / "small.onnx", "-o", tmp_path / "x.onnx", *few(pairs), "--method", method, *hard]
    result = CliRunner().invoke(build_app(), list(map(str, words)))
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert next(row for row in report["layers"] if row["name"] == "head")["precision"] == "fp32"
    assert "wrote" in result.stderr
    assert report["warnings"] == [] or re.match(r"\d+ pairs say little .*: give a dozen or more\.$", report["warnings"][0])


def test_weights_of_more_bits_than_every_cpu_adds_exactly_are_told(exports, pairs, tmp_path, monkeypatch):
    words = ["calibrate", exports / "small.onnx", "-o", tmp_path / "x.onnx", *few(pairs), "--hard", 0, "--weight-bits", 8]
    monkeypatch.setattr("ufafuse.calibration.quantizers.adds_bytes_in_16_bits", lambda: True)
    told = json.loads(CliRunner().invoke(build_app(), list(map(str, words))).stdout)["warnings"]
    assert "--weight-bits 7 is exact on every CPU" in told[-1]


def few(pairs):
    return "--pairs", pairs, "--crops", 2, "--judge", 1, "--crop", 48, "--min-psnr", 30, "--keep", "head", "--json"


def test_windows_to_measure_on_are_refused_where_ranges_are_given(exports, pairs, tmp_path):
    words = [
        "calibrate",
        exports / "small.onnx",
        "-o",
        tmp_path / "x.onnx",
        "--pairs",
        pairs,
        "--ranges",
        "r.json",
        "--crops",
        2,
    ]
    result = CliRunner().invoke(build_app(), list(map(str, words)))
    assert (result.exit_code, "--crops" in result.stderr) == (2, True), result.output
