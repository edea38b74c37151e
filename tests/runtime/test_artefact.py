"""Manifests read from files that are whole, foreign, broken or newer; files written whole or not at all."""

import errno
import json
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ufafuse.runtime.artefact import (
    Manifest,
    atomic_write,
    manifest_path,
    read_manifest,
    sha256_of,
    tool_versions,
    write_json,
)
from ufafuse.runtime.errors import InputError, ModelError, OutputError


def safetensors_bytes(header, data=b""):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.fixture
def weights(tmp_path, small):
    path = tmp_path / "w.safetensors"
    header = {"__metadata__": small.manifest().to_metadata(), "a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}
    path.write_bytes(safetensors_bytes(header, b"1234"))
    return path


class TestManifest:
    def test_there_and_back(self, small, tmp_path, weights):
        manifest = small.manifest(precision="int8", io="uint8")
        (tmp_path / "x.onnx").write_bytes(small.onnx_bytes(manifest))
        assert read_manifest(tmp_path / "x.onnx") == manifest
        assert read_manifest(weights).variant == "small"
        engine = tmp_path / "x.engine"
        engine.write_bytes(b"plan")
        manifest_path(engine).write_text(manifest.to_metadata()["ufafuse"])
        assert read_manifest(engine) == manifest

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"schema": 2}, "has a manifest of schema 2, this ufafuse reads 1"),
            ({"schema": None}, "cannot be read"),
            ({"kind": None}, "kind is missing"),
            ({"colour": "red"}, "'colour' is no entry of a manifest"),
        ],
    )
    def test_newer_or_broken(self, small, changes, told):
        with pytest.raises(ModelError, match=told):
            Manifest.from_metadata({"ufafuse": small.edited_manifest(**changes)}, "x.onnx")

    @pytest.mark.parametrize("text", ["{", "[]", "3", "null"])
    def test_no_json_object(self, text):
        with pytest.raises(ModelError, match=r"x\.onnx has a manifest that cannot be read"):
            Manifest.from_metadata({"ufafuse": text}, "x.onnx")

    def test_foreign(self):
        with pytest.raises(ModelError, match="carries no ufafuse manifest"):
            Manifest.from_metadata({"producer": "others"}, "x.onnx")


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "data", "error", "told"),
        [
            ("x.onnx", None, InputError, "is not a file"),
            ("x.onnx", b"", ModelError, "is empty"),
            ("x.bin", b"x", InputError, "suffix '.bin'"),
            ("x", b"x", InputError, "x has no suffix: expected"),
            ("x.onnx", b"hello world", ModelError, "truncated or no ONNX file|holds no graph"),
            ("x.onnx", b"\x08\x08", ModelError, "holds no graph"),
            ("x.safetensors", b"abc", ModelError, "truncated or no safetensors"),
            ("x.safetensors", b"\xff" * 20, ModelError, "truncated or no safetensors"),
            ("x.safetensors", b"\x04" + b"\0" * 7 + b"nope", ModelError, "its header is not JSON"),
            ("x.safetensors", safetensors_bytes({}), ModelError, "carries no ufafuse manifest"),
            ("x.engine", b"plan", ModelError, r"no manifest x\.engine\.json beside it"),
        ],
    )
    def test_what_is_wrong_is_told(self, tmp_path, name, data, error, told):
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(error, match=told):
            read_manifest(path)

    def test_truncated_weights(self, weights):
        weights.write_bytes(weights.read_bytes()[:-1])
        with pytest.raises(ModelError, match="is truncated"):
            read_manifest(weights)

    def test_an_engine_manifest_that_is_no_text(self, tmp_path):
        (tmp_path / "x.engine").write_bytes(b"plan")
        (tmp_path / "x.engine.json").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ModelError, match="cannot be read"):
            read_manifest(tmp_path / "x.engine")

    @given(cut=st.floats(0, 1, exclude_max=True))
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_an_onnx_file_cut_anywhere(self, tmp_path, small, cut):
        data = small.onnx_bytes(small.manifest(), graph=b"\x0a\x03abc" * 20)
        path = tmp_path / "cut.onnx"
        path.write_bytes(data[: int(cut * len(data))])
        with pytest.raises(ModelError):
            read_manifest(path)

    @given(data=st.binary(min_size=1, max_size=120), suffix=st.sampled_from([".onnx", ".safetensors", ".engine"]))
    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_bytes(self, tmp_path, data, suffix):
        path = tmp_path / f"any{suffix}"
        path.write_bytes(data)
        (tmp_path / "any.engine.json").write_bytes(data)
        with pytest.raises(ModelError):
            read_manifest(path)


class TestAtomicWrite:
    def test_whole(self, tmp_path):
        with atomic_write(tmp_path / "x.bin") as temporary:
            assert temporary.suffix == ".bin"
            temporary.write_bytes(b"data")
            assert not (tmp_path / "x.bin").exists()
        assert (tmp_path / "x.bin").read_bytes() == b"data"
        assert [path.name for path in tmp_path.iterdir()] == ["x.bin"]

    def test_the_mode_is_the_umasks(self, tmp_path):
        before = os.umask(0o027)
        try:
            write_json(tmp_path / "x.json", {})
        finally:
            os.umask(before)
        assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o640

    def test_not_at_all_when_the_work_fails(self, tmp_path):
        with pytest.raises(ValueError, match="mine"), atomic_write(tmp_path / "x.bin") as temporary:
            temporary.write_bytes(b"half")
            raise ValueError("mine")
        assert list(tmp_path.iterdir()) == []

    def test_existing(self, tmp_path):
        (tmp_path / "x.bin").write_text("old")
        with pytest.raises(OutputError, match="force=True"), atomic_write(tmp_path / "x.bin"):
            pass
        with atomic_write(tmp_path / "x.bin", force=True) as temporary:
            temporary.write_text("new")
        assert (tmp_path / "x.bin").read_text() == "new"

    @pytest.mark.parametrize("folder", ["no", "file"])
    def test_no_folder_to_write_to(self, tmp_path, folder):
        (tmp_path / "file").touch()
        told = pytest.raises(OutputError, match=r"x\.bin cannot be written: (No such file|Not a directory)")
        with told, atomic_write(tmp_path / folder / "x.bin"):
            pass

    def test_a_full_disk_while_writing(self, tmp_path):
        with pytest.raises(OutputError, match="written: No space left on device"), atomic_write(tmp_path / "x.bin"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        assert list(tmp_path.iterdir()) == []

    def test_a_full_disk_found_by_the_sync(self, tmp_path, monkeypatch):
        def full(_descriptor):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left"), atomic_write(tmp_path / "x.bin") as temporary:
            temporary.write_bytes(b"data")
        assert list(tmp_path.iterdir()) == []

    def test_a_limit_of_the_system(self, tmp_path):
        """For real: the kernel stops the write at 4096 bytes."""
        program = (
            "import resource, signal, sys; from pathlib import Path\n"
            "from ufafuse.runtime.artefact import atomic_write\n"
            "from ufafuse.runtime.errors import OutputError\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "sys.dont_write_bytecode = True\n"  # or what is imported from here on would be cut short too, and stay so
            "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
            "try:\n"
            "    with atomic_write(Path(sys.argv[1])) as temporary: temporary.write_bytes(bytes(100_000))\n"
            "except OutputError as error: print(error)\n"
        )
        path = tmp_path / "x.bin"
        done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
        assert "cannot be written: File too large" in done.stdout
        assert list(tmp_path.iterdir()) == []


def test_hash_and_versions(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_of(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    versions = tool_versions("numpy", "surely-not-installed")
    assert versions.keys() == {"ufafuse", "numpy"}


@pytest.mark.parametrize("header", ["[]", '{"a": {}}', '{"a": 3}', '{"a": {"data_offsets": [0]}}', '{"__metadata__": 3}'])
def test_a_safetensors_header_of_another_shape_is_one_clear_error(header, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(16))
    with pytest.raises(ModelError, match="its header does not describe tensors"):
        read_manifest(path)


def test_the_umask_is_not_touched(tmp_path, monkeypatch):
    """It belongs to the process: set to 0 and back, another thread's new file would come out 0666."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail(f"umask({mask:o})"))
    with atomic_write(tmp_path / "x.bin") as temporary:
        temporary.write_bytes(b"x")
    assert (tmp_path / "x.bin").read_bytes() == b"x"
