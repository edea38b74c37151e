"""How networks start: as the picture, as the average, reproducibly."""

import pytest
import torch
from torch import Tensor

from ufafuse.network.init import first_conv
from ufafuse.network.weights import build_model
from ufafuse.runtime.errors import InputError


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * (a - b).square().mean().log10())


@pytest.fixture
def smooth() -> tuple[Tensor, Tensor]:
    """Two different frames around mid-grey, where the sigmoid is nearly straight, with soft edges."""
    noise = torch.rand((1, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    near = 0.2 + 0.6 * torch.nn.functional.interpolate(noise, size=(32, 32), mode="bilinear")
    far = near.roll(3, -1)
    return near, far


@torch.no_grad()
def test_image_carrying_start_passes_the_picture_through(smooth: tuple[Tensor, Tensor]) -> None:
    near, far = smooth
    average = (near + far) / 2
    assert psnr(build_model("ufa", init="image", seed=1).eval()(near, far), average) > 35
    assert psnr(build_model("ufa", init="xavier", seed=1).eval()(near, far), average) < 22


@torch.no_grad()
@pytest.mark.parametrize("name", ["ufa-edge", "ufa-nano"])
def test_a_selecting_head_starts_as_the_average_but_for_the_detail(name: str, smooth: tuple[Tensor, Tensor]) -> None:
    near, far = smooth
    net = build_model(name, seed=1).eval()
    assert net.detail is not None
    with torch.no_grad():
        net.detail.gate.zero_()
        net.detail.bias.zero_()
    assert psnr(net(near, far), (near + far) / 2) > 30
    assert first_conv(net).weight.mean((1, 2, 3)).abs().max() < 1e-6  # a level that all pixels share is not seen


@pytest.mark.parametrize("init", ["auto", "xavier"])
def test_a_seed_gives_the_same_weights_and_leaves_the_global_state_alone(init: str) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one, two = (build_model("ufa", init=init, seed=5).state_dict() for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(one[name], two[name]) for name in one)
    other = build_model("ufa", init=init, seed=6).state_dict()
    assert not torch.equal(one["encoder.0.1.0.weight"], other["encoder.0.1.0.weight"])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="'zero' is unknown"):
        build_model("ufa", init="zero")
    with pytest.raises(InputError, match="'ufa-edge' does not have"):
        build_model("ufa-edge", init="image")
