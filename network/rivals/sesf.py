"""SESF: B. Ma, Y. Zhu, X. Yin, X. Ban, H. Huang, M. Mukeshimana, "SESF-Fuse: An unsupervised deep model for multi-focus
image fusion", Neural Computing and Applications, 2020 (arXiv 1908.01703).

**Network** (Fig. 1): DenseFuse's encoder and decoder, with a squeeze-and-excitation block after every convolution of the
encoder, which weighs the channels by their average over the picture. **Training**: grey pictures given back without any
fusion. **Loss**: 3 (1 - SSIM) + the squared difference.

**Fusion**: the spatial frequency of the features, summed over the channels and over 11 x 11 pixels (radius 5), of each
frame; each pixel is taken from the frame in which it is higher. **Afterwards**: opening and closing with a small disc,
regions below 0.01 x H x W turned over, a guided filter (radius 4, epsilon 0.1).

**Left open, and settled**: the block's reduction (2) and its place (after the ReLU); the squared difference is a mean, as
SSIM is; the disc's radius (3); borders are repeated. Colour is decided on brightness, and the guide is grey. The decision
never looks at the decoder, which is only there to be trained.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows it by

from ufafuse.network.rivals import maps
from ufafuse.network.rivals.base import RivalNet, conv, decided, exactly, mixed
from ufafuse.network.rivals.blurring import box
from ufafuse.network.rivals.colour import luma
from ufafuse.network.rivals.densefuse import WIDTH, Decoder
from ufafuse.network.similarity import ssim
from ufafuse.network.spec import RivalSpec
from ufafuse.runtime.arrays import Floats

LAMBDA = 3.0
REDUCTION = 2
REACH = 5
DISC, RADIUS, EPSILON = 3, 4, 0.1
NOTHING = 1e-4  # where both are flat, neither frame wins (smaller ones, tools that simplify graphs take for 0)


class Excited(nn.Module):
    """A convolution whose channels are weighed by what their averages say."""

    def __init__(self, channels_in: int) -> None:
        """Make it with random weights."""
        super().__init__()
        self.conv = conv(channels_in, WIDTH, 3)
        self.squeeze, self.excite = (
            nn.Linear(before, after, bias=False) for before, after in ((WIDTH, WIDTH // REDUCTION), (WIDTH // REDUCTION, WIDTH))
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return N x 16 x H x W."""
        made = self.conv(features).relu()
        weights: Tensor = self.excite(self.squeeze(made.mean((2, 3))).relu()).sigmoid()
        return made * weights[:, :, None, None]


class Sesf(RivalNet):
    """The autoencoder, and the decision by its features."""

    def __init__(self, spec: RivalSpec) -> None:
        """Make it with random weights."""
        super().__init__(spec)
        self.dense = nn.ModuleList(Excited(channels) for channels in (1, WIDTH, 2 * WIDTH, 3 * WIDTH))
        self.decode = Decoder()

    def features(self, plane: Tensor) -> Tensor:
        """N x 64 x H x W of a brightness."""
        first, *others = self.dense
        features: Tensor = first(plane)
        for layer in others:
            features = torch.cat([features, layer(features)], 1)
        return features

    def frequency(self, plane: Tensor) -> Tensor:
        """The spatial frequency around every pixel, N x 1 x H x W."""
        features = F.pad(self.features(plane).float(), [1, 0, 1, 0], mode="replicate")
        here = features[..., 1:, 1:]
        rows, columns = here - features[..., 1:, :-1], here - features[..., :-1, 1:]
        return box((rows.square() + columns.square()).sum(1, keepdim=True), REACH).sqrt()

    def forward_with_map(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """Take each pixel from the frame of the higher frequency."""
        one, other = (self.frequency(luma(frame)) for frame in (near, far))
        weight = decided((one - other) / (one + other + NOTHING))
        return mixed(near, far, weight), weight

    def lesson(self, near: Tensor, far: Tensor, truth: Tensor) -> Tensor:  # noqa: ARG002 - no fusion is trained
        """3 (1 - SSIM) and the squared difference of grey pictures given back."""
        plane = luma(truth)
        restored = self.decode(self.features(plane))
        with exactly(plane):
            return LAMBDA * (1 - ssim(restored, plane).mean()) + (restored.float() - plane).square().mean()

    def refined(self, near: Floats, far: Floats, fused: Floats, weight: Floats) -> Floats:  # noqa: ARG002 - made anew
        """Opening and closing, small regions, guided filter."""
        mask = maps.without_small_regions(maps.opened_and_closed(weight > 0.5, DISC))
        return maps.guided_mix(near, far, mask, radius=RADIUS, epsilon=EPSILON)
