"""The graphs of a network that gathers (`ufafuse.network.stacknet.StackNet`): for two frames at once, and for any number.

A stack goes through `EncodeGraph` frame by frame; what it gives is summed up and its maxima are taken (outside the graph,
in memory that does not grow with the frames); then every frame goes through `ScoreGraph` together with what was gathered.
`PairGraph` is the case of two frames, with what two frames make simpler.

Octaves come finest first, scales likewise. Scores are bounded, in float32, and so are their exponentials.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name everybody knows it by

from ufafuse.export.graphs import Graph
from ufafuse.network.spec import AROUND, OCTAVES
from ufafuse.network.stacknet import BOUND, SELECTION, from_others

SHIFT = 8.0


class _Gathering(Graph):
    """What the three graphs share: features of the decoder to scores."""

    def scores(self, decoded: Tensor, detail: Tensor) -> Tensor:
        """The bounded scores of padded frames, M x (1 + len(OCTAVES)) x H x W.

        Args:
            decoded: M x widths[0] x h x w.
            detail: M x fold^2 x h x w, what `StackDetail` adds to the head's scores.
        """
        fold = self.spec.fold
        fine = F.pixel_shuffle(self.net.head(decoded).to(torch.float32) + detail, fold)
        apart = self.net.apart(decoded).to(torch.float32)
        apart = torch.cat([torch.zeros_like(apart[:, :1]), apart], 1)  # here and not on full size: the finest is `fine` itself
        return BOUND * torch.tanh((fine + enlarged(apart, fold)) * (1 / BOUND))


def enlarged(small: Tensor, factor: int) -> Tensor:
    """Bilinear enlargement by a whole factor."""
    return F.interpolate(small, scale_factor=float(factor), mode="bilinear", align_corners=False)


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
        likeness = self.net.detail.likeness(apart, total)
        detail = self.net.detail.gate(decoded).to(torch.float32) * torch.cat([likeness, -likeness])
        scores = self.scores(decoded, detail)
        # A softmax over two is the sigmoid of a difference.
        weights = torch.sigmoid(SELECTION * (scores[:count] - scores[count:]))
        # Octaves of both frames together can overshoot; the camera saw nothing beyond what either frame shows.
        fused = torch.minimum(
            torch.maximum(far + self.mixed(apart, weights), torch.minimum(near, far)), torch.maximum(near, far)
        )
        fused = fused[..., :height, :width]
        return self.frames(fused), weights[:, :1, :height, :width]

    def common(self, features: Sequence[Tensor], count: int) -> list[Tensor]:
        """What the decoder is told of both frames, for each of them, a scale."""
        told = []
        for compare, f, score in zip(self.net.compare, features, self.net.attend(features), strict=True):
            weight = torch.sigmoid(score[:count] - score[count:]).to(f.dtype)
            near, far = f[:count], f[count:]
            both = compare.common(torch.cat([far + weight * (near - far), torch.maximum(near, far)], 1))
            told.append(torch.cat([both, both]))
        return told

    def mixed(self, apart: Tensor, weights: Tensor) -> Tensor:
        """The octaves of the difference near - far, weighed: what is to be added to the far frame.

        Weights times differences of neighbouring bases are, sorted by bases, differences of neighbouring weights times bases:
        no band is ever made.
        """
        each = weights.split(1, 1)
        mixed = each[0] * apart
        for octave, size in enumerate(OCTAVES):
            base = enlarged(F.avg_pool2d(apart, size), size)
            mixed = mixed + (each[octave + 1] - each[octave]) * base
        return mixed


class EncodeGraph(_Gathering):
    """(frame) -> (features_0 .. features_S-1, attention_0 .. attention_S-1).

    Features are M x C x h x w float32; attention is M x 1 x h x w float32: exp of the bounded score, what the features are
    weighed by in the mean over the frames. h x w: the frame's size, padded to the stride, over the scale's stride.
    """

    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:
        """Encode frames."""
        features = self.encode(self.padded(self.planes(frame)))
        attention = [score.exp() for score in self.net.attend(features)]
        return (*(f.to(torch.float32) for f in features), *attention)


class ScoreGraph(_Gathering):
    """(frame, mean, count, gathered_0 .. gathered_S-1) -> weights, M x (1 + len(OCTAVES)) x H x W: exp of SELECTION times the
    bounded scores, less SHIFT (which cancels between frames, and keeps the sums of hundreds of them within float32).

    ``mean`` is the mean of the frames that cover a pixel, M x 3 x H x W float32, RGB, [0, 1]; ``count`` how many these are,
    M x 1 x H x W float32, at least 1. ``gathered`` is, of each scale, the attention-weighed mean of the features and
    their maximum, M x 2C x h x w float32.
    """

    def forward(self, frame: Tensor, mean: Tensor, count: Tensor, *gathered: Tensor) -> Tensor:
        """Score frames beside what was gathered."""
        frame = self.planes(frame)
        height, width = frame.shape[-2:]
        # Before padding, which repeats: what comes of repeated pixels is repeated itself.
        apart, total = from_others(frame, mean, count), mean * count
        features = self.encode(self.padded(frame))
        common = [compare.common(each) for compare, each in zip(self.net.compare, gathered, strict=True)]
        decoded = self.net.decode(features, common)
        likeness = self.net.detail.likeness(self.padded(apart), self.padded(total, AROUND))
        scores = self.scores(decoded, self.net.detail.gate(decoded).to(torch.float32) * likeness)
        return (SELECTION * scores[..., :height, :width] - SHIFT).exp()
