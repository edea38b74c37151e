"""Artefacts against the weights they came from."""

import cv2
import numpy as np
import onnx
import pytest

from ufafuse.export.onnx_file import stamped
from ufafuse.export.synthetic import synthetic_pair
from ufafuse.export.verify import load_pairs, pack_reference, prepared, verify_against_weights
from ufafuse.runtime.artefact import sha256_of
from ufafuse.runtime.checks.cases import load_reference, verify_against_reference
from ufafuse.runtime.errors import CheckFailed, InputError, ModelError
from ufafuse.runtime.session import SessionOptions


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    for index, size in enumerate([(50, 70), (64, 64), (41, 90)]):
        for side, frame in zip("AB", synthetic_pair(*size, seed=index), strict=True):
            cv2.imwrite(str(folder / f"p{index}_{side}.png"), frame)
    return folder


@pytest.fixture(scope="module")
def spoilt(exports, tmp_path_factory):
    """The exported file with one weight changed a little: its manifest is right, its results are not."""
    model = onnx.load(exports / "small.onnx")
    tensor = next(tensor for tensor in model.graph.initializer if "head.weight" in tensor.name)
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(1.2), tensor.name))
    path = tmp_path_factory.mktemp("spoilt") / "spoilt.onnx"
    path.write_bytes(stamped(model))
    return path


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_fp32_meets_its_tolerance_on_every_pair(backend, exports, pairs):
    exact = SessionOptions(precision="fp32")  # where the CPU has bf16, OpenVINO would take it by itself
    files = exports / "small.onnx", exports / "small.safetensors"
    findings = verify_against_weights(*files, pairs=pairs, backend=backend, options=exact)
    findings.require()
    report = findings.report
    assert [row["size"] for row in report["pairs"]] == [[50, 70], [64, 64], [41, 90]]
    assert report["worst"] in report["pairs"]
    assert set(report["worst"]) >= {"name", "size", "max_abs", "mean_abs", "psnr", "ssim", "finite"}
    assert report["tolerance"]["max_abs"] == pytest.approx(1e-5 * 255)


def test_one_size_is_judged_on_as_many_pairs_as_any(exports):
    files = exports / "small.onnx", exports / "small.safetensors"
    shown = {}
    for sizes in ((), [(40, 31)], [(600, 600)]):  # of a large one, one pair shows enough
        cases = prepared(*files, sizes=sizes).cases
        shown[len(sizes) and sizes[0][0]] = [case.name for case in cases]
        assert len({case.near.tobytes() for case in cases}) == len(cases)
    assert len(shown[0]) == 3
    assert shown[40] == ["synthetic 40x31", "synthetic 40x31 (2)", "synthetic 40x31 (3)"]
    assert shown[600] == ["synthetic 600x600"]


def test_half_uint8_meets_its_tolerance(exports, pairs):
    report = verify_against_weights(
        exports / "half.onnx", exports / "small.safetensors", pairs=pairs, sizes=[(40, 40), (31, 33)], backend="onnxruntime"
    ).report
    assert report["ok"]
    assert (report["precision"], len(report["pairs"])) == ("fp16", 6)


def test_a_wrong_result_is_told_and_pictured(spoilt, exports, pairs, tmp_path):
    findings = verify_against_weights(spoilt, exports / "small.safetensors", pairs=pairs, backend="onnxruntime")
    assert not findings.report["ok"]
    with pytest.raises(CheckFailed, match="3 of 3 pairs miss"):
        findings.require()
    report, picture = findings.write(tmp_path)
    assert report.name == "spoilt.onnx.verify.json"
    worst = findings.report["worst"]["size"]
    shown = cv2.imread(str(picture))
    assert shown.shape[1] == 3 * worst[1]
    assert shown.shape[0] > worst[0]


def _swapped(model):
    """The frames change places: a network that is the same for either order gives another map and nothing else."""
    other = {"near": "far", "far": "near"}
    for node in model.graph.node:
        node.input[:] = [other.get(name, name) for name in node.input]


def _scaled(model, output="map", factor=0.99):
    for node in model.graph.node:
        node.output[:] = ["own" if name == output else name for name in node.output]
        node.input[:] = ["own" if name == output else name for name in node.input]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(factor), "factor"))
    model.graph.node.append(onnx.helper.make_node("Mul", ["own", "factor"], [output]))


@pytest.mark.parametrize("spoil", [_swapped, _scaled])
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", ["small.onnx", "small.tile.onnx"])
def test_a_file_whose_map_is_wrong_is_told(name, backend, spoil, exports, pairs, tmp_path):
    """What it fuses is right: streams, heights and `--map` would be wrong."""
    model = onnx.load(exports / name)
    spoil(model)
    if spoil is _swapped and "tile" in name:  # with their averages
        for node in model.graph.node:
            node.input[:] = [{"means_near": "means_far", "means_far": "means_near"}.get(each, each) for each in node.input]
    (tmp_path / name).write_bytes(stamped(model))
    weights, exact = exports / "small.safetensors", SessionOptions(precision="fp32")
    findings = verify_against_weights(tmp_path / name, weights, pairs=pairs, backend=backend, options=exact)
    assert [row["ok"] for row in findings.report["pairs"]] == [False] * 3
    assert all(row["max_abs"] <= findings.report["tolerance"]["max_abs"] for row in findings.report["pairs"])
    assert "by its map" in findings.verdict
    findings.write(tmp_path)
    if name == "small.onnx":
        pack_reference(weights, tmp_path / "small.npz", pairs=pairs, sizes=[(32, 40)])
        packed = verify_against_reference(tmp_path / name, tmp_path / "small.npz", backend=backend, options=exact)
        assert "by its map" in packed.verdict


@pytest.mark.parametrize(("role", "runs"), [("means", 4), ("tile", 1)])  # each half of each frame; the pair
def test_a_companion_runs_once_though_several_things_are_looked_at(role, runs, exports, pairs, monkeypatch):
    from ufafuse.runtime.backends import onnxruntime

    counted, infer = [], onnxruntime.OnnxRuntimeSession.infer
    monkeypatch.setattr(
        onnxruntime.OnnxRuntimeSession, "infer", lambda self, inputs: (counted.append(1), infer(self, inputs))[1]
    )
    files = exports / f"small.{role}.onnx", exports / "small.safetensors"
    verify_against_weights(*files, pairs=pairs, max_pairs=2, backend="onnxruntime").require()
    assert len(counted) == 2 * runs


@pytest.mark.parametrize("role", ["means", "tile"])
def test_companions_for_tiles_are_held_against_pytorch_by_themselves(role, exports, pairs, tmp_path):
    """A companion that was spoilt: the model that it lies beside is as right as it was."""
    path, weights = exports / f"small.{role}.onnx", exports / "small.safetensors"
    assert verify_against_weights(path, weights, pairs=pairs, backend="onnxruntime").report["ok"]
    model = onnx.load(path)
    _scaled(model, *{"means": ("sums", 1.5), "tile": ("fused", 0.99)}[role])
    (tmp_path / path.name).write_bytes(stamped(model))
    assert not verify_against_weights(tmp_path / path.name, weights, pairs=pairs, backend="onnxruntime").report["ok"]
    pack_reference(weights, tmp_path / "small.npz", pairs=pairs, sizes=[(32, 40)])
    with pytest.raises(InputError, match=rf"step of a model \({role}\)"):
        verify_against_reference(path, tmp_path / "small.npz")


def test_other_weights_are_refused(exports, plain):
    with pytest.raises(ModelError, match="made from other weights"):
        verify_against_weights(exports / "small.onnx", plain)


def test_missing_weights_are_refused(exports, tmp_path):
    with pytest.raises(InputError, match="not a file"):
        verify_against_weights(exports / "small.onnx", tmp_path / "none.safetensors")


def test_a_size_beyond_the_pair_is_refused(exports, pairs):
    with pytest.raises(InputError, match="pair p0 is 50x70, smaller than the asked 60x60"):
        verify_against_weights(
            exports / "small.onnx", exports / "small.safetensors", pairs=pairs, sizes=[(60, 60)], backend="onnxruntime"
        )


def test_pairs_are_spread_over_the_folder_and_must_be_colour(pairs, tmp_path):
    assert [name for name, *_ in load_pairs(pairs, max_pairs=2)] == ["p0", "p1"]
    for side in "AB":
        cv2.imwrite(str(tmp_path / f"g_{side}.png"), np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match="8-bit colour"):
        list(load_pairs(tmp_path))


def test_an_engine_is_verified_at_sizes_that_it_serves(exports, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    from ufafuse.export.build_options import BuildOptions
    from ufafuse.export.engine import engine_from_onnx
    from ufafuse.export.profiles import Profile

    out = tmp_path / "x.engine"
    engine_from_onnx(exports / "small.onnx", out, BuildOptions((Profile.static((64, 64)),), "tensorrt-rtx", ("sm86",)))
    with pytest.raises(InputError, match=r"does not serve 65x64, but 64x64\.$"):
        verify_against_weights(out, exports / "small.safetensors", sizes=[(65, 64)])


def test_packed_results_pass_the_same_gate(exports, spoilt, pairs, tmp_path):
    packed = tmp_path / "small.npz"
    pack_reference(exports / "small.safetensors", packed, pairs=pairs, sizes=[(32, 40), (41, 33)])
    about, cases = load_reference(packed)
    assert about["weights_sha256"] == sha256_of(exports / "small.safetensors")
    assert [(case.name, case.near.shape[:2]) for case in cases] == [("p0", (32, 40)), ("p1", (41, 33))]
    assert all(case.noise >= 0 for case in cases)
    verify_against_reference(exports / "small.onnx", packed, backend="onnxruntime").require()
    assert not verify_against_reference(spoilt, packed, backend="onnxruntime").report["ok"]


def test_a_package_needs_its_suffix(exports, tmp_path):
    with pytest.raises(InputError, match=r"\.npz"):
        pack_reference(exports / "small.safetensors", tmp_path / "small.zip")
