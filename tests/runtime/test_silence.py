"""What runs over an assembly line talks to nobody: no engine reports to its maker, and none leaves an identifier behind."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
FUSING = """
import atexit
import sys
from ufafuse.commands.cli import main

sys.argv = ["ufa", "fuse", *sys.argv[1:]]
told = lambda: print(*(name for name in sys.modules if "telemetry" in name or name.startswith("openvino.tools")))
atexit.register(told)
main()
"""


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_nothing_is_reported_to_an_engines_maker(engine: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    home = tmp_path / "home"
    home.mkdir()
    frames = [str(EXAMPLES / f"sample_{side}.png") for side in "AB"]
    command = [sys.executable, "-c", FUSING, *frames, "--backend", engine, "-o", str(tmp_path / "fused.png")]
    left_out = ("ORT_DISABLE_TELEMETRY", "CI", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in left_out} | {"HOME": str(home)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1].split() == []
    assert list(home.iterdir()) == []


def test_openvinos_converter_is_there_for_those_who_ask_for_it() -> None:
    pytest.importorskip("ufafuse.runtime.backends.openvino_api")
    assert importlib.util.find_spec("openvino.tools.ovc") is not None
