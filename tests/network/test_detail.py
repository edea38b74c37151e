"""The detail of a selecting head: which frame is the more extreme one, pixel by pixel."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.pictures import photograph
from ufafuse.network.blocks import Detail
from ufafuse.network.init import initialise
from ufafuse.network.spec import SPECS, Spec
from ufafuse.network.weights import build_model


def fresh(fold: int, channels: int = 3) -> Detail:
    """As a network starts with: gates open everywhere by 4."""
    spec = Spec("d", (2 * channels,), fold, (1,), (1,), "select", symmetric=True, residual=False, detail=True)
    detail = build_model(spec, seed=1).detail
    assert isinstance(detail, Detail)
    with torch.no_grad():
        detail.gate.zero_()
    return detail


def as_batch(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None].float() / 255


def checkered(size: int, filter_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Two frames whose focus changes over at every other pixel, and where the first is in focus."""
    sharp = photograph(size, size, seed=4)
    blurred = cv2.blur(sharp, (filter_size, filter_size), borderType=cv2.BORDER_REFLECT_101)
    focus = np.indices((size, size)).sum(0) % 2 == 0
    near, far = (np.where(mask[..., None], sharp, blurred) for mask in (focus, ~focus))
    return as_batch(near), as_batch(far), torch.from_numpy(focus)


@pytest.mark.parametrize("fold", [2, 4])
@pytest.mark.parametrize(("filter_size", "share"), [(3, 0.8), (5, 0.92), (7, 0.94), (9, 0.9)])
def test_it_knows_the_sharp_frame_of_each_pixel_alone(fold: int, filter_size: int, share: float) -> None:
    near, far, focus = checkered(96, filter_size)
    detail = fresh(fold)
    with torch.no_grad():
        score = torch.nn.functional.pixel_shuffle(detail(near, far, torch.zeros(1, 6, 96 // fold, 96 // fold)), fold)[0, 0]
    differs = (near - far).abs().amax((0, 1)) > 8 / 255
    assert differs.float().mean() > 0.8
    right = (score > 0) == focus
    assert right[differs].float().mean() > share
    assert score.abs().max() <= 4


def test_the_border_is_no_edge() -> None:
    flat = torch.full((1, 3, 32, 32), 0.8)
    with torch.no_grad():
        score = fresh(2)(flat, flat * 0.9, torch.zeros(1, 6, 16, 16))
    assert score.abs().max() < 1e-4


def test_brightness_says_nothing_whatever_was_learnt() -> None:
    detail = fresh(4)
    with torch.no_grad():
        detail.local.normal_(generator=torch.Generator().manual_seed(1))
        _, local, _ = detail.dense()
    assert local.sum((1, 2, 3)).abs().max() < 1e-4


def test_exchanged_frames_exchange_the_sign() -> None:
    near, far, _ = checkered(32, 5)
    decoded = torch.randn(1, 6, 16, 16, generator=torch.Generator().manual_seed(2))
    swapped = torch.cat(decoded.chunk(2, 1)[::-1], 1)
    detail = fresh(2)
    with torch.no_grad():
        detail.gate.normal_(generator=torch.Generator().manual_seed(3))
        torch.testing.assert_close(detail(far, near, swapped), -detail(near, far, decoded), rtol=0, atol=1e-5)


def test_of_two_frames_a_stack_gives_half_to_each() -> None:
    near, far, _ = checkered(32, 5)
    pair = torch.randn(1, 6, 16, 16, generator=torch.Generator().manual_seed(2))
    stack = torch.cat(pair.chunk(2, 1))
    detail = fresh(2)
    with torch.no_grad():
        detail.gate.normal_(generator=torch.Generator().manual_seed(3))
        each = detail.forward_many(torch.stack([near, far], 1), stack)
        score = detail(near, far, pair)
    torch.testing.assert_close(each, torch.stack([score, -score], 1) / 2, rtol=0, atol=1e-5)


def test_an_untrained_network_already_chooses_by_detail() -> None:
    near, far, _ = checkered(64, 5)
    truth = as_batch(photograph(64, 64, seed=4))
    net = build_model("ufa-edge", seed=1).eval()
    assert SPECS["ufa-edge"].detail
    with torch.no_grad():
        with_detail = (net(near, far) - truth).square().mean()
        assert net.detail is not None
        net.detail.bias.zero_()
        net.detail.gate.zero_()
        average = (net(near, far) - truth).square().mean()
    assert with_detail < 0.2 * average
    initialise(net)
    assert net.detail.bias.min() > 0
