"""Functions of all packages, called with what is of another type: one sentence that names it, and nothing written."""

import numpy as np
import pytest

from ufafuse.calibration.calibrate import int8_from_onnx
from ufafuse.calibration.crops import CropOptions
from ufafuse.calibration.options import CalibrationOptions
from ufafuse.calibration.quantizers import QuantizerOptions
from ufafuse.calibration.ranges import RangeMethod
from ufafuse.export.build_options import BuildOptions
from ufafuse.export.form import Form
from ufafuse.export.onnx_export import onnx_from_weights
from ufafuse.network import Spec, build_model, load_weights, save_weights
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import InputError
from ufafuse.train.data import PairOptions
from ufafuse.train.recipe import Recipe

NO_PATHS = [None, 3, b"x.onnx", ["x.onnx"], True]


@pytest.fixture
def net():
    return build_model(Spec("tiny", widths=(4,), fold=1, encoder_blocks=(1,), decoder_blocks=(1,), head="reconstruct"), seed=1)


@pytest.fixture
def weights(net, tmp_path):
    save_weights(net, tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


@pytest.mark.parametrize("path", NO_PATHS)
def test_what_is_no_path_is_refused(net, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call, name in [
        (lambda: read_manifest(path), "path"),
        (lambda: load_weights(path), "path"),
        (lambda: save_weights(net, path), "path"),
        (lambda: onnx_from_weights(path, "x.onnx"), "weights"),
        (lambda: onnx_from_weights("w.safetensors", path), "out"),
        (lambda: int8_from_onnx(path, "y.onnx", CalibrationOptions(pairs="pairs")), "onnx"),
        (lambda: int8_from_onnx("x.onnx", path, CalibrationOptions(pairs="pairs")), "out"),
    ]:
        with pytest.raises(InputError, match=rf"`{name}=.* is an? \w+: give a path\."):
            call()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"spec": None}, "spec"),
        ({"spec": {"name": "ufa"}}, "spec"),
        ({"spec": Spec}, "spec"),
        ({"seed": 1.5}, "seed"),
        ({"seed": "1"}, "seed"),
        ({"seed": True}, "seed"),
    ],
)
def test_no_network_is_built_of_something_else(given, name):
    with pytest.raises(InputError, match=f"`{name}="):
        build_model(**({"spec": "ufa-nano"} | given))


def test_any_whole_number_is_a_seed():
    for seed in (-1, 2**70, np.int64(3)):
        build_model("ufa-nano", seed=seed)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"net": None}, "net"),
        ({"half": "no"}, "half"),
        ({"force": "no"}, "force"),
        ({"extra": "three photographs"}, "extra"),
        ({"extra": {"data": object()}}, "extra"),
        ({"path": "w.txt"}, "path"),  # which nothing would read again
        ({"path": "w"}, "path"),
    ],
)
def test_weights_that_could_not_be_read_again_are_not_written(net, weights, given, name, monkeypatch):
    monkeypatch.chdir(weights.parent)
    before = weights.read_bytes()
    with pytest.raises(InputError, match=f"`{name}"):
        save_weights(**({"net": net, "path": weights} | given))
    assert [path.name for path in weights.parent.iterdir()] == [weights.name]
    assert weights.read_bytes() == before


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"form": "x"}, "form"),
        ({"form": None}, "form"),
        ({"tiles": "no"}, "tiles"),
        ({"force": "no"}, "force"),
        ({"sizes": 5}, "sizes"),
        ({"sizes": "ab"}, "sizes"),
        ({"sizes": [(0, 0)]}, "sizes"),
        ({"sizes": [(5,)]}, "sizes"),
    ],
)
def test_nothing_is_exported_by_what_is_no_option(weights, given, name):
    with pytest.raises(InputError, match=f"`{name}"):
        onnx_from_weights(weights, weights.with_name("x.onnx"), **given)
    assert [path.name for path in weights.parent.iterdir()] == [weights.name]


@pytest.mark.parametrize("options", [None, {"pairs": "x"}, CropOptions()])
def test_nothing_is_calibrated_by_what_are_no_options(options, tmp_path):
    with pytest.raises(InputError, match=r"`options=.*: give `CalibrationOptions`"):
        int8_from_onnx(tmp_path / "x.onnx", tmp_path / "y.onnx", options)


@pytest.mark.parametrize(
    ("options", "given"),
    [
        (Form, {"opset": "20"}),
        (Form, {"batch": 1.5}),
        (Form, {"opencv": "no"}),
        (Form, {"size": "5x5"}),
        (Form, {"size": (5.0, 5)}),
        (CalibrationOptions, {"crops": 3}),
        (CalibrationOptions, {"method": "minmax"}),
        (CalibrationOptions, {"quantizers": {}}),
        (CalibrationOptions, {"keep": "conv"}),
        (CalibrationOptions, {"keep": [3]}),
        (CalibrationOptions, {"threads": 0}),
        (CropOptions, {"size": 64.0}),
        (CropOptions, {"seed": "0"}),
        (RangeMethod, {"percentile": "99"}),
        (QuantizerOptions, {"weight_bits": 7.0}),
        (QuantizerOptions, {"outputs": "no"}),
        (BuildOptions, {"targets": "sm86"}),
        (BuildOptions, {"workspace_mib": "64"}),
        (BuildOptions, {"version_compatible": "no"}),
        (PairOptions, {"crop": 64.5}),
        (PairOptions, {"flip": "no"}),
        (PairOptions, {"options": {}}),
        (Recipe, {"batch": 8.5}),
        (Recipe, {"lr": "1e-3"}),
        (Recipe, {"flip": "no"}),
    ],
)
def test_options_of_another_type_are_refused_by_name(options, given):
    needed = {
        CalibrationOptions: {"pairs": "x"},
        BuildOptions: {"profiles": ()},
        PairOptions: {"crop": 64},
        Recipe: {"steps": 5},
    }
    name = "static" if "size" in given and options is Form else next(iter(given))
    with pytest.raises(InputError, match=f"`{name}="):
        options(**(needed.get(options, {}) | given))
