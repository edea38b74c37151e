"""The paper's loss (Eqs. 1-4), a weighted sum of the mean absolute error and 1 - SSIM; the squared error beside them."""

from torch import Tensor, nn

from ufafuse.network.similarity import grain, ssim
from ufafuse.runtime.errors import InputError

LAMBDA = 0.2  # the paper's weight of the absolute error, Table III


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in dB, one number per picture of N x C x H x W in [0, 1]."""
    error = (x.float() - y.float()).square().mean((1, 2, 3))
    return -10 * error.clamp_min(1e-10).log10()


class FusionLoss(nn.Module):
    """L = lambda * L1 + (1 - lambda) * (1 - SSIM), Eq. 1, and what is asked for beside it; in float32."""

    def __init__(self, weight: float = LAMBDA, square: float = 0.0, gradient: float = 0.0, grain: float = 0.0) -> None:
        """Make the loss.

        Args:
            weight: lambda (`InputError` beyond [0, 1]).
            square: weight of the mean squared error.
            gradient: weight of the mean absolute difference of the horizontal and of the vertical gradients.
            grain: weight of the mean absolute difference of `ufafuse.network.similarity.grain`: averaging frames takes noise
                away and the grain of a matt surface too, which no other term minds.
        """
        super().__init__()
        if not 0 <= weight <= 1:
            raise InputError(f"the loss weighs its two terms with lambda and 1 - lambda: {weight} is not in [0, 1].")
        self.weight, self.square, self.gradient, self.grain = weight, square, gradient, grain

    def forward(self, fused: Tensor, truth: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar."""
        error = fused.float() - truth.float()
        loss = self.weight * error.abs().mean() + (1 - self.weight) * (1 - ssim(fused, truth).mean())
        if self.square:
            loss = loss + self.square * error.square().mean()
        if self.gradient:
            # The gradient of the difference is the difference of the gradients.
            slopes = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
            loss = loss + self.gradient * sum(slope.abs().mean() for slope in slopes)
        if self.grain:
            loss = loss + self.grain * (grain(fused) - grain(truth)).abs().mean()
        return loss
