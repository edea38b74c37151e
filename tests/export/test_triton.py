"""Triton's model repository: read with Triton's own messages, and true of the files in it."""

import errno
import json
import os
import shutil

import onnx
import pytest
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.export import engine, onnx_export
from ufafuse.export.triton import repository_from
from ufafuse.runtime.artefact import METADATA_KEY
from ufafuse.runtime.errors import InputError, OutputError

KIND_CPU = 2  # of Triton's ModelInstanceGroup


def read(path):
    pytest.importorskip("tritonclient.grpc", reason="tritonclient, whose messages are used, is not installed")
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    return text_format.Parse((path / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def test_a_model_of_bytes_is_laid_out_for_both_engines(exports, tmp_path):
    written = repository_from(exports / "half.onnx", tmp_path)
    assert all(path.is_file() for path in written)
    for backend in ("onnxruntime", "openvino"):
        folder = tmp_path / f"half-{backend}"
        config = read(folder)
        together = backend == "onnxruntime"  # OpenVINO's backend runs batches of exactly max_batch_size, and on CPUs only
        first = [] if together else [-1]
        assert (config.name, config.backend, config.max_batch_size) == (folder.name, backend, 8 if together else 0)
        assert (folder / "1" / config.default_model_filename).read_bytes() == (exports / "half.onnx").read_bytes()
        assert {port.name: (port.data_type, list(port.dims)) for port in config.input} == {
            "near": (2, [*first, -1, -1, 3]),
            "far": (2, [*first, -1, -1, 3]),
        }
        ports = {port.name: list(port.dims) for port in config.output}
        assert ports == {"fused": [*first, -1, -1, 3], "map": [*first, 1, -1, -1]}
        assert config.HasField("dynamic_batching") == together
        assert [group.kind for group in config.instance_group] == ([] if together else [KIND_CPU])
        (warm,) = config.model_warmup
        assert (warm.batch_size, list(warm.inputs["near"].dims)) == (1, [*([] if together else [1]), 256, 256, 3])


def test_a_model_that_is_there_gets_another_version(exports, tmp_path):
    repository_from(exports / "small.onnx", tmp_path)
    repository_from(exports / "small.onnx", tmp_path)
    folder = tmp_path / "small-openvino"
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "config.pbtxt"]
    retrained = tmp_path / "small.onnx"
    with_other_weights(exports / "small.onnx", retrained)
    repository_from(retrained, tmp_path)
    assert (folder / "3" / "model.onnx").read_bytes() == retrained.read_bytes()
    assert "weights 0123456789ab" in (folder / "config.pbtxt").read_text()
    shutil.copy(exports / "half.onnx", tmp_path / "small.onnx")
    with pytest.raises(InputError, match="another configuration"):
        repository_from(tmp_path / "small.onnx", tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "3", "config.pbtxt"]


def with_other_weights(source, target):
    """A copy whose manifest says that it came from other weights."""
    model = onnx.load(source)
    (entry,) = (entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    entry.value = json.dumps({**json.loads(entry.value), "weights_sha256": "0123456789abcdef" * 4})
    onnx.save(model, target)


@pytest.mark.parametrize("name", ['a "b".onnx', "a\\b.onnx", "a\nb.onnx"])
def test_a_name_that_no_configuration_can_hold_is_refused(name, exports, tmp_path):
    shutil.copy(exports / "half.onnx", tmp_path / name)
    with pytest.raises(InputError, match="names the model after"):
        repository_from(tmp_path / name, tmp_path / "repo")
    assert not (tmp_path / "repo").exists()


def test_a_full_disk_leaves_nothing_behind(exports, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OutputError, match="No space left"):
        repository_from(exports / "half.onnx", tmp_path / "repo")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def traced(exports, monkeypatch):
    """The graph of `exports` in place of one that is traced anew: what is asked here comes after."""
    monkeypatch.setattr(onnx_export, "trace", lambda *_: None)
    monkeypatch.setattr(onnx_export, "finished", lambda *_: (exports / "small.onnx").read_bytes())
    return exports


def test_an_export_whose_repository_refuses_it_leaves_nothing(traced, tmp_path):
    model = tmp_path / "repo" / "x-onnxruntime"
    model.mkdir(parents=True)
    (model / "config.pbtxt").write_text("max_batch_size: 3\n")
    (tmp_path / "x.onnx").write_bytes(b"before")
    words = ["export", "--weights", traced / "small.safetensors", "-o", tmp_path / "x.onnx", "--triton", tmp_path / "repo"]
    result = CliRunner().invoke(build_app(), [*map(str, words), "--force"])
    assert (result.exit_code, "holds a model of another configuration" in " ".join(result.stderr.split())) == (2, True)
    assert (tmp_path / "x.onnx").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["config.pbtxt", "repo", "x-onnxruntime", "x.onnx"]
    (model / "config.pbtxt").unlink()
    model.rmdir()
    result = CliRunner().invoke(build_app(), [*map(str, words), "--force", "--json"])
    assert result.exit_code == 0, result.stderr
    assert all(os.path.exists(path) for path in json.loads(result.stdout)["triton"])  # noqa: PTH110 - as they are told
    assert (model / "1" / "model.onnx").read_bytes() == (tmp_path / "x.onnx").read_bytes() != b"before"


def test_an_engine_with_profiles_that_would_not_be_served_is_not_built(exports, tmp_path):
    words = ["build", exports / "half.onnx", "-o", tmp_path / "x.engine", "--static", "64x64", "--static", "32x32"]
    result = CliRunner().invoke(build_app(), [*map(str, words), "--triton", str(tmp_path / "repo")])
    assert (result.exit_code, "only the first would be served" in " ".join(result.stderr.split())) == (2, True)
    assert not list(tmp_path.iterdir())


def test_an_engine_is_not_built_for_a_repository_that_has_another_of_its_name(exports, tmp_path, monkeypatch):
    """Building takes minutes on a GPU: what is there is looked at before."""
    model = tmp_path / "repo" / "half-tensorrt"
    model.mkdir(parents=True)
    (model / "config.pbtxt").write_text("max_batch_size: 3\n")
    monkeypatch.setattr(engine, "engine_from_onnx", lambda *_, **__: pytest.fail("it was built"))
    words = ["build", str(exports / "half.onnx"), "-o", str(tmp_path / "x.engine"), "--static", "64x64"]
    result = CliRunner().invoke(build_app(), [*words, "--triton", str(tmp_path / "repo")])
    assert (result.exit_code, "holds a model of another configuration" in " ".join(result.stderr.split())) == (2, True)


def test_the_graphs_for_stacks_are_served_each(gathering, tmp_path):
    for role in ("", ".encode", ".common", ".score"):
        repository_from(gathering / f"gathering{role}.onnx", tmp_path)
    config = read(tmp_path / "gathering-common-onnxruntime")
    dims = {port.name: list(port.dims) for port in config.input}
    assert dims["greatest_0"] == [-1, -1, 4]
    (warm,) = config.model_warmup
    assert list(warm.inputs["average_1"].dims) == [32, 32, 6]


def test_an_engine_is_for_tensorrt(exports, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    out = tmp_path / "x.engine"
    words = ["build", str(exports / "half.onnx"), "-o", str(out), "--static", "64x96", "--batch", "1,2,4", "--target", "sm86"]
    result = CliRunner().invoke(build_app(), [*words, "--triton", str(tmp_path / "repo")])
    assert result.exit_code == 0, result.output
    config = read(tmp_path / "repo" / "half-tensorrt")
    assert (config.backend, config.max_batch_size) == ("tensorrt", 4)
    assert [list(port.dims) for port in config.input] == [[64, 96, 3], [64, 96, 3]]
    assert (tmp_path / "repo" / "half-tensorrt" / "1" / "model.plan").read_bytes() == out.read_bytes()


@pytest.mark.parametrize(
    ("batch", "free", "most", "first", "warm"),
    [("2,3,4", ["--min", "32x32", "--opt", "64x96", "--max", "96x96"], 0, -1, 3), ("4", ["--static", "64x96"], 0, 4, 4)],
)
def test_an_engine_that_takes_no_pair_alone_is_asked_for_none(batch, free, most, first, warm, exports, tmp_path):
    """Triton's batches begin with one: where the engine's do not, the number of pairs is a size like others."""
    pytest.importorskip("tensorrt_rtx")
    words = ["build", str(exports / "half.onnx"), "-o", str(tmp_path / "x.engine"), *free, "--batch", batch, "--target", "sm86"]
    result = CliRunner().invoke(build_app(), [*words, "--triton", str(tmp_path / "repo")])
    assert result.exit_code == 0, result.output
    config = read(tmp_path / "repo" / "half-tensorrt")
    size = [64, 96] if "--static" in free else [-1, -1]
    assert (config.max_batch_size, [list(port.dims) for port in config.input]) == (most, [[first, *size, 3]] * 2)
    (request,) = config.model_warmup
    assert (request.batch_size, list(request.inputs["near"].dims)) == (1, [warm, 64, 96, 3])


def test_the_command_lays_out_what_it_exports(exports, tmp_path):
    source, repo = str(exports / "small.safetensors"), tmp_path / "repo"
    words = ["export", "--weights", source, "-o", str(tmp_path / "line.onnx"), "--io", "uint8", "--static", "24x32"]
    result = CliRunner().invoke(build_app(), [*words, "--triton", str(repo)])
    assert result.exit_code == 0, result.output
    config = read(repo / "line-onnxruntime")
    assert config.max_batch_size == 0
    assert [list(port.dims) for port in config.input] == [[1, 24, 32, 3]] * 2
    assert not config.HasField("dynamic_batching")
    assert [warm.batch_size for warm in config.model_warmup] == [1]  # Triton's own rule, also without batches
    refused = CliRunner().invoke(
        build_app(), ["export", "--weights", source, "-o", str(tmp_path), "--all", "--triton", str(repo)]
    )
    assert (refused.exit_code, "omit --all" in " ".join(refused.stderr.split())) == (2, True)
