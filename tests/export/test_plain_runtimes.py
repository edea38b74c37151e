"""The page's programs that run a file without ufafuse do."""

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from ufafuse.export.form import Form
from ufafuse.export.onnx_export import onnx_from_weights
from ufafuse.runtime import Fuser
from ufafuse.runtime.models import model_path
from ufafuse.runtime.stack import StackOptions, fuse_stack

SIZE = (24, 40)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "export.md"


@pytest.fixture(scope="module")
def for_opencv(exports, tmp_path_factory):
    """The small network, written for OpenCV's dnn."""
    path = tmp_path_factory.mktemp("opencv") / "small.onnx"
    onnx_from_weights(exports / "small.safetensors", path, form=Form(size=SIZE, opencv=True))
    return path


@pytest.mark.parametrize("name", ["plain", pytest.param("opencv", marks=pytest.mark.slow)])
def test_the_program_on_the_page_fuses_as_ufafuse_does(name, exports, request, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    [program] = re.findall(rf"<!-- {name} -->\n```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    near, far = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), np.uint8)
    monkeypatch.chdir(tmp_path)
    shutil.copy(request.getfixturevalue("for_opencv") if name == "opencv" else exports / "small.onnx", "x.onnx")
    cv2.imwrite("near.png", near)
    cv2.imwrite("far.png", far)
    exec(compile(program, str(PAGE), "exec"), {})
    with Fuser(Path("x.onnx"), precision="fp32") as fuser:
        expected = fuser.fuse(near, far).astype(int)
    assert np.abs(cv2.imread("fused.png") - expected).max() <= 4  # bfloat16, where the CPU has it


def test_the_program_for_stacks_does_too(tmp_path, monkeypatch):
    [program] = re.findall(r"<!-- stack -->\n```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    sharp = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (45, 59, 3), np.uint8), (0, 0), 1)
    frames = [cv2.GaussianBlur(sharp, (0, 0), 3) for _ in range(3)]
    (tmp_path / "stack").mkdir()
    for number, frame in enumerate(frames):
        frame[15 * number : 15 * (number + 1)] = sharp[15 * number : 15 * (number + 1)]
        cv2.imwrite(str(tmp_path / "stack" / f"{number}.png"), frame)
    monkeypatch.chdir(tmp_path)
    for step in ("encode", "common", "score"):
        shutil.copy(model_path("ufa-stack").with_name(f"ufa-stack.{step}.onnx"), f"x.{step}.onnx")
    exec(compile(program, str(PAGE), "exec"), {})
    with Fuser("ufa-stack", precision="fp32", backend="onnxruntime") as fuser:
        expected = fuse_stack(fuser, frames, StackOptions(restore=1, match_gain=False)).fused
    assert np.abs(cv2.imread("fused.png") - expected.astype(int)).max() <= 1
    assert cv2.PSNR(expected, sharp) > max(cv2.PSNR(frame, sharp) for frame in frames) + 3
