"""The state of a run, and the running average."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.networks import TINY
from ufafuse.network.model import FusionNet
from ufafuse.network.spec import Spec
from ufafuse.network.weights import build_model
from ufafuse.runtime.errors import InputError, ModelError, OutputError
from ufafuse.train.checkpoint import Average, Progress, load_checkpoint, previous_path, save_checkpoint

CPU = torch.device("cpu")


def parts(spec: Spec) -> tuple[FusionNet, Average, torch.optim.Adam]:
    net = build_model(spec, init="xavier")
    return net, Average(net, 0.9), torch.optim.Adam(net.parameters(), 1e-2)


def one_step(net: FusionNet, average: Average, optimizer: torch.optim.Adam, step: int) -> None:
    optimizer.zero_grad()
    net(*torch.rand((2, 1, 3, 8, 8), generator=torch.Generator().manual_seed(step))).sum().backward()
    optimizer.step()
    average.update(net, step)


def test_everything_is_as_it_was(tiny_spec: Spec, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    net, average, optimizer = parts(tiny_spec)
    one_step(net, average, optimizer, 1)
    save_checkpoint(path, progress=Progress(1, 2.0, {"psnr": 3.0}), net=net, average=average, optimizer=optimizer)
    drawn = torch.rand(2)
    one_step(net, average, optimizer, 2)

    other, other_average, other_optimizer = parts(tiny_spec)
    progress = load_checkpoint(path, net=other, average=other_average, optimizer=other_optimizer, device=CPU)
    assert progress == Progress(1, 2.0, {"psnr": 3.0})
    assert torch.equal(torch.rand(2), drawn)
    one_step(other, other_average, other_optimizer, 2)
    for one, two in ((net, other), (average.net, other_average.net)):
        for a, b in zip(one.parameters(), two.parameters(), strict=True):
            assert torch.equal(a, b)


def test_what_is_no_checkpoint_of_this_network_is_refused(tmp_path: Path, tiny_spec: Spec) -> None:
    path = tmp_path / "c.pt"
    net, average, optimizer = parts(tiny_spec)
    with pytest.raises(InputError, match="does not exist"):
        load_checkpoint(path, net=net, average=average, optimizer=optimizer, device=CPU)
    save_checkpoint(path, progress=Progress(), net=net, average=average, optimizer=optimizer)
    whole = path.read_bytes()
    for broken in (whole[:100], whole[: len(whole) // 2], b"", b"no checkpoint"):
        path.write_bytes(broken)
        with pytest.raises(ModelError, match="broken"):
            load_checkpoint(path, net=net, average=average, optimizer=optimizer, device=CPU)
    path.write_bytes(whole)
    with pytest.raises(ModelError, match="another network"):
        other, other_average, other_optimizer = parts(Spec("o", (3,), 1, (1,), (1,), "reconstruct"))
        load_checkpoint(path, net=other, average=other_average, optimizer=other_optimizer, device=CPU)


def test_the_average_follows_the_weights(tiny_spec: Spec) -> None:
    net = build_model(tiny_spec, init="xavier")
    average, none = Average(net, 0.5), Average(net, 0.0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(1)
    for step in range(1, 40):
        average.update(net, step)
    none.update(net, 1)
    for mean, weight in zip(average.net.parameters(), none.net.parameters(), strict=True):
        torch.testing.assert_close(mean, torch.ones_like(mean))
        assert torch.equal(weight, torch.ones_like(weight))
    assert not any(parameter.requires_grad for parameter in average.net.parameters())


class TestHeld:
    """Against flipped bits, full disks and numbers that no run reaches."""

    @pytest.fixture
    def tiny_spec(self) -> Spec:
        """One network for all of these: what is held is the file, whichever network's it is."""
        return TINY["select-only"]

    @pytest.fixture
    def saved(self, tiny_spec: Spec, tmp_path: Path) -> Callable[..., Path]:
        def save(progress: Progress | None = None) -> Path:
            net, average, optimizer = parts(tiny_spec)
            one_step(net, average, optimizer, 1)
            path = tmp_path / "c.pt"
            save_checkpoint(path, progress=progress or Progress(1), net=net, average=average, optimizer=optimizer)
            return path

        return save

    def load(self, path: Path, spec: Spec) -> Progress:
        net, average, optimizer = parts(spec)
        return load_checkpoint(path, net=net, average=average, optimizer=optimizer, device=CPU)

    def test_any_flipped_bit_is_noticed(self, saved: Callable[..., Path], tiny_spec: Spec) -> None:
        path = saved()
        whole = path.read_bytes()
        chosen = random.Random(0)
        for place in [0, len(whole) - 1, *(chosen.randrange(len(whole)) for _ in range(30))]:
            flipped = bytearray(whole)
            flipped[place] ^= 1 << chosen.randrange(8)
            path.write_bytes(flipped)
            with pytest.raises(ModelError, match="checksum"):
                self.load(path, tiny_spec)
        path.write_bytes(whole)
        assert self.load(path, tiny_spec).step == 1

    def test_others_read_it_as_ever(self, saved: Callable[..., Path]) -> None:
        assert torch.load(saved(), weights_only=True)["progress"]["step"] == 1

    def test_one_without_a_checksum_is_read(self, saved: Callable[..., Path], tiny_spec: Spec) -> None:
        path = saved()
        torch.save(torch.load(path, weights_only=True), path)
        assert self.load(path, tiny_spec).step == 1

    def test_the_one_before_is_kept(self, saved: Callable[..., Path], tiny_spec: Spec) -> None:
        for step in (1, 2, 3):
            path = saved(Progress(step))
        assert self.load(path, tiny_spec).step == 3
        assert self.load(previous_path(path), tiny_spec).step == 2
        assert sorted(entry.name for entry in path.parent.iterdir()) == ["c.previous.pt", "c.pt"]

    @pytest.mark.parametrize(
        "values",
        [
            {"step": -5},
            {"step": 10**30},
            {"step": 1.5},
            {"step": True},
            {"step": "7"},
            {"seconds": float("nan")},
            {"seconds": -1.0},
            {"seconds": None},
            {"best": {"psnr": float("inf")}},
            {"best": {"psnr": "high"}},
            {"best": 3},
            {"more": 1},
        ],
        ids=str,
    )
    def test_a_progress_that_no_run_makes_is_refused(
        self, saved: Callable[..., Path], tiny_spec: Spec, values: dict[str, object]
    ) -> None:
        path = saved()
        state = torch.load(path, weights_only=True)
        state["progress"] |= values
        torch.save(state, path)
        with pytest.raises(ModelError, match="broken"):
            self.load(path, tiny_spec)

    def test_a_full_disk_is_a_sentence_and_the_last_one_stays(
        self, saved: Callable[..., Path], tiny_spec: Spec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = saved(Progress(1))

        def full(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            saved(Progress(2))
        monkeypatch.undo()
        assert self.load(path, tiny_spec).step == 1
