"""Artefacts against the weights they came from."""

import cv2
import numpy as np
import onnx
import pytest

from ufafuse.export.synthetic import synthetic_pair
from ufafuse.export.verify import load_pairs, pack_reference, verify_against_weights
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
    onnx.save(model, path)
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


def test_other_weights_are_refused(exports, plain):
    with pytest.raises(ModelError, match="made from other weights"):
        verify_against_weights(exports / "small.onnx", plain)


def test_missing_weights_and_companions_are_refused(exports, tmp_path):
    with pytest.raises(InputError, match="not a file"):
        verify_against_weights(exports / "small.onnx", tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="companion"):
        verify_against_weights(exports / "small.means.onnx", exports / "small.safetensors")


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
