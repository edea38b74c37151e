"""DRPL: J. Li, X. Guo, G. Lu, B. Zhang, Y. Xu, F. Wu, D. Zhang, "DRPL: Deep regression pair learning for multi-focus image
fusion", IEEE Transactions on Image Processing 29, 2020.

**Network**: the whole pictures, never patches, to two masks, one for each frame of the pair, by one fully convolutional
network. **Loss**: the masks against the true ones, each the complement of the other; the difference of gradients and 1 -
SSIM between the picture that the masks give and the truth. **Fusion**: each frame times its mask, added.

**Left open, and settled**: the paper's text is not free, so this follows its abstract and what others cite of it. Layers:
an encoder and a decoder of two 3 x 3 convolutions with batch normalisation and ReLU a scale, three scales of 48, 96 and 192
channels, joined scale by scale, 1.06 million parameters (later papers count 1.07 million of the authors'). It sees one
frame before the other and gives the first one's mask; the other way round, the second one's: this is the pair. Masks are
divided by their sum in the fused picture. The true mask is where near is closer to the truth than far, and is not asked
where both are alike. The loss weighs masks 1, gradients 1, SSIM 0.2, and the masks' sum, which is to be 1, 0.1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows it by

from ufafuse.network.rivals.base import RivalNet, exactly, mixed
from ufafuse.network.rivals.blurring import box
from ufafuse.network.similarity import ssim
from ufafuse.network.spec import RivalSpec

WIDTHS = (48, 96, 192)
STRIDE = 4
GRADIENTS, SIMILARITY, COMPLEMENT = 1.0, 0.2, 0.1
ALIKE = 1.5 / 255
NOTHING = 1e-4


class _Block(nn.Sequential):
    """Two convolutions at one scale."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        convs = [nn.Conv2d(before, channels_out, 3, padding=1, bias=False) for before in (channels_in, channels_out)]
        norms = [nn.BatchNorm2d(channels_out) for _ in convs]
        super().__init__(convs[0], norms[0], nn.ReLU(), convs[1], norms[1], nn.ReLU())
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight)


class Drpl(RivalNet):
    """The regression of a frame's mask beside the other frame."""

    def __init__(self, spec: RivalSpec) -> None:
        """Make it with random weights."""
        super().__init__(spec)
        fine, middle, coarse = WIDTHS
        self.down = nn.ModuleList([_Block(6, fine), _Block(fine, middle), _Block(middle, coarse)])
        self.up = nn.ModuleList([_Block(coarse + middle, middle), _Block(middle + fine, fine)])
        self.mask = nn.Conv2d(fine, 1, 1)

    def masks(self, first: Tensor, second: Tensor) -> Tensor:
        """The first frame's mask, N x 1 x H x W in (0, 1)."""
        height, width = first.shape[-2:]
        # A sum without a modulo keeps the sizes simple multiples, which exporters can follow.
        down, right = ((side + STRIDE - 1) // STRIDE * STRIDE for side in (height, width))
        both = F.pad(torch.cat([first, second], 1), (0, right - width, 0, down - height), mode="replicate")
        fine = self.down[0](both)
        middle = self.down[1](F.max_pool2d(fine, 2))
        coarse = self.down[2](F.max_pool2d(middle, 2))
        middle = self.up[0](torch.cat([F.interpolate(coarse, scale_factor=2.0), middle], 1))
        fine = self.up[1](torch.cat([F.interpolate(middle, scale_factor=2.0), fine], 1))
        mask: Tensor = self.mask(fine).float().sigmoid()
        return mask[..., :height, :width]

    def pair(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """Both masks, from one pass over both orders."""
        count = near.shape[0]
        masks = self.masks(torch.cat([near, far]), torch.cat([far, near]))
        return masks[:count], masks[count:]

    def forward_with_map(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """Add the frames times their masks."""
        one, other = self.pair(near, far)
        weight = (one + NOTHING) / (one + other + 2 * NOTHING)
        return mixed(near, far, weight), weight

    def lesson(self, near: Tensor, far: Tensor, truth: Tensor) -> Tensor:
        """Masks, their sum, gradients, SSIM."""
        one, other = self.pair(near, far)
        with exactly(truth):
            wrong_near, wrong_far = (box((frame - truth).abs().mean(1, keepdim=True), 1) for frame in (near, far))
            true, told = (wrong_near < wrong_far).float(), ((wrong_near - wrong_far).abs() > ALIKE).float()
            errors = (one - true).square() + (other - (1 - true)).square()
            masks = (errors * told).sum() / told.sum().clamp_min(1)
            fused = mixed(near, far, (one + NOTHING) / (one + other + 2 * NOTHING))
            error = fused - truth
            slopes = (error[..., 1:] - error[..., :-1]).abs().mean() + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
            complement = (one + other - 1).square().mean()
            return masks + COMPLEMENT * complement + GRADIENTS * slopes + SIMILARITY * (1 - ssim(fused, truth).mean())
