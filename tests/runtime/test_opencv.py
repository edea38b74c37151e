"""OpenCV that is missing, broken, doubled or half uninstalled: one sentence with the mend, never a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ufafuse.runtime import opencv

UFA = Path(sys.executable).with_name("ufa")
BROKEN = {  # what stands in cv2/__init__.py, and what is said
    "no libGL": (
        'raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory", path="/x/cv2.abi3.so")',
        "OpenCV cannot be loaded: libGL.so.1: cannot open shared object file: No such file or directory: run `pip",
    ),
    "another numpy": (
        'def load():\n    raise ImportError("numpy.core.multiarray failed to import\\nand more")\nload()',
        "OpenCV cannot be loaded: numpy.core.multiarray failed to import: run `pip",
    ),
    "nothing": ('raise ModuleNotFoundError("No module named \'cv2\'", name="cv2")', "OpenCV"),
}


@pytest.fixture
def broken(request, tmp_path):
    """A process's environment in which importing OpenCV fails, and what is to be said about it."""
    text, told = BROKEN[request.param]
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2" / "__init__.py").write_text(text)
    return {**os.environ, "PYTHONPATH": str(tmp_path)}, told


@pytest.mark.parametrize(
    ("command", "broken"),
    [
        (("fuse", "a.png", "b.png"), "no libGL"),
        (("stream", "--near", "sim:", "--far", "sim:"), "another numpy"),
        (("train", "--images", ".", "--out", "run"), "nothing"),
    ],
    indirect=["broken"],
)
def test_a_command_says_it_in_one_line(command, broken, tmp_path):
    environment, told = broken
    if command[0] == "train":
        pytest.importorskip("torch")
    done = subprocess.run(
        [UFA, *command, *([] if command[0] == "train" else ["--json"])],
        capture_output=True, text=True, check=False, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {told}")
    assert "pip install" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    if done.stdout:
        assert json.loads(done.stdout)["error"] == done.stderr.removeprefix("error: ").strip()


@pytest.mark.parametrize("broken", BROKEN, indirect=True)
def test_the_library_says_it_too(broken):
    environment, told = broken
    program = "from ufafuse.runtime import Fuser"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: {told}")


@pytest.mark.parametrize("broken", BROKEN, indirect=True)
def test_info_shows_it_and_ends_well(broken):
    environment, told = broken
    done = subprocess.run([UFA, "info", "--json"], capture_output=True, text=True, check=False, env=environment)
    state = json.loads(done.stdout)["opencv"]
    assert done.returncode == 0
    assert not state["available"]
    assert state["why_not"].startswith(told)


def test_the_remains_of_an_uninstalled_build(tmp_path):
    """Two builds share a folder: uninstalling one can leave a folder without a module, an empty package to Python."""
    program = "import sys, types; sys.modules['cv2'] = types.ModuleType('cv2'); from ufafuse.commands.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "fuse", "a.png", "b.png"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: OpenCV ")
    assert len(done.stderr.splitlines()) == 1


def test_two_builds_are_told(monkeypatch):
    monkeypatch.setattr(opencv, "builds", lambda: {"opencv-python-headless": "4.9", "opencv-python": "4.10"})
    state = opencv.state()
    assert state["available"]
    assert "pip uninstall -y opencv-python-headless opencv-python" in state["warning"]


@pytest.mark.parametrize("error", [ImportError("no torch", name="torch"), AttributeError("x"), KeyError("cv2")])
def test_other_errors_are_not_opencvs(error):
    assert opencv.sentence(error) is None
