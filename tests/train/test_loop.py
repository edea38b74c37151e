"""A run from start to end: what it leaves, stopping, killing, resuming, and numbers that are none."""

import csv
import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from ufafuse.network.rivals.base import Lesson, RivalNet
from ufafuse.network.spec import RIVALS, SPECS, Spec
from ufafuse.network.weights import build_model, load_weights, save_weights
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import CheckFailed, InputError, ModelError, OutputError
from ufafuse.runtime.opencv import BUILDS
from ufafuse.train import devices, loop, textures
from ufafuse.train.feed import Positions
from ufafuse.train.loop import Trainer, train
from ufafuse.train.pairfeed import PairFeed
from ufafuse.train.recipe import Recipe, TrainOptions

SMALL = Spec("small", widths=(6, 8), fold=2, encoder_blocks=(1, 1), decoder_blocks=(1, 0), head="select", symmetric=True)


@pytest.fixture(autouse=True)
def small_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPECS, "small", SMALL)
    monkeypatch.setattr(loop, "LOG_EVERY", 1)


@pytest.fixture
def options(photo_folders: tuple[Path, Path], tmp_path: Path) -> TrainOptions:
    recipe = Recipe(steps=6, crop=24, batch=2, lr=1e-2, lens=0.5)
    return TrainOptions(
        *photo_folders, tmp_path / "run", recipe, variant="small", threads=1, validations=2, val_share=0.2, device="cpu"
    )


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open() as stream:
        return list(csv.DictReader(stream))


def losses(out: Path) -> dict[int, float]:
    return {int(row["step"]): float(row["loss"]) for row in rows(out) if row["loss"]}


def stop_after(monkeypatch: pytest.MonkeyPatch, step: int, number: int = signal.SIGTERM) -> None:
    """Let the run send itself a signal once it has made `step` steps."""
    real = Trainer._step

    def counted(self: Trainer, batch: object) -> float:
        loss = real(self, batch)
        if self.progress.step == step:
            os.kill(os.getpid(), number)
        return loss

    monkeypatch.setattr(Trainer, "_step", counted)


def test_a_run_leaves_weights_logs_samples_and_a_report(options: TrainOptions) -> None:
    result = train(options)
    assert (result["ok"], result["steps"], result["finished"]) == (True, 6, True)
    assert set(result["best"]) == {"psnr", "ssim", "step"}
    assert load_weights(Path(result["weights"])).spec == SMALL
    manifest = read_manifest(options.out / "last.safetensors")
    assert (manifest.variant, manifest.extra["step"], manifest.extra["recipe"]["lr"]) == ("small", 6, 1e-2)
    assert sorted(losses(options.out)) == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows(options.out) if row["val_psnr"]] == ["3", "6"]
    assert [path.name for path in sorted((options.out / "samples").iterdir())] == ["step_0000003.jpg", "step_0000006.jpg"]
    assert list((options.out / "tensorboard").iterdir())
    report = json.loads((options.out / "report.json").read_text())
    assert report["best"] == result["best"]
    assert report["options"]["recipe"]["steps"] == 6
    assert report["precision"] in ("fp32", "bf16")
    assert set(report["tools"]) & set(BUILDS)  # whichever of OpenCV's builds is installed
    assert not [path for path in options.out.iterdir() if path.name.startswith(".")]


def test_it_learns(options: TrainOptions) -> None:
    # Six channels can be drawn badly: from seed 0, whether this network leaves its plateau hangs on the CPU's rounding.
    recipe = dataclasses.replace(options.recipe, steps=300, batch=4, average=0.8, lens=0, lr=4e-3)
    train(dataclasses.replace(options, recipe=recipe, seed=1))
    curve = list(losses(options.out).values())
    assert sum(curve[-10:]) < 0.8 * sum(curve[:10])


def test_validations_leave_a_short_run_its_time(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = PairFeed.validate, list[int]()

    def slow(self: PairFeed, *arguments: Any) -> Any:
        calls.append(1)
        time.sleep(1.0)
        return real(self, *arguments)

    monkeypatch.setattr(PairFeed, "validate", slow)
    result = train(dataclasses.replace(options, recipe=dataclasses.replace(options.recipe, steps=20), validations=20))
    assert len(calls) == 2  # the first, which tells what one costs, and the last
    assert result["best"] is not None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(
    options: TrainOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    whole = dataclasses.replace(options, out=tmp_path / "whole")
    train(whole)
    with monkeypatch.context() as patch:
        stop_after(patch, 4, number)
        result = train(options)
    assert (result["steps"], result["finished"]) == (4, False)
    assert train(options, resume=True)["finished"]
    assert losses(options.out) == pytest.approx(losses(whole.out), abs=1e-6)
    one, two = (load_weights(out / "last.safetensors").state_dict() for out in (options.out, whole.out))
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, two[name], rtol=0, atol=1e-6)
    assert [row["step"] for row in rows(options.out)] == [row["step"] for row in rows(whole.out)]


RUN = """
import sys
from ufafuse.train.resuming import resumed_options
from pathlib import Path
from ufafuse.network.rivals.base import Lesson, RivalNet
from ufafuse.network.spec import RIVALS, SPECS, Spec
from ufafuse.train.loop import Trainer, train
import ufafuse.train.loop, time
SPECS["small"] = Spec.from_dict({spec})
ufafuse.train.loop.LOG_EVERY = 1
real = Trainer._step
def slow(self, batch):
    time.sleep(0.2)
    return real(self, batch)
Trainer._step = slow
out = Path(sys.argv[1])
train(resumed_options(out, {{}}), resume=True)
"""


def test_batches_have_sizes_that_the_scales_do_not_divide(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, ...]] = []
    real = loop.FusionLoss.forward

    def seen(self: loop.FusionLoss, fused: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        sizes.append(tuple(truth.shape[-2:]))
        return real(self, fused, truth)

    monkeypatch.setattr(loop.FusionLoss, "forward", seen)
    train(options)
    assert sizes[:5] == [(24, 24), (22, 24), (24, 21), (21, 21), (24, 24)]


def test_a_killed_run_goes_on_from_its_last_checkpoint(options: TrainOptions, tmp_path: Path) -> None:
    long = dataclasses.replace(
        options, recipe=dataclasses.replace(options.recipe, steps=12), checkpoint_minutes=0.0, validations=1
    )
    whole = dataclasses.replace(long, out=tmp_path / "whole")
    train(whole)
    long.out.mkdir()
    (long.out / "options.json").write_text(json.dumps(long.to_dict()))
    script = tmp_path / "run.py"
    script.write_text(RUN.format(spec=SMALL.to_dict()))
    process = subprocess.Popen([sys.executable, str(script), str(long.out)], env={**os.environ, "OMP_NUM_THREADS": "1"})
    patience = time.monotonic() + 60
    while not (long.out / "checkpoint.pt").exists() and process.poll() is None and time.monotonic() < patience:
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 0 < len(losses(long.out)) < 12
    train(long, resume=True)
    assert losses(long.out) == pytest.approx(losses(whole.out), abs=1e-6)


def test_a_run_that_ended_before_its_first_checkpoint_starts_again(options: TrainOptions) -> None:
    options.out.mkdir()
    (options.out / "options.json").write_text(json.dumps(options.to_dict()))
    assert train(options, resume=True)["steps"] == 6


@pytest.mark.parametrize("budget", [{"steps": 5}, {"steps": 0, "hours": 1e-9}])
def test_less_than_was_done_is_told(options: TrainOptions, monkeypatch: pytest.MonkeyPatch, budget: dict[str, Any]) -> None:
    monkeypatch.setattr(loop, "LATE", 0.0)
    train(options)
    result = train(dataclasses.replace(options, recipe=dataclasses.replace(options.recipe, **budget)), resume=True)
    (warning,) = result["warnings"]
    assert warning.endswith("are fewer: nothing was trained.")
    assert result["steps"] == 6


def test_a_finished_run_resumes_to_its_result(options: TrainOptions) -> None:
    assert train(options, resume=False) == train(options, resume=True)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_number_that_is_none_stops_the_run_and_keeps_the_checkpoint(
    options: TrainOptions, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    options = dataclasses.replace(options, checkpoint_minutes=0.0)
    real = loop.FusionLoss.forward
    steps = itertools.count(1)

    def broken(self: loop.FusionLoss, fused: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        loss = real(self, fused, truth)
        if next(steps) == 4:
            if what == "loss":
                return loss * float("nan")
            loss.register_hook(lambda gradient: gradient * float("inf"))
        return loss

    monkeypatch.setattr(loop.FusionLoss, "forward", broken)
    with pytest.raises(CheckFailed, match=r"in batch 4, pairs 6 to 7 \(of the photographs p\d, p\d\).*checkpoint\.pt"):
        train(options)
    weights = load_weights(options.out / "last.safetensors")
    assert read_manifest(options.out / "last.safetensors").extra["step"] == 3
    assert all(parameter.isfinite().all() for parameter in weights.parameters())
    assert train(options, resume=True)["steps"] == 6


def test_a_run_by_the_clock_ends_in_time(options: TrainOptions) -> None:
    recipe = dataclasses.replace(options.recipe, steps=0, hours=0.5 / 3600)
    began = time.monotonic()
    result = train(dataclasses.replace(options, recipe=recipe))
    assert result["finished"]
    assert result["steps"] > 0
    assert time.monotonic() - began < 20


def test_a_folder_with_a_run_is_not_overwritten(options: TrainOptions) -> None:
    train(options)
    with pytest.raises(OutputError, match="holds a run already"):
        train(options)
    with pytest.raises(InputError, match="no run to resume"):
        train(dataclasses.replace(options, out=options.out / "other"), resume=True)


def test_bad_photographs_leave_no_run_behind(options: TrainOptions, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        train(dataclasses.replace(options, images=tmp_path / "gone"))
    assert not (options.out / "options.json").exists()
    train(options)


def test_a_folder_that_cannot_be_made_is_named(options: TrainOptions, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        train(dataclasses.replace(options, out=tmp_path / "file" / "run"))


def test_weights_to_start_from_must_be_of_the_network(options: TrainOptions, tmp_path: Path) -> None:
    for name in ("small", "ufa-nano"):
        save_weights(build_model(name, seed=3), tmp_path / f"{name}.safetensors")
    with pytest.raises(InputError, match="holds the weights of 'ufa-nano'"):
        train(dataclasses.replace(options, out=tmp_path / "deep" / "run", init_from=tmp_path / "ufa-nano.safetensors"))
    assert not (tmp_path / "deep").exists()  # nor is anything left of what else is refused, once the folder was made
    with pytest.raises(InputError, match="is not a folder"):
        train(dataclasses.replace(options, out=tmp_path / "deep" / "run", val_pairs=tmp_path / "none"))
    assert not (tmp_path / "deep").exists()
    still = dataclasses.replace(options.recipe, steps=1, lr=1e-12)
    train(dataclasses.replace(options, init_from=tmp_path / "small.safetensors", recipe=still))
    one, two = load_weights(options.out / "last.safetensors"), build_model("small", seed=3)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_a_broken_checkpoint_is_refused(options: TrainOptions) -> None:
    train(options)
    (options.out / "checkpoint.pt").write_bytes(b"PK broken")
    (options.out / "checkpoint.previous.pt").unlink()
    with pytest.raises(ModelError, match="broken"):
        train(options, resume=True)


def test_a_damaged_checkpoint_is_said_and_the_one_before_gone_on_from(
    options: TrainOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    options = dataclasses.replace(options, checkpoint_minutes=0.0)
    train(options)
    expected = losses(options.out)
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        assert (options.out / name).is_file()
    damaged = bytearray((options.out / "checkpoint.pt").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (options.out / "checkpoint.pt").write_bytes(damaged)
    result = train(options, resume=True)
    assert result["steps"] == 6
    assert "checksum" in result["warnings"][0]
    assert "checkpoint before it is gone on from" in " ".join(capsys.readouterr().err.split())
    assert json.loads((options.out / "report.json").read_text())["resumed_from"]["checkpoint"] == "checkpoint.previous.pt"
    assert losses(options.out) == pytest.approx(expected, abs=1e-6)
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        (options.out / name).write_bytes(b"PK broken")
    with pytest.raises(ModelError, match="broken"):
        train(options, resume=True)


def test_a_run_without_its_last_checkpoint_goes_on_from_the_one_before(options: TrainOptions) -> None:
    train(dataclasses.replace(options, checkpoint_minutes=0.0))
    (options.out / "checkpoint.pt").unlink()
    assert train(options, resume=True)["steps"] == 6


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_every_batch(world: int) -> None:
    parts = [
        list(itertools.islice(Positions(first_step=3, batch=8, rank=rank, world=world), 16 // world)) for rank in range(world)
    ]
    for step in range(2):
        share = 8 // world
        seen = sorted(n for part in parts for n in part[step * share : (step + 1) * share])
        assert seen == list(range((3 + step) * 8, (4 + step) * 8))


@pytest.mark.parametrize(("features", "expected"), [({}, False), ({"BF16": True}, True), ({"AMX": True}, True)])
def test_bf16_is_taken_only_where_the_cpu_computes_in_it(
    options: TrainOptions, monkeypatch: pytest.MonkeyPatch, features: dict[str, bool], expected: bool
) -> None:
    monkeypatch.setattr(devices, "machine", lambda: {"features": features})
    cpu = torch.device("cpu")
    assert devices.computes_in_bf16(options, cpu) is expected
    for precision, forced in (("fp32", False), ("bf16", True)):
        recipe = dataclasses.replace(options.recipe, precision=precision)
        assert devices.computes_in_bf16(dataclasses.replace(options, recipe=recipe), cpu) is forced


def test_a_rival_learns_by_its_own_loss_and_goes_on_as_if_nothing_had_happened(
    options: TrainOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(options.recipe, steps=3, crop=48, lr=1e-3)
    options = dataclasses.replace(options, recipe=recipe, variant="rival-ifcnn")
    whole = dataclasses.replace(options, out=tmp_path / "whole")
    assert train(whole)["best"]
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        train(options)
    train(options, resume=True)
    assert losses(options.out) == pytest.approx(losses(whole.out), abs=1e-6)
    assert load_weights(options.out / "last.safetensors").spec.name == "rival-ifcnn"


def in_levels(frames: torch.Tensor) -> bool:
    return frames.dtype == torch.float32 and float((frames * 255 - (frames * 255).round()).abs().max()) < 1e-4


@pytest.mark.parametrize("name", ["rival-mffgan", *(pytest.param(name, marks=pytest.mark.slow) for name in RIVALS)])
def test_a_rivals_loss_sees_the_frames_unrounded_in_bf16(
    options: TrainOptions, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    seen = []

    def watched(self: Lesson, net: RivalNet, *frames: torch.Tensor) -> torch.Tensor:
        seen.extend(map(in_levels, frames))
        return lesson(self, net, *frames)

    recipe = dataclasses.replace(options.recipe, steps=1, crop=48, lr=1e-4, precision="bf16")
    kind = type(build_model(name).lessons())
    lesson = kind.__call__
    monkeypatch.setattr(kind, "__call__", watched)
    assert train(dataclasses.replace(options, recipe=recipe, variant=name, validations=1))["finished"]
    assert seen == [True] * 3


@pytest.mark.parametrize(
    ("variant", "part"), [("ufa-nano", "all"), ("ufa-free", "all"), ("ufa", "selection"), ("ufa-stack", "all")]
)
def test_frames_are_weighed_unrounded_in_bf16(
    options: TrainOptions, monkeypatch: pytest.MonkeyPatch, variant: str, part: str
) -> None:
    """Half a level lost on the way is as much as what a network is wrong by."""
    seen: list[tuple[bool, torch.Tensor]] = []
    real = loop.trained_part

    def watched(*given: Any) -> torch.nn.Module:
        module = real(*given)
        module.register_forward_hook(lambda _, frames, fused: seen.append((all(map(in_levels, frames)), fused)))
        return module

    monkeypatch.setattr(loop, "trained_part", watched)
    monkeypatch.setattr(textures, "SIDE", 96)  # smaller and fewer pictures are drawn sooner
    monkeypatch.setattr(textures, "BANK", 12)
    recipe = dataclasses.replace(options.recipe, steps=1, crop=32, lr=1e-4, precision="bf16", part=part)
    source: dict[str, Any] = {"images": None, "masks": None, "drawn": True} if variant == "ufa-stack" else {}
    assert train(dataclasses.replace(options, recipe=recipe, variant=variant, validations=1, **source))["finished"]
    ((unrounded, fused),) = seen
    assert unrounded
    assert fused.dtype == torch.float32
    rounded = fused.to(torch.bfloat16).float()
    assert float((fused != rounded).float().mean()) > 0.9
