"""Write ``tensorrt_surfaces.json`` anew: the names that each release's real bindings have.

    python tests/export/read_surfaces.py

Fetches the bindings of each release with pip and asks the module itself. The bindings are small (1.3 MB); the libraries
behind them are not (gigabytes), and a library that answers every call with nothing is enough to import the module. Needs a
C compiler, Linux on x86-64, and a Python that the oldest release was made for (3.11).
"""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

TARGET = Path(__file__).with_name("tensorrt_surfaces.json")
RELEASES = {"10.3.0": "10.3.0", "10.16.1": "10.16.1.11", "11.1.0": "11.1.0.106", "11.4.0": "11.4.0.106"}
CLASSES = (
    *("OptimizationProfile", "ParserError", "MemoryPoolType", "LayerType", "DataType", "ILogger", "IProgressMonitor"),
    *("TimingCache", "NetworkDefinition", "Builder", "BuilderConfig", "BuilderFlag", "OnnxParser", "Layer", "Tensor"),
    *("HardwareCompatibilityLevel", "NetworkDefinitionCreationFlag"),
)
_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
_FUNCTIONS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"),
    *("getBuilderPluginRegistry", "getPluginRegistry", "initLibNvInferPlugins"),
)
_ASK = """
import importlib.util, json, sys
name = "tensorrt_bindings.tensorrt"
spec = importlib.util.spec_from_file_location(name, sys.argv[1])
module = sys.modules[name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
answer = {}
for kind in sys.argv[2:]:
    real = getattr(module, f"I{kind}", None) or getattr(module, kind)
    members = getattr(real, "__members__", None) or [name for name in dir(real) if not name.startswith("_")]
    answer[kind] = sorted(members)
print(json.dumps(answer))
"""


def surface(wheel_version, folder):
    """Class -> names, of one release."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, f"tensorrt-cu12-bindings=={wheel_version}"], check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder)
    major = wheel_version.split(".")[0]
    source = folder / "empty.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in _FUNCTIONS))
    for library in _LIBRARIES:
        soname = f"lib{library}.so.{major}"
        command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{soname}", "-o", str(folder / soname), str(source)]
        subprocess.run(command, check=True)
    module = folder / "tensorrt_bindings" / "tensorrt.so"
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    command = [sys.executable, "-c", _ASK, str(module), *CLASSES]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, env=environment).stdout))


if __name__ == "__main__":
    surfaces = {}
    for release, wheel_version in RELEASES.items():
        with tempfile.TemporaryDirectory() as folder:
            surfaces[release] = surface(wheel_version, Path(folder))
    TARGET.write_text(json.dumps(surfaces, indent=1) + "\n")
