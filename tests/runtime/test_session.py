"""The choice of an engine, and what is refused before one is loaded."""

from pathlib import Path

import numpy as np
import pytest

from ufafuse.runtime import session as module
from ufafuse.runtime.errors import BackendError, InputError, ModelError
from ufafuse.runtime.session import SessionOptions, check_given, choose_backend, installed, open_session

ONNX, ENGINE = Path("x.onnx"), Path("x.engine")


@pytest.fixture
def having(monkeypatch):
    def set_up(*names, machine="x86_64"):
        monkeypatch.setattr(module, "installed", lambda name: name in names)
        monkeypatch.setattr(module.platform, "machine", lambda: machine)

    return set_up


def test_auto(having):
    having("openvino", "onnxruntime", "tensorrt")
    assert choose_backend(ONNX, "auto") == ("openvino", "the faster one on x86_64")
    assert choose_backend(ENGINE, "auto") == ("tensorrt", "an engine file")
    having("openvino", "onnxruntime", machine="aarch64")
    assert choose_backend(ONNX, "auto")[0] == "onnxruntime"
    having("onnxruntime")
    assert choose_backend(ONNX, "auto") == ("onnxruntime", "openvino is not installed")
    having()
    with pytest.raises(BackendError, match=r"no inference engine is installed: run `pip install 'ufafuse\[cpu\]'`"):
        choose_backend(ONNX, "auto")
    with pytest.raises(BackendError, match=r"tensorrt is not installed: run `pip install 'ufafuse\[gpu\]'`"):
        choose_backend(ENGINE, "auto")


def test_by_hand(having):
    having("onnxruntime", "tensorrt")
    assert choose_backend(ONNX, "onnxruntime") == ("onnxruntime", "asked for")
    assert choose_backend(ENGINE, "tensorrt") == ("tensorrt", "asked for")
    with pytest.raises(BackendError, match=r"openvino is not installed: run `pip install 'ufafuse\[cpu\]'`"):
        choose_backend(ONNX, "openvino")
    with pytest.raises(BackendError, match=r"tensorrt cannot run x\.onnx: run `ufa build` first"):
        choose_backend(ONNX, "tensorrt")
    with pytest.raises(BackendError, match=r"onnxruntime cannot run x\.engine: omit `backend`"):
        choose_backend(ENGINE, "onnxruntime")
    with pytest.raises(InputError, match="`backend=tflite` is not known: choose one of auto, tensorrt"):
        choose_backend(ONNX, "tflite")


def test_installed_imports_nothing(monkeypatch):
    seen = []
    monkeypatch.setattr(module.importlib.util, "find_spec", seen.append)
    assert not installed("tensorrt")
    assert seen == ["tensorrt", "tensorrt_rtx"]


@pytest.mark.usefixtures("small_engine")
def test_opened_used_and_closed(write_model, rng):
    near, far = rng.random((2, 1, 3, 8, 12), dtype="float32")
    with open_session(write_model(), backend="onnxruntime", options=SessionOptions(threads=2)) as session:
        fused, weights = session.run_with_map(near, far)
        assert (session.run(near, far) == fused).all()
        assert weights.shape == (1, 1, 8, 12)
        assert session.why == "asked for"
    assert session.closed == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (SessionOptions(precision="fp8"), "`precision=fp8` is not known"),
        (SessionOptions(threads=0), "`threads=0` is too few"),
    ],
)
def test_options(write_model, options, told):
    with pytest.raises(InputError, match=told):
        open_session(write_model(), options=options)


def test_files_that_are_no_models(tmp_path, small):
    with pytest.raises(InputError, match="is not a file"):
        open_session(tmp_path / "no.onnx")
    (tmp_path / "foreign.onnx").write_bytes(small.onnx_bytes())
    with pytest.raises(ModelError, match="carries no ufafuse manifest"):
        open_session(tmp_path / "foreign.onnx")
    weights = small.manifest()
    (tmp_path / "w.onnx").write_bytes(small.onnx_bytes(type(weights)("weights", "small", "fp32")))
    with pytest.raises(InputError, match="holds PyTorch weights: run `ufa export"):
        open_session(tmp_path / "w.onnx")


def test_levels_of_bytes_are_refused_where_floats_are_made_of_what_is_given():
    """ncnn, MNN and LiteRT convert: 200 would be as white as 255."""
    picture = np.full((1, 3, 4, 4), 200, np.uint8)
    check_given({"near": picture, "covered": picture}, ["near", "covered"])
    check_given({"covered": picture}, ["covered"], floats=True)
    for name in ("near", "far", "frame"):
        with pytest.raises(BackendError, match=f"{name} is uint8, the model takes float32: give levels from 0 to 1"):
            check_given({name: picture}, [name], floats=True)
        check_given({name: picture.astype(np.float64)}, [name], floats=True)


def test_what_is_no_numpy_array_is_refused_by_name():
    """A tensor of PyTorch has a dtype as well, which knows nothing of byte orders."""
    torch = pytest.importorskip("torch")
    for given, kind in ((torch.zeros(1, 3, 4, 4), "a Tensor"), ([[0.0]], "a list")):
        with pytest.raises(BackendError, match=f"near is {kind}: give a NumPy array"):
            check_given({"near": given}, ["near"])
