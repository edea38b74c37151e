"""Whether a file runs here: the reason is the session's own, and no session is made."""

import hashlib
import types

import pytest

from ufafuse.runtime.artefact import METADATA_KEY, Manifest, hashes_of, manifest_path, read_manifest
from ufafuse.runtime.backends.tensorrt import cuda, execution
from ufafuse.runtime.checks import runnable
from ufafuse.runtime.checks.runnable import why_not_here
from ufafuse.runtime.kinds import KINDS
from ufafuse.runtime.models import FOLDER

PLAN = b"a plan"


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """An engine file of TensorRT 11.4 for sm86, on a machine that has both unless a test says otherwise."""
    monkeypatch.setattr(runnable, "choose_backend", lambda *_: ("tensorrt", "an engine file"))
    monkeypatch.setattr(execution, "load_module", lambda facts: types.SimpleNamespace(__version__="11.4.0"))
    monkeypatch.setattr(cuda, "Gpu", lambda: types.SimpleNamespace(name="RTX 3080", capability=(8, 6)))
    extra = {"flavor": "tensorrt-rtx", "version": "11.4.0", "compute_capability": ["sm86"], "profiles": []}
    extra["plan_sha256"] = hashlib.sha256(PLAN).hexdigest()
    path = tmp_path / "x.engine"
    path.write_bytes(PLAN)
    text = Manifest(kind="engine", variant="ufa", precision="fp16", io="float", extra=extra).to_metadata()[METADATA_KEY]
    manifest_path(path).write_text(text)
    return path


def why_not(path):
    return why_not_here(path, read_manifest(path))


def test_an_engine_of_this_release_and_gpu_runs(engine):
    assert why_not(engine) is None


def test_another_release_gpu_or_file_is_named_with_its_mend(engine, monkeypatch):
    monkeypatch.setattr(cuda, "Gpu", lambda: types.SimpleNamespace(name="RTX 4080", capability=(8, 9)))
    assert "here is a RTX 4080, which is sm89: run `ufa build" in why_not(engine)
    monkeypatch.setattr(execution, "load_module", lambda facts: types.SimpleNamespace(__version__="11.5.0"))
    assert "built by tensorrt-rtx 11.4.0, here is 11.5.0: run `ufa build" in why_not(engine)
    engine.write_bytes(b"another plan")
    assert "not the engine that its manifest describes" in why_not(engine)


def test_an_engine_of_a_flavour_that_is_not_installed_says_what_to_install(engine, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'ufafuse[gpu]'" in why_not(engine)


def test_weights_are_exported_first(tmp_path):
    weights = Manifest(kind="weights", variant="ufa", precision="fp32", io="float")
    assert "ufa export --weights" in why_not_here(tmp_path / "w.safetensors", weights)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.part or kind.name in ("mnn", "litert")], ids=lambda kind: kind.name
)
def test_what_is_not_the_file_that_it_was_written_as_does_not_run(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(runnable, "choose_backend", lambda *_: (kind.engines[0], "a file for it"))
    path = tmp_path / f"x{kind.suffix}"
    for part in kind.files(path):
        part.write_bytes(b"some")
    extra = {"files_sha256": hashes_of(path)}
    manifest_path(path).write_text(Manifest(kind.name, "ufa-nano", "fp32", extra=extra).to_metadata()[METADATA_KEY])
    assert why_not(path) is None
    kind.files(path)[-1].write_bytes(b"other")
    assert "not what" in why_not(path)
    if kind.part:
        kind.files(path)[-1].unlink()
        assert f"needs {kind.files(path)[-1].name} beside it" in why_not(path)


def test_an_onnx_file_whose_weights_changed_does_not_run(tmp_path):
    path = tmp_path / "x.onnx"
    data = bytearray((FOLDER / "ufa-nano.onnx").read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    assert "was damaged, or changed by another program" in why_not(path)
