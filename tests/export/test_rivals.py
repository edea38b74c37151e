"""The networks that the paper compares with, exported like any other."""

import json

import onnx
import pytest

from ufafuse.export.graphs import RivalGraph
from ufafuse.export.onnx_export import onnx_from_weights
from ufafuse.export.signatures import graph_kind
from ufafuse.network.spec import RIVALS, find_spec
from ufafuse.network.weights import build_model, save_weights
from ufafuse.runtime.artefact import METADATA_KEY, read_manifest
from ufafuse.runtime.errors import ModelError


@pytest.fixture
def weights(tmp_path, request):
    path = tmp_path / "rival.safetensors"
    save_weights(build_model(getattr(request, "param", "rival-pcnn"), seed=0), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("weights", RIVALS, indirect=True)
@pytest.mark.parametrize("io", ["float", "uint8"])
def test_each_comes_out_as_pytorchs_twin(weights, tmp_path, io):
    assert onnx_from_weights(weights, tmp_path / "rival.onnx", io=io)["ok"]
    manifest = read_manifest(tmp_path / "rival.onnx")
    spec = find_spec(manifest.variant)
    assert (manifest.extra["halo"], manifest.extra["stride"]) == (spec.halo, spec.stride)


def test_it_has_a_graph_of_its_own():
    assert graph_kind("whole", find_spec("rival-cnn")) is RivalGraph


@pytest.mark.parametrize("asked", [{"precision": "fp16"}, {"tiles": True}])
def test_half_precision_and_tiles_are_refused(weights, tmp_path, asked):
    with pytest.raises(ModelError, match="exported whole and in fp32"):
        onnx_from_weights(weights, tmp_path / "rival.onnx", **asked)
    assert not (tmp_path / "rival.onnx").exists()


def test_int8_is_left_out_where_all_is_made(exports, tmp_path):
    from ufafuse.commands.everything import _calibrated

    model = onnx.load(exports / "small.onnx")
    (entry,) = (entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    entry.value = json.dumps({**json.loads(entry.value), "variant": "rival-sesf"})  # what is asked is the manifest
    onnx.save(model, tmp_path / "rival.onnx")
    left_out, steps = [], []
    rows = _calibrated(tmp_path / "rival.onnx", tmp_path, left_out, force=False, on_step=steps.append, done=steps.append)
    assert list(rows) == []
    assert "is rival-sesf, a network to compare with" in left_out[0]


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["rival-sesf"], indirect=True)
def test_all_of_it_is_without_what_it_has_no_form_of(weights, tmp_path):
    from ufafuse.commands.everything import _exported

    left_out, steps = [], []
    spec = find_spec("rival-sesf")
    rows = list(_exported(weights, spec, tmp_path, left_out, force=False, on_step=steps.append, done=steps.append))
    assert {row.precision for row in rows} == {"fp32"}
    assert left_out
    assert all("exported whole and in fp32" in line for line in left_out)
