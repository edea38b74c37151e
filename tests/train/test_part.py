"""Training the selection alone: what moves, what stays, and that the whole network profits."""

import dataclasses
from pathlib import Path

import pytest
import torch

from ufafuse.network.init import CARRIED, first_conv
from ufafuse.network.weights import build_model, load_weights
from ufafuse.runtime.errors import InputError
from ufafuse.train.loop import train
from ufafuse.train.part import FIRST_PACE, parameter_groups, trained_part
from ufafuse.train.recipe import Recipe, TrainOptions


def frames(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.rand((2, 1, 3, 24, 32), generator=torch.Generator().manual_seed(seed)))  # type: ignore[return-value]


@torch.no_grad()
def test_the_identity_start_gives_back_what_both_frames_show() -> None:
    frame = frames(0)[0]
    net = build_model("ufa", init="identity", seed=0).eval()
    assert (net(frame, frame) - frame).abs().mean() < 1.5 / 255


@torch.no_grad()
def test_the_identity_start_gives_back_every_level() -> None:
    levels = torch.arange(256.0)
    net = build_model("ufa", init="identity", seed=0).eval()
    net.encoder[0].apply(_mute)
    frame = (levels / 255)[:, None, None, None].expand(-1, 3, 9, 9).contiguous()
    fused = net(frame, frame)[:, :, 4, 4] * 255
    assert torch.equal(fused.round(), levels[:, None].expand(-1, 3))


def _mute(module: torch.nn.Module) -> None:
    """Leave only the channels that carry the picture."""
    if isinstance(module, torch.nn.Conv2d):
        module.weight[CARRIED:] = 0


@torch.no_grad()
@pytest.mark.parametrize("brighter", [-0.04, 0.04])
def test_a_frame_that_is_brighter_as_a_whole_keeps_its_contrast(brighter: float) -> None:
    near = 0.2 + 0.5 * frames(2)[0]
    far = (near.mean() + brighter).expand_as(near).contiguous()
    net = build_model("ufa", init="focus", seed=0).eval()
    fused, weight = net.forward_with_map(near, far)
    assert weight.mean() > 0.9
    assert (fused - (far + weight * (near - far))).abs().mean() < 0.7 / 255  # 2.3 levels with the picture at full strength


@torch.no_grad()
def test_the_selection_is_what_the_network_gives_when_the_picture_passes_through() -> None:
    near, far = frames(1)
    net = build_model("ufa", init="focus", seed=0).eval()
    chosen = trained_part(net, "selection")(near, far)
    _, weight = net.forward_with_map(near, far)
    torch.testing.assert_close(chosen, far + weight * (near - far))


@pytest.mark.parametrize("name", ["ufa-edge", "ufa-nano"])
def test_what_sees_the_pixels_that_are_folded_learns_at_a_tenth_of_the_pace(name: str) -> None:
    net = build_model(name, seed=0)
    fast, slow = parameter_groups(net, net)
    assert (fast["pace"], slow["pace"]) == (1.0, FIRST_PACE)
    assert net.detail is not None
    seeing = (*first_conv(net).parameters(), net.detail.level, net.detail.local)
    assert {id(p) for p in slow["params"]} == {id(p) for p in seeing}
    assert {id(p) for p in (*fast["params"], *slow["params"])} == {id(p) for p in net.parameters()}
    assert len(fast["params"]) + len(slow["params"]) == len(list(net.parameters()))


def test_the_papers_network_learns_at_one_pace() -> None:
    net = build_model("ufa", init="identity", seed=0)
    assert [group["pace"] for group in parameter_groups(net, net)] == [1.0]
    (group,) = parameter_groups(net, trained_part(net, "selection"))
    assert 0 < len(group["params"]) < len(list(net.parameters()))


def test_the_pace_is_kept_over_the_run(photo_folders: tuple[Path, Path], tmp_path: Path) -> None:
    moved = {}
    for lr in (1e-3, 1e-4):
        recipe = Recipe(steps=1, crop=32, batch=1, lr=lr, lens=0, average=0, clip=0, schedule="drop", precision="fp32")
        options = TrainOptions(
            *photo_folders, tmp_path / str(lr), recipe, variant="ufa-nano", threads=1, device="cpu", val_share=0.2
        )
        train(options)
        start, end = build_model("ufa-nano", seed=0), load_weights(options.out / "last.safetensors")
        moved[lr] = [
            float((a - b).abs().max().detach())
            for a, b in ((first_conv(start).weight, first_conv(end).weight), (start.head.score, end.head.score))
        ]
    # Adam's first step is the learning rate itself, for every weight with a gradient.
    assert moved[1e-3] == pytest.approx([1e-4, 1e-3], rel=0.05)
    assert moved[1e-4] == pytest.approx([1e-5, 1e-4], rel=0.05)


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
    with pytest.raises(InputError, match=r"'ufa-edge' has no picture.*`part=all`"):
        trained_part(build_model("ufa-edge", seed=0), "selection")
    with pytest.raises(InputError, match="part 'head' is unknown"):
        dataclasses.replace(Recipe(steps=1), part="head")  # type: ignore[arg-type]
