"""DenseFuse: H. Li, X.-J. Wu, "DenseFuse: A fusion approach to infrared and visible images", IEEE Transactions on Image
Processing 28(5), 2019.

**Network** (Section III, Table I): an encoder of a 3 x 3 convolution to 16 channels and a dense block of three more, each
of which sees all before it, 64 channels in all; a decoder of 3 x 3 convolutions to 64, 32, 16 and 1; ReLU after all but the
last. 74,193 parameters.

**Training** (Section III): encoder and decoder alone, without any fusion, give grey pictures back. **Loss**: lambda (1 -
SSIM) + the Euclidean distance of the pictures; lambda is 1, 10, 100 or 1000 in the paper.

**Fusion** (Section III): *ADD*, the features added; *L1*, weighed by the sum of their magnitudes over the channels,
averaged over 3 x 3 pixels. Each colour channel is fused by itself.

**Left open, and settled**: the sum of two frames' features would be decoded to twice the brightness, since the decoder has
learnt one frame's: it is halved. Borders: repeated in every convolution (the paper reflects them, which frames of one pixel
cannot). lambda is 100. Both rules share one set of weights.
"""

import torch
from torch import Tensor, nn

from ufafuse.network.rivals.base import RivalNet, conv, exactly
from ufafuse.network.rivals.blurring import box
from ufafuse.network.similarity import ssim
from ufafuse.network.spec import RivalSpec

LAMBDA = 100.0
WIDTH = 16
FAINT = 1e-4  # smaller ones, tools that simplify graphs take for 0


class Encoder(nn.Module):
    """The first convolution and the dense block: N x 1 x H x W to N x 64 x H x W."""

    def __init__(self) -> None:
        """Make it with random weights."""
        super().__init__()
        self.first = conv(1, WIDTH, 3)
        self.dense = nn.ModuleList(conv(count * WIDTH, WIDTH, 3) for count in (1, 2, 3))

    def forward(self, plane: Tensor) -> Tensor:
        """Return the features of all four convolutions."""
        features = self.first(plane).relu()
        for layer in self.dense:
            features = torch.cat([features, layer(features).relu()], 1)
        return features


class Decoder(nn.Sequential):
    """N x 64 x H x W back to N x 1 x H x W."""

    def __init__(self) -> None:
        """Make it with random weights."""
        super().__init__(conv(64, 64, 3), nn.ReLU(), conv(64, 32, 3), nn.ReLU(), conv(32, 16, 3), nn.ReLU(), conv(16, 1, 3))


class DenseFuse(RivalNet):
    """The autoencoder with one of its two rules."""

    def __init__(self, spec: RivalSpec) -> None:
        """Make it with random weights; `spec.name` says which rule."""
        super().__init__(spec)
        self.encode_planes, self.decode = Encoder(), Decoder()
        self.by_norm = spec.name.endswith("-l1")

    def forward_with_map(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """Encode every colour channel, weigh the features, decode."""
        one, other = (self.encode_planes(_by_channel(frame)) for frame in (near, far))
        weight = _share(one, other) if self.by_norm else torch.full_like(one[:, :1], 0.5)
        fused = self.decode(other + weight * (one - other)).float()
        # Channels are the fastest of what `_by_channel` makes of the batch.
        fused, weights = (planes.unflatten(0, (-1, 3)).squeeze(2) for planes in (fused, weight.float()))
        return (fused if self.training else fused.clamp(0, 1)), weights.mean(1, keepdim=True)

    def lesson(self, near: Tensor, far: Tensor, truth: Tensor) -> Tensor:  # noqa: ARG002 - no fusion is trained
        """Lambda times the missing SSIM, and the distance, of grey pictures given back."""
        plane = truth[:, 1:2]
        return restoring_loss(self.decode(self.encode_planes(plane)), plane)


def restoring_loss(restored: Tensor, plane: Tensor) -> Tensor:
    """Return 1 - SSIM and the distance divided by lambda."""
    with exactly(plane):
        error = restored.float() - plane
        return 1 - ssim(restored, plane).mean() + error.square().sum((1, 2, 3)).add(1e-6).sqrt().mean() / LAMBDA


def _by_channel(frames: Tensor) -> Tensor:
    """N x 3 x H x W to 3 N x 1 x H x W."""
    return frames.flatten(0, 1).unsqueeze(1)


def _share(near: Tensor, far: Tensor) -> Tensor:
    """Near's share of both activities."""
    one, other = (box(features.float().abs().sum(1, keepdim=True), 1) for features in (near, far))
    return (one + FAINT) / (one + other + 2 * FAINT)
