"""p-CNN: H. Tang, B. Xiao, W. Li, G. Wang, "Pixel convolutional neural network for multi-focus image fusion", Information
Sciences 433-434, 2018.

**Network**: a classifier of the middle pixel of a grey 32 x 32 patch as in focus, out of focus, or unknown: convolutions
with max-pooling between them and a softmax. The *image-wise* network, 25 times as fast as one patch after the other, gives
every pixel of a picture the same scores: here by dilating what follows a pooling instead of going in steps.

**Training pairs**: small pictures (Cifar-10), blurred to several levels, and twelve masks that blur a part of the patch,
labelled by the pixel in the middle: in focus, out of focus, or, where the blur is too faint to tell, unknown.

**Fusion**: each pixel is taken from the frame in which it scores higher as in focus; small mistakes are cleaned away.

**Left open, and settled**: the paper's text is not free, so this follows its abstract and what others cite of it, and its
figures are to be read with that in mind. Widths 32, 32 and 64 of 5 x 5 convolutions without borders, which take 32 x 32
pixels to one; 2 x 2 poolings; ReLU. The twelve masks are half planes at twelve angles, at a random distance from the
middle. Blur: Gaussians of sigma 0.4 to 5, unknown below 0.7. The score is the chance of in focus and half that of unknown.
Cleaning: a majority over 9 x 9 pixels and regions below 0.01 x H x W.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows it by

from ufafuse.network.rivals import maps
from ufafuse.network.rivals.base import RivalNet, decided, exactly, mixed, seeded
from ufafuse.network.rivals.blurring import gaussian
from ufafuse.network.rivals.colour import luma
from ufafuse.network.spec import RivalSpec
from ufafuse.runtime.arrays import Floats

PATCH, MASKS = 32, 12
FAINT, LEAST, MOST = 0.7, 0.4, 5.0  # sigma of the blur
PLAIN = 25 / 255**2
PATCHES = 192  # of a batch
FOCUSED, DEFOCUSED, UNKNOWN = range(3)
WIDTHS = (32, 32, 64)
MAJORITY = 9


class PixelCnn(RivalNet):
    """The classifier of a patch's middle pixel, and of every pixel of a picture."""

    def __init__(self, spec: RivalSpec) -> None:
        """Make it with random weights."""
        super().__init__(spec)
        self.convs = nn.ModuleList(nn.Conv2d(before, width, 5) for before, width in zip((1, *WIDTHS[:-1]), WIDTHS, strict=True))
        self.classes = nn.Conv2d(WIDTHS[-1], 3, 1)
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight)  # type: ignore[arg-type]

    def patch_scores(self, patches: Tensor) -> Tensor:
        """Scores of N x 1 x 32 x 32 patches before the softmax, N x 3."""
        for number, conv in enumerate(self.convs):
            patches = conv(patches).relu()
            if number < len(self.convs) - 1:
                patches = F.max_pool2d(patches, 2)
        scores: Tensor = self.classes(patches).flatten(1)
        return scores

    def pixel_scores(self, planes: Tensor) -> Tensor:
        """The same of every pixel of N x 1 x H x W, as the middle of its patch: N x 3 x H x W."""
        before, after = PATCH // 2, PATCH // 2 - 1
        features = F.pad(planes, [before, after, before, after], mode="replicate")
        for number, conv in enumerate(self.convs):
            step = 2**number
            features = F.conv2d(features, conv.weight, conv.bias, dilation=step).relu()  # type: ignore[arg-type]
            if number < len(self.convs) - 1:
                features = F.max_pool2d(features, 2, stride=1, dilation=step)
        scores: Tensor = self.classes(features)
        return scores

    def forward_with_map(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """Take each pixel from the frame that scores higher."""
        one, other = (_in_focus(self.pixel_scores(luma(frame)).float().softmax(1)) for frame in (near, far))
        weight = decided(one - other)
        return mixed(near, far, weight), weight

    def lesson(self, near: Tensor, far: Tensor, truth: Tensor) -> Tensor:  # noqa: ARG002 - the pairs are made of the truth
        """Cross-entropy of patches that are sharp, blurred, or both."""
        rng = seeded(truth)
        with exactly(truth):
            clear = luma(truth)
            low, high = math.log(LEAST), math.log(MOST)
            sigma = [math.exp(low + (high - low) * float(torch.rand((), generator=rng))) for _ in clear]
            blurred = torch.cat(
                [gaussian(plane[None], s, 2 * math.ceil(2.5 * s) + 1) for plane, s in zip(clear, sigma, strict=True)]
            )
            cells, sigmas = _patches(torch.cat([clear, blurred], 1), torch.tensor(sigma), rng)
            sharp = _masks(len(cells), rng).to(cells.device)
            patches = torch.where(sharp, cells[:, :1], cells[:, 1:])
            middle = sharp[:, 0, PATCH // 2, PATCH // 2]
            faint = torch.where(sigmas < FAINT, UNKNOWN, DEFOCUSED).to(cells.device)
            label = torch.where(middle, FOCUSED, faint)
        scores = self.patch_scores(patches)
        with exactly(scores):
            each = F.cross_entropy(scores.float(), label, reduction="none")
            told = (cells[:, :1].var((1, 2, 3)) > PLAIN).float()
            return (each * told).sum() / told.sum().clamp_min(1)

    def refined(self, near: Floats, far: Floats, fused: Floats, weight: Floats) -> Floats:  # noqa: ARG002 - made anew
        """Majority and small regions."""
        return maps.taken_from(near, far, maps.without_small_regions(maps.majority(weight > 0.5, MAJORITY)))


def _in_focus(chances: Tensor) -> Tensor:
    return chances[:, FOCUSED : FOCUSED + 1] + chances[:, UNKNOWN : UNKNOWN + 1] / 2


def _patches(planes: Tensor, sigma: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Some patches of N x 2 x H x W planes from a grid that starts anywhere, and their pictures' sigma."""
    top, left = (int(torch.randint(0, 16, (), generator=rng)) if side >= PATCH + 16 else 0 for side in planes.shape[-2:])
    cells = planes[..., top:, left:].unfold(2, PATCH, PATCH // 2).unfold(3, PATCH, PATCH // 2).permute(0, 2, 3, 1, 4, 5)
    sigmas = sigma[:, None, None].expand(cells.shape[:3]).reshape(-1)
    cells = cells.reshape(-1, 2, PATCH, PATCH)
    chosen = torch.randperm(len(cells), generator=rng)[:PATCHES]
    return cells[chosen.to(cells.device)], sigmas[chosen]


def _masks(count: int, rng: torch.Generator) -> Tensor:
    """Where each patch is sharp, N x 1 x 32 x 32: a third everywhere, a third nowhere, the others beyond a line."""
    angle = 2 * math.pi / MASKS * torch.randint(0, MASKS, (count, 1, 1), generator=rng)
    distance = 12 * (torch.rand(count, 1, 1, generator=rng) - 0.5)
    at = torch.arange(PATCH) - PATCH // 2
    side = at[None, None] * torch.cos(angle) + at[None, :, None] * torch.sin(angle) > distance
    kind = torch.randint(0, 3, (count, 1, 1), generator=rng)
    return ((kind == 0) | ((kind == 2) & side))[:, None]
