"""Several processes train as one does: two on the CPU (gloo) average their gradients to that of the joint batch."""

import dataclasses
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ufafuse.runtime.errors import BackendError, InputError
from ufafuse.train.devices import is_first_process, launched_fabric
from ufafuse.train.loop import Trainer, feed_for
from ufafuse.train.recipe import Recipe, TrainOptions
from ufafuse.train.stop import Stop

GRADIENTS = """
import json, sys, torch
from pathlib import Path
from ufafuse.train.devices import launched_fabric
from ufafuse.train.loop import Trainer, feed_for
from ufafuse.train.recipe import TrainOptions
from ufafuse.train.stop import Stop

torch.set_num_threads(1)
options = TrainOptions.from_dict(json.loads(Path(sys.argv[1]).read_text()), "")
fabric = launched_fabric(options)
trainer = Trainer(options, feed_for(options), fabric, Stop())
losses = [trainer._step(batch) for batch, _ in zip(trainer._batches(), range(1))]
mean = float(fabric.all_reduce(torch.tensor(losses[0])))
if fabric.is_global_zero:
    torch.save(({n: p.grad for n, p in trainer.net.named_parameters()}, mean), sys.argv[2])
"""

PAGE_FAULTS = """
import resource, torch
from ufafuse.runtime.memory.malloc import keep_all

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(64 << 20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = page_faults()
keep_all()
for _ in range(4):  # aligned blocks do not fit where one of their size was: it takes some until there is room
    page_faults()
print(page_faults(), given_back)
"""


@pytest.fixture
def options(photo_folders: tuple[Path, Path], tmp_path: Path) -> TrainOptions:
    recipe = Recipe(steps=2, crop=24, batch=4, clip=0, init="xavier", precision="fp32")
    return TrainOptions(*photo_folders, tmp_path / "run", recipe, variant="ufa-nano", device="cpu", val_share=0.2)


def test_two_processes_average_to_the_gradient_of_the_joint_batch(options: TrainOptions, tmp_path: Path) -> None:
    script, settings, result = tmp_path / "g.py", tmp_path / "o.json", tmp_path / "g.pt"
    script.write_text(GRADIENTS)
    settings.write_text(json.dumps({**options.to_dict(), "devices": 2}))
    done = subprocess.run(
        [sys.executable, str(script), str(settings), str(result)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    gradients, mean = torch.load(result)

    trainer = Trainer(options, feed_for(options), launched_fabric(options), Stop())
    loss = trainer._step(next(iter(trainer._batches())))
    assert mean == pytest.approx(loss, abs=1e-6)
    largest = max(float(p.grad.abs().max()) for p in trainer.net.parameters() if p.numel())  # no residual: no weights for one
    assert largest > 1e-5
    for name, parameter in trainer.net.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=0, atol=1e-5 * largest)


def test_devices_that_are_not_there_are_named(options: TrainOptions) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has the GPU that must be missing")
    with pytest.raises(BackendError, match="1 x cuda were asked for"):
        launched_fabric(dataclasses.replace(options, device="cuda"))


def test_processes_that_were_not_asked_for_are_named(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match="4 processes were started, for 2 devices on 1 machines"):
        launched_fabric(dataclasses.replace(options, devices=2))


def test_machines_that_nobody_starts_are_not_waited_for(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setattr("lightning_fabric.Fabric.launch", lambda _: pytest.fail("it would wait for hours"))
    with pytest.raises(
        InputError, match=r"`nodes=2`: no process was started .*\(`torchrun --nnodes 2 .* --nproc-per-node 1 -m "
    ):
        launched_fabric(dataclasses.replace(options, nodes=2))


@pytest.mark.parametrize(
    ("variables", "first"),
    [({}, True), ({"RANK": "0", "LOCAL_RANK": "0"}, True), ({"LOCAL_RANK": "1"}, False), ({"RANK": "2"}, False)],
)
def test_one_process_of_all_writes(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], first: bool) -> None:
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() is first


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep what is freed")
def test_memory_that_a_step_frees_is_there_for_the_next_one() -> None:
    told = subprocess.run([sys.executable, "-c", PAGE_FAULTS], check=True, capture_output=True, text=True).stdout
    kept, given_back = map(int, told.split())
    assert kept * 20 < given_back
