"""The numbered examples run and do what they say."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(name: str, *arguments: str) -> str:
    answer = subprocess.run([sys.executable, EXAMPLES / name, *arguments], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((image.astype(float) - truth) ** 2)))


def test_the_sample_is_fused_at_least_3_db_better_than_either_input(tmp_path: Path) -> None:
    out = tmp_path / "fused.png"
    assert str(out) in run("00_fuse_two_images.py", str(out))
    near, far, truth = (cv2.imread(str(EXAMPLES / f"sample_{side}.png")) for side in ("A", "B", "GT"))
    assert psnr(cv2.imread(str(out)), truth) >= max(psnr(near, truth), psnr(far, truth)) + 3


def test_the_map_tells_the_cup_from_the_table(tmp_path: Path) -> None:
    out = tmp_path / "map.png"
    run("01_which_frame_won.py", str(out))
    blue, _, red = np.moveaxis(cv2.imread(str(out)).astype(float), -1, 0)
    rim_of_the_cup, grain_of_the_table = np.s_[60:120, 110:140], np.s_[60:140, 340:410]
    assert red[rim_of_the_cup].mean() > blue[rim_of_the_cup].mean()
    assert blue[grain_of_the_table].mean() > red[grain_of_the_table].mean()


def test_sixteen_bit_frames_keep_their_type_and_levels() -> None:
    assert run("02_sixteen_bit_camera.py").startswith("uint16 (392, 420)")


def test_the_notebook_runs_and_its_own_checks_hold() -> None:
    """From pictures to a fused stack, its map and a height map; its cells assert the quality."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(EXAMPLES / "stack.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "the best single frame" in printed
    assert "mm from the truth" in printed


def test_without_harvesters_the_fourth_example_says_what_to_install() -> None:
    if importlib.util.find_spec("harvesters"):
        pytest.skip("harvesters is installed")
    arguments = [sys.executable, EXAMPLES / "04_genicam_harvesters.py", "x.cti", "--near", "1", "--far", "2"]
    answer = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert answer.returncode != 0
    assert answer.stderr.strip() == "this example needs harvesters, which is not installed: run pip install harvesters"
