"""Exported files: what they hold, that they are PyTorch's twin, and that a failure leaves nothing behind."""

import errno
import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from ufafuse.export import onnx_check, onnx_export
from ufafuse.export.onnx_export import Companions, onnx_from_weights, report_path
from ufafuse.export.synthetic import synthetic_pair
from ufafuse.network.weights import load_weights
from ufafuse.runtime.artefact import read_manifest, sha256_of
from ufafuse.runtime.errors import CheckFailed, InputError, ModelError, OutputError


def session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def planes(frame):
    return np.ascontiguousarray(frame[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255)


def dims(value):
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_names_types_and_free_dimensions_of_float_io(exports):
    graph = onnx.load(exports / "small.onnx").graph
    assert {value.name: dims(value) for value in graph.input} == {
        "near": ["batch", 3, "height", "width"],
        "far": ["batch", 3, "height", "width"],
    }
    assert {value.name: dims(value) for value in graph.output} == {
        "fused": ["batch", 3, "height", "width"],
        "map": ["batch", 1, "height", "width"],
    }


def test_names_types_and_free_dimensions_of_uint8_io(exports):
    graph = onnx.load(exports / "half.onnx").graph
    types = {value.name: (value.type.tensor_type.elem_type, dims(value)) for value in (*graph.input, *graph.output)}
    frame = (onnx.TensorProto.UINT8, ["batch", "height", "width", 3])
    assert types == {
        "near": frame,
        "far": frame,
        "fused": frame,
        "map": (onnx.TensorProto.FLOAT, ["batch", 1, "height", "width"]),
    }


def test_the_manifest_says_what_the_file_is(exports):
    manifest = read_manifest(exports / "half.onnx")
    assert (manifest.kind, manifest.variant, manifest.precision, manifest.io) == ("onnx", "small", "fp16", "uint8")
    assert manifest.weights_sha256 == sha256_of(exports / "small.safetensors")
    spec = load_weights(exports / "small.safetensors").spec
    for role, path in (("whole", "small.onnx"), ("means", "small.means.onnx"), ("tile", "small.tile.onnx")):
        extra = read_manifest(exports / path).extra
        assert (extra["role"], extra["stride"], extra["halo"]) == (role, spec.stride, spec.halo)
        assert (extra["strides"], extra["widths"]) == ([2, 4], [4, 6])


def test_files_name_no_path_of_their_maker(exports):
    for path in exports.glob("*.onnx"):
        data = path.read_bytes()
        assert b"/" + b"train/" not in data
        assert str(Path(onnx_export.__file__).parent).encode() not in data


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (5, 9), (64, 97)])
def test_fp32_is_pytorchs_twin_at_any_size_and_batch(exports, size):
    net = load_weights(exports / "small.safetensors")
    pairs = [synthetic_pair(*size, seed=seed) for seed in range(3)]
    near, far = (np.concatenate([planes(pair[side]) for pair in pairs]) for side in (0, 1))
    fused, weight = session(exports / "small.onnx").run(["fused", "map"], {"near": near, "far": far})
    with torch.inference_mode():
        expected = net.forward_with_map(torch.from_numpy(near), torch.from_numpy(far))
    assert np.abs(fused - expected[0].numpy()).max() < 1e-5
    assert np.abs(weight - expected[1].numpy()).max() < 1e-5


def test_a_head_with_a_residual_is_exported_too(residual, tmp_path):
    target = tmp_path / "residual.onnx"
    onnx_from_weights(residual, target)
    near, far = (planes(frame) for frame in synthetic_pair(33, 47))
    fused = session(target).run(["fused"], {"near": near, "far": far})[0]
    with torch.inference_mode():
        expected = load_weights(residual)(torch.from_numpy(near), torch.from_numpy(far)).numpy()
    assert np.abs(fused - expected).max() < 1e-5
    assert np.any(fused > np.maximum(near, far) + 1e-3)  # the residual is in it: no mixture of the frames gives that


def test_uint8_io_takes_and_gives_camera_frames(exports):
    net = load_weights(exports / "small.safetensors")
    near, far = synthetic_pair(67, 93)
    fused, _ = session(exports / "half.onnx").run(["fused", "map"], {"near": near[None], "far": far[None]})
    with torch.inference_mode():
        expected = net(torch.from_numpy(planes(near)), torch.from_numpy(planes(far)))[0].numpy()[::-1].transpose(1, 2, 0)
    assert fused.dtype == np.uint8
    assert np.abs(fused[0].astype(int) - np.rint(expected * 255).astype(int)).max() <= 1


def test_tiles_with_the_whole_frames_means_make_the_whole_frame(exports):
    extra = read_manifest(exports / "small.onnx").extra
    stride, halo = extra["stride"], -(-extra["halo"] // extra["stride"]) * extra["stride"]
    near, far = (planes(frame) for frame in synthetic_pair(101, 150))
    whole = session(exports / "small.onnx").run(["fused", "map"], {"near": near, "far": far})
    companions = Companions.of(exports / "small.onnx")
    sums, tile = session(companions.means), session(companions.tile)
    height, width = near.shape[2:]
    padded = [-(-side // stride) * stride for side in (height, width)]
    counts = np.repeat([padded[0] // s * (padded[1] // s) for s in extra["strides"]], extra["widths"])
    cores = [(top, left) for top in range(0, height, 8 * stride) for left in range(0, width, 8 * stride)]

    def windows(frame):
        for top, left in cores:
            bottom, right = min(top + 8 * stride, height), min(left + 8 * stride, width)
            first, start = max(0, top - halo), max(0, left - halo)
            window = frame[:, :, first : min(bottom + halo, height), start : min(right + halo, width)]
            yield np.ascontiguousarray(window), (slice(top, bottom), slice(left, right)), (first, start)

    means = []
    for frame in (near, far):
        total = 0
        for window, (rows, columns), (first, start) in windows(frame):
            mask = np.zeros((1, 1, *window.shape[2:]), np.float32)
            mask[..., rows.start - first : rows.stop - first, columns.start - start : columns.stop - start] = 1
            total = total + sums.run(["sums"], {"frame": window, "mask": mask})[0].astype(np.float64)
        means.append((total / counts).astype(np.float32))
    for (a, (rows, columns), (first, start)), (b, *_) in zip(windows(near), windows(far), strict=True):
        parts = tile.run(["fused", "map"], {"near": a, "far": b, "means_near": means[0], "means_far": means[1]})
        inner = (..., slice(rows.start - first, rows.stop - first), slice(columns.start - start, columns.stop - start))
        for part, expected in zip(parts, whole, strict=True):
            assert np.abs(part[inner] - expected[..., rows, columns]).max() < 1e-5


def test_the_sums_of_a_large_frame_keep_their_digits(exports):
    """ONNX Runtime adds up one after the other: 1024 x 1024 numbers at once lose more than 1e-5."""
    frame = np.random.default_rng(0).random((1, 3, 2048, 2048), np.float32)
    inputs = {"frame": frame, "mask": np.ones((1, 1, 2048, 2048), np.float32)}
    (sums,) = session(Companions.of(exports / "small.onnx").means).run(["sums"], inputs)
    with torch.inference_mode():
        features = load_weights(exports / "small.safetensors").double().encode(torch.from_numpy(frame).double())
    exact = np.concatenate([feature.sum((2, 3)).numpy() for feature in features], 1)
    np.testing.assert_allclose(sums, exact, rtol=2e-6)


def test_global_means_and_sums_are_float32_in_a_half_graph(exports):
    model = onnx.shape_inference.infer_shapes(onnx.load(exports / "half.onnx"), data_prop=True)
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    means = [node for node in model.graph.node if node.op_type == "ReduceMean"]
    over_pixels = [node for node in means if set(constants[node.input[1]].tolist()) <= {2, 3, -1, -2}]
    assert len(over_pixels) == 4  # two scales, of both frames at once: along the rows, and down
    assert {types[node.input[0]] for node in over_pixels} == {onnx.TensorProto.FLOAT}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert {weights[node.input[1]] for node in convolutions} == {onnx.TensorProto.FLOAT16}


def test_a_report_lies_beside_the_file(exports):
    import json

    report = json.loads(report_path(exports / "small.onnx").read_text())
    assert report["ok"]
    assert set(report["files"]) == {"small.onnx", "small.means.onnx", "small.tile.onnx"}
    assert report["verified"]["small.onnx"]["worst"]["max_abs"] < 1e-5 * 255
    names = {row["name"] for row in report["verified"]["small.onnx"]["pairs"]}
    assert {"1x1", "2x3", "4x4", "5x9", "67x93", "black", "white", "noise", "checkerboard"} <= names


@pytest.fixture
def traced(exports, monkeypatch):
    """Skip the slow tracing: the graph is the one that was exported before."""
    monkeypatch.setattr(onnx_export, "trace", lambda *_: None)
    monkeypatch.setattr(onnx_export, "finished", lambda *_: (exports / "small.onnx").read_bytes())
    return exports / "small.safetensors"


def test_a_file_that_fails_its_check_is_not_left_behind(traced, tmp_path, monkeypatch):
    def differs(path, *_):
        assert path.is_file()
        raise CheckFailed("it differs")

    monkeypatch.setattr(onnx_export, "verify_graph", differs)
    with pytest.raises(CheckFailed):
        onnx_from_weights(traced, tmp_path / "x.onnx", tiles=True)
    assert not list(tmp_path.iterdir())


def test_a_graph_of_other_weights_fails_its_check_and_says_by_how_much(traced, plain, tmp_path):
    with pytest.raises(
        CheckFailed, match=r"differs from PyTorch at .*: [\d.]+ dB, [\d.e+]+ levels; allowed: .* levels at most"
    ) as told:
        onnx_from_weights(plain, tmp_path / "x.onnx")
    assert "{" not in str(told.value)
    assert not list(tmp_path.iterdir())


def test_averages_that_differ_are_told_in_words():
    row = {"relative": 0.25, "finite": True}
    assert onnx_check._in_words(row, {"relative": 1e-5}, "fp32") == "2.5e-01 of the averages, allowed: 1e-05"
    assert onnx_check._in_words(row | {"finite": False}, {}, "fp32") == "it is not finite there"


def test_a_full_disk_leaves_nothing_behind(traced, tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        onnx_from_weights(traced, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_companions_of_another_export_are_told(traced, exports, tmp_path):
    for source, name in (("half.onnx", "x.means.onnx"), ("small.tile.onnx", "x.tile.onnx")):
        (tmp_path / name).write_bytes((exports / source).read_bytes())
    (tmp_path / "x.encode.onnx").write_bytes(b"no graph")
    told = onnx_from_weights(traced, tmp_path / "x.onnx", sizes=[(8, 8)])["warnings"]
    assert [text.split(" lay beside x.onnx before")[0] for text in told] == ["x.means.onnx and x.encode.onnx"]
    assert "warnings" not in onnx_from_weights(traced, tmp_path / "y.onnx", sizes=[(8, 8)])


@pytest.mark.parametrize("name", ["x.means.onnx", "x.onnx.json"])
def test_existing_files_are_kept_unless_forced(name, traced, tmp_path):
    companion = tmp_path / name
    companion.write_bytes(b"mine")
    with pytest.raises(OutputError, match="force=True"):
        onnx_from_weights(traced, tmp_path / "x.onnx", tiles=True)
    assert companion.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [companion]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"out": "x.engine"}, r"\.onnx"),
        ({"precision": "int8"}, "ufa calibrate"),
        ({"precision": "fp64"}, "choose fp32 or fp16"),
        ({"io": "nhwc"}, "io=nhwc"),
    ],
)
def test_unknown_options_are_refused(options, what, traced, tmp_path):
    with pytest.raises(InputError, match=what):
        onnx_from_weights(traced, tmp_path / options.pop("out", "x.onnx"), **options)


def test_truncated_weights_are_refused(exports, tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes((exports / "small.safetensors").read_bytes()[:-10])
    with pytest.raises(ModelError, match="truncated"):
        onnx_from_weights(broken, tmp_path / "x.onnx")


def test_a_folder_that_is_not_there_is_refused(traced, tmp_path):
    with pytest.raises(OutputError, match="is not a folder: make it first"):
        onnx_from_weights(traced, tmp_path / "none" / "x.onnx")
