"""A pair's graph without a batch computes the same."""

import numpy as np
import onnx
import pytest

from ufafuse.export.form import Form
from ufafuse.export.onnx_export import onnx_from_weights
from ufafuse.export.unbatched import batch_free, unbatched
from ufafuse.runtime.errors import ModelError

ort = pytest.importorskip("onnxruntime")
SIZE = (32, 48)


@pytest.fixture(scope="module")
def static(exports, tmp_path_factory):
    out = tmp_path_factory.mktemp("static") / "x.onnx"
    onnx_from_weights(exports / "small.safetensors", out, form=Form(17, SIZE))
    return onnx.load(out)


def test_the_two_frames_go_apart_and_nothing_else_changes(static):
    rng = np.random.default_rng(0)
    apart = unbatched(onnx.ModelProto.FromString(static.SerializeToString()))
    onnx.checker.check_model(apart, full_check=True)
    assert not batch_free(static)
    assert batch_free(apart)
    frames = {name: rng.random((1, 3, *SIZE), dtype=np.float32) for name in ("near", "far")}
    found = [ort.InferenceSession(model.SerializeToString()).run(None, frames) for model in (static, apart)]
    assert max(np.abs(a - b).max() for a, b in zip(*found, strict=True)) < 1e-6


def graph(*nodes, outputs=("y",)):
    value = onnx.helper.make_tensor_value_info
    inputs = [value(name, onnx.TensorProto.FLOAT, [1, 2]) for name in ("a", "b", "c")]
    made = [value(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    numbers = [onnx.numpy_helper.from_array(np.array([number], np.int64), f"n{number}") for number in (0, 1, 2)]
    return onnx.helper.make_model(onnx.helper.make_graph(list(nodes), "g", inputs, made, numbers))


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([onnx.helper.make_node("Concat", ["a", "b", "c"], ["y"], axis=0)], "joins 3 tensors"),
        (
            [
                onnx.helper.make_node("Concat", ["a", "b"], ["x"], axis=0),
                onnx.helper.make_node("Slice", ["x", "n0", "n2", "n0"], ["y"]),
            ],
            "items 0 to 2",
        ),
        ([onnx.helper.make_node("Concat", ["a", "b"], ["y"], axis=0)], "output y is a part of a batch"),
    ],
)
def test_what_cannot_be_taken_apart_is_said(nodes, said):
    with pytest.raises(ModelError, match=said):
        unbatched(graph(*nodes))
