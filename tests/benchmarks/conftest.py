"""Small pictures with known contents, and the folders of real ones where they are at hand."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def lytro():
    """The folder of the Lytro pairs, from UFAFUSE_DATA."""
    root = os.environ.get("UFAFUSE_DATA")
    if not root or not (Path(root) / "lytro").is_dir():
        pytest.skip("UFAFUSE_DATA names no folder with lytro/ in it")
    return Path(root) / "lytro"


@pytest.fixture(scope="session")
def reference_folder(lytro):
    """The folder with reference_metrics.csv and fused/, beside the data or inside it."""
    for folder in (lytro.parents[1] / "metrics", lytro.parent / "metrics"):
        if (folder / "reference_metrics.csv").is_file():
            return folder
    pytest.skip("no metrics/reference_metrics.csv beside UFAFUSE_DATA or in it")
    return None


def textured(height, width, channels, seed):
    """A picture of coarse and fine structure that covers the levels: uint8."""
    rng = np.random.default_rng(seed)
    planes = []
    for _ in range(channels):
        coarse = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 6) * 16
        planes.append(coarse + cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 1.0) * 1.5)
    picture = np.stack(planes, axis=-1)
    picture = 128 + 45 * (picture - picture.mean()) / picture.std()
    return np.clip(picture, 0, 255).round().astype(np.uint8).squeeze()


def defocus(picture, sigma=2.5):
    return cv2.GaussianBlur(picture, (0, 0), sigma)


@pytest.fixture(scope="session")
def synthetic():
    """(near, far, truth): 104 x 120 BGR, sharp left of a slanting edge in near and right of it in far."""
    truth = textured(104, 120, 3, seed=7)
    rows, columns = np.mgrid[:104, :120]
    left = (columns + 0.2 * rows < 70)[..., None]
    return np.where(left, truth, defocus(truth)), np.where(left, defocus(truth), truth), truth


@pytest.fixture(scope="session")
def photographic():
    """(near, far, truth), 64 x 96 BGR: grey structures with a little colour, as photographs have it, sharp on one side each."""
    grey, colour = textured(64, 96, 1, seed=7), textured(64, 96, 3, seed=8).astype(float) - 128
    truth = np.clip(grey[..., None] + 0.15 * colour, 0, 255).round().astype(np.uint8)
    left = (np.arange(96) < 48)[None, :, None]
    return np.where(left, truth, defocus(truth)), np.where(left, defocus(truth), truth), truth


@pytest.fixture
def pair_folder(tmp_path, synthetic):
    """A folder of two pairs with truth, in the NAME_A/NAME_B/NAME_GT layout."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    near, far, truth = synthetic
    for name, step in (("one", 1), ("two", -1)):
        for side, picture in (("A", near), ("B", far), ("GT", truth)):
            assert cv2.imwrite(str(folder / f"{name}_{side}.png"), picture[:, ::step])
    return folder


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory):
    """A small network with a manifest: near and far side by side, two convolutions, fused and map."""
    return _write_tiny_onnx(tmp_path_factory.mktemp("tiny") / "tiny.onnx", "fp32")


@pytest.fixture(scope="session")
def tiny_int8_onnx(tmp_path_factory):
    """The same with the input and the weights of its first convolution quantised."""
    return _write_tiny_onnx(tmp_path_factory.mktemp("tiny") / "tiny-int8.onnx", "int8")


def _write_tiny_onnx(path, precision):
    onnx = pytest.importorskip("onnx")
    from ufafuse.runtime.artefact import Manifest

    rng = np.random.default_rng(0)
    weights = {
        "first": rng.normal(size=(8, 6, 3, 3)).astype(np.float32) * 0.1,
        "second": rng.normal(size=(4, 8, 3, 3)).astype(np.float32) * 0.1,
    }
    make = onnx.helper.make_node
    nodes = [make("Concat", ["near", "far"], ["both"], axis=1)]
    source, kernel = "both", "first"
    initializers = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    if precision == "int8":
        initializers[0] = onnx.numpy_helper.from_array(np.clip(weights["first"] * 300, -127, 127).astype(np.int8), "first")
        scales = (("step", np.float32(1 / 300)), ("zero", np.int8(0)))
        initializers += [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in scales]
        nodes += [
            make("QuantizeLinear", ["both", "step", "zero"], ["both8"]),
            make("DequantizeLinear", ["both8", "step", "zero"], ["both32"]),
            make("DequantizeLinear", ["first", "step", "zero"], ["first32"]),
        ]
        source, kernel = "both32", "first32"
    nodes += [
        make("Conv", [source, kernel], ["hidden"], pads=[1, 1, 1, 1]),
        make("LeakyRelu", ["hidden"], ["active"], alpha=0.01),
        make("Conv", ["active", "second"], ["result"], pads=[1, 1, 1, 1]),
        make("Sigmoid", ["result"], ["unit"]),
        make("Split", ["unit", "parts"], ["fused", "map"], axis=1),
    ]
    initializers.append(onnx.numpy_helper.from_array(np.array([3, 1], np.int64), "parts"))
    tensor, free = onnx.helper.make_tensor_value_info, ["n", 3, "h", "w"]
    graph = onnx.helper.make_graph(
        nodes,
        "tiny",
        [tensor("near", onnx.TensorProto.FLOAT, free), tensor("far", onnx.TensorProto.FLOAT, free)],
        [tensor("fused", onnx.TensorProto.FLOAT, free), tensor("map", onnx.TensorProto.FLOAT, ["n", 1, "h", "w"])],
        initializers,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    manifest = Manifest(kind="onnx", variant="tiny", precision=precision)
    onnx.helper.set_model_props(model, manifest.to_metadata())
    onnx.save(model, str(path))
    return path
