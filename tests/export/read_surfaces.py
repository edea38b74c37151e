"""Write ``tensorrt_surfaces.json`` anew, and the classic TensorRT part of the runtime's ``surfaces.json``: the names that each
release's real bindings have.

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
RUNTIME_TARGET = Path(__file__).parents[1] / "runtime" / "backends" / "surfaces.json"
RELEASES = {"10.3.0": "10.3.0", "10.16.1": "10.16.1.11", "11.1.0": "11.1.0.106", "11.4.0": "11.4.0.106"}
CLASSES = (
    *("OptimizationProfile", "ParserError", "MemoryPoolType", "LayerType", "DataType", "ILogger", "IProgressMonitor"),
    *("TimingCache", "NetworkDefinition", "Builder", "BuilderConfig", "BuilderFlag", "OnnxParser", "Layer", "Tensor"),
    *("HardwareCompatibilityLevel", "NetworkDefinitionCreationFlag", "ProfilingVerbosity"),
)
RUNTIME_CLASSES = (
    *("Runtime", "ICudaEngine", "IExecutionContext", "IRuntimeConfig", "ILogger", "IHostMemory", "TensorIOMode"),
    *("ExecutionContextAllocationStrategy", "IProfiler", "EngineInspector", "LayerInformationFormat"),
)
_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
_FUNCTIONS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"),
    *("getBuilderPluginRegistry", "getPluginRegistry", "initLibNvInferPlugins"),
)
_ASK = """
import json, sys
import tensorrt_bindings as trt
def names(thing):
    return [name for name in dir(thing) if not name.startswith("_")]
answer = {"module": names(trt)}
for kind in sys.argv[1:]:
    real = getattr(trt, f"I{kind}", None) or getattr(trt, kind, None)
    if real is not None:
        answer[kind] = sorted(getattr(real, "__members__", None) or names(real))
print(json.dumps(answer))
"""


def surface(wheel_version, folder):
    """Class -> names, of one release; under "module" the names of the package itself."""
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
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", _ASK, *CLASSES, *RUNTIME_CLASSES]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, env=environment).stdout))


def write_runtime_surfaces(surfaces):
    """Replace what the runtime's fakes know of classic TensorRT, and leave the other packages as they are."""
    known = json.loads(RUNTIME_TARGET.read_text())
    for release, names in surfaces.items():
        label = f"tensorrt {'.'.join(release.split('.')[:2])}"
        known[label] = {kind: names[kind] for kind in (*RUNTIME_CLASSES, "module") if kind in names}
        for kind in ("TensorIOMode", "ExecutionContextAllocationStrategy"):
            known[label][kind] += ["name", "value"]  # of each member
    lines = (
        f" {json.dumps(package)}: {{\n" + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in names.items()) + "\n }"
        for package, names in sorted(known.items())
    )
    RUNTIME_TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    found = {}
    for release, wheel_version in RELEASES.items():
        with tempfile.TemporaryDirectory() as folder:
            found[release] = surface(wheel_version, Path(folder))
    builder = {release: {kind: names[kind] for kind in CLASSES} for release, names in found.items()}
    TARGET.write_text(json.dumps(builder, indent=1) + "\n")
    write_runtime_surfaces(found)
