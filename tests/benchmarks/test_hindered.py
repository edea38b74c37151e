"""What `ufa bench` cannot measure here is refused before it measures anything."""

import os

import pytest
from typer.testing import CliRunner

from ufafuse.benchmarks.speed import bench as bench_module
from ufafuse.benchmarks.speed import fits, on_device, opening
from ufafuse.benchmarks.speed.bench import bench
from ufafuse.benchmarks.speed.plan import Plan
from ufafuse.commands.cli import build_app
from ufafuse.runtime import session
from ufafuse.runtime.artefact import METADATA_KEY, Manifest, manifest_path
from ufafuse.runtime.backends.ort_providers import PROVIDERS
from ufafuse.runtime.errors import BackendError, InputError, UfaError
from ufafuse.runtime.kinds import KINDS

SIZE = (32, 48)
_OF_ONE_ENGINE = [kind for kind in KINDS if kind.name in ("ncnn", "mnn", "litert", "torchscript", "executorch")]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"precisions": ("bf16",), "backends": ("onnxruntime",)}, "nothing of `precision=bf16` can .*: ONNX Runtime runs"),
        ({"precisions": ("fp16",)}, "nothing of `precision=fp16` can .*: OpenVINO computes .*; ONNX Runtime runs"),
        ({"backends": ("tensorrt",)}, "nothing of `backend=tensorrt` can .* (`ufa build` first|not installed)"),
        ({"provider": "cuda"}, "nothing of `provider=cuda` can"),
        ({"provider": "cuda", "backends": ("openvino",)}, "`provider=cuda` changes nothing"),
        ({"device": "cuda"}, "nothing of `device=cuda` can .* needs a GPU"),
        ({"sizes": [(99_999, 99_999)]}, "`size=99999x99999` is too large: a pair of that size takes 480.0 GB at least"),
        ({"sizes": [(99_999, 9_999)], "batches": (256,)}, "a batch of 256 pairs of that size takes 2,303.7 GB at least"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_measured(tiny_onnx, monkeypatch, asked, told):
    for module in ("openvino", "onnxruntime", *(["torch"] if "device" in asked else [])):
        pytest.importorskip(module)
    monkeypatch.setattr(bench_module, "measure_peaks", lambda _: pytest.fail("it began to measure"))
    monkeypatch.setattr(on_device, "_PROVIDERS", {"cuda": "none", "cpu": "CPUExecutionProvider"})
    monkeypatch.setitem(PROVIDERS, "cuda", "none")
    if "device" in asked:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UfaError, match=told) as refused:
        bench(Plan([tiny_onnx], **asked))
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"precisions": ("bf16",)}, r"nothing of `precision=bf16` can be measured here: \S+ runs \S+ as fp32, not bf16"),
        ({"backends": ("onnxruntime",)}, "nothing of `backend=onnxruntime` can be measured here: onnxruntime cannot run"),
    ],
)
@pytest.mark.parametrize("kind", _OF_ONE_ENGINE, ids=lambda kind: kind.name)
def test_what_the_one_engine_of_a_file_does_not_do_is_refused_too(tmp_path, monkeypatch, kind, asked, told):
    monkeypatch.setattr(session, "installed", lambda _: True)
    path = tmp_path / f"x{kind.suffix}"
    path.write_bytes(b"some")
    manifest_path(path).write_text(Manifest(kind.name, "ufa-nano", "fp32").to_metadata()[METADATA_KEY])
    with pytest.raises(BackendError, match=told) as refused:
        Plan([path], sizes=[SIZE], **asked).check()
    assert refused.value.exit_code == 2


def test_what_shows_when_a_file_is_opened_ends_it_before_others_are_timed(tiny_onnx, monkeypatch):
    def driverless(spec):
        raise BackendError("no driver answers.")

    monkeypatch.setattr(bench_module, "measure_peaks", lambda _: {})
    monkeypatch.setitem(opening.CLASSES, "session", driverless)
    monkeypatch.setattr(bench_module, "interleaved", lambda *_, **__: pytest.fail("it began to measure"))
    with pytest.raises(InputError, match=r"nothing could be measured: no driver answers\.$"):
        bench(Plan([tiny_onnx], [SIZE], cold=False))


def test_frames_for_which_there_is_no_memory_are_not_tried(tiny_onnx, monkeypatch):
    monkeypatch.setattr(bench_module, "measure_peaks", lambda _: {})
    monkeypatch.setattr(fits, "available_bytes", lambda: 64 << 20)
    plan = Plan([tiny_onnx], [(2000, 3000)], ("onnxruntime",), ("fp32",), methods=("lap",), cold=False)
    with pytest.raises(InputError, match=r"frames of 2000x3000 need more than the 0\.1 GB of memory that may be taken here"):
        bench(plan)


@pytest.mark.parametrize(
    ("name", "words"),
    [("x.onnx", ["info"]), ("x.onnx", ["bench"]), ("x.json", ["bench", "--from"]), ("x.json", ["bench", "--quality"])],
)
def test_a_named_pipe_in_a_files_place_is_not_waited_for(tmp_path, name, words):
    os.mkfifo(tmp_path / name)
    done = CliRunner().invoke(build_app(), [*words, str(tmp_path / name)])
    assert done.exit_code == 2
    assert "is a pipe: give" in " ".join(done.stderr.split()) or "is a named pipe" in done.stderr
