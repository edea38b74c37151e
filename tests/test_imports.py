"""The one rule of imports: arrows point one way, and the runtime ships without any of the tools."""

import ast
import functools
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# What each folder may import beside itself.
ARROWS = {
    "runtime": set(),
    "network": {"runtime"},
    "train": {"runtime", "network"},
    "export": {"runtime", "network"},
    "calibration": {"runtime", "network", "train", "export"},
    "benchmarks": {"runtime", "network", "train", "export", "calibration"},
    "commands": {"runtime", "network", "train", "export", "calibration", "benchmarks"},
}
# What a device has beside Python itself, and where the engines and the web library may be named.
RUNTIME_NEEDS = {"ufafuse", "numpy", "cv2", "typer", "rich", "click"}
BACKENDS = "runtime/backends/"
TENSORRT = BACKENDS + "tensorrt/"
WEB = "runtime/stream/web/"
SERVING = "runtime/serving/"
BATCHES = "runtime/batches/"
HOMES = {
    "onnxruntime": BACKENDS,
    "openvino": BACKENDS,
    "tensorrt": TENSORRT + "vendor.py",
    "tensorrt_rtx": TENSORRT + "vendor.py",
    "pycuda": TENSORRT + "pycuda.py",
    "isal": "runtime/pictures/quick.py",  # extras both, for many small files
    "simplejpeg": "runtime/pictures/quick.py",
    "imagecodecs": "runtime/pictures/conform.py",  # an extra, for other colour profiles
    "tifffile": "runtime/pictures/tiff",  # installed with the package, imported where a TIFF comes
    "starlette": (WEB, SERVING),
    "uvicorn": (WEB, SERVING + "server.py"),
    "anyio": SERVING,  # comes with starlette
    "python_multipart": SERVING + "forms.py",
    "prometheus_client": SERVING + "metrics.py",
    "paho": "runtime/stream/notify.py",  # an extra, for alarms over MQTT
    "gi": "runtime/stream/sources/gst.py",  # an extra, or the system's
    "ray": BATCHES + "on_ray.py",
    "fsspec": BATCHES + "storage.py",
    "pyarrow": BATCHES + "manifest.py",
    "grpc": SERVING + "grpc_service.py",
    "google": SERVING + "grpc_service.py",
    "tritonclient": SERVING + "grpc_service.py",
}


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@functools.cache
def imported(path: Path) -> frozenset[str]:
    """The full names of the modules that a file imports, anywhere in it; those in ``if TYPE_CHECKING`` too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1, f"{path} imports relative to a parent folder"
            if node.module and node.level == 0:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


@pytest.mark.parametrize("folder", ARROWS)
def test_arrows_point_one_way(folder: str) -> None:
    allowed = ARROWS[folder] | {folder}
    for path in sources(folder):
        ours = {name.split(".")[1] for name in imported(path) if name.startswith("ufafuse.")}
        assert ours <= allowed, f"{path.relative_to(ROOT)} imports {sorted(ours - allowed)}"


@pytest.mark.parametrize(
    ("room", "below"),
    [
        ("memory", {"artefact", "callbacks", "cgroup", "errors", "frames", "kinds", "packing", "session"}),
        ("registration", {"errors", "frames", "memory"}),
        ("backends", {"artefact", "callbacks", "cgroup", "cores", "errors", "layers", "machine", "session", "texts"}),
        (
            "checks",
            {
                "artefact",
                "backends",
                "callbacks",
                "errors",
                "filebytes",
                "fixed",
                "frames",
                "fuser",
                "images",
                "kinds",
                "memory",
                "models",
                "packing",
                "session",
            },
        ),
    ],
)
def test_each_room_of_the_runtime_rests_on_few_others(room: str, below: set[str]) -> None:
    """What is in a room can be read without the stream, the stack, the commands and the files that use it."""
    names = {name for path in sources(f"runtime/{room}") for name in imported(path) if name.startswith("ufafuse.runtime.")}
    assert {name.split(".")[2] for name in names} - {
        room,
        "arrays",
        "parameters",
        "values",
    } <= below  # the three: words for all


def test_the_runtime_needs_little() -> None:
    for path in sources("runtime"):
        name = path.relative_to(ROOT).as_posix()
        others = {module.split(".")[0] for module in imported(path)} - set(sys.stdlib_module_names) - RUNTIME_NEEDS
        others -= {module for module in others if name.startswith(HOMES.get(module, BACKENDS))}
        assert others == set(), f"{name} imports {sorted(others)}"


def module_name(path: Path) -> str:
    """The name under which a file of the product is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("ufafuse", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for type checkers alone count too: a reader has to follow them."""
    files = {module_name(path): path for folder in ARROWS for path in sources(folder)}
    arrows = {
        name: {module for module in imported(path) if module in files and files[module].name != "__init__.py"}
        for name, path in files.items()
        if path.name != "__init__.py"
    }
    TopologicalSorter(arrows).prepare()  # CycleError names the modules


def test_the_network_needs_torch_alone() -> None:
    """What is imported when a network is: no training, no file format, no picture library, no command line."""
    found = modules_after("import ufafuse.network as n; n.build_model, n.load_weights, n.FusionNet")
    assert found & (HEAVY | {"cv2", "typer", "rich", "lightning_fabric"}) == {"torch"}


def modules_after(statement: str) -> set[str]:
    program = f"{statement}\nimport sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {"torch", "onnx", "onnxruntime", "openvino", "matplotlib", "scipy", "safetensors", "tensorrt", "pycuda", "skimage"}
HEAVY |= {"starlette", "uvicorn", "grpc", "prometheus_client", "tritonclient", "ray", "fsspec", "pyarrow"}


@pytest.mark.parametrize(
    ("statement", "also"),
    [
        ("import ufafuse.runtime", {"numpy", "cv2", "typer", "rich"}),
        ("from ufafuse.runtime import Fuser, Session, open_session", {"typer", "rich"}),
        ("from ufafuse.runtime import stack, align, selftest, verify", {"typer", "rich"}),
        ("from ufafuse.runtime.stream import app, sinks, Pipeline", set()),
        ("from ufafuse.commands.cli import build_app; build_app()", {"numpy", "cv2"}),
    ],
)
def test_importing_brings_nothing_heavy(statement: str, also: set[str]) -> None:
    found = modules_after(statement) & (HEAVY | also)
    assert found == set()


def test_a_pair_is_fused_without_what_it_does_not_need(tmp_path: Path) -> None:
    """Each of these takes 5 to 80 ms of a start of half a second."""
    program = """
import sys
from ufafuse.commands import cli
cli._leave_quickly = lambda code: None
sys.argv = ["ufa", "fuse", "examples/sample_A.png", "examples/sample_B.png", "--model", "ufa-nano", "-o", sys.argv[1]]
try:
    cli.main()
except SystemExit as ended:
    assert ended.code == 0
print(*sorted(name for name in sys.modules))
"""
    told = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "fused.png")], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (tmp_path / "fused.png").exists()
    unneeded = {"pydantic", "rich.progress", "rich._emoji_codes", "numpy.ma", "importlib.metadata", "email.parser", "tifffile"}
    unneeded |= {"ufafuse.runtime.stacks.fusing", "ufafuse.runtime.pictures.jpegscan", "ufafuse.runtime.pictures.tiff"}
    assert sorted(unneeded & set(told.stdout.splitlines()[-1].split())) == []


def test_a_public_class_has_a_name_of_its_own() -> None:
    """One word, one thing: whoever reads `Output` need not ask whose."""
    homes: dict[str, list[str]] = {}
    for path in (path for folder in ARROWS for path in sources(folder)):
        for node in ast.parse(path.read_text(), str(path)).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert len(homes) > 100
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}
