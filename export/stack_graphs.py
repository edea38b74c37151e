"""The graphs of a network that gathers (`ufafuse.network.stacknet.StackNet`): for two frames at once, and for any number.

A stack goes through `EncodeGraph` frame by frame; what it gives is summed up and its maxima are taken (outside the graph,
in memory that does not grow with the frames). What was gathered goes through `CommonGraph` once; then every frame's features
go through `ScoreGraph` together with what that gave. `PairGraph` is the case of two frames, with what two frames make simpler.

Octaves come finest first, scales likewise. Scores are bounded, in float32, and so are their exponentials. What passes from
graph to graph has its channels last: that is how engines on a CPU hold features, and OpenVINO takes three times as long to
bring them into another layout as to compute them (`encode`, 1536 x 2048: 99 of 132 ms).
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows it by

from ufafuse.export.graphs import Graph, Io
from ufafuse.export.half import Islands
from ufafuse.network.base import Network
from ufafuse.network.spec import AROUND, OCTAVES
from ufafuse.network.stacknet import BOUND, from_others, log_weights


class Enlarging(nn.Module):
    """Bilinear enlargement by a whole factor, as a convolution that gives each pixel's cell of factor x factor pixels.

    Engines resize much more slowly than they convolve, and what is added to a result can be added to cells as well
    (`ufa-stack` on OpenVINO, 384 x 512, one core: the graph for pairs takes 0.6 of its time so).
    """

    def __init__(self, channels: int, factor: int) -> None:
        """Make the convolution from ``channels`` to channels * factor^2, a channel's cell side by side."""
        super().__init__()
        offset = (torch.arange(factor) + 0.5) / factor - 0.5  # of a pixel's middle from the cell's
        line = torch.stack([(-offset).clamp(min=0), 1 - offset.abs(), offset.clamp(min=0)], 1)
        cell = torch.einsum("ai,bj->abij", line, line).reshape(factor**2, 3, 3)
        self.enlarging = nn.Conv2d(channels, channels * factor**2, 3, bias=False)
        weight = torch.zeros_like(self.enlarging.weight).unflatten(0, (channels, factor**2))
        for channel in range(channels):
            weight[channel, :, channel] = cell
        self.enlarging.weight = nn.Parameter(weight.flatten(0, 1), requires_grad=False)

    def forward(self, small: Tensor) -> Tensor:
        """Enlarge M x C x h x w; returns M x C * factor^2 x h x w."""
        cells: Tensor = self.enlarging(F.pad(small, (1,) * 4, mode="replicate"))
        return cells


class _Gathering(Graph):
    """What the graphs share: features of the decoder to scores."""

    def __init__(self, net: Network, *, io: Io = "float", half: Islands | None = None) -> None:
        """As `Graph`."""
        super().__init__(net, io=io, half=half)
        self.apart = Enlarging(len(OCTAVES), self.spec.fold)
        self.bases = nn.ModuleList(Enlarging(3, size) for size in OCTAVES)

    def scores(self, decoded: Tensor, detail: Tensor) -> Tensor:
        """The bounded scores of padded frames in cells, M x fold^2 * (1 + len(OCTAVES)) x h x w, an octave after the other.

        Args:
            decoded: M x widths[0] x h x w.
            detail: M x fold^2 x h x w, what `StackDetail` adds to the head's scores.
        """
        fine = self.net.head(decoded).to(torch.float32) + detail
        apart = self.apart(self.net.apart(decoded).to(torch.float32))
        scores = torch.cat([fine, *(fine + each for each in apart.split(self.spec.fold**2, 1))], 1)
        return BOUND * torch.tanh(scores * (1 / BOUND))


class PairGraph(_Gathering):
    """(near, far) -> (fused, map)."""

    def forward(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse whole frames."""
        near, far = self.planes(near), self.planes(far)
        count, (height, width) = near.shape[0], near.shape[-2:]
        total = self.padded(near + far, AROUND)
        near, far = self.padded(near), self.padded(far)
        apart = near - far
        features = self.encode(torch.cat([near, far]))
        decoded = self.net.decode(features, self.common(features, count))
        likeness = self.net.detail.likeness(apart, self.net.detail.stands_out(total))
        detail = self.net.detail.gate(decoded).to(torch.float32) * torch.cat([likeness, -likeness])
        scores = self.scores(decoded, detail)
        # A softmax over two is the sigmoid of a difference.
        finest, *coarser = torch.sigmoid(log_weights(scores[:count]) - log_weights(scores[count:])).split(self.spec.fold**2, 1)
        weight = F.pixel_shuffle(finest, self.spec.fold)
        fused = far + weight * apart + self.octaves(apart, [finest, *coarser])
        # Octaves of both frames together can overshoot; the camera saw nothing beyond what either frame shows.
        fused = torch.minimum(torch.maximum(fused, torch.minimum(near, far)), torch.maximum(near, far))
        return self.frames(fused[..., :height, :width]), weight[..., :height, :width]

    def common(self, features: Sequence[Tensor], count: int) -> list[Tensor]:
        """What the decoder is told of both frames, for each of them, a scale."""
        told = []
        for compare, f, score in zip(self.net.compare, features, self.net.attend(features), strict=True):
            weight = torch.sigmoid(score[:count] - score[count:]).to(f.dtype)
            near, far = f[:count], f[count:]
            both = compare.common(torch.cat([far + weight * (near - far), torch.maximum(near, far)], 1))
            told.append(torch.cat([both, both]))
        return told

    def octaves(self, apart: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """What the octaves above the finest add, for the difference near - far, which has the finest's weight already.

        Weights times differences of neighbouring bases are, sorted by bases, differences of neighbouring weights times bases:
        no band is ever made. ``weights`` are in cells, finest first.
        """
        added: Tensor | float = 0.0
        for size, base, (finer, coarser) in zip(OCTAVES, self.bases, pairwise(weights), strict=True):
            enlarged = F.pixel_shuffle(base(F.avg_pool2d(apart, size)), size)
            added = added + F.pixel_shuffle(coarser - finer, self.spec.fold) * enlarged
        assert isinstance(added, Tensor)
        return added


class EncodeGraph(_Gathering):
    """(frame) -> (features_0 .. features_S-1, attention_0 .. attention_S-1).

    Features are M x h x w x C float32; attention is M x 1 x h x w float32: exp of the bounded score, what the features are
    weighed by in the mean over the frames. h x w: the frame's size, padded to the stride, over the scale's stride.
    """

    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:
        """Encode frames."""
        features = self.encode(self.padded(self.planes(frame)))
        attention = [score.exp() for score in self.net.attend(features)]
        return (*(_given(f) for f in features), *attention)


class CommonGraph(_Gathering):
    """(mean, count, average_0 .. average_S-1, greatest_0 .. greatest_S-1) -> (common_0 .. common_S-1, stands_out):
    once for all frames of a stack.

    ``mean`` is the mean of the frames that cover a pixel, M x 3 x H x W float32, RGB, [0, 1]; ``count`` how many these are,
    M x 1 x H x W float32, at least 1. ``average`` is, of each scale, the attention-weighed mean of the features and
    ``greatest`` their maximum, M x h x w x C float32. ``common`` is what the decoder is told of them, M x h x w x C float32;
    ``stands_out``, M x h x w x fold^2 float32, by how much each pixel of all frames together does from its surroundings.
    """

    def forward(self, mean: Tensor, count: Tensor, *gathered: Tensor) -> tuple[Tensor, ...]:
        """Bring what was gathered into the form that frames are compared with."""
        # Before padding, which repeats: what comes of repeated pixels is repeated itself.
        total = mean * count
        average, greatest = gathered[: len(self.spec.widths)], gathered[len(self.spec.widths) :]
        _sizes_follow(self.padded(total), average, self.spec.fold)
        _sizes_alike(average, greatest)
        stands_out = self.net.detail.stands_out(self.padded(total, AROUND))
        told = (torch.cat(both, 3) for both in zip(average, greatest, strict=True))
        common = [compare.common(_taken(each, self.dtype)) for compare, each in zip(self.net.compare, told, strict=True)]
        return (*(_given(each) for each in common), _given(stands_out))


class ScoreGraph(_Gathering):
    """(frame, mean, count, stands_out, features_0 .. features_S-1, common_0 .. common_S-1) -> weights,
    M x H x W x (1 + len(OCTAVES)): the exponentials of `ufafuse.network.stacknet.log_weights`.

    ``features`` are the frame's, of `EncodeGraph`; ``stands_out`` and ``common`` are of `CommonGraph`, whose ``mean`` and
    ``count`` are given here too.
    """

    def forward(self, frame: Tensor, mean: Tensor, count: Tensor, stands_out: Tensor, *told: Tensor) -> Tensor:
        """Score frames beside what is common to all."""
        frame, scales = self.planes(frame), len(self.spec.widths)
        height, width = frame.shape[-2:]
        apart = self.padded(from_others(frame, mean, count))
        _sizes_follow(apart, told[:scales], self.spec.fold)
        _sizes_alike(told[:scales], told[scales:])
        _sizes_alike(told[:1], [stands_out])
        features, common = ([_taken(each, self.dtype) for each in part] for part in (told[:scales], told[scales:]))
        decoded = self.net.decode(features, common)
        likeness = self.net.detail.likeness(apart, _taken(stands_out, torch.float32))
        scores = self.scores(decoded, self.net.detail.gate(decoded).to(torch.float32) * likeness)
        return _given(F.pixel_shuffle(log_weights(scores).exp(), self.spec.fold)[..., :height, :width])


def _given(planes: Tensor) -> Tensor:
    """What a graph gives, with the channels last."""
    return planes.permute(0, 2, 3, 1).to(torch.float32)


def _taken(given: Tensor, dtype: torch.dtype) -> Tensor:
    """The inverse of `_given`."""
    return given.to(dtype).permute(0, 3, 1, 2)


def _sizes_follow(padded: Tensor, scales: Sequence[Tensor], fold: int) -> None:
    """Tell the exporter what nothing that is computed tells it: these are as many, and of these sizes, finest first."""
    larger, factor = (padded.shape[0], *padded.shape[2:]), fold
    for each in scales:
        smaller = each.shape[:3]
        _equal(smaller[0], larger[0])
        for side in (1, 2):
            _equal(larger[side], factor * smaller[side])
        larger, factor = smaller, 2


def _sizes_alike(tensors: Sequence[Tensor], others: Sequence[Tensor]) -> None:
    """As `_sizes_follow`: each of the one is of the size of its fellow."""
    for one, other in zip(tensors, others, strict=True):
        for at in (0, 1, 2):
            _equal(other.shape[at], one.shape[at])


def _equal(one: int, other: int) -> None:
    """Tell the exporter that two sizes are one; TorchScript's trace, where sizes are tensors, takes no such word."""
    if not torch.jit.is_tracing():  # type: ignore[attr-defined]  # it is documented all the same
        torch._check(one == other)  # noqa: SLF001 - the way to say so
