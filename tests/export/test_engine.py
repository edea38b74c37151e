"""Engines: real ones of TensorRT-RTX, built here without a GPU, and everything that must be refused."""

import errno
import gc
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from ufafuse.export import engine
from ufafuse.export.build_options import BuildOptions
from ufafuse.export.builder import TensorRt
from ufafuse.export.engine import engine_from_onnx
from ufafuse.export.onnx_file import load_graph, stamped
from ufafuse.export.profiles import Profile
from ufafuse.runtime.artefact import METADATA_KEY, manifest_path, read_manifest, sha256_of
from ufafuse.runtime.errors import BackendError, InputError, ModelError, OutputError, UfaError
from ufafuse.runtime.machine import gpus

RANGE = Profile((1, 1), (96, 128), (200, 300), (1, 1, 2))
STATIC = (Profile.static((64, 96)),)


@pytest.fixture
def rtx():
    return pytest.importorskip("tensorrt_rtx", reason="needs the wheels of TensorRT-RTX (x86-64)")


@pytest.mark.parametrize("target", ["sm75", "sm86", "sm89"])
@pytest.mark.parametrize(("name", "precision", "share"), [("small", "fp32", "float32"), ("half", "fp16", "half")])
def test_a_real_engine_is_built_for_each_target(target, name, precision, share, exports, tmp_path, rtx):
    out = tmp_path / f"{name}.engine"
    report = engine_from_onnx(exports / f"{name}.onnx", out, BuildOptions((RANGE, *STATIC), "tensorrt-rtx", (target,)))
    manifest = read_manifest(out)
    assert out.stat().st_size == report["bytes"] > 10_000
    assert (manifest.kind, manifest.precision, manifest.variant) == ("engine", precision, "small")
    assert manifest.weights_sha256 == sha256_of(exports / "small.safetensors")
    extra = manifest.extra
    assert (extra["flavor"], extra["version"], extra["compute_capability"]) == ("tensorrt-rtx", rtx.__version__, [target])
    assert [profile["max"] for profile in extra["profiles"]] == [[200, 300], [64, 96]]
    assert extra["onnx_sha256"] == sha256_of(exports / f"{name}.onnx")
    assert extra["plan_sha256"] == sha256_of(out)
    layers = extra["layers"]
    counted = len(layers["float32"]) if share == "float32" else layers["half"]
    assert counted == layers["convolutions"] > 5


def test_a_manifest_can_be_read_whatever_the_file_is_called(exports, tmp_path, rtx):
    odd = tmp_path / "a\nb\u00a0\u202ec.onnx"
    onnx = load_graph(exports / "small.onnx")
    (told,) = (each for each in onnx.metadata_props if each.key == METADATA_KEY)
    values = json.loads(told.value)
    told.value = json.dumps({**values, "extra": {**values["extra"], "data": "drawn: free"}})
    odd.write_bytes(onnx.SerializeToString())
    out = tmp_path / "x.engine"
    engine_from_onnx(odd, out, BuildOptions(STATIC))
    extra = read_manifest(out).extra
    assert (extra["onnx"].isprintable(), extra["data"]) == (True, "drawn: free")  # what it learnt from goes along


def test_companions_become_engines_too(exports, tmp_path, rtx):
    for role in ("means", "tile"):
        report = engine_from_onnx(exports / f"small.{role}.onnx", tmp_path / f"small.{role}.engine", BuildOptions(STATIC))
        assert report["role"] == role
        assert report["compute_capability"] == ["ampere+"]


def build(onnx, out, profiles=STATIC, **options):
    return engine_from_onnx(onnx, out, BuildOptions(profiles, "tensorrt-rtx", **options))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"targets": ("sm70",)}, "sm70` is not known.*sm75"),
        ({"timing_cache": Path("cache")}, "`timing_cache` has no effect"),
        ({"version_compatible": True}, "`version_compatible`"),
        ({"hardware": "ampere+"}, "`targets` instead"),
    ],
)
def test_what_rtx_cannot_do_is_refused(options, what, exports, tmp_path, rtx):
    with pytest.raises(InputError, match=what):
        build(exports / "small.onnx", tmp_path / "x.engine", **options)
    assert not list(tmp_path.iterdir())


def test_a_truncated_onnx_is_refused(exports, tmp_path, rtx):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes((exports / "small.onnx").read_bytes()[:-50])
    with pytest.raises(ModelError, match="truncated"):
        build(broken, tmp_path / "x.engine")
    assert list(tmp_path.iterdir()) == [broken]


def test_an_onnx_of_another_project_is_refused(exports, tmp_path, rtx):
    import onnx

    foreign = onnx.load(exports / "small.onnx")
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(ModelError, match="no ufafuse manifest"):
        build(tmp_path / "foreign.onnx", tmp_path / "x.engine")


def test_a_graph_that_only_claims_half_is_refused(exports, tmp_path, rtx):
    import onnx

    model = onnx.load(exports / "small.onnx")
    manifest = next(entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    manifest.value = manifest.value.replace('"fp32"', '"fp16"')
    onnx.save(model, tmp_path / "claims.onnx")
    with pytest.raises(ModelError, match="says it is fp16, but none"):
        build(tmp_path / "claims.onnx", tmp_path / "x.engine")
    assert not (tmp_path / "x.engine").exists()


def test_what_the_parser_refuses_is_named(exports, tmp_path, rtx):
    import onnx

    model = onnx.load(exports / "small.onnx")
    node = next(node for node in model.graph.node if node.op_type == "LeakyRelu")
    node.op_type, node.name = "NoSuchOperator", "the_bad_one"
    (tmp_path / "bad.onnx").write_bytes(stamped(model))
    with pytest.raises(ModelError, match=r"the_bad_one.*NoSuchOperator"):
        build(tmp_path / "bad.onnx", tmp_path / "x.engine")


@pytest.mark.parametrize("wrong", ["x.plan", "missing/x.engine"])
def test_wrong_outputs_are_refused_before_the_build(wrong, exports, tmp_path):
    with pytest.raises(UfaError, match=r"\.engine|is not a folder"):
        build(exports / "small.onnx", tmp_path / wrong)


def test_a_folder_that_may_not_be_written_to_is_refused_before_the_build(exports, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (tmp_path, os.W_OK))  # root may write anywhere
    with pytest.raises(OutputError, match="may not be written to"):
        build(exports / "small.onnx", tmp_path / "x.engine")


def test_an_existing_engine_is_kept_unless_forced(exports, tmp_path, rtx):
    out = tmp_path / "x.engine"
    out.write_bytes(b"mine")
    with pytest.raises(OutputError, match="force=True"):
        build(exports / "small.onnx", out)
    assert out.read_bytes() == b"mine"
    engine_from_onnx(exports / "small.onnx", out, BuildOptions(STATIC, "tensorrt-rtx", ("sm86",)), force=True)
    assert out.stat().st_size > 10_000


@pytest.mark.parametrize("name", ["x.engine", "x.engine.json"])
def test_what_another_build_wrote_meanwhile_is_kept(name, exports, tmp_path, rtx, monkeypatch):
    monkeypatch.setattr(engine, "_check_precision", lambda *_: (tmp_path / name).write_bytes(b"another's"))
    with pytest.raises(OutputError, match="exists already"):
        build(exports / "small.onnx", tmp_path / "x.engine")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, b"another's")]


def test_a_full_disk_leaves_nothing_behind(exports, tmp_path, rtx, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        build(exports / "small.onnx", tmp_path / "x.engine")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk of its own")
def test_a_disk_that_is_really_full_leaves_nothing_behind(exports, tmp_path, rtx):
    import subprocess

    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], check=False, capture_output=True
    ).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(OutputError, match="No space left"):
            build(exports / "small.onnx", tmp_path / "x.engine")
        assert not list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


INTERRUPTED = """
import os, signal, sys, threading
from pathlib import Path
from ufafuse.export.build_options import BuildOptions
from ufafuse.export.engine import engine_from_onnx
from ufafuse.export.profiles import Profile

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with SIGINT ignored
sent = threading.Event()

def on_phase(phase, step, total):
    if not sent.is_set():
        sent.set()
        os.kill(os.getpid(), signal.SIGINT)

try:
    options = BuildOptions((Profile.static((32, 32)),), "tensorrt-rtx")
    engine_from_onnx(Path(sys.argv[1]), Path(sys.argv[2]), options, on_phase=on_phase)
except KeyboardInterrupt:
    print("cancelled")
"""


def test_ctrl_c_cancels_and_leaves_nothing_behind(exports, tmp_path, rtx):
    # In a process of its own, whose end shows whether the builder had let go: it aborts or crashes where it had not.
    command = [sys.executable, "-c", INTERRUPTED, str(exports / "small.onnx"), str(tmp_path / "x.engine")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.strip()) == (0, "cancelled"), done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("release", ["10.3.0", "10.16.1", "11.1.0", "11.4.0"])
def test_a_classic_engine_keeps_its_timings(release, exports, tmp_path, fake, install):
    install(fake.make_tensorrt(release, layers=[fake.conv("a")]))
    cache = tmp_path / "timings"
    out = tmp_path / "x.engine"
    report = engine_from_onnx(exports / "small.onnx", out, BuildOptions(STATIC, "tensorrt", timing_cache=cache))
    assert out.read_bytes() == fake.PLAN
    assert cache.read_bytes() == b"timings"
    assert report["compute_capability"] == ["this machine's"]
    assert read_manifest(out).tools["tensorrt"] == release


def test_a_failed_classic_build_leaves_nothing_behind(exports, tmp_path, fake, install):
    install(fake.make_tensorrt("11.1.0", refuses="no kernel fits"))
    with pytest.raises(BackendError, match="refused the network"):
        engine_from_onnx(exports / "small.onnx", tmp_path / "x.engine", BuildOptions(STATIC, "tensorrt"))
    assert not list(tmp_path.iterdir())
    assert not manifest_path(tmp_path / "x.engine").exists()


@pytest.mark.parametrize("failure", ["refused", "cancelled", "unparsable"])
def test_a_failed_build_frees_the_builder_without_the_collector(failure, exports, tmp_path, fake, install, monkeypatch):
    """Freed by the collector instead, it locked the library against itself while that made its next builder."""
    module = install(fake.make_tensorrt("11.1.0", refuses="" if failure == "unparsable" else "no kernel fits"))
    made, make = [], module.Builder

    def remembered(*arguments):
        builder = make(*arguments)
        made.append(weakref.ref(builder))
        return builder

    monkeypatch.setattr(module, "Builder", remembered)
    if failure == "unparsable":
        monkeypatch.setattr(TensorRt, "_parse", _refuse)
    if failure == "cancelled":
        monkeypatch.setattr(TensorRt, "_config", _interrupt)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises((BackendError, ModelError, KeyboardInterrupt)) as caught:
            engine_from_onnx(exports / "small.onnx", tmp_path / "x.engine", BuildOptions(STATIC, "tensorrt"))
        assert caught.value is not None
        assert [builder() for builder in made] == [None]
    finally:
        gc.enable()


def _refuse(self, onnx, network, logger):
    raise ModelError("it cannot be parsed")


def _interrupt(self, builder, options, inputs):
    raise KeyboardInterrupt


@pytest.mark.gpu
@pytest.mark.skipif(not gpus(), reason="no NVIDIA GPU here (nvidia-smi finds none)")
@pytest.mark.parametrize("name", ["small", "half"])
def test_an_engine_of_this_machines_gpu_gives_what_pytorch_gives(name, exports, tmp_path):
    from ufafuse.export.verify import verify_against_weights

    out = tmp_path / f"{name}.engine"
    engine_from_onnx(exports / f"{name}.onnx", out, BuildOptions((RANGE,)))
    verify_against_weights(out, exports / "small.safetensors", sizes=[(96, 128), (67, 93), (1, 1)]).require()
