"""CNN: Y. Liu, X. Chen, H. Peng, Z. Wang, "Multi-focus image fusion with a deep convolutional neural network", Information
Fusion 36, 2017.

**Network** (Section 3, Fig. 3): two branches with the same weights on grey patches of 16 x 16, three 3 x 3 convolutions to
64, 128 and 256 channels, a 2 x 2 max-pooling before the third; the branches' 8 x 8 x 512 features go through a fully
connected layer of 256 to two outputs and a softmax. Fully connected layers are convolutions on whole pictures, so that the
scores lie on a grid of 2 pixels. The paper's *slight* model goes from the features straight to the two outputs: 1.66 MB in
single precision instead of 33 MB, with hardly worse results. Both are here; the slight one is what we train, as the full
one does not fit minutes of one core, and authors' files of either fit.

**Training pairs** (Section 3): a patch and the same patch blurred by a Gaussian filter of 7 x 7, sigma 2, one to five times
in turn; in half of the pairs the clear one comes first. Patches whose grey variance is at most 25 (of 255 squared) are left
out. **Loss**: cross-entropy of the softmax.

**Fusion** (Section 3): every score goes to all pixels of its 16 x 16 patch, overlapping ones are averaged; threshold 0.5;
regions below 0.01 x H x W turned over; a guided filter (radius 8, epsilon 0.1) on the decision, guided by the picture that
it gives.

**Left open, and settled**: activations (ReLU after each convolution and the layer of 256); borders: frames are repeated by
8 pixels so that every size works and border pixels have scores of their own; colour is decided on brightness, and the guide
is grey; optimiser: our trainer's Adam in place of gradient descent with momentum.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows it by

from ufafuse.network.rivals import maps
from ufafuse.network.rivals.base import RivalNet, decided, exactly, mixed, seeded
from ufafuse.network.rivals.blurring import gaussian
from ufafuse.network.rivals.colour import luma
from ufafuse.network.spec import RivalSpec
from ufafuse.runtime.arrays import Floats

PATCH, STEP, AROUND = 16, 2, 8
SIGMA, SIDE, LEVELS = 2.0, 7, 5
PLAIN = 25 / 255**2  # grey variance
PATCHES = 96  # of a batch
RADIUS, EPSILON = 8, 0.1


class Cnn(RivalNet):
    """The Siamese classifier of patches."""

    def __init__(self, spec: RivalSpec) -> None:
        """Make the form that `spec` names, with random weights."""
        super().__init__(spec)
        convs = [nn.Conv2d(before, width, 3, padding=1) for before, width in ((1, 64), (64, 128), (128, 256))]
        self.branch = nn.Sequential(
            convs[0], nn.ReLU(), convs[1], nn.ReLU(), nn.MaxPool2d(2), convs[2], nn.ReLU()
        )  # N x 256 x H/2 x W/2
        side = PATCH // STEP
        slight = spec.form == "slight"
        self.head = (
            nn.Sequential(nn.Conv2d(512, 2, side))
            if slight
            else nn.Sequential(nn.Conv2d(512, 256, side), nn.ReLU(), nn.Conv2d(256, 2, 1))
        )
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight)

    def scores(self, near: Tensor, far: Tensor) -> Tensor:
        """Near's and far's scores before the softmax, N x 2 x h x w, of grey frames N x 1 x H x W of at least a patch."""
        scores: Tensor = self.head(torch.cat([self.branch(near), self.branch(far)], 1))
        return scores

    def forward_with_map(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse by the averaged scores of the patches that cover each pixel."""
        height, width = near.shape[-2:]
        grey = [F.pad(luma(frame), [AROUND] * 4, mode="replicate") for frame in (near, far)]
        chosen = self.scores(grey[0], grey[1]).float().softmax(1)[:, :1]
        patch = chosen.new_ones(1, 1, PATCH, PATCH)
        covered = F.conv_transpose2d(torch.ones_like(chosen), patch, stride=STEP)
        focus = F.conv_transpose2d(chosen, patch, stride=STEP) / covered.clamp_min(1)
        focus = focus[..., AROUND : AROUND + height, AROUND : AROUND + width]
        return mixed(near, far, decided(focus - 0.5)), focus

    def lesson(self, near: Tensor, far: Tensor, truth: Tensor) -> Tensor:  # noqa: ARG002 - the pairs are made of the truth
        """Cross-entropy of clear and blurred patches."""
        rng = seeded(truth)
        with exactly(truth):
            clear = luma(truth)
            times = torch.randint(1, LEVELS + 1, (len(clear), 1, 1, 1), generator=rng).to(clear.device)
            blurred = once = clear
            for level in range(1, LEVELS + 1):
                once = gaussian(once, SIGMA, SIDE)
                blurred = torch.where(times == level, once, blurred)
            clear, blurred = _patches(torch.cat([clear, blurred], 1), rng)
        swap = (torch.rand(len(clear), generator=rng) < 0.5).to(clear.device)
        first = torch.where(swap[:, None, None, None], blurred, clear)
        second = torch.where(swap[:, None, None, None], clear, blurred)
        scores = self.scores(first, second).flatten(1)
        with exactly(scores):
            each = F.cross_entropy(scores.float(), swap.long(), reduction="none")
            told = (clear.var((1, 2, 3)) > PLAIN).float()
            return (each * told).sum() / told.sum().clamp_min(1)

    def refined(self, near: Floats, far: Floats, fused: Floats, weight: Floats) -> Floats:  # noqa: ARG002 - made anew
        """Threshold, small regions, guided filter."""
        mask = maps.without_small_regions(weight > 0.5)
        return maps.guided_mix(near, far, mask, radius=RADIUS, epsilon=EPSILON)


def _patches(planes: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Some patches of N x 2 x H x W planes from a grid that starts anywhere, each plane's M x 1 x 16 x 16."""
    top, left = (int(torch.randint(0, PATCH, (), generator=rng)) if side >= 2 * PATCH else 0 for side in planes.shape[-2:])
    cells = planes[..., top:, left:].unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)  # N x 2 x h x w x 16 x 16
    cells = cells.permute(0, 2, 3, 1, 4, 5).reshape(-1, 2, PATCH, PATCH)
    chosen = torch.randperm(len(cells), generator=rng)[:PATCHES].to(cells.device)
    return cells[chosen, :1], cells[chosen, 1:]
