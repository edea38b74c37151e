"""DeepFuse: K. R. Prabhakar, V. S. Srikar, R. V. Babu, "DeepFuse: A deep unsupervised approach for exposure fusion with
extreme exposure image pairs", ICCV 2017.

**Network** (Section 3, Fig. 3): on the brightness, two branches with the same weights, 5 x 5 to 16 and 7 x 7 to 32
channels; their features are added; 7 x 7 to 32, 5 x 5 to 16 and 5 x 5 to 1 give the fused brightness. 88,961 parameters.

**Loss** (Section 3): 1 - MEF-SSIM without its luminance term. Around every pixel the desired patch has the greater contrast
of the two frames' and their structures' weighted mean; the loss compares the fused patch with it, without any truth.
**Colour** (Section 3): each colour difference weighs as much as it is far from grey.

**Left open, and settled**: activations (ReLU after all but the last); window (8 x 8) and the structures' weights (contrast
to the 4th power) are those of the measure's own paper (Ma, Zeng and Wang 2015). Since the measure does not see the patches'
means, which exposures are to differ in and frames at different focus do not, the loss adds the squared difference of the
fused local mean from that of both frames: without it any brightness is as good. Borders are repeated.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows it by

from ufafuse.network.rivals.base import RivalNet, conv, exactly
from ufafuse.network.rivals.colour import chroma, coloured, fused_chroma, luma
from ufafuse.network.spec import RivalSpec

WINDOW = 8
POWER = 4
STEADY = 0.03**2
MEANS = 10.0  # weight of the local means


class DeepFuse(RivalNet):
    """The two tied branches, the sum, the reconstruction."""

    def __init__(self, spec: RivalSpec) -> None:
        """Make it with random weights."""
        super().__init__(spec)
        self.branch = nn.Sequential(conv(1, 16, 5), nn.ReLU(), conv(16, 32, 7), nn.ReLU())
        self.reconstruct = nn.Sequential(conv(32, 32, 7), nn.ReLU(), conv(32, 16, 5), nn.ReLU(), conv(16, 1, 5))

    def brightness(self, near: Tensor, far: Tensor) -> Tensor:
        """Fuse two brightnesses, N x 1 x H x W."""
        fused: Tensor = self.reconstruct(self.branch(near) + self.branch(far))
        return fused

    def forward_with_map(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse brightness by the network and colour by the rule; both frames weigh a half everywhere."""
        one, other = luma(near), luma(far)
        fused = self.brightness(one, other).float()
        colours = fused_chroma(chroma(near, one), chroma(far, other))
        picture = coloured(fused, colours)
        return (picture if self.training else picture.clamp(0, 1)), torch.full_like(fused, 0.5)

    def lesson(self, near: Tensor, far: Tensor, truth: Tensor) -> Tensor:  # noqa: ARG002 - nothing is known of the truth
        """1 - MEF-SSIM of the brightness, and the local means."""
        one, other = luma(near), luma(far)
        fused = self.brightness(one, other)
        with exactly(near):
            return mef_loss(one, other, fused.float())


def mef_loss(near: Tensor, far: Tensor, fused: Tensor) -> Tensor:
    """Return the loss of fused brightness, N x 1 x H x W, a scalar."""
    means = [F.avg_pool2d(plane, WINDOW, stride=1) for plane in (near, far, fused)]

    def covariance(first: Tensor, second: Tensor, which: tuple[int, int]) -> Tensor:
        return F.avg_pool2d(first * second, WINDOW, stride=1) - means[which[0]] * means[which[1]]

    var_near, var_far = (covariance(plane, plane, (at, at)).clamp_min(1e-8) for at, plane in enumerate((near, far)))
    largest = torch.maximum(var_near, var_far)
    # A structure is a patch by its norm, so contrast**POWER times the structure is contrast**(POWER - 1) times the patch.
    share_near, share_far = ((variance / largest) ** ((POWER - 1) / 2) for variance in (var_near, var_far))
    both = 2 * share_near * share_far * covariance(near, far, (0, 1))
    norm = (share_near**2 * var_near + share_far**2 * var_far + both).clamp_min(1e-8).sqrt()
    alike = share_near * covariance(near, fused, (0, 2)) + share_far * covariance(far, fused, (1, 2))
    desired = alike * largest.sqrt() / norm  # covariance of the desired patch with the fused one
    score = (2 * desired + STEADY) / (largest + covariance(fused, fused, (2, 2)) + STEADY)
    return 1 - score.mean() + MEANS * (means[2] - (means[0] + means[1]) / 2).square().mean()
