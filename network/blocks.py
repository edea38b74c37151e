"""The blocks of the family: convolution block, unity fusion attention, and convolutions that treat the frames alike.

Shapes: features are N x C x H x W. A *pair tensor* holds the features of both frames as N x 2C x H x W, the near
frame's channels first. A *stack tensor* holds those of K frames as (N * K) x C x H x W, the frames of one scene
together.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows it by

from ufafuse.network.spec import AROUND, SPATIAL_KERNEL, Spec, first_kernel, seen

SLOPE = 0.01  # of LeakyReLU; the paper gives none
UNSURE = 3 / 255  # details that are no stronger may be noise


class ConvBlock(nn.Sequential):
    """A 3x3 (or, with `fold`, strided) convolution and LeakyReLU: the paper's FEB and ICB."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int = 1, fold: int = 1) -> None:
        """Make the block; `stride` halves a scale, `fold` reads fold x fold pixels of the image as one."""
        # A convolution over pixels folded f x f into channels is one of stride f over the image itself: same weights, and no
        # copy of the image.
        kernel = first_kernel(fold)
        super().__init__(nn.Conv2d(channels_in, channels_out, kernel, stride * fold, (kernel - fold) // 2), nn.LeakyReLU(SLOPE))


class TiedConv(nn.Module):
    """A convolution over the features of several frames that treats all frames alike.

    Each frame's result is `own * itself + other * (mean of the other frames) + bias`, so exchanging frames exchanges
    results. For two frames this is one ordinary convolution over the pair tensor with the weights
    [[own, other], [other, own]]: it costs what a free one of the same width costs.
    """

    def __init__(self, parts_in: Sequence[int], channels_out: int, kernel: int) -> None:
        """Make the convolution: `parts_in` are the per-frame channels of the inputs, each its own pair tensor."""
        super().__init__()
        self.parts_in = tuple(parts_in)
        shape = (channels_out, sum(parts_in), kernel, kernel)
        self.own = nn.Parameter(torch.empty(shape))
        self.other = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.zeros(channels_out))

    def dense(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the ordinary convolution over pair tensors that this is."""
        own, other = self.own.split(self.parts_in, 1), self.other.split(self.parts_in, 1)
        near = torch.cat([block for pair in zip(own, other, strict=True) for block in pair], 1)
        far = torch.cat([block for pair in zip(other, own, strict=True) for block in pair], 1)
        return torch.cat([near, far]), torch.cat([self.bias, self.bias])

    def forward(self, pair: Tensor) -> Tensor:
        """Map a pair tensor (the parts concatenated, each near first) to a pair tensor."""
        weight, bias = self.dense()
        return F.conv2d(pair, weight, bias, padding=weight.shape[-1] // 2)

    def forward_many(self, stack: Tensor, frames: int) -> Tensor:
        """Map a stack tensor of `frames` >= 2 frames a scene to a stack tensor."""
        total = stack.unflatten(0, (-1, frames)).sum(1)
        pad, share = self.own.shape[-1] // 2, self.other / (frames - 1)
        alone = F.conv2d(stack, self.own - share, self.bias, padding=pad)
        common = F.conv2d(total, share, padding=pad)
        return alone + common.repeat_interleave(frames, 0)


class TiedHead(nn.Module):
    """The last convolution of a symmetric network: what is common to the frames, and each frame's score.

    `common` channels are the mean over the frames of one convolution of each; the `scores` channels come from a second
    one, without bias, which cancels between frames. For two frames: one convolution to [common; score near - far].
    """

    def __init__(self, channels_in: int, common: int, scores: int) -> None:
        """Make the head over `channels_in` per-frame channels."""
        super().__init__()
        self.common = nn.Parameter(torch.empty(common, channels_in, 3, 3))
        self.score = nn.Parameter(torch.empty(scores, channels_in, 3, 3))
        self.bias = nn.Parameter(torch.zeros(common))

    def dense(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the ordinary convolution over pair tensors that this is."""
        common, score = torch.cat([self.common, self.common], 1) / 2, torch.cat([self.score, -self.score], 1)
        return torch.cat([common, score]), torch.cat([self.bias, self.bias.new_zeros(len(self.score))])

    def forward(self, pair: Tensor) -> Tensor:
        """Map a pair tensor to N x (common + scores) x H x W, the scores as differences near - far."""
        weight, bias = self.dense()
        return F.conv2d(pair, weight, bias, padding=1)

    def forward_many(self, stack: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """Return common N x common x H x W, and scores N x frames x scores x H x W, of a stack tensor."""
        each = F.conv2d(stack, torch.cat([self.common, self.score]), padding=1).unflatten(0, (-1, frames))
        common, score = each.split([len(self.common), len(self.score)], 2)
        return common.mean(1) + self.bias.view(1, -1, 1, 1), score


class Detail(nn.Module):
    """Which frame is the sharp one at each pixel: the more extreme one, where both show the same detail.

    Where a photograph is brighter than what surrounds it, it is brighter than its own blur, and where darker, darker. So
    the frame in focus is the brighter one where the frames' sum, from which neither frame's blur can hide it, stands out
    from its surroundings, and the darker one where it falls short: told for each pixel alone, whichever frame is in focus
    beside it. Features, being averages over a neighbourhood, cannot tell for the last pixel before an edge in focus.
    """

    def __init__(self, channels_in: int, fold: int) -> None:
        """Make the comparison of pixels folded fold x fold, gated by `channels_in` per-frame channels."""
        super().__init__()
        self.fold = fold
        self.level = nn.Parameter(torch.empty(fold**2, 3, fold, fold))  # of a difference: the brightness of each pixel
        self.local = nn.Parameter(torch.empty(fold**2, 3, seen(fold), seen(fold)))  # of a sum: by how much each stands out
        self.gate = nn.Parameter(torch.empty(fold**2, channels_in, 1, 1))
        self.bias = nn.Parameter(torch.zeros(fold**2))

    def dense(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weights of the three ordinary convolutions that this is for two frames."""
        # However bright the surroundings are, they say nothing: a hundred positive numbers would drown what does.
        blind = self.local - self.local.mean((1, 2, 3), keepdim=True)
        return self.level, blind, torch.cat([self.gate, self.gate], 1) / 2

    def forward(self, near: Tensor, far: Tensor, decoded: Tensor) -> Tensor:
        """Compare two frames, N x 3 x H x W of sizes that `fold` divides, given the decoder's features (a pair tensor).

        Returns what to add to the near frame's score, N x fold^2 x H/fold x W/fold.
        """
        level, local, gate = self.dense()
        apart = F.conv2d(near - far, level, stride=self.fold)
        stands_out = F.conv2d(with_surroundings(near + far), local, stride=self.fold)
        return gated_detail(F.conv2d(decoded, gate, self.bias), apart, stands_out)

    def forward_many(self, frames: Tensor, decoded: Tensor) -> Tensor:
        """Compare N x K x 3 x H x W frames; returns N x K x fold^2 x H/fold x W/fold, of two frames +-`forward` / 2."""
        level, local, _ = self.dense()
        mean = frames.mean(1)
        gate = F.conv2d(decoded.unflatten(0, (-1, frames.shape[1])).mean(1), self.gate, self.bias)
        stands_out = F.conv2d(with_surroundings(2 * mean), local, stride=self.fold)
        each = [F.conv2d(2 * (frame - mean), level, stride=self.fold) for frame in frames.unbind(1)]
        return torch.stack([gated_detail(gate, apart, stands_out) / 2 for apart in each], 1)


def with_surroundings(frame: Tensor) -> Tensor:
    """Repeat a frame's border outwards; with zeros there, all that touches it would stand out."""
    return F.pad(frame, (AROUND,) * 4, mode="replicate")


def gated_detail(gate: Tensor, apart: Tensor, stands_out: Tensor) -> Tensor:
    """Return the gated `likeness` of two signed quantities."""
    return gate * likeness(apart, stands_out)


def likeness(apart: Tensor, stands_out: Tensor) -> Tensor:
    """Return 1 where two signed quantities are the same, -1 where they are opposite, and near 0 where one is much the larger.

    Frames that differ much where nothing stands out are blurred both, and which is the more extreme says nothing. In float32.
    """
    apart, stands_out = apart.float(), stands_out.float()
    return 2 * apart * stands_out / (apart * apart + stands_out * stands_out + UNSURE**2)


def channel_means(features: Tensor) -> Tensor:
    """Return the global average of every channel, N x C, in float32 at least: a half-precision sum loses digits."""
    return features.mean((2, 3), dtype=torch.promote_types(features.dtype, torch.float32))


class UnityAttention(nn.Module):
    """The unity fusion attention, Eqs. 5-10: weights over the frames that add up to one, per channel and per pixel.

    The paper's exp / (exp + exp) overflows in half precision; over two frames it is the sigmoid of a difference, which
    cannot.
    """

    def __init__(self, *, channel: bool, spatial: bool) -> None:
        """Make the attention with or without its two parts (the ablations of Table IV)."""
        super().__init__()
        self.channel = channel
        # No bias: one common to both frames cancels in the softmax.
        pad = SPATIAL_KERNEL // 2
        self.spatial = nn.Conv2d(2, 1, SPATIAL_KERNEL, padding=pad, bias=False) if spatial else None
        self.mean: nn.Module | None = None  # set for inference: the average over channels as a convolution

    def forward(self, both: Tensor, mean_near: Tensor, mean_far: Tensor) -> tuple[Tensor, Tensor | None]:
        """Weigh two frames' features by the channel means (N x C) and by what stands where.

        Args:
            both: Features of both frames, 2N x C x H x W, those of the near ones first.
            mean_near, mean_far: N x C.

        Returns:
            The features with their channels weighed, and the near frame's spatial weight, still to be applied
            (N x 1 x H x W; None without the spatial part).
        """
        if self.channel:
            share = torch.sigmoid(mean_near - mean_far)
            both = both * torch.cat([share, 1 - share]).to(both.dtype)[:, :, None, None]
        if self.spatial is None:
            return both, None
        # The convolution has no bias, so the difference of its results is its result for the difference.
        count = mean_near.shape[0]
        average = both.mean(1, keepdim=True) if self.mean is None else self.mean(both)
        seen_by = (average, both.amax(1, keepdim=True))
        return both, torch.sigmoid(self.spatial(torch.cat([each[:count] - each[count:] for each in seen_by], 1)))

    def forward_many(self, stack: Tensor, frames: int) -> Tensor:
        """Weigh the features of `frames` >= 2 frames a scene (a stack tensor)."""
        if self.channel:
            share = channel_means(stack).unflatten(0, (-1, frames)).softmax(1).flatten(0, 1)
            stack = stack * share.to(stack.dtype)[:, :, None, None]
        if self.spatial is None:
            return stack
        score: Tensor = self.spatial(statistics(stack))
        return stack * score.unflatten(0, (-1, frames)).softmax(1).flatten(0, 1)


def statistics(features: Tensor) -> Tensor:
    """Return mean and maximum over the channels, N x 2 x H x W: what spatial attention sees."""
    return torch.cat([features.mean(1, keepdim=True), features.amax(1, keepdim=True)], 1)


def encoder_of(spec: Spec) -> nn.ModuleList:
    """Make the encoder that `spec` describes: a sequence of blocks a scale, finest first."""
    scales = nn.ModuleList()
    for scale, width in enumerate(spec.widths):
        before = spec.widths[scale - 1]
        first = ConvBlock(before, width, stride=2) if scale else ConvBlock(3, width, fold=spec.fold)
        rest = (ConvBlock(width, width) for _ in range(spec.encoder_blocks[scale] - 1))
        scales.append(nn.Sequential(first, *rest))
    return scales
