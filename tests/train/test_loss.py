"""The loss: SSIM as scikit-image computes it, and the weights of its terms."""

import numpy as np
import pytest
import torch

from ufafuse.network.similarity import _window, grain, ssim
from ufafuse.runtime.errors import InputError
from ufafuse.train.loss import FusionLoss, psnr


def pictures(height: int, width: int, *, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand((1, 3, height, width), generator=generator)
    return x, (x + 0.2 * torch.randn(x.shape, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize(("height", "width"), [(11, 11), (24, 37), (64, 48)])
def test_ssim_equals_scikit_images(height: int, width: int) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    x, y = pictures(height, width, seed=height)
    expected = metrics.structural_similarity(
        x[0].numpy(),
        y[0].numpy(),
        channel_axis=0,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert abs(float(ssim(x, y)) - expected) < 1e-4


def test_ssim_is_one_for_equal_pictures_and_counts_each_picture_alone() -> None:
    x, y = pictures(20, 20, seed=1)
    both = ssim(torch.cat([x, x]), torch.cat([x, y]))
    assert both[0] == pytest.approx(1, abs=1e-6)
    assert both[1] == pytest.approx(float(ssim(x, y)), abs=1e-6)


def test_psnr_is_that_of_the_definition() -> None:
    x = torch.zeros(1, 3, 4, 4)
    assert float(psnr(x, x + 0.1)) == pytest.approx(20, abs=1e-4)
    assert np.isfinite(float(psnr(x, x)))


def test_the_loss_weighs_its_terms() -> None:
    x, y = pictures(16, 16, seed=2)
    absolute, structure = (x - y).abs().mean(), 1 - ssim(x, y).mean()
    assert float(FusionLoss()(x, y)) == pytest.approx(float(0.2 * absolute + 0.8 * structure), abs=1e-6)
    assert float(FusionLoss(0.0)(x, y)) == pytest.approx(float(structure), abs=1e-6)
    assert float(FusionLoss(1.0)(x, y)) == pytest.approx(float(absolute), abs=1e-6)


def test_the_loss_has_a_gradient_in_half_precision_inputs() -> None:
    x, y = pictures(16, 16, seed=3)
    x = x.half().requires_grad_()
    FusionLoss()(x, y).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match=r"1\.5 is not in"):
        FusionLoss(1.5)
    with pytest.raises(InputError, match="at least 11 x 11"):
        ssim(torch.zeros(1, 3, 10, 20), torch.zeros(1, 3, 10, 20))


def test_a_loss_can_be_trained_with_after_a_validation() -> None:
    _window.cache_clear()
    truth = torch.rand((1, 3, 16, 16))
    with torch.inference_mode():
        ssim(truth, truth)
    fused = truth.clone().requires_grad_()
    FusionLoss()(fused, 1 - truth).backward()
    assert fused.grad is not None


def test_the_squared_error_is_added_by_its_weight() -> None:
    x, y = pictures(16, 16, seed=0)
    plain, more = (float(FusionLoss(0.7, square)(x, y)) for square in (0.0, 10.0))
    assert more - plain == pytest.approx(10 * float((x - y).square().mean()), rel=1e-4)


def test_the_difference_of_gradients_is_added_by_its_weight() -> None:
    torch.manual_seed(5)
    x, y = torch.rand(2, 3, 24, 30), torch.rand(2, 3, 24, 30)
    plain, more = (float(FusionLoss(0.7, gradient=weight)(x, y)) for weight in (0.0, 2.0))
    across, down = ((x.diff(dim=axis) - y.diff(dim=axis)).abs().mean() for axis in (3, 2))
    assert more - plain == pytest.approx(2 * float(across + down), rel=1e-4)
    lighter = float(FusionLoss(1.0, gradient=1.0)(x + 0.1, x))
    assert lighter == pytest.approx(0.1, rel=1e-3)  # an even step has no gradient


def test_the_strength_of_fine_structure_is_added_by_its_weight() -> None:
    x, y = pictures(32, 40, seed=0)
    plain, more = (float(FusionLoss(0.7, grain=weight)(x, y)) for weight in (0.0, 2.0))
    assert more - plain == pytest.approx(2 * float((grain(x) - grain(y)).abs().mean()), rel=1e-4)
    # Not where structure stands, but how much there is: the same noise elsewhere is nearly none, half of it is.
    torch.manual_seed(3)
    noise = 0.05 * torch.randn(1, 3, 64, 64).mean(1, keepdim=True).expand(1, 3, 64, 64) + 0.5
    moved, halved = noise.roll((20, 20), (2, 3)), (noise - 0.5) / 2 + 0.5
    assert float((grain(noise) - grain(halved)).mean()) == pytest.approx(np.log(2), abs=0.1)
    assert float((grain(noise) - grain(moved)).abs().mean()) < 0.25
    assert float(grain(torch.full((1, 3, 16, 16), 0.3)).mean()) == pytest.approx(-np.log(255), abs=1e-3)
