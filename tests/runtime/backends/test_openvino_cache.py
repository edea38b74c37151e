"""Compiled networks kept between processes: taken up only where all is as it was, and checked."""

import os
import stat
import time

import numpy as np
import pytest

pytest.importorskip("openvino")
from ufafuse.runtime.backends import openvino as backend
from ufafuse.runtime.backends import openvino_cache as cache
from ufafuse.runtime.backends.openvino_cache import KeptNetworks
from ufafuse.runtime.session import SessionOptions, open_session


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UFAFUSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "openvino"


@pytest.fixture
def compiled(monkeypatch):
    """How often a network was compiled."""
    seen = []
    compile_ = backend.OpenVinoSession._compile
    monkeypatch.setattr(backend.OpenVinoSession, "_compile", lambda self, *rest: seen.append(rest) or compile_(self, *rest))
    return seen


def fused(model, inputs, **options):
    with open_session(model, backend="openvino", options=SessionOptions(threads=1, **options)) as session:
        return session.run_with_map(**inputs), session.why


def kept(folder):
    return sorted(folder.glob("*.ov"))


def test_the_second_session_compiles_nothing_and_computes_the_same(folder, compiled, tiny_onnx, frames):
    inputs = frames()
    first, why = fused(tiny_onnx, inputs)
    assert len(compiled) == 1
    second, _ = fused(tiny_onnx, inputs)
    assert len(compiled) == 1
    np.testing.assert_array_equal(first.fused, second.fused)
    np.testing.assert_array_equal(first.map, second.map)
    assert "not kept" not in why
    (path,) = kept(folder)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_bytes_and_the_fused_picture_alone_are_kept_too(folder, compiled, tiny_onnx):
    rng = np.random.default_rng(0)
    near, far = (rng.integers(0, 256, (1, 3, 40, 48), np.uint8) for _ in range(2))
    results = []
    for _ in range(2):
        with open_session(tiny_onnx, backend="openvino") as session:
            results.append(session.run(near, far))
    assert len(compiled) == 1
    np.testing.assert_array_equal(*results)
    assert results[0].dtype == np.uint8


CHANGES = {
    "another size": {"height": 40},
    "another arithmetic": {"precision": "fp32"},
    "other threads": {"threads": 2},
    "several at once": {"streams": 2},
    "pinned threads": {"pin": True},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_not_the_same_is_compiled(folder, compiled, tiny_onnx, frames, change, monkeypatch):
    monkeypatch.setattr(backend, "cpu_capabilities", lambda: ["FP32", "BF16"] if "precision" in change else ["FP32"])
    size = {key: change[key] for key in change.keys() & {"height"}}
    options = {"threads": 1, **{key: change[key] for key in change.keys() - {"height"}}}
    for given, chosen in (({}, {"threads": 1}), (size, options)):
        with open_session(tiny_onnx, backend="openvino", options=SessionOptions(**chosen)) as session:
            session.prepare_inputs({name: (array.shape, "float32") for name, array in frames(**given).items()})
    assert len(compiled) == len(kept(folder)) == 2


@pytest.mark.parametrize("what", ["release", "cpu", "capabilities", "format", "model"])
def test_another_machine_or_release_compiles(folder, what, tiny_onnx, tmp_path, monkeypatch):
    first = KeptNetworks(tiny_onnx).name_for("task", {}, ["FP32"])
    assert KeptNetworks(tiny_onnx).name_for("task", {}, ["FP32"]) == first
    model, capabilities = tiny_onnx, ["FP32"]
    if what == "release":
        monkeypatch.setattr(cache.ov, "get_version", lambda: "2099.1")
    elif what == "cpu":
        monkeypatch.setattr(cache, "_cpu", lambda: "another one")
    elif what == "format":
        monkeypatch.setattr(cache, "_FORMAT", 99)
    elif what == "capabilities":
        capabilities = ["FP32", "BF16"]
    else:
        model = tmp_path / tiny_onnx.name
        model.write_bytes(tiny_onnx.read_bytes() + b"\0")
    assert KeptNetworks(model).name_for("task", {}, capabilities) != first


def swapped(onnx, model, path):
    """The tiny network with its weights exchanged, as ``path``."""
    changed = onnx.load(model)
    first, second, *_ = changed.graph.initializer
    first.name, second.name = second.name, first.name
    onnx.save(changed, path)


@pytest.mark.parametrize("when", ["before the first frame", "while it is opened", "it is gone"])
def test_what_was_compiled_of_a_file_that_was_replaced_is_not_taken_for_the_new_one(
    when, folder, tiny_onnx, tmp_path, frames, monkeypatch
):
    onnx = pytest.importorskip("onnx")
    model, new, inputs = tmp_path / "line.onnx", tmp_path / "new.onnx", frames()
    model.write_bytes(tiny_onnx.read_bytes())
    swapped(onnx, tiny_onnx, new)
    expected = [fused(one, inputs, cache=False)[0].fused for one in (tiny_onnx, new)]

    def replace(*_):
        new.replace(model)
        return model

    if when == "while it is opened":
        read = backend.ov.Core.read_model
        monkeypatch.setattr(backend.ov.Core, "read_model", lambda core, path: (read(core, path), replace())[0])
    with open_session(model, backend="openvino", options=SessionOptions(threads=1)) as running:
        monkeypatch.undo()
        monkeypatch.setenv("UFAFUSE_CACHE", str(folder.parent))
        if when == "before the first frame":
            replace()
        elif when == "it is gone":
            model.unlink()
        np.testing.assert_array_equal(running.run_with_map(**inputs).fused, expected[0])
        assert "the compiled network is not kept: " in running.why
    if when == "it is gone":
        replace()
    np.testing.assert_array_equal(fused(model, inputs)[0].fused, expected[1])


DAMAGE = {
    "cut short": lambda data: data[: len(data) // 2],
    "one bit": lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
    "empty": lambda data: b"",
    "nonsense with a right hash": lambda data: cache.hashlib.sha256(b"nonsense").digest() + b"nonsense",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_compiled_anew_and_replaced(folder, compiled, tiny_onnx, frames, damage):
    inputs = frames()
    first, _ = fused(tiny_onnx, inputs)
    (path,) = kept(folder)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    second, _ = fused(tiny_onnx, inputs)
    np.testing.assert_array_equal(first.fused, second.fused)
    assert len(compiled) == 2
    assert len(path.read_bytes()) > len(whole) // 2
    fused(tiny_onnx, inputs)
    assert len(compiled) == 2


def test_nothing_is_taken_from_where_others_may_write(folder, compiled, tiny_onnx, frames):
    fused(tiny_onnx, frames())
    (path,) = kept(folder)
    path.chmod(0o666)
    fused(tiny_onnx, frames())
    assert len(compiled) == 2
    path.chmod(0o600)
    folder.chmod(0o777)
    _, why = fused(tiny_onnx, frames())
    assert len(compiled) == 3
    assert "the compiled network is not kept: " in why
    assert "can be written by others" in why


def test_a_folder_that_cannot_be_made_is_told_and_no_error(tmp_path, monkeypatch, tiny_onnx, frames):
    (tmp_path / "file").touch()
    monkeypatch.setenv("UFAFUSE_CACHE", str(tmp_path / "file"))
    result, why = fused(tiny_onnx, frames())
    assert result.fused.shape == (1, 3, 32, 48)
    assert "the compiled network is not kept: Not a directory" in why


def test_off_by_option_and_under_a_memory_budget(folder, compiled, tiny_onnx, frames):
    for options in ({"cache": False}, {"lean": True}):
        for _ in range(2):
            fused(tiny_onnx, frames(), **options)
    assert len(compiled) == 4
    assert not folder.exists()


def test_counting_layers_keeps_nothing(folder, tiny_onnx, frames):
    with open_session(tiny_onnx, backend="openvino") as session:
        session.layers(frames(), runs=1)
    assert not folder.exists()


def test_the_least_used_go_first_and_what_was_left_behind(folder, tiny_onnx, frames, monkeypatch):
    monkeypatch.setattr(cache, "_MOST_FILES", 2)
    folder.mkdir(parents=True, mode=0o700)
    left, begun = folder / "old.ov.1.tmp", folder / "new.ov.2.tmp"
    for path in (left, begun):
        path.touch()
    os.utime(left, (0, 0))
    fused(tiny_onnx, frames(16))
    (first,) = kept(folder)
    fused(tiny_onnx, frames(24))
    for path in kept(folder):
        os.utime(path, (time.time() - (10 if path == first else 100),) * 2)
    fused(tiny_onnx, frames(32))
    assert first in kept(folder)
    assert len(kept(folder)) == 2
    assert begun.exists()
    assert not left.exists()


def test_a_file_that_goes_while_the_folder_is_swept_is_no_trouble(folder, tiny_onnx, frames):
    folder.mkdir(parents=True, mode=0o700)
    (folder / "gone.ov").symlink_to("nowhere")
    _, why = fused(tiny_onnx, frames(16))
    assert "not kept" not in why
    assert len(kept(folder)) == 2


def test_the_most_bytes(folder, tiny_onnx, frames, monkeypatch):
    monkeypatch.setattr(cache, "_MOST_BYTES", 1)
    fused(tiny_onnx, frames())
    assert kept(folder) == []
