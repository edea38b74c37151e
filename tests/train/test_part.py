"""Training the selection alone: what moves, what stays, and that the whole network profits."""

import dataclasses
from pathlib import Path

import pytest
import torch

from ufafuse.runtime.errors import InputError
from ufafuse.train.init import CARRIED
from ufafuse.train.loop import train
from ufafuse.train.model import build_model, load_weights
from ufafuse.train.part import trained_part
from ufafuse.train.recipe import Recipe, TrainOptions


def frames(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.rand((2, 1, 3, 24, 32), generator=torch.Generator().manual_seed(seed)))  # type: ignore[return-value]


@torch.no_grad()
def test_the_identity_start_gives_back_what_both_frames_show() -> None:
    frame = frames(0)[0]
    net = build_model("ufa", init="identity", seed=0).eval()
    assert (net(frame, frame) - frame).abs().mean() < 1.5 / 255


@torch.no_grad()
def test_the_selection_is_what_the_network_gives_when_the_picture_passes_through() -> None:
    near, far = frames(1)
    net = build_model("ufa", init="focus", seed=0).eval()
    chosen = trained_part(net, "selection")(near, far)
    _, weight = net.forward_with_map(near, far)
    torch.testing.assert_close(chosen, far + weight * (near - far))


def test_only_the_selection_moves(photo_folders: tuple[Path, Path], tmp_path: Path) -> None:
    recipe = Recipe(steps=3, crop=24, batch=2, lr=1e-2, lens=0, average=0, init="identity", part="selection", precision="fp32")
    train(TrainOptions(*photo_folders, tmp_path / "run", recipe, threads=1, validations=1, val_share=0.2, device="cpu"))
    before, after = build_model("ufa", init="identity", seed=0), load_weights(tmp_path / "run" / "last.safetensors")
    changed = {name for name, tensor in after.state_dict().items() if not torch.equal(tensor, before.state_dict()[name])}
    assert changed == {name for name in before.state_dict() if name.startswith(("encoder.", "attention."))}
    for block, start in zip(after.encoder[0], before.encoder[0], strict=True):
        assert torch.equal(block[0].weight[:CARRIED], start[0].weight[:CARRIED])
        assert torch.equal(block[0].bias[:CARRIED], start[0].bias[:CARRIED])


def test_a_network_without_a_separate_selection_is_refused() -> None:
    with pytest.raises(InputError, match=r"'ufa-edge' has no picture.*--part all"):
        trained_part(build_model("ufa-edge", seed=0), "selection")
    with pytest.raises(InputError, match="part 'head' is unknown"):
        dataclasses.replace(Recipe(steps=1), part="head")  # type: ignore[arg-type]
