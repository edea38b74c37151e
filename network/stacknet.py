"""The network over a whole stack: any number of frames, none before the others, in memory that does not grow with them.

Each frame is seen twice and by itself. The first time its features are *gathered*: at every scale a mean over the frames,
weighed by the unity attention (the paper's Eqs. 5-10, its softmax taken over all frames), and the greatest of each feature.
The second time the frame's features are compared with what was gathered, and the decoder scores the frame at every pixel,
once for each *octave* (band of detail). The fused picture is the mean of the frames' octaves, weighed by the softmax of
their scores. All that is kept between frames are sums and maxima, so the order of the frames does not matter and their
number costs no memory.

Shapes: a *stack tensor* holds the features of K frames as (N * K) x C x H x W, the frames of one scene together.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows it by

from ufafuse.network.base import Network
from ufafuse.network.blocks import SLOPE, ConvBlock, encoder_of, gated_detail, statistics, with_surroundings
from ufafuse.network.plain import PlainAttention, PlainStackDetail, cells_fit
from ufafuse.network.spec import OCTAVES, SPATIAL_KERNEL, Spec, seen

# Frames are weighed by the exponential of their score. It is multiplied by STEEP, many times what it was trained with: without
# that the grain of a matt surface that many frames show alike is averaged away, which costs no PSNR against a truth without
# noise. What float32 can hold of exponentials is spent on scores above 4 to 6, below which the slope is GENTLE. The coarsest
# octave has no grain: there frames that differ in brightness are better mixed than chosen between, which leaves the outlines
# of the choice in even grounds.
STEEP, GENTLE = (26.0, 20.0, 2.5), 0.3  # an octave, finest first
TOP, FLOOR = (8.93, 8.0, 8.0), 78.7
BOUND = 12.0  # scores lie within +-this


def bounded(score: Tensor) -> Tensor:
    """Bring scores into (-BOUND, BOUND) in float32, smoothly."""
    return BOUND * torch.tanh(score.float() / BOUND)


def log_weights(scores: Tensor) -> Tensor:
    """Turn bounded scores, M x channels x H x W (as many for each octave, finest first), into the logarithms of weights.

    They lie in (-85, 80): hundreds of their exponentials add up in float32.
    """
    cells = scores.shape[1] // len(STEEP)
    steep, top = (scores.new_tensor(each).repeat_interleave(cells)[:, None, None] for each in (STEEP, TOP))
    above = scores - top
    return torch.maximum(steep * above, GENTLE * above - FLOOR)


def octaves(frames: Tensor) -> list[Tensor]:
    """Split frames, M x 3 x H x W (sizes multiples of 8), into bands that add up to them, the finest first."""
    bases = [frames]
    for size in OCTAVES:
        small = F.avg_pool2d(frames, size)
        bases.append(F.interpolate(small, scale_factor=float(size), mode="bilinear", align_corners=False))
    return [fine - coarse for fine, coarse in pairwise(bases)] + [bases[-1]]


@dataclass
class Gathered:
    """What is kept of the frames seen, per scale: sums to be divided and maxima.

    Attributes:
        weighed: sum of exp(attention) * features, N x C x h x w a scale.
        weights: sum of exp(attention), N x 1 x h x w a scale.
        greatest: the maximum of each feature, N x C x h x w a scale.
        light: sum of the frames, N x 3 x H x W (padded), those pixels that are covered.
        frames: how many frames cover a pixel, N x 1 x H x W (padded).
    """

    weighed: list[Tensor]
    weights: list[Tensor]
    greatest: list[Tensor]
    light: Tensor
    frames: Tensor

    def told(self) -> list[Tensor]:
        """Return what a frame is compared with: weighed mean and maximum of the features, N x 2C x h x w a scale."""
        sums = zip(self.weighed, self.weights, self.greatest, strict=True)
        return [torch.cat([weighed / weights.clamp(min=1e-12), greatest], 1) for weighed, weights, greatest in sums]


class Comparison(nn.Module):
    """A frame's features beside what was gathered of all frames: the first layer of a scale's decoder."""

    def __init__(self, width: int, coarser: int) -> None:
        """Make it for features of `width` channels, joined by `coarser` channels of the scale below (0: the coarsest)."""
        super().__init__()
        self.own = nn.Conv2d(width, width, 1)
        self.common = nn.Conv2d(2 * width, width, 1, bias=False)
        self.narrow = nn.Conv2d(coarser, width, 1, bias=False) if coarser else None

    def forward(self, own: Tensor, common: Tensor, coarser: Tensor | None) -> Tensor:
        """Compare M x C features; `common` is M x C of `self.common`, `coarser` half the size."""
        out = self.own(own) + common
        if self.narrow is not None and coarser is not None:
            # Narrowed before it is enlarged: all that follows costs less.
            out = out + F.interpolate(self.narrow(coarser), size=own.shape[-2:], mode="bilinear", align_corners=False)
        return F.leaky_relu(out, SLOPE)


class StackDetail(nn.Module):
    """Which frame is the sharp one at each pixel; `ufafuse.network.blocks.Detail` for any number of frames.

    The frame in focus is the brighter one where the frames' sum stands out from its surroundings, the darker one where it
    falls short.
    """

    def __init__(self, width: int, fold: int) -> None:
        """Make the comparison of pixels folded fold x fold, gated by `width` channels of the decoder."""
        super().__init__()
        self.fold = fold
        self.level = nn.Parameter(torch.empty(fold**2, 3, fold, fold))
        self.local = nn.Parameter(torch.empty(fold**2, 3, seen(fold), seen(fold)))
        self.gate = nn.Conv2d(width, fold**2, 1)

    @property
    def blind(self) -> Tensor:
        """Weights of what stands out: however bright the surroundings are, they say nothing."""
        return self.local - self.local.mean((1, 2, 3), keepdim=True)

    def stands_out(self, total: Tensor) -> Tensor:
        """Return by how much each pixel of the sum of all frames, M x 3 x H + 4 x W + 4, stands out from its surroundings."""
        return F.conv2d(total, self.blind, stride=self.fold)

    def forward(self, apart: Tensor, stands_out: Tensor, decoded: Tensor) -> Tensor:
        """Return M x fold^2 x H/fold x W/fold, to be added to the scores of the frames.

        Args:
            apart: of the frames from the others, M x 3 x H x W (see `from_others`).
            stands_out: of the sum of all frames, M x fold^2 x H/fold x W/fold (see `stands_out`).
            decoded: the decoder's features, M x width.
        """
        return gated_detail(self.gate(decoded), F.conv2d(apart, self.level, stride=self.fold), stands_out)


def from_others(frames: Tensor, mean: Tensor, count: Tensor) -> Tensor:
    """Return how far frames, M x 3 x H x W, are from the mean of the other ones, given the `mean` of all `count` frames."""
    return (frames - mean) * (count / (count - 1).clamp(min=1))


class StackNet(Network):
    """The network over a whole stack; `Spec.gathers` variants. The pair is the case of two frames."""

    def __init__(self, spec: Spec) -> None:
        """Make the network that `spec` describes; its weights are not yet set (see `build_model`)."""
        super().__init__()
        self.spec = spec
        self.selection = 1.0  # the factor on scores while it trains, instead of `log_weights`; 0: those
        # How undecided it was in the last step of a training: 1 less the sum of the squared weights, of all pixels and octaves.
        self.doubt: Tensor | None = None
        widths, fold = spec.widths, spec.fold
        self.encoder = encoder_of(spec)
        pad = SPATIAL_KERNEL // 2
        self.attention = nn.ModuleList(nn.Conv2d(2, 1, SPATIAL_KERNEL, padding=pad, bias=False) for _ in widths)
        coarser = [*widths[1:], 0]
        self.compare = nn.ModuleList(Comparison(width, below) for width, below in zip(widths, coarser, strict=True))
        self.decoder = nn.ModuleList(
            nn.Sequential(*(ConvBlock(width, width) for _ in range(blocks)))
            for width, blocks in zip(widths, spec.decoder_blocks, strict=True)
        )
        self.head = nn.Conv2d(widths[0], fold**2, 3, padding=1, bias=False)
        self.apart = nn.Conv2d(widths[0], len(OCTAVES), 3, padding=1)  # what an octave's score differs by from the finest's
        self.detail = StackDetail(widths[0], fold)

    def attend(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return each scale's bounded attention score, M x 1 x h x w."""
        scores = []
        for conv, f in zip(self.attention, features, strict=True):
            scores.append(bounded(conv(f if isinstance(conv, PlainAttention) else statistics(f))))
        return scores

    def common(self, gathered: Gathered) -> list[Tensor]:
        """Return what the decoder is told of all frames, N x C a scale."""
        return [compare.common(told) for compare, told in zip(self.compare, gathered.told(), strict=True)]  # type: ignore[operator]

    def decode(self, features: Sequence[Tensor], common: Sequence[Tensor]) -> Tensor:
        """Compare frames with what is common to all, from coarse to fine; returns the finest scale's features."""
        x: Tensor | None = None
        by_scale = zip(self.compare, self.decoder, features, common, strict=True)
        for compare, decode, own, told in reversed(list(by_scale)):
            x = decode(compare(own, told, x))
        assert x is not None
        return x

    def stands_out(self, mean: Tensor, count: Tensor) -> Tensor:
        """Return by how much each pixel of all frames together stands out, N x fold^2 x H/fold x W/fold, of padded frames."""
        found: Tensor = self.detail.stands_out(with_surroundings(mean * count))
        return found

    def score(
        self,
        frames: Tensor,
        features: Sequence[Tensor],
        common: Sequence[Tensor],
        mean: Tensor,
        count: Tensor,
        stands_out: Tensor,
    ) -> list[Tensor]:
        """Return the bounded score of padded frames at every pixel, M x 1 x H x W an octave, finest first."""
        x, fold = self.decode(features, common), self.spec.fold
        detail = self.detail(from_others(frames, mean, count), stands_out, x)
        fine = F.pixel_shuffle(self.head(x) + detail, fold)
        offsets = F.interpolate(self.apart(x), scale_factor=float(fold), mode="bilinear", align_corners=False)
        return [bounded(fine), *(bounded(fine + offset) for offset in offsets.split(1, 1))]

    def forward_with_map(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse two frames; returns the fused frame and the near frame's weight in the finest octave, N x 1 x H x W."""
        fused, weights = self.forward_stack(torch.stack([near, far], 1))
        return fused, weights[:, :1]

    def forward_stack(self, frames: Tensor, covered: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Fuse K >= 2 frames at once, N x K x 3 x H x W.

        Args:
            frames: The frames; their order does not matter.
            covered: N x K x 1 x H x W of 0 and 1: pixels of 0 take no part. None: all do.

        Returns:
            The fused frame N x 3 x H x W and every frame's weight in the finest octave, N x K x H x W.
        """
        scenes, count, _, height, width = frames.shape
        flat = self.pad(frames.flatten(0, 1))
        mask = torch.ones_like(flat[:, :1]) if covered is None else self.pad(covered.flatten(0, 1).to(flat))
        features = self.encode(flat)
        gathered = gather(flat, mask, features, self.attend(features), count)
        total = gathered.frames.clamp(min=1)
        mean = gathered.light / total
        told = (mean, total, self.stands_out(mean, total))
        common = [each.repeat_interleave(count, 0) for each in self.common(gathered)]
        scores = self.score(flat, features, common, *(each.repeat_interleave(count, 0) for each in told))
        hidden = (mask - 1) * 1e4
        fused = torch.zeros_like(frames[:, 0], dtype=torch.float32)
        finest: Tensor | None = None
        doubts: list[Tensor] = []
        joined = torch.cat(scores, 1)
        decided = self.selection * joined if self.training and self.selection else log_weights(joined)
        for band, logs in zip(octaves(flat.float()), decided.split(1, 1), strict=True):
            weight = (logs + hidden).unflatten(0, (scenes, count)).softmax(1)
            if self.training:
                doubts.append(1 - weight.square().sum(1).mean())
            fused = fused + (band.unflatten(0, (scenes, count)) * weight).sum(1)[..., :height, :width]
            finest = weight if finest is None else finest
        assert finest is not None
        self.doubt = torch.stack(doubts).mean() if doubts else None
        if not self.training:
            # Octaves of several frames together can overshoot; the camera saw nothing beyond what the frames show.
            unseen = hidden.unflatten(0, (scenes, count))[..., :height, :width]
            fused = fused.clamp((frames - unseen).amin(1), (frames + unseen).amax(1))
        return fused, finest[:, :, 0, :height, :width]

    def for_inference(self) -> "StackNet":
        """Return a frozen copy in evaluation mode, of ordinary convolutions: what is exported."""
        self.doubt = None  # what is part of a step's graph cannot be copied
        plain, detail, scales = copy.deepcopy(self), self.detail, len(self.spec.widths)
        plain.detail = PlainStackDetail(detail.level, detail.blind, plain.detail.gate, detail.fold)
        for scale, width in enumerate(self.spec.widths):
            conv = plain.attention[scale]
            plain.attention[scale] = PlainAttention(conv, width, cells=cells_fit(scale, scales))  # type: ignore[arg-type]
        return plain.eval().requires_grad_(requires_grad=False)


def gather(frames: Tensor, mask: Tensor, features: Sequence[Tensor], attention: Sequence[Tensor], count: int) -> Gathered:
    """Gather the features of stack tensors.

    Args:
        frames: Padded frames.
        mask: 1 where a frame is covered, padded.
        features: What `StackNet.encode` gives for the frames.
        attention: What `StackNet.attend` gives for the features.
        count: How many frames a scene has.
    """
    scenes = frames.shape[0] // count
    weighed, weights, greatest = [], [], []
    for f, score in zip(features, attention, strict=True):
        seen_here = F.interpolate(mask, size=f.shape[-2:], mode="area") if f.shape[-1] != mask.shape[-1] else mask
        weight = score.exp() * seen_here
        weighed.append((f * weight).unflatten(0, (scenes, count)).sum(1).to(f))
        weights.append(weight.unflatten(0, (scenes, count)).sum(1).to(f))
        greatest.append((f * seen_here.to(f)).unflatten(0, (scenes, count)).amax(1))
    light = (frames * mask).unflatten(0, (scenes, count)).sum(1)
    return Gathered(weighed, weights, greatest, light, mask.unflatten(0, (scenes, count)).sum(1))
