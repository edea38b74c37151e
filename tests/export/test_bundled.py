"""What ships: every bundled graph builds a real engine, and half precision holds on the bundled weights."""

import json

import numpy as np
import pytest
import torch

from ufafuse.export.build_options import BuildOptions
from ufafuse.export.engine import engine_from_onnx
from ufafuse.export.islands import choose_islands
from ufafuse.export.onnx_export import onnx_from_weights
from ufafuse.export.profiles import Profile
from ufafuse.export.synthetic import stress_frames
from ufafuse.export.verify import verify_against_weights
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.models import DEFAULT, FOLDER, bundled, weights_path
from ufafuse.runtime.session import open_session

GRAPHS = sorted(FOLDER.glob("*.onnx"))
WHOLE = [path for path in GRAPHS if read_manifest(path).extra["role"] == "whole"]
TARGETS = ("sm75", "sm86", "sm89")


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.name)
def test_every_bundled_graph_builds_engines_for_three_generations(path, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="needs the wheels of TensorRT-RTX (x86-64)")
    profile = Profile((32, 32), (520, 520), (1080, 1920))
    report = engine_from_onnx(path, tmp_path / "x.engine", BuildOptions((profile,), "tensorrt-rtx", TARGETS))
    assert report["compute_capability"] == list(TARGETS)
    manifest = read_manifest(path)
    if manifest.precision != "int8":
        assert report["layers"]["int8"] == 0
    elif manifest.extra["role"] == "whole":  # a companion may have none of the layers that became int8
        assert report["layers"]["int8"] > 0


@pytest.mark.parametrize("name", bundled())
def test_bundled_weights_say_what_they_learnt_from(name):
    """Whoever wants to use them in a product has to know."""
    said = read_manifest(weights_path(name)).extra["data"]
    assert "free for any use" in said or "terms" in said


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.name)
def test_what_is_written_beside_a_bundled_file_names_no_folder(path):
    def texts(value):
        if isinstance(value, str):
            yield value
        elif isinstance(value, (dict, list)):
            for each in value.values() if isinstance(value, dict) else value:
                yield from texts(each)

    folders = [text for text in texts(json.loads(path.read_text())) if text.startswith(("/", "~")) or "models/" in text]
    assert not folders


@pytest.mark.parametrize(
    ("name", "precision", "io"),
    [
        ("ufa-nano", "fp32", "uint8"),
        pytest.param("ufa-nano", "fp16", "float", marks=pytest.mark.slow),  # fp16 builds of a small network in test_engine.py
        pytest.param(DEFAULT, "fp32", "uint8", marks=pytest.mark.slow),
        pytest.param(DEFAULT, "fp16", "float", marks=pytest.mark.slow),
    ],
)
def test_the_kinds_that_are_not_bundled_build_too(name, precision, io, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="needs the wheels of TensorRT-RTX (x86-64)")
    path = tmp_path / "x.onnx"
    onnx_from_weights(weights_path(name), path, precision=precision, io=io, sizes=[(33, 47)])
    profile = Profile((32, 32), (520, 520), (1080, 1920))
    report = engine_from_onnx(path, tmp_path / "x.engine", BuildOptions((profile,), "tensorrt-rtx", TARGETS))
    assert report["compute_capability"] == list(TARGETS)
    assert (report["layers"]["share_half"] > 0.7) == (precision == "fp16")
    assert read_manifest(tmp_path / "x.engine").io == io


@pytest.mark.parametrize("name", bundled())
def test_half_precision_is_decided_by_measurement(name):
    from ufafuse.network.weights import load_weights

    islands = choose_islands(load_weights(weights_path(name)))
    assert islands.psnr_with >= 60
    assert len(islands.names) <= 3


@pytest.mark.slow
@pytest.mark.parametrize("name", bundled())
@pytest.mark.parametrize("io", ["float", "uint8"])
def test_half_exports_of_the_bundled_weights_hold_and_build(name, io, tmp_path, data_folder):
    pytest.importorskip("tensorrt_rtx")
    path = tmp_path / "half.onnx"
    onnx_from_weights(weights_path(name), path, precision="fp16", io=io)
    report = engine_from_onnx(path, tmp_path / "x.engine", BuildOptions((Profile.static((520, 520)),), "tensorrt-rtx", TARGETS))
    assert report["layers"]["share_half"] > 0.7
    verify_against_weights(path, weights_path(name), pairs=data_folder / "lytro", backend="onnxruntime").require()
    with open_session(path, backend="onnxruntime") as session:
        for near, far in stress_frames(64, 96).values():
            frames = [
                frame[None] if io == "uint8" else np.float32(frame.transpose(2, 0, 1)[None] / 255) for frame in (near, far)
            ]
            assert all(np.isfinite(output).all() for output in session.run_with_map(*frames))


@pytest.mark.slow
@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.name)
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_every_bundled_model_meets_its_tolerance_on_every_lytro_pair(path, backend, data_folder):
    torch.set_num_threads(2)
    verify_against_weights(
        path, weights_path(read_manifest(path).variant), pairs=data_folder / "lytro", backend=backend
    ).require()
