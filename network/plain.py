"""What the blocks become for inference: the same sums, with fewer passes over memory.

On a CPU the network's narrow convolutions take about as long as what stands between them, so concatenations of feature
maps are avoided (a convolution over a concatenation is the sum of one over each part), and frames are weighed after the
1x1 convolution that halves their channels instead of before. On two Zen 4 cores `ufa-edge` takes 0.91 of its time so in
bf16, and an int8 graph needs no float copy of what it has quantised.
"""

import torch
from torch import Tensor, nn

from ufafuse.network.blocks import Detail, TiedConv, TiedHead, gated_detail, likeness, with_surroundings

_CELL = 4  # an image-like convolution to one channel computes 4 x 4 pixels as 16 channels: engines pad 1 to 16 anyway


class BlendedConv(nn.Module):
    """A 1x1 convolution over two weighed frames, [near * weight; far * (1 - weight)], that weighs its results instead."""

    def __init__(self, pair: nn.Conv2d) -> None:
        """Take over ``pair``, a 1x1 convolution over the channels of near and far, in this order."""
        super().__init__()
        half = pair.in_channels // 2
        # The bias stands in both: weights that add up to one bring it back.
        self.near, self.far = _part(pair, 0, half, bias=True), _part(pair, half, 2 * half, bias=True)

    def forward(self, near: Tensor, far: Tensor, weight: Tensor | None) -> Tensor:
        """Convolve and weigh N x C x H x W features by N x 1 x H x W; without a weight both count in full."""
        first, second = self.near(near), self.far(far)
        if weight is None:
            assert self.far.bias is not None
            return first + (second - self.far.bias.view(1, -1, 1, 1))
        blended: Tensor = second + weight * (first - second)
        return blended


class SummedConv(nn.Module):
    """A convolution over the concatenation [coarser; own], as the sum of one over each."""

    def __init__(self, joint: nn.Conv2d, coarser: int) -> None:
        """Take over ``joint``, whose first ``coarser`` input channels are the coarser scale's."""
        super().__init__()
        self.coarser = _part(joint, 0, coarser, bias=False)
        self.own = _part(joint, coarser, joint.in_channels, bias=True)

    def forward(self, coarser: Tensor, own: Tensor) -> Tensor:
        """Convolve N x C_i x H x W features."""
        result: Tensor = self.coarser(coarser) + self.own(own)
        return result


class PlainDetail(nn.Module):
    """A `Detail` of ordinary convolutions."""

    def __init__(self, detail: Detail) -> None:
        """Take over ``detail``."""
        super().__init__()
        level, local, gate = (tensor.detach() for tensor in detail.dense())
        self.level, self.local = (_conv(weight, None, 0, stride=detail.fold) for weight in (level, local))
        self.gate = _conv(gate, detail.bias.detach(), 0)

    def forward(self, near: Tensor, far: Tensor, decoded: Tensor) -> Tensor:
        """Compare two frames as `Detail.forward`."""
        return gated_detail(self.gate(decoded), self.level(near - far), self.local(with_surroundings(near + far)))


class PlainAttention(nn.Module):
    """A spatial attention of one frame: statistics over the channels, and the convolution over them."""

    def __init__(self, conv: nn.Conv2d, channels: int, *, cells: bool) -> None:
        """Take over ``conv``, over mean and maximum of ``channels``; ``cells``: sizes are multiples of those of `in_cells`."""
        super().__init__()
        self.mean = averaging_conv(channels).to(conv.weight)
        self.spatial = in_cells(conv) if cells else conv

    def forward(self, features: Tensor) -> Tensor:
        """Score M x C x h x w features; returns M x 1 x h x w."""
        score: Tensor = self.spatial(torch.cat([self.mean(features), features.amax(1, keepdim=True)], 1))
        return score


class PlainStackDetail(nn.Module):
    """A `ufafuse.network.stacknet.StackDetail` of ordinary convolutions."""

    def __init__(self, level: Tensor, blind: Tensor, gate: nn.Conv2d, fold: int) -> None:
        """Take over the weights of both comparisons, fold^2 x 3 x k x k, and the gate."""
        super().__init__()
        self.level, self.local = (_conv(weight.detach(), None, 0, stride=fold) for weight in (level, blind))
        self.gate = gate

    def stands_out(self, total: Tensor) -> Tensor:
        """As `StackDetail.stands_out`."""
        found: Tensor = self.local(total)
        return found

    def forward(self, apart: Tensor, stands_out: Tensor, decoded: Tensor) -> Tensor:
        """Compare as `StackDetail.forward`."""
        return self.gate(decoded) * self.likeness(apart, stands_out)

    def likeness(self, apart: Tensor, stands_out: Tensor) -> Tensor:
        """Return what the gate weighs; of ``-apart`` it is the negative."""
        return likeness(self.level(apart), stands_out)


def plain_conv(tied: TiedConv | TiedHead) -> nn.Conv2d:
    """Return the ordinary convolution (no gradient) that `tied` is for two frames."""
    weight, bias = (tensor.detach() for tensor in tied.dense())
    kernel = weight.shape[-1]
    return _conv(weight, bias, kernel // 2)


def in_cells(conv: nn.Conv2d) -> nn.Sequential:
    """Return a convolution to one channel as one to `_CELL` x `_CELL` pixels, for sizes that are multiples of `_CELL`."""
    kernel, pad = conv.kernel_size[0], int(conv.padding[0])
    wide = conv.weight.new_zeros(_CELL**2, conv.in_channels, kernel + _CELL - 1, kernel + _CELL - 1)
    for row in range(_CELL):
        for column in range(_CELL):
            wide[row * _CELL + column, :, row : row + kernel, column : column + kernel] = conv.weight.detach()[0]
    return nn.Sequential(_conv(wide, None, pad, stride=_CELL), nn.PixelShuffle(_CELL))


def averaging_conv(channels: int) -> nn.Conv2d:
    """Return the average over channels as a convolution, which reads channels-last features faster than a reduction."""
    return _conv(torch.full((1, channels, 1, 1), 1 / channels), None, 0)


def cells_fit(scale: int, scales: int) -> bool:
    """Whether the feature maps of a scale always have sizes that `in_cells` takes."""
    return 2 ** (scales - 1 - scale) % _CELL == 0


def _part(conv: nn.Conv2d, first: int, end: int, *, bias: bool) -> nn.Conv2d:
    """The part of a convolution that reads the input channels from ``first`` up to ``end``."""
    kept = conv.bias.detach() if bias and conv.bias is not None else None
    return _conv(conv.weight.detach()[:, first:end], kept, int(conv.padding[0]))


def _conv(weight: Tensor, bias: Tensor | None, pad: int, *, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[-1], stride, pad, bias=bias is not None).to(weight)
    conv.weight = nn.Parameter(weight.clone())
    conv.bias = None if bias is None else nn.Parameter(bias.clone())
    return conv.requires_grad_(requires_grad=False)
