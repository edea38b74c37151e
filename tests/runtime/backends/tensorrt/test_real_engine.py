"""An engine that TensorRT-RTX really built (no GPU is needed for that), as far as it can be taken without a GPU."""

import pytest

from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.backends.tensorrt.facts import EngineFacts
from ufafuse.runtime.errors import BackendError, ModelError
from ufafuse.runtime.machine import gpus
from ufafuse.runtime.session import open_session


@pytest.fixture(scope="module")
def engine(tiny_onnx, tmp_path_factory):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (it is built for x86-64)")
    from ufafuse.export.build_options import BuildOptions
    from ufafuse.export.engine import engine_from_onnx
    from ufafuse.export.profiles import Profile

    out = tmp_path_factory.mktemp("engines") / "mix.engine"
    profiles = (Profile((16, 16), (32, 48), (64, 64)), Profile.static((520, 520)))
    engine_from_onnx(tiny_onnx, out, BuildOptions(profiles, flavor="tensorrt-rtx", targets=("sm75", "sm86")))
    return out


def test_what_the_build_wrote_is_what_the_runtime_reads(engine):
    import tensorrt_rtx

    facts = EngineFacts.from_manifest(engine, read_manifest(engine))
    facts.check_plan(engine.read_bytes())
    facts.check_version(tensorrt_rtx.__version__)
    facts.check_gpu("GeForce RTX 2080", (7, 5))
    facts.check_gpu("GeForce RTX 3080", (8, 6))
    with pytest.raises(ModelError, match="built for sm75, sm86; here is a GeForce RTX 4080, which is sm89"):
        facts.check_gpu("GeForce RTX 4080", (8, 9))
    assert facts.command.endswith("--flavor tensorrt-rtx --min 16x16 --opt 32x48 --max 64x64 --static 520x520")


def test_a_changed_byte_is_noticed(engine, tmp_path):
    plan = bytearray(engine.read_bytes())
    plan[len(plan) // 2] ^= 1
    facts = EngineFacts.from_manifest(engine, read_manifest(engine))
    with pytest.raises(ModelError, match="is not the engine that its manifest describes"):
        facts.check_plan(bytes(plan))


@pytest.mark.skipif(bool(gpus()), reason="there is a GPU here")
def test_without_a_gpu_it_says_what_is_missing(engine):
    with pytest.raises(BackendError, match=r"PyCUDA|cuda-python|NVIDIA"):
        open_session(engine)


def test_the_names_that_the_runtime_calls_are_in_this_release():
    """The strict fakes know this release's names; here they are held against the installed module."""
    module = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (it is built for x86-64)")
    import json
    from pathlib import Path

    surface = json.loads(Path(__file__).parents[1].joinpath("surfaces.json").read_text())["tensorrt_rtx 1.7"]
    if not module.__version__.startswith("1.7"):
        pytest.skip(f"the names are of 1.7, this is {module.__version__}")
    for kind, names in surface.items():
        real = module if kind == "module" else getattr(module, kind)
        missing = [name for name in names if not hasattr(real, name)]
        assert missing == [], kind
