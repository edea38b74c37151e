"""Bundled networks by name."""

from pathlib import Path

import pytest

from ufafuse.runtime import models
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import InputError, UfaError
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.manifest_entries import ROLES
from ufafuse.runtime.models import FOLDER, bundled, model_path, weights_path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "FOLDER", tmp_path)
    return tmp_path


def test_names(folder):
    for name in ("ufa.onnx", "ufa-int8.onnx", "ufa.means.onnx", "ufa.tile.onnx", "ufa-edge.onnx", "ufa.safetensors"):
        (folder / name).touch()
    assert bundled() == ["ufa", "ufa-edge"]
    assert model_path("ufa") == model_path("ufa", precision="bf16") == folder / "ufa.onnx"
    assert model_path() == model_path(models.DEFAULT)
    assert model_path("ufa", precision="int8") == folder / "ufa-int8.onnx"
    assert weights_path("ufa") == folder / "ufa.safetensors"
    with pytest.raises(InputError, match="no int8 file of ufa-edge is bundled: run `ufa calibrate ufa-edge --pairs"):
        model_path("ufa-edge", precision="int8")
    with pytest.raises(InputError, match="no fp16 file of ufa is bundled: run `ufa export --weights ufa --precision fp16 -o"):
        model_path("ufa", precision="fp16")
    with pytest.raises(InputError, match="`model=ufb` is not known: give one of ufa, ufa-edge"):
        model_path("ufb")
    with pytest.raises(InputError, match="no weights ufa-edge"):
        weights_path("ufa-edge")


def test_files(tmp_path):
    (tmp_path / "mine.onnx").touch()
    assert model_path(tmp_path / "mine.onnx") == tmp_path / "mine.onnx"
    with pytest.raises(InputError, match=r"other\.onnx` does not exist"):
        model_path(tmp_path / "other.onnx")
    with pytest.raises(InputError, match="no weights"):
        weights_path(tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", ["mine.mlpackage", "mine.onnx", "mine.d"])
def test_a_folder_in_a_files_place_is_told_as_what_it_is(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(UfaError) as told, Fuser(tmp_path / name):
        pass
    assert "does not exist" not in str(told.value)


def test_nothing_bundled(folder):
    with pytest.raises(InputError, match=r"\(none bundled\)"):
        model_path()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.onnx")) or [None], ids=lambda path: path and Path(path).name)
def test_bundled_files_are_whole_and_of_one_family(path):
    if path is None:
        pytest.skip("no network is bundled")
    manifest = read_manifest(path)
    name = path.name.split(".")[0].removesuffix("-int8")
    assert manifest.variant == name
    beside = path.suffixes[0].strip(".")
    assert manifest.extra["role"] == (beside if beside in ROLES else "whole")
    whole = read_manifest(FOLDER / f"{name}.onnx")
    assert manifest.weights_sha256 == whole.weights_sha256


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.onnx") if "." not in path.stem))
def test_every_bundled_file_can_be_named(name):
    assert model_path(name) == FOLDER / f"{name}.onnx"


def test_a_file_by_a_bundled_name(folder, tmp_path, monkeypatch):
    (folder / "ufa.onnx").touch()
    assert models.file_named("ufa") == folder / "ufa.onnx"
    assert models.file_named("there.engine") == Path("there.engine")  # for its reader to refuse
    with pytest.raises(InputError, match="ufb is neither a file nor a bundled network: give a file, or one of ufa"):
        models.file_named("ufb")
    assert models.beside_or_here(folder / "ufa.onnx") == Path()
    assert models.beside_or_here(Path("models/x.onnx")) == Path("models")


def test_which_networks_are_free_for_any_use():
    found = {network.name: network for network in models.described()}
    assert {name for name, network in found.items() if network.free} == {"ufa-free", "ufa-stack"}
    assert all(network.data for network in found.values())
    assert all("terms are for research" in network.data for network in found.values() if not network.free)
