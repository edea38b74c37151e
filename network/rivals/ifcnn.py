"""IFCNN: Y. Zhang, Y. Liu, P. Sun, H. Yan, X. Zhao, L. Zhang, "IFCNN: A general image fusion framework based on
convolutional neural network", Information Fusion 54, 2020.

**Network** (Section 3): 7 x 7 to 64 channels (the first layer of a ResNet101 trained on ImageNet, kept fixed), 3 x 3 to 64;
the features fused by the elementwise *maximum* (for multi-focus pairs); 3 x 3 to 64, 1 x 1 to RGB. Batch normalisation and
ReLU after the two 3 x 3 convolutions. 83,587 parameters.

**Training pairs** (Section 3): photographs with depth, blurred by Gaussians of random radius in the near or in the far
part. **Loss** (Section 3): mean squared error first, then a perceptual loss beside it, between features of the same
ResNet101.

**Left open, and settled**: ResNet101's weights are not free of the terms of the pictures that they learnt from, so here the
first layer is learnt with the others and the loss is that of the paper's first stage, the mean squared error. The pairs are
this project's own, whose blurs differ more. Pictures are normalised by the mean and the deviation of ImageNet's; borders
are repeated. Batches of a few pictures would be normalised to one brightness, which cannot be given back: here batch
normalisation keeps its statistics, 0 and 1, and is a scale and a shift. An author's file carries statistics, and its own
first layer. The map is the share of channels whose maximum is near's.
"""

import torch
from torch import Tensor, nn

from ufafuse.network.rivals.base import RivalNet, conv, exactly
from ufafuse.network.spec import RivalSpec

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WIDTH = 64


class Ifcnn(RivalNet):
    """Features, their maximum, the picture."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, spec: RivalSpec) -> None:
        """Make it with random weights."""
        super().__init__(spec)
        first, second, third = (conv(before, WIDTH, side, bias=False) for before, side in ((3, 7), (WIDTH, 3), (WIDTH, 3)))
        self.features = nn.Sequential(first, second, nn.BatchNorm2d(WIDTH), nn.ReLU())
        self.picture = nn.Sequential(third, nn.BatchNorm2d(WIDTH), nn.ReLU(), conv(WIDTH, 3, 1))
        for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward_with_map(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse all features by their maximum."""
        one, other = (self.features((frame - self.mean) / self.deviation) for frame in (near, far))
        picture = self.picture(torch.maximum(one, other)).float() * self.deviation + self.mean
        share = (0.5 + 0.5 * torch.sign(one - other).float().mean(1, keepdim=True)).clamp(0, 1)
        return (picture if self.training else picture.clamp(0, 1)), share

    def train(self, mode: bool = True) -> "Ifcnn":  # noqa: FBT001, FBT002 - torch's own signature
        """Switch modes; batch normalisation keeps to its statistics in either."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def lesson(self, near: Tensor, far: Tensor, truth: Tensor) -> Tensor:
        """The mean squared error."""
        fused = self.forward_with_map(near, far)[0]
        with exactly(truth):
            return (fused.float() - truth).square().mean()
