"""The fakes' names against TensorRT's real runtime bindings, which install and import without a GPU.

    pip install tensorrt-lean-cu12-bindings tensorrt-lean-cu12-libs

(46 MB, x86-64 Linux). Classes are asked for their names and nothing is made: a Runtime without a driver ends the process.
The module is imported in a process of its own, where it meets no other flavour of itself.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

RUNTIME = Path(__file__).parents[1] / "runtime" / "backends" / "surfaces.json"
ASK = """
import json, tensorrt_lean_bindings as lean
names = {kind: sorted(getattr(real, "__members__", None) or [name for name in dir(real) if not name.startswith("_")])
         for kind, real in vars(lean.tensorrt_lean).items() if isinstance(real, type)}
print(json.dumps({"version": lean.__version__, "names": names}))
"""
ALIASES = {"OptimizationProfile": "IOptimizationProfile", "TimingCache": "ITimingCache"}


@pytest.fixture(scope="module")
def lean():
    """Class -> names of the installed lean bindings of the release that the fakes know."""
    if importlib.util.find_spec("tensorrt_lean_bindings") is None:
        pytest.skip("needs tensorrt-lean-cu12-bindings and tensorrt-lean-cu12-libs (x86-64 Linux)")
    answer = json.loads(subprocess.run([sys.executable, "-c", ASK], check=True, capture_output=True, timeout=120).stdout)
    if not answer["version"].startswith("11.4."):
        pytest.skip(f"the fakes know 11.4, this is {answer['version']}")
    return answer["names"]


@pytest.mark.parametrize("kind", ["Runtime", "ICudaEngine", "IExecutionContext", "IRuntimeConfig", "ILogger", "IHostMemory"])
def test_the_runtimes_fake_has_exactly_the_real_names(kind, lean):
    assert json.loads(RUNTIME.read_text())["tensorrt 11.4"][kind] == lean[kind]


def test_the_builders_fake_has_exactly_the_names_that_the_lean_bindings_share(fake, lean):
    surface = {ALIASES.get(kind, kind): names for kind, names in fake.SURFACES["11.4.0"].items()}
    shared = sorted(set(surface) & set(lean))
    assert len(shared) >= 7
    assert {kind: surface[kind] for kind in shared} == {kind: lean[kind] for kind in shared}
