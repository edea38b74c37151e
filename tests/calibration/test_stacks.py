"""The graphs for stacks of a network that gathers are quantised with it, and judged by whole stacks."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

from ufafuse.calibration.calibrate import int8_from_onnx
from ufafuse.calibration.crops import CropOptions
from ufafuse.calibration.options import CalibrationOptions
from ufafuse.calibration.stacks import Stacks, drawn_stacks
from ufafuse.export.onnx_export import Companions
from ufafuse.export.onnx_file import load_graph
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import CheckFailed, ModelError
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.stack import fuse_stack

CROPS = CropOptions(calibrate=3, judge=2, hard=1, size=48)


@pytest.fixture(scope="module")
def done(gathering, pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    options = CalibrationOptions(pairs, crops=CROPS, min_psnr=38.0, threads=1)
    return folder, int8_from_onnx(gathering / "gathering.onnx", folder / "g.onnx", options)


def test_all_graphs_are_written_and_those_that_see_every_frame_are_int8(done):
    folder, report = done
    assert set(report["files"]) == {"g.onnx", "g.encode.onnx", "g.common.onnx", "g.score.onnx"}
    for name, file in report["files"].items():
        role = file["role"]
        model = load_graph(folder / name)
        onnx.checker.check_model(model, full_check=True)
        assert any(node.op_type == "QuantizeLinear" for node in model.graph.node) == (role != "common"), name
        manifest = read_manifest(folder / name)
        assert (manifest.precision, manifest.extra["role"]) == ("int8", role)


def test_whole_stacks_were_judged(done):
    _, report = done
    assert report["verified"]["stacks"] == [3, 5, 9]
    assert min(report["verified"]["psnr_stacks"].values()) >= 38.0
    assert "drawn stacks" in report["calibrated_on"]


def test_a_stack_is_fused_nearly_as_in_float(done, gathering):
    folder, _ = done
    frames = list(drawn_stacks([4], 64, seed=9)[0])
    pictures = []
    for path in (gathering / "gathering.onnx", folder / "g.onnx"):
        with Fuser(path, backend="onnxruntime", threads=1) as fuser:
            pictures.append(fuse_stack(fuser, frames).fused.astype(np.float32))
    assert np.square(pictures[0] - pictures[1]).mean() < 255**2 / 10**3.3


def test_a_stack_that_suffers_is_a_failed_check(gathering, pairs, tmp_path):
    with pytest.raises(CheckFailed):
        int8_from_onnx(
            gathering / "gathering.onnx",
            tmp_path / "g.onnx",
            CalibrationOptions(pairs, crops=replace(CROPS, hard=0), min_psnr=190, threads=1),
        )
    assert not list(tmp_path.iterdir())


def test_without_its_graphs_a_network_that_gathers_is_not_calibrated(gathering, tmp_path):
    path = tmp_path / "alone.onnx"
    path.write_bytes((gathering / "gathering.onnx").read_bytes())
    with pytest.raises(ModelError, match=r"alone\.encode\.onnx"):
        Stacks(path, read_manifest(path), side=48, seed=0)


def test_ranges_tell_what_they_were_measured_on(done):
    folder, _ = done
    ranges = json.loads((folder / "g.ranges.json").read_text())
    assert "drawn stacks of 3, 6 and 10 frames" in ranges["crops"]
    assert Companions.of(folder / "g.onnx").score.is_file()
