"""Frames of a few columns or rows come out as from fp32 ONNX Runtime, in every engine and arithmetic."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime import Fuser
from ufafuse.runtime.checks.tolerances import psnr
from ufafuse.runtime.errors import UfaError
from ufafuse.runtime.models import FOLDER

pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")
NARROW = [(1, 1), (64, 1), (400, 4), (400, 8), (9, 400), (33, 31)]  # each is compiled for, in each arithmetic
SWEPT = [(height, width) for width in (*range(1, 18), 24, 31, 32, 33, 48, 64) for height in (1, 2, 7, 64, 333, 2000)]
# Levels of 255. int8 is an approximation: its worst sample on a few columns, where each weighs much in the frame's averages.
_SURELY_ALIKE = 55.0  # dB
CASES = {
    ("onnxruntime", "fp32"): 1,
    ("openvino", "fp32"): 2,
    ("openvino", "bf16"): 8,
    ("onnxruntime", "int8"): 56,
    ("openvino", "int8"): 56,
}


def pair(height, width):
    sharp = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    near, far = sharp.copy(), sharp.copy()
    blurred = cv2.GaussianBlur(sharp, (0, 0), 2)
    near[height // 2 :] = blurred[height // 2 :]
    far[: height // 2] = blurred[: height // 2]
    return near, far


def check(model, sizes):
    for (backend, precision), tolerance in CASES.items():
        if precision == "int8" and not (FOLDER / f"{model}-int8.onnx").is_file():
            continue
        try:
            fuser = Fuser(model, backend=backend, precision=precision)
        except UfaError as error:
            if "instructions" in str(error):  # bf16, which not every CPU has
                continue
            raise
        with fuser, Fuser(model, backend="onnxruntime", precision="fp32") as reference:
            for size in sizes:
                near, far = pair(*size)
                fused, weights = fuser.fuse_with_map(near, far)
                expected, expected_weights = reference.fuse_with_map(near, far)
                assert np.isfinite(weights).all()
                where = f"{model} {backend} {precision} {size}"
                error = np.abs(fused.astype(float) - expected)
                # Of the pictures here, which are noise, single pixels are as sharp in both frames: rounding decides.
                assert error.max() <= tolerance or psnr(np.square(error).mean()) >= _SURELY_ALIKE, where
                np.testing.assert_array_equal(fuser.fuse(near, far).shape, near.shape)
                if precision != "int8":
                    assert np.quantile(np.abs(weights - expected_weights), 0.999) < 0.15, where


def test_narrow_frames():
    check("ufa-nano", NARROW)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ufa", "ufa-edge", "ufa-nano", "ufa-free"])
def test_all_narrow_sizes(model):
    check(model, SWEPT)


@pytest.mark.parametrize(("size", "narrow"), [((400, 8), True), ((8, 400), True), ((64, 64), False)])
def test_few_columns_are_computed_in_fp32(monkeypatch, size, narrow):
    from ufafuse.runtime.backends import openvino

    monkeypatch.setattr(openvino, "cpu_capabilities", lambda: ["FP32", "BF16"])
    with Fuser("ufa-nano", backend="openvino", precision="bf16", cache=False) as fuser:
        asked = []
        compile_model = type(fuser.session._core).compile_model

        class Core:
            def compile_model(self, network, device, settings):
                asked.append(settings["INFERENCE_PRECISION_HINT"])
                return compile_model(openvino.ov.Core(), network, device, settings)

        fuser.session._core = Core()
        fuser.fuse(*pair(*size))
    assert asked == ["f32" if narrow else "bf16"]
