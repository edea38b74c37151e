"""The graphs for stacks: PyTorch's twins one by one, and, put together by hand, its fusion of any number of frames."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.export.build_options import BuildOptions
from ufafuse.export.engine import engine_from_onnx
from ufafuse.export.onnx_export import Companions, onnx_from_weights
from ufafuse.export.onnx_file import stamped
from ufafuse.export.profiles import Profile
from ufafuse.export.synthetic import synthetic_scene
from ufafuse.export.verify import verify_against_weights
from ufafuse.network.stacknet import STEEP, log_weights, octaves
from ufafuse.network.weights import load_weights
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import CheckFailed, InputError, ModelError
from ufafuse.runtime.session import open_session

SIZES = [(1, 1), (2, 3), (8, 8), (9, 17), (45, 70)]


def session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def files(folder, name="gathering"):
    whole = folder / f"{name}.onnx"
    beside = Companions.of(whole)
    return {"whole": whole, "encode": beside.encode, "common": beside.common, "score": beside.score}


def stack(count, height, width):
    """K x 3 x H x W: a scene that is sharp in another part of each frame."""
    scene = synthetic_scene(height, width, seed=count).astype(np.float32) / 255
    planes = torch.from_numpy(np.ascontiguousarray(scene[..., ::-1].transpose(2, 0, 1)))
    blurred = F.avg_pool2d(F.pad(planes[None], (3, 3, 3, 3), mode="replicate"), 7, 1)[0]
    column = torch.arange(width) * count // width
    return torch.stack([torch.where(column == frame, planes, blurred) for frame in range(count)])


@pytest.fixture(scope="module")
def net(gathering):
    return load_weights(gathering / "gathering.safetensors")


@pytest.fixture(scope="module")
def sessions(gathering):
    return {role: session(path) for role, path in files(gathering).items()}


def run(sess, inputs):
    outputs = [output.name for output in sess.get_outputs()]
    return dict(zip(outputs, sess.run(outputs, inputs), strict=True))


def encoded(sess, frames):
    """(features, attention) of K frames, a list over the scales of each."""
    outputs = run(sess, {"frame": np.ascontiguousarray(frames)})
    scales = range(len(outputs) // 2)
    features = [np.moveaxis(outputs[f"features_{scale}"], 3, 1) for scale in scales]
    return features, [outputs[f"attention_{scale}"] for scale in scales]


def last(planes):
    """With the channels last, as the graphs hand features on."""
    return np.ascontiguousarray(np.moveaxis(planes, 1, 3))


def gathered(features, attention, covered):
    """What a frame is compared with; `covered` is K x 1 x H x W, padded to the stride."""
    told = []
    for f, weight in zip(features, attention, strict=True):
        step = covered.shape[-1] // f.shape[-1]
        cells = covered.reshape(len(covered), 1, f.shape[2], step, f.shape[3], step).mean((3, 5))
        mean = (f * weight * cells).sum(0, keepdims=True) / (weight * cells).sum(0, keepdims=True)
        told.append(np.concatenate([mean, (f * cells).max(0, keepdims=True)], 1))
    return told


def padded(planes, stride=8):
    height, width = planes.shape[-2:]
    return np.pad(planes, ((0, 0), (0, 0), (0, -height % stride), (0, -width % stride)), mode="edge")


def fused_by_hand(sessions, frames, covered):
    """What a runtime does: every frame alone through two graphs, and between them numpy and a third."""
    height, width = frames.shape[-2:]
    each = [encoded(sessions["encode"], frame[None]) for frame in frames]
    features, attention = ([np.concatenate(scale) for scale in zip(*part, strict=True)] for part in zip(*each, strict=True))
    told = gathered(features, attention, padded(covered))
    count = covered.sum(0, keepdims=True)
    mean = (frames * covered).sum(0, keepdims=True) / count
    weights = [
        run(sessions["score"], beside(sessions, frame[None], mean, count, told, own))["weights"]
        for frame, own in zip(frames, zip(*(np.split(f, len(f)) for f in features), strict=True), strict=True)
    ]
    shares = np.moveaxis(np.concatenate(weights), 3, 1) * covered
    shares = shares / shares.sum(0, keepdims=True)
    bands = octaves(torch.from_numpy(padded(frames)))
    parts = [(band.numpy()[..., :height, :width] * shares[:, i : i + 1]).sum(0) for i, band in enumerate(bands)]
    unseen = (1 - covered) * 1e4
    return np.clip(sum(parts), (frames + unseen).min(0), (frames - unseen).max(0)), shares


def beside(sessions, frame, mean, count, told, own):
    """All that a frame is scored with, of its own features too."""
    planes = {"mean": mean, "count": count}
    given = dict(planes)
    for scale, each in enumerate(told):
        average, greatest = np.split(each, 2, 1)
        given |= {f"average_{scale}": last(average), f"greatest_{scale}": last(greatest)}
    common = run(sessions["common"], given)
    return {"frame": frame, **planes, **common, **{f"features_{scale}": last(each) for scale, each in enumerate(own)}}


def test_names_types_and_free_dimensions(gathering):
    def dims(value):
        return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]

    found = {}
    for role, path in files(gathering).items():
        graph = onnx.load(path).graph
        assert {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)} == {onnx.TensorProto.FLOAT}
        found[role] = [{value.name: dims(value) for value in values} for values in (graph.input, graph.output)]
    fine, coarse = (["height_8_4", "width_8_4"], ["height_8_8", "width_8_8"])
    frame, one = ["batch", 3, "height", "width"], ["batch", 1, "height", "width"]
    assert found["whole"] == [{"near": frame, "far": frame}, {"fused": frame, "map": one}]
    assert found["encode"] == [
        {"frame": frame},
        {
            "features_0": ["batch", *fine, 4],
            "features_1": ["batch", *coarse, 6],
            "attention_0": ["batch", 1, *fine],
            "attention_1": ["batch", 1, *coarse],
        },
    ]
    common = {"common_0": ["batch", *fine, 4], "common_1": ["batch", *coarse, 6]}
    stands_out, planes = {"stands_out": ["batch", *fine, 16]}, {"mean": frame, "count": one}
    assert found["common"] == [
        {
            **planes,
            "average_0": ["batch", *fine, 4],
            "average_1": ["batch", *coarse, 6],
            "greatest_0": ["batch", *fine, 4],
            "greatest_1": ["batch", *coarse, 6],
        },
        {**common, **stands_out},
    ]
    features = {"features_0": ["batch", *fine, 4], "features_1": ["batch", *coarse, 6]}
    weights = {"weights": ["batch", "height", "width", 3]}
    assert found["score"] == [{"frame": frame, **planes, **stands_out, **features, **common}, weights]


def test_the_manifests_say_what_a_runtime_needs(gathering, net):
    for role, path in files(gathering).items():
        manifest = read_manifest(path)
        assert manifest.variant == "gathering"
        extra = {key: value for key, value in manifest.extra.items() if key not in ("opset", "graph_sha256")}
        assert extra == {
            "role": role,
            "gathers": True,
            "global_means": False,
            "halo": net.spec.halo,
            "encode_halo": net.spec.encode_halo,
            "score_halo": net.spec.score_halo,
            "stride": 8,
            "strides": [4, 8],
            "widths": [4, 6],
            "octaves": [2, 8],
        }
    report = json.loads((gathering / "gathering.onnx.json").read_text())
    assert {name: file["role"] for name, file in report["files"].items()} == {
        "gathering.onnx": "whole",
        "gathering.encode.onnx": "encode",
        "gathering.common.onnx": "common",
        "gathering.score.onnx": "score",
    }


@pytest.mark.parametrize("size", SIZES)
def test_the_whole_graph_is_the_stack_of_two(size, net, sessions):
    near, far = np.random.default_rng(1).random((2, 3, 3, *size), np.float32)
    outputs = run(sessions["whole"], {"near": near, "far": far})
    with torch.inference_mode():
        fused, weights = net.forward_stack(torch.from_numpy(np.stack([near, far], 1)))
    assert np.abs(outputs["fused"] - fused.numpy()).max() < 1e-5
    assert np.abs(outputs["map"] - weights[:, :1].numpy()).max() < 1e-5


@pytest.mark.parametrize("size", SIZES)
def test_the_encoding_graph_gives_features_and_exp_of_their_attention(size, net, sessions):
    frames = np.random.default_rng(2).random((3, 3, *size), np.float32)
    features, attention = encoded(sessions["encode"], frames)
    with torch.inference_mode():
        expected = net.encode(torch.from_numpy(frames))
        scores = net.attend(expected)
    for found, wanted in zip([*features, *attention], [*expected, *(score.exp() for score in scores)], strict=True):
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_the_scoring_graph_gives_exp_of_the_scores(size, net, sessions):
    draw = np.random.default_rng(3)
    frames, mean = draw.random((2, 3, 3, *size), np.float32)
    count = draw.integers(1, 13, (3, 1, *size)).astype(np.float32)
    with torch.inference_mode():
        features = net.encode(torch.from_numpy(frames))
        told = [draw.standard_normal((3, 2 * f.shape[1], *f.shape[2:])).astype(np.float32) for f in features]
        common = [compare.common(torch.from_numpy(each)) for compare, each in zip(net.compare, told, strict=True)]
        planes = (net.pad(torch.from_numpy(each)) for each in (frames, mean, count))
        flat, *others = planes
        stands_out = net.stands_out(*others)
        scores = torch.cat(net.score(flat, features, common, *others, stands_out), 1)[..., : size[0], : size[1]]
    inputs = beside(sessions, frames, mean, count, told, [f.numpy() for f in features])
    for scale, each in enumerate(common):
        np.testing.assert_allclose(inputs[f"common_{scale}"], last(each.numpy()), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(inputs["stands_out"], last(stands_out.numpy()), rtol=1e-5, atol=1e-5)
    weights = np.moveaxis(run(sessions["score"], inputs)["weights"], 3, 1)
    np.testing.assert_allclose(np.log(weights), log_weights(scores).numpy(), atol=1e-4 * max(STEEP))


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("size", [(16, 24), (13, 21)])
def test_every_engine_names_all_results(size, backend, gathering):
    """At multiples of the stride nothing is cut off, and OpenVINO gives the results the names of what it left out."""
    pytest.importorskip(backend)
    draw = np.random.default_rng(6)
    frame = draw.random((1, 3, *size), np.float32)
    cells = [[-(-side // 8) * 8 // step for side in size] for step in (4, 8)]

    def drawn(name):
        scales = enumerate(zip((4, 6), cells, strict=True))
        return {f"{name}_{scale}": draw.random((1, *sides, width), np.float32) for scale, (width, sides) in scales}

    planes = {"mean": frame, "count": np.full((1, 1, *size), 2, np.float32)}
    stands_out = {"stands_out": draw.random((1, *cells[0], 16), np.float32)}
    inputs = {
        "whole": {"near": frame, "far": frame},
        "encode": {"frame": frame},
        "common": {**planes, **drawn("average"), **drawn("greatest")},
        "score": {"frame": frame, **planes, **stands_out, **drawn("features"), **drawn("common")},
    }
    for role, path in files(gathering).items():
        with open_session(path, backend=backend) as opened:
            wanted = {output.name for output in session(path).get_outputs()}
            assert set(opened.infer(inputs[role])) == wanted


@pytest.mark.parametrize(("count", "size"), [(2, (45, 70)), (5, (37, 51)), (12, (16, 24))])
@pytest.mark.parametrize("partly", [False, True])
def test_frame_by_frame_it_is_the_fusion_of_the_whole_stack(count, size, partly, net, sessions):
    frames = stack(count, *size)
    covered = torch.ones(count, 1, *size)
    if partly:
        covered[-1, :, :, : size[1] // 2] = 0
        covered[0, :, : size[0] // 3 if count > 2 else 0] = 0  # some frame covers every pixel
    with torch.inference_mode():
        expected, weights = net.forward_stack(frames[None], covered[None])
    fused, shares = fused_by_hand(sessions, frames.numpy(), covered.numpy())
    assert np.abs(fused - expected[0].numpy()).max() < 1e-5
    assert np.abs(shares[:, 0] - weights[0].numpy()).max() < 1e-5


def windows(size, halo, stride=8, core=24):
    """(window, core, core within the window) of tiles that start at multiples of the stride."""
    margin = -(-halo // stride) * stride
    for top in range(0, size[0], core):
        for left in range(0, size[1], core):
            ends = min(top + core, size[0]), min(left + core, size[1])
            first = max(0, top - margin), max(0, left - margin)
            window = tuple(slice(a, min(b + margin, c)) for a, b, c in zip(first, ends, size, strict=True))
            inner = tuple(slice(a - f, b - f) for a, b, f in zip((top, left), ends, first, strict=True))
            yield window, (slice(top, ends[0]), slice(left, ends[1])), inner


def cells(slices, step):
    return tuple(slice(-(-each.start // step), -(-each.stop // step)) for each in slices)


def test_tiles_with_each_graphs_halo_make_the_whole(gathering, sessions):
    size, extra = (101, 150), read_manifest(gathering / "gathering.onnx").extra
    near, far = (frame[None].numpy() for frame in stack(2, *size))
    whole = run(sessions["whole"], {"near": near, "far": far})
    features, attention = encoded(sessions["encode"], near)
    both = [
        np.concatenate(pair)
        for part in zip(encoded(sessions["encode"], far), (features, attention), strict=True)
        for pair in zip(*part, strict=True)
    ]
    told = gathered(both[:2], both[2:], padded(np.ones((2, 1, *size), np.float32)))
    planes = {"frame": near, "mean": (near + far) / 2, "count": np.full((1, 1, *size), 2, np.float32)}
    given = beside(sessions, near, planes["mean"], planes["count"], told, features)
    weights = np.moveaxis(run(sessions["score"], given)["weights"], 3, 1)
    for window, core, inner in windows(size, extra["halo"]):
        part = run(sessions["whole"], {"near": near[(..., *window)].copy(), "far": far[(..., *window)].copy()})
        assert np.abs(part["fused"][(..., *inner)] - whole["fused"][(..., *core)]).max() < 1e-5
    for window, core, inner in windows(size, extra["encode_halo"]):
        found = encoded(sessions["encode"], near[(..., *window)])
        for parts, wholes in zip(found, (features, attention), strict=True):
            for part, expected, step in zip(parts, wholes, extra["strides"], strict=True):
                np.testing.assert_allclose(
                    part[(..., *cells(inner, step))], expected[(..., *cells(core, step))], rtol=1e-5, atol=1e-6
                )
    for window, core, inner in windows(size, extra["score_halo"]):
        inputs = {name: plane[(..., *window)].copy() for name, plane in planes.items()}
        own = encoded(sessions["encode"], inputs["frame"])[0]
        seen = [each[(..., *cells(window, step))].copy() for each, step in zip(told, extra["strides"], strict=True)]
        given = beside(sessions, inputs["frame"], inputs["mean"], inputs["count"], seen, own)
        part = np.moveaxis(run(sessions["score"], given)["weights"], 3, 1)
        np.testing.assert_allclose(part[(..., *inner)], weights[(..., *core)], rtol=3e-5)


def test_a_smaller_halo_would_not_do(gathering, sessions):
    """The test above could pass with any halo if far pixels hardly counted."""
    size, extra = (101, 150), read_manifest(gathering / "gathering.onnx").extra
    near = np.random.default_rng(5).random((1, 3, *size), np.float32)
    attention = encoded(sessions["encode"], near)[1]
    worst = 0.0
    for window, core, inner in windows(size, extra["encode_halo"] - 8 * 3):
        parts = encoded(sessions["encode"], near[(..., *window)])[1]
        for part, expected, step in zip(parts, attention, extra["strides"], strict=True):
            worst = max(worst, np.abs(part[(..., *cells(inner, step))] - expected[(..., *cells(core, step))]).max())
    assert worst > 1e-4


def test_half_precision_keeps_sums_and_exponentials_in_float32(gathering):
    for path in files(gathering, "half").values():
        model = onnx.shape_inference.infer_shapes(onnx.load(path), data_prop=True)
        types = {value.name: value.type.tensor_type.elem_type for value in (*model.graph.value_info, *model.graph.output)}
        weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type in ("Tanh", "Exp", "Sigmoid", "AveragePool"):
                assert types[node.output[0]] == onnx.TensorProto.FLOAT
        half = [
            node for node in model.graph.node if node.op_type == "Conv" and weights[node.input[1]] == onnx.TensorProto.FLOAT16
        ]
        assert len(half) >= 2


@pytest.mark.parametrize("name", ["gathering", "half"])
@pytest.mark.parametrize("role", ["whole", "encode", "common", "score"])
def test_each_graph_is_verified_by_itself(name, role, gathering):
    report = verify_against_weights(
        files(gathering, name)[role], gathering / "gathering.safetensors", sizes=[(45, 70)], backend="onnxruntime"
    ).report
    assert report["ok"]
    assert report["pairs"][0]["size"] == [45, 70]


@pytest.mark.parametrize(
    ("role", "layer"),
    [("encode", "net.encoder.0.0.0.weight"), ("common", "net.compare.0.common.weight"), ("score", "net.apart.weight")],
)
def test_a_graph_of_wrong_weights_does_not_pass(role, layer, gathering, tmp_path):
    model = onnx.load(files(gathering)[role])
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == layer)
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(1.1), layer))
    path = tmp_path / "wrong.onnx"
    path.write_bytes(stamped(model))
    findings = verify_against_weights(path, gathering / "gathering.safetensors", sizes=[(45, 70)], backend="onnxruntime")
    with pytest.raises(CheckFailed):
        findings.require()


def test_other_networks_have_no_graphs_for_stacks(exports, plain, gathering, tmp_path):
    from ufafuse.export.stack_check import StackRun

    with pytest.raises(ModelError, match="does not gather"):
        StackRun(load_weights(plain))
    with pytest.raises(InputError, match="`tiles`"):
        onnx_from_weights(gathering / "gathering.safetensors", tmp_path / "x.onnx", tiles=True)


@pytest.mark.parametrize("name", ["gathering", "half"])
@pytest.mark.parametrize("role", ["whole", "encode", "common", "score"])
def test_tensorrt_rtx_builds_each_graph(name, role, gathering, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="needs the wheels of TensorRT-RTX (x86-64)")
    options = BuildOptions((Profile((1, 1), (45, 70), (96, 128), (1, 1, 3)),), "tensorrt-rtx", ("sm75", "sm89"))
    built = engine_from_onnx(files(gathering, name)[role], tmp_path / "x.engine", options)
    assert (built["role"], built["gathers"], built["score_halo"]) == (
        role,
        True,
        read_manifest(files(gathering)[role]).extra["score_halo"],
    )
    assert (built["layers"]["half"] > 0) == (name == "half")


def test_info_shows_the_role(gathering):
    for role, path in files(gathering).items():
        result = CliRunner().invoke(build_app(), ["info", str(path), "--json"])
        assert json.loads(result.stdout)["artefact"]["extra"]["role"] == role
        assert role in CliRunner().invoke(build_app(), ["info", str(path)]).stdout
    assert Path(path).is_file()
