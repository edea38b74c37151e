"""Equal channels: the same values in float, better ones in int8."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ufafuse.calibration.crops import CropOptions, crops_from_pairs
from ufafuse.calibration.equalise import equalised, links, measure_factors
from ufafuse.calibration.probe import Probe
from ufafuse.calibration.quantizers import QuantizerOptions, Range, with_quantizers
from ufafuse.export.onnx_file import load_graph
from ufafuse.runtime.errors import ModelError

SMALL_CHANNEL = 1 / 50


def chain(*, extra_use=False):
    """near + far -> conv -> LeakyReLU -> conv, the first with one loud and one quiet channel that matter alike."""
    first = np.zeros((2, 3, 1, 1), np.float32)
    first[0, 0], first[1, 1] = 1, SMALL_CHANNEL
    second = np.zeros((3, 2, 1, 1), np.float32)
    second[:, 0], second[:, 1] = 0.5, 0.5 / SMALL_CHANNEL
    nodes = [
        helper.make_node("Add", ["near", "far"], ["sum"]),
        helper.make_node("Conv", ["sum", "net.a.weight", "net.a.bias"], ["x"], "conv a"),
        helper.make_node("LeakyRelu", ["x"], ["y"], "leaky", alpha=0.01),
        helper.make_node("Conv", ["y", "net.b.weight"], ["fused"], "conv b"),
    ]
    outputs = [helper.make_tensor_value_info("fused", TensorProto.FLOAT, ["batch", 3, "height", "width"])]
    if extra_use:
        nodes.append(helper.make_node("ReduceMean", ["y"], ["mean"]))
        outputs.append(helper.make_tensor_value_info("mean", TensorProto.FLOAT, None))
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, "height", "width"]) for name in ("near", "far")
    ]
    weights = {"net.a.weight": first, "net.a.bias": np.float32([0.1, -0.1 * SMALL_CHANNEL]), "net.b.weight": second}
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "chain", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.fixture(scope="module")
def crops(pairs):
    return crops_from_pairs(pairs, CropOptions(calibrate=2, judge=1, size=32))[0]


@pytest.fixture(scope="module")
def frames():
    near, far = np.random.default_rng(0).random((2, 1, 3, 32, 36), np.float32)
    return {"near": near, "far": far}


def test_only_a_convolution_that_feeds_one_other_is_linked():
    found = links(chain())
    assert {name: ([first.name for first in link.firsts], link.activated) for name, link in found.items()} == {
        "b": (["a"], True)
    }
    assert links(chain(extra_use=True)) == {}


def test_factors_are_powers_of_two_and_lift_the_quiet_channel(crops):
    loud, quiet = measure_factors(chain(), "float", crops, outputs=False)["b"]
    assert loud == 1
    assert quiet in (16, 32, 64)


def test_the_float_graph_computes_the_very_same(crops, frames):
    model = chain()
    changed = equalised(model, measure_factors(model, "float", crops, outputs=True))
    before, after = (Probe(each, ["fused"])(frames)["fused"] for each in (model, changed))
    assert np.abs(before - after).max() < 1e-6


def test_a_real_network_computes_the_same_and_so_do_its_companions(exports, crops, frames):
    model = load_graph(exports / "small.onnx")
    factors = {name: [2.0] * len(each) for name, each in measure_factors(model, "float", crops, outputs=True).items()}
    assert {name: len(links(model)[name].firsts) for name in factors} == {"head": 2}  # a sum of two convolutions before it
    before, after = (Probe(each, ["fused"])(frames)["fused"] for each in (model, equalised(model, factors)))
    assert np.abs(before - after).max() < 1e-6
    means = load_graph(exports / "small.means.onnx")
    inputs = {"frame": frames["near"], "mask": np.ones((1, 1, 32, 36), np.float32)}
    before, after = (Probe(each, ["sums"])(inputs)["sums"] for each in (means, equalised(means, factors)))
    assert np.allclose(before, after, rtol=1e-6)
    with pytest.raises(ModelError, match=r"layer head has \d channels, not 1"):  # of a damaged file of ranges
        equalised(model, {"head": [2.0]})


def test_int8_comes_closer(crops, frames):
    model = chain()
    errors = []
    for each in (model, equalised(model, measure_factors(model, "float", crops, outputs=False))):
        probe = Probe(each, ["sum", "x", "y", "fused"])(frames)
        tops = {name: float(np.abs(value).max()) for name, value in probe.items()}
        ranges = {"a": Range((0, tops["sum"]), (0, tops["x"])), "b": Range((0, tops["y"]), (0, tops["fused"]))}
        int8 = with_quantizers(each, ranges, ["b"], QuantizerOptions(outputs=False))
        errors.append(np.abs(Probe(int8, ["fused"])(frames)["fused"] - probe["fused"]).mean())
    assert errors[1] < errors[0] / 4


def test_a_graph_that_is_linked_otherwise_is_refused():
    with pytest.raises(ModelError, match="layer b is linked otherwise"):
        equalised(chain(extra_use=True), {"b": [1.0, 2.0]})
    assert equalised(chain(), {"not here": [2.0]}).SerializeToString() == chain().SerializeToString()


def test_a_probe_gives_inputs_outputs_and_what_is_between(frames):
    model = chain()
    values = Probe(model, ["near", "x", "fused"])(frames)
    assert set(values) == {"near", "x", "fused"}
    assert values["near"] is frames["near"]
    assert len(model.graph.output) == 1
    onnx.checker.check_model(model)
