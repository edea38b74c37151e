"""Ranges: measured, saved, used again, refused."""

import json

import pytest

from ufafuse.calibration.crops import CropOptions, crops_from_pairs
from ufafuse.calibration.quantizers import Range
from ufafuse.calibration.ranges import RANGE_METHODS, RangeMethod, Ranges, measure_ranges
from ufafuse.export.onnx_file import load_graph
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import InputError, ModelError


@pytest.fixture(scope="module")
def measured(exports, pairs):
    manifest = read_manifest(exports / "small.onnx")
    crops, _ = crops_from_pairs(pairs, CropOptions(calibrate=3, judge=1, size=48))
    model = load_graph(exports / "small.onnx")
    return {name: measure_ranges(model, manifest, crops, RangeMethod(name, 99.0)) for name in RANGE_METHODS}


def test_every_method_gives_every_layer_a_range(measured):
    for ranges in measured.values():
        assert set(ranges.layers) >= {"encoder.0.0.0", "merge.1.near", "head"}
        for seen in ranges.layers.values():
            assert seen.source[0] <= seen.source[1]
            assert seen.result[0] < seen.result[1]


def test_minmax_of_the_frames_is_their_range(measured):
    low, high = measured["minmax"].layers["encoder.0.0.0"].source
    assert low >= 0
    assert 0.7 < high <= 1


def test_percentiles_cut_what_is_rare(measured):
    for name, seen in measured["percentile"].layers.items():
        assert seen.result[1] <= max(map(abs, measured["minmax"].layers[name].result)) + 1e-6


def test_uint8_graphs_are_measured_on_bytes(exports, pairs):
    crops, _ = crops_from_pairs(pairs, CropOptions(calibrate=1, judge=1, size=32))
    ranges = measure_ranges(load_graph(exports / "half.onnx"), read_manifest(exports / "half.onnx"), crops, RangeMethod())
    assert ranges.layers["encoder.0.0.0"].source[1] <= 1


def test_saved_ranges_are_used_again(measured, exports, tmp_path):
    path = tmp_path / "x.ranges.json"
    measured["minmax"].save(path)
    again = Ranges.load(path, read_manifest(exports / "small.onnx"))
    assert again == measured["minmax"]
    assert isinstance(again.layers["head"], Range)


def test_ranges_of_other_weights_or_none_are_refused(measured, exports, tmp_path):
    manifest, path = read_manifest(exports / "small.onnx"), tmp_path / "x.ranges.json"
    with pytest.raises(InputError, match="not a file"):
        Ranges.load(path, manifest)
    measured["minmax"].save(path)
    values = json.loads(path.read_text())
    for spoilt, what in (
        ({**values, "weights_sha256": "other"}, "other weights"),
        ({**values, "schema": 9}, "another ufafuse"),
        ({**values, "layers": {"head": {}}}, "holds no ranges"),
        ([], "holds no ranges"),
        ({**values, "layers": {"head": {"source": [-1e300, 1], "result": [0, 1]}}}, "is no range"),
        *(({**values, "factors": {"head": [factor]}}, "powers of two") for factor in (0.5, 3, 128, float("nan"), True, "2")),
    ):
        path.write_text(json.dumps(spoilt))
        with pytest.raises(ModelError, match=what):
            Ranges.load(path, manifest)
    path.write_text("{")
    with pytest.raises(ModelError, match="holds no ranges"):
        Ranges.load(path, manifest)


@pytest.mark.parametrize("method", [("median", 99.0), ("percentile", 40.0), ("percentile", 101.0)])
def test_unknown_methods_are_refused(method):
    with pytest.raises(InputError, match=r"method=|percentile="):
        RangeMethod(*method)
