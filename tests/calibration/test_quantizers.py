"""Quantisers in a graph: what they compute, and that the engines compute the same."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from ufafuse.calibration.convolutions import conv_layers
from ufafuse.calibration.quantizers import QuantizerOptions, Range, saturation, with_quantizers
from ufafuse.export.onnx_file import load_graph
from ufafuse.runtime import machine
from ufafuse.runtime.errors import InputError, ModelError

RANGE = Range((-1.0, 1.0), (-2.0, 2.0))


def quantised(exports, names, **options):
    model = load_graph(exports / "small.onnx")
    return with_quantizers(
        model, dict.fromkeys([layer.name for layer in conv_layers(model)], RANGE), names, QuantizerOptions(**options)
    )


def constants(model):
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_layers_are_named_as_in_the_network(exports):
    layers = {layer.name: layer for layer in conv_layers(load_graph(exports / "small.onnx"))}
    assert set(layers) >= {"encoder.0.0.0", "encoder.1.0.0", "attention.0.spatial", "merge.1.near", "decoder.0.0.own", "head"}
    assert layers["attention.0.spatial"].joined
    assert not layers["head"].joined
    assert not any(name.endswith(".mean") for name in layers)
    companion = {layer.name for layer in conv_layers(load_graph(exports / "small.means.onnx"))}
    assert companion <= set(layers)


def test_activations_and_weights_are_symmetric_and_biases_untouched(exports):
    model = quantised(exports, ["decoder.0.0.own"])
    values = constants(model)
    zeros = {name: value for name, value in values.items() if name.endswith(".zero")}
    assert zeros
    assert all(value.dtype == np.int8 and not value.any() for value in zeros.values())
    node = next(node for node in model.graph.node if node.op_type == "Conv" and "decoder" in node.input[1])
    assert node.input[1] == "net.decoder.0.0.own.weight.dequantized"
    assert values[node.input[2]].dtype == np.float32
    assert "net.decoder.0.0.own.weight" not in values
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize(("bits", "top"), [(7, 63), (8, 127)])
def test_weights_use_their_bits_channel_by_channel(bits, top, exports):
    values = constants(quantised(exports, ["head"], weight_bits=bits))
    int8, scale = values["net.head.weight.int8"], values["net.head.weight.scale"]
    assert (np.abs(int8.astype(int)).reshape(len(int8), -1).max(axis=1) == top).all()
    whole = constants(load_graph(exports / "small.onnx"))["net.head.weight"]
    error = np.abs(int8 * scale[:, None, None, None] - whole)
    assert (error <= scale[:, None, None, None] * 0.5001).all()


def test_joined_inputs_are_clipped_to_the_quantisers_range(exports):
    model = quantised(exports, ["attention.0.spatial", "head"])
    clips = [node for node in model.graph.node if node.op_type == "Clip" and node.name.endswith(".clip")]
    assert len(clips) == 1
    low, high = (float(constants(model)[name]) for name in clips[0].input[1:])
    assert (low, high) == pytest.approx((-1, 1))


@pytest.mark.parametrize("outputs", [True, False])
def test_results_are_quantised_where_asked(outputs, exports):
    model = quantised(exports, ["head"], outputs=outputs)
    assert sum(node.op_type == "QuantizeLinear" for node in model.graph.node) == 1 + outputs


def test_onnx_runtime_and_openvino_agree_on_every_layer_at_once(exports):
    ov = pytest.importorskip("openvino")
    model = load_graph(exports / "small.onnx")
    names = [layer.name for layer in conv_layers(model)]
    data = quantised(exports, names).SerializeToString()
    inputs = {
        name: np.random.default_rng(index).random((1, 3, 48, 52), np.float32) for index, name in enumerate(("near", "far"))
    }
    plain = ort.SessionOptions()
    plain.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # quantisers computed one by one, in float
    literal = ort.InferenceSession(data, plain).run(["fused"], inputs)[0]
    fused = ort.InferenceSession(data).run(["fused"], inputs)[0]
    compiled = ov.Core().compile_model(ov.Core().read_model(data), "CPU")
    other = compiled(inputs)[compiled.output("fused")]
    assert np.abs(fused - literal).max() < 0.02
    assert np.abs(other - literal).max() < 0.02
    assert np.sqrt(np.mean((other - literal) ** 2)) < 0.002


def test_half_graphs_are_quantised_in_half(exports):
    values = constants(with_quantizers(load_graph(exports / "half.onnx"), {"head": RANGE}, ["head"], QuantizerOptions()))
    assert {value.dtype for name, value in values.items() if name.endswith(".scale")} == {np.dtype(np.float16)}


def test_a_quantised_graph_is_not_quantised_again(exports):
    with pytest.raises(ModelError, match="quantisers already"):
        conv_layers(quantised(exports, ["head"]))


def test_other_widths_are_refused():
    with pytest.raises(InputError, match="weight_bits=4"):
        QuantizerOptions(weight_bits=4)


@pytest.mark.parametrize(
    ("bits", "flags", "told"), [(8, {"avx2"}, 1), (8, {"avx2", "avx_vnni"}, 0), (8, {"asimd"}, 0), (7, {"avx2"}, 0)]
)
def test_weights_that_saturate_on_this_cpu_are_told(bits, flags, told, monkeypatch):
    monkeypatch.setattr(machine, "_cpuinfo", lambda: {"name": "a CPU", "flags": flags})
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64" if "asimd" in flags else "x86_64")
    warnings = saturation(QuantizerOptions(weight_bits=bits))
    assert len(warnings) == told
    assert all("has no VNNI" in text and "`weight_bits=7` is exact" in text for text in warnings)
