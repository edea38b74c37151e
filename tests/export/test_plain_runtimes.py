"""The page's program that runs a file without ufafuse does."""

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from ufafuse.runtime import Fuser

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "export.md"


def test_the_program_on_the_page_fuses_as_ufafuse_does(exports, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    [program] = re.findall(r"<!-- plain -->\n```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    near, far = np.random.default_rng(0).integers(0, 256, (2, 24, 40, 3), np.uint8)
    monkeypatch.chdir(tmp_path)
    shutil.copy(exports / "small.onnx", "x.onnx")
    cv2.imwrite("near.png", near)
    cv2.imwrite("far.png", far)
    exec(compile(program, str(PAGE), "exec"), {})
    with Fuser(Path("x.onnx"), precision="fp32") as fuser:
        expected = fuser.fuse(near, far).astype(int)
    assert np.abs(cv2.imread("fused.png") - expected).max() <= 4  # bfloat16, where the CPU has it
