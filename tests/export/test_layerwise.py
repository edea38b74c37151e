"""`ufa verify --layers` and `--bisect`: a planted error is found where it was planted, in every precision."""

import functools
import json

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.export import verify
from ufafuse.export.bisect import _searched, bisect_layers
from ufafuse.export.layerwise import compare_layers, snr_db
from ufafuse.export.onnx_file import stamped
from ufafuse.export.synthetic import synthetic_pair
from ufafuse.export.tensors import tensors_of_network
from ufafuse.export.verify import prepared
from ufafuse.network.weights import load_weights
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.models import FOLDER, weights_path

SIZE = (40, 56)


def planted(source, target, name, change):
    """A copy of a file with one constant changed."""
    model = onnx.load(source)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    array = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(change(array), array.dtype), name))
    target.write_bytes(stamped(model))
    return target


def layers_of(path):
    return [node.input[1] for node in onnx.load(path).graph.node if node.op_type == "Conv"]


network = functools.cache(load_weights)  # one object for all tests, whose graphs are traced once


@pytest.fixture(scope="module")
def pair():
    return synthetic_pair(*SIZE, seed=1)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", ["small.onnx", "half.onnx"])
def test_a_sound_file_differs_by_rounding_only(name, backend, exports, pair):
    pytest.importorskip(backend)
    net = network(exports / "small.safetensors")
    found = compare_layers(exports / name, net, *pair, backend=backend)
    assert found["first"] is None
    convolutions = {row["tensor"] for row in found["rows"] if row["operator"] == "Conv"}
    assert len(convolutions) == len(layers_of(exports / name))
    if name == "small.onnx":
        assert {"fused", "map"} <= {row["tensor"] for row in found["rows"]}
        assert min(row["snr_db"] for row in found["rows"]) > 80


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("small.onnx", "net.encoder.1.0.0.weight"),
        ("small.onnx", "net.decoder.0.0.own.weight"),
        ("half.onnx", "net.encoder.1.0.0.weight"),
        ("half.onnx", "net.head.weight"),
    ],
)
def test_a_planted_error_is_found_by_both(name, layer, exports, pair, tmp_path):
    assert layer in layers_of(exports / name)
    path = planted(exports / name, tmp_path / name, layer, lambda weights: weights * -60)
    weights = exports / "small.safetensors"
    net = network(weights)
    first = compare_layers(path, net, *pair)["first"]
    assert first["layer"] == layer.removesuffix(".weight")
    ready = prepared(path, weights, sizes=[SIZE])
    assert not ready.on("onnxruntime").report["ok"]
    found = bisect_layers(path, net, ready.cases)
    assert found["layers"] == [layer.removesuffix(".weight")]
    assert found["psnr_none"] > found["psnr_set"]
    assert not found["ok"] and not found["elsewhere"]


def test_an_error_in_an_int8_file_is_found(tmp_path):
    source, weights = weights_path("ufa-nano").with_name("ufa-nano-int8.onnx"), weights_path("ufa-nano")
    layer = "net.head"
    assert f"{layer}.weight.dequantized" in layers_of(source)
    stored = next(
        node.input[0]
        for node in onnx.load(source).graph.node
        if node.op_type == "DequantizeLinear" and node.output[0].startswith(f"{layer}.weight")
    )
    path = planted(source, tmp_path / "bad.onnx", stored, lambda weights: np.roll(weights, 1, 1))
    net = network(weights)
    sound = compare_layers(source, net, *synthetic_pair(64, 96))
    assert sound["first"] is None
    bad = compare_layers(path, net, *synthetic_pair(64, 96))
    assert bad["first"]["layer"] == layer
    ready = prepared(path, weights, sizes=[(64, 96)])
    found = bisect_layers(path, net, ready.cases)
    assert found["layers"] == [layer]


BUNDLED = [path.name for path in sorted(FOLDER.glob("*.onnx")) if path.name.split(".")[1] in ("onnx", "encode")]


# By default the one whose graph has steps that nothing takes, which the exporter does not count.
@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=() if each == "ufa-free.onnx" else pytest.mark.slow) for each in BUNDLED]
)
def test_bundled_files_are_sound_and_five_percent_of_a_layer_are_found_in_it(name, tmp_path):
    path, pair = FOLDER / name, synthetic_pair(48, 64)
    net = network(FOLDER / f"{name.split('.')[0].removesuffix('-int8')}.safetensors")
    nodes, constants = onnx.load(path).graph.node, {tensor.name for tensor in onnx.load(path).graph.initializer}
    found = compare_layers(path, net, *pair)
    assert found["first"] is None
    assert found["compared"] > 0.5 * sum(not node.op_type.endswith(("Shape", "QuantizeLinear")) for node in nodes)
    floats = [node.input[1] for node in nodes if node.op_type == "Conv" and node.input[1] in constants]
    for weight in [] if "-int8" in name else [floats[0], floats[len(floats) // 2], floats[-1]]:
        bad = planted(path, tmp_path / name, weight, waving)
        assert compare_layers(bad, net, *pair)["first"]["layer"] == weight.removesuffix(".weight")


def waving(weights):
    """Each weight changed by up to five percent."""
    return weights * (1 + 0.05 * np.cos(np.arange(weights.size))).reshape(weights.shape)


def test_an_error_outside_of_the_layers_is_told(exports, tmp_path):
    model = onnx.load(exports / "small.onnx")
    clip = next(node for node in model.graph.node if node.op_type == "LeakyRelu")
    clip.attribute[0].f = 0.9
    path = tmp_path / "bad.onnx"
    path.write_bytes(stamped(model))
    weights = exports / "small.safetensors"
    found = bisect_layers(path, network(weights), prepared(path, weights, sizes=[SIZE]).cases)
    assert found["elsewhere"] and not found["layers"]
    first = compare_layers(path, network(weights), *synthetic_pair(*SIZE))["first"]
    assert (first["operator"], first["tensor"]) == ("LeakyRelu", clip.output[0])


def test_two_files_are_compared_without_pytorch(exports, tmp_path):
    path = planted(exports / "small.onnx", tmp_path / "bad.onnx", "net.head.weight", lambda weights: weights * 1.5)
    result = CliRunner().invoke(
        build_app(), ["verify", str(path), "--against", str(exports / "small.onnx"), "--layers", "--size", "40x56", "--json"]
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["layers"]["first"]["layer"] == "net.head"


def test_the_graph_of_a_stacks_features_is_looked_into(gathering, pair):
    net = network(gathering / "gathering.safetensors")
    for name in ("gathering.onnx", "gathering.encode.onnx"):
        found = compare_layers(gathering / name, net, *pair)
        assert found["first"] is None
        assert found["compared"] > 10
    with pytest.raises(InputError, match="companion"):
        compare_layers(gathering / "gathering.score.onnx", net, *pair)


@pytest.mark.parametrize(
    ("costs", "limit", "expected"),
    [
        ({"a": 1, "b": 1, "c": 9}, 5, {"c"}),
        ({"a": 3, "b": 3, "c": 1, "d": 0}, 5, {"a", "b"}),
        ({"a": 1, "b": 1, "c": 1}, 2.5, {"a", "b", "c"}),
    ],
)
def test_the_fewest_layers_that_break_are_found(costs, limit, expected):
    def judge(kept):
        cost = sum(costs[name] for name in kept)
        return cost < limit, 100.0 - cost

    found = _searched(list(costs), judge)
    assert set(found["layers"]) == expected
    assert not found["ok"]


def test_nan_is_no_agreement():
    assert snr_db(np.zeros(4), np.zeros(4)) == 200
    assert snr_db(np.ones(4), np.zeros(4)) < 0


@pytest.fixture
def read_once(monkeypatch):
    """Commands are given the network that was read and traced before, which takes seconds."""
    monkeypatch.setattr(verify, "load_weights", network)


def test_the_command_tells_of_every_engine_in_the_files_own_precision(exports, tmp_path, read_once):
    pytest.importorskip("openvino")
    out = tmp_path / "a" / "b"
    words = ["verify", str(exports / "small.onnx"), "--against", str(exports / "small.safetensors"), "--size", "33x47"]
    result = CliRunner().invoke(build_app(), [*words, "-o", str(out), "--layers", "--bisect", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert {name: own["precision"] for name, own in report["backends"].items()} == {"openvino": "fp32", "onnxruntime": "fp32"}
    assert all(own["tolerance"]["max_abs"] < 0.003 for own in report["backends"].values())
    assert report["backends"]["openvino"]["pairs"][0]["as_frames"]["layout"] == "levels"
    assert report["bisect"]["ok"]
    assert report["layers"]["first"] is None
    assert out.is_dir()
    shown = CliRunner().invoke(build_app(), [*words, "-o", str(out), "--layers", "--bisect"]).stdout
    assert "{" not in shown
    assert "no layer breaks the tolerance" in shown
    assert max(map(len, shown.splitlines()[:8])) <= 80


def test_the_command_names_the_layer(exports, tmp_path, read_once):
    path = planted(exports / "small.onnx", tmp_path / "bad.onnx", "net.head.weight", lambda weights: weights * 1.5)
    words = ["verify", str(path), "--against", str(exports / "small.safetensors"), "--size", "33x47", "--layers", "--bisect"]
    result = CliRunner().invoke(build_app(), words)
    assert result.exit_code == 1
    assert "layer net.head" in result.stdout
    assert "all others replaced by PyTorch's: net.head:" in result.stdout
    assert "{" not in result.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--reference", "x.npz", "--layers"], "give its weights as --against"),
        (["--against", "other.onnx"], "add --layers"),
        (["--against", "other.onnx", "--layers", "--bisect"], "omit --bisect"),
    ],
)
def test_what_cannot_be_looked_into_is_one_sentence(words, says, exports):
    result = CliRunner().invoke(build_app(), ["verify", str(exports / "small.onnx"), *words])
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())


def test_changed_weights_are_traced_anew(exports, plain):
    net, manifest = load_weights(plain), read_manifest(exports / "small.onnx")
    near, far = (np.random.default_rng(seed).random((1, 3, *SIZE), np.float32) for seed in (1, 2))

    def fused():
        return torch.from_numpy(tensors_of_network(net, manifest, {"near": near, "far": far})[0]["fused"])

    def computed():
        with torch.inference_mode():
            return net(torch.from_numpy(near), torch.from_numpy(far))

    before = fused()
    torch.testing.assert_close(before, computed())
    with torch.no_grad():
        net.encoder[0][0][0].weight.mul_(1.5)
    torch.testing.assert_close(fused(), computed())
    assert not torch.allclose(before, computed(), atol=1e-3)
