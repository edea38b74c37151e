"""Loading a flavour, and TensorRT-RTX's cache of compiled kernels."""

import sys

import pytest

from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.backends.tensorrt.execution import cache_path, load_module
from ufafuse.runtime.backends.tensorrt.facts import EngineFacts
from ufafuse.runtime.errors import BackendError
from ufafuse.runtime.session import open_session


def test_compiled_kernels_are_kept_beside_the_engine_and_taken_up_again(rtx, engine_file, frames, world):
    path = engine_file(rtx)
    open_session(path).close()
    kept = cache_path(path).read_bytes()
    assert kept.startswith(b"kernels")
    assert "IRuntimeCache.deserialize" not in world.calls
    with open_session(path) as session:
        assert world.calls.count("IRuntimeCache.deserialize") == 1
        session.run(**frames(16, 16))
    assert cache_path(path).read_bytes() != kept  # the new size's kernels came to it


def test_a_cache_of_another_driver_is_compiled_anew(rtx, engine_file):
    path = engine_file(rtx)
    cache_path(path).write_bytes(b"of another driver")
    open_session(path).close()
    assert cache_path(path).read_bytes().startswith(b"kernels")


def test_a_cache_that_cannot_be_kept_is_told_and_no_error(rtx, engine_file, frames, monkeypatch, world):
    path = engine_file(rtx)
    world.fail("IRuntimeCache.serialize", None)
    with open_session(path) as session:
        assert "compiled kernels are not kept" in session.why
    cache_path(path).unlink()
    cache_path(path).mkdir()
    with open_session(path) as session:
        assert "compiled kernels are not kept" in session.why
        session.run(**frames())


@pytest.mark.parametrize(
    ("call", "answer"), [("create_runtime_config", None), ("create_runtime_cache", None), ("set_runtime_cache", False)]
)
def test_a_failing_answer_leaves_nothing_behind(rtx, engine_file, world, call, answer):
    world.fail(call, answer)
    with pytest.raises(BackendError):
        open_session(engine_file(rtx))


def test_a_flavour_that_is_not_installed_names_its_extra(release, engine_file, take_away):
    path = engine_file(release)
    facts = EngineFacts.from_manifest(path, read_manifest(path))
    take_away(release.module.__name__)
    extra = "rtx" if release.is_rtx else "gpu"
    with pytest.raises(BackendError, match=rf"ufafuse\[{extra}\]"):
        load_module(facts)


def test_a_flavour_whose_libraries_are_missing(release, engine_file, monkeypatch):
    monkeypatch.setitem(sys.modules, release.module.__name__, None)
    with pytest.raises(BackendError, match="cannot be loaded"):
        open_session(engine_file(release))


def test_a_runtime_that_cannot_start_says_so(release, engine_file, world):
    world.fail("Runtime", TypeError("pybind11::init(): factory function returned nullptr"))
    with pytest.raises(BackendError, match="cannot start here"):
        open_session(engine_file(release))
