"""The modules that are exported: a network with its inputs, outputs and types as the file is to have them.

Three graphs share one network, so that a frame larger than the memory can be fused in tiles with exactly the whole
frame's result: `WholeGraph`; `MeansGraph`, which gives a tile's share of the global averages; and `TileGraph`, which takes
the whole frame's averages.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows it by

from ufafuse.export.half import Islands, cast_inputs, convolutions
from ufafuse.network.base import Network
from ufafuse.network.spec import Spec
from ufafuse.runtime.artefact import Manifest

Io = Literal["float", "uint8"]

HALF_NOTE = "means, sums and the weighing of the frames"
ALWAYS_FLOAT = ("detail.level", "detail.local")  # of a network that gathers: they read the sum of any number of frames


def io_of(manifest: Manifest) -> Io:
    """How a file's graph takes frames."""
    return "uint8" if manifest.io == "uint8" else "float"


class Graph(nn.Module):
    """What all graphs share.

    With ``half`` the features are float16. Float32 stays in the convolutions that `choose_islands` measures to need it,
    and in three small places: the global means (in float16 a sum over 520 x 520 features of value 1 is infinite: 270,400
    is beyond 65,504), the sums of `MeansGraph` likewise, and the frames that a selecting head weighs (as float16 their
    levels alone would round to 77 dB, and with them every fused pixel).
    """

    reversed: Tensor  # read as an attribute: torch before 2.8 cannot trace `get_buffer`

    def __init__(self, net: Network, *, io: Io = "float", half: Islands | None = None) -> None:
        """Make the graph from a trained network, which is left as it is; with ``half`` all but these islands is float16."""
        super().__init__()
        self.net: Any = net.for_inference()
        self.spec: Spec = net.spec
        self.io: Io = io
        self.dtype = torch.float32 if half is None else torch.float16
        if half is not None:
            for name, conv in convolutions(self.net):
                if name not in half.names and not (self.spec.gathers and name in ALWAYS_FLOAT):
                    conv.to(self.dtype)
            cast_inputs(self.net)
        self.register_buffer("reversed", torch.tensor([2, 1, 0]), persistent=False)
        self.eval()

    def planes(self, frames: Tensor) -> Tensor:
        """Input frames to N x 3 x H x W float32, RGB, [0, 1]."""
        if self.io == "float":
            return frames
        # The cast comes first: TensorRT takes uint8 as an input of nothing but a cast.
        planes = frames.to(torch.float32).permute(0, 3, 1, 2).index_select(1, self.reversed)
        return planes * (1 / 255)

    def frames(self, planes: Tensor) -> Tensor:
        """The inverse of `planes`, rounded and clamped where the output is uint8."""
        planes = planes.to(torch.float32)
        if self.io == "float":
            return planes
        levels = (planes * 255).clamp(0, 255).round().index_select(1, self.reversed)
        return levels.permute(0, 2, 3, 1).to(torch.uint8)

    def padded(self, planes: Tensor, around: int = 0) -> Tensor:
        """Repeat the last row and column up to a multiple of the stride, and the border outwards by ``around`` pixels more.

        `Network.encode` would do the former; done here, by a sum without a modulo of a negative number, the sizes of all
        feature maps stay simple multiples, which shape inference (TensorRT's too) can follow.
        """
        stride = self.spec.stride
        if stride == 1 and not around:
            return planes
        height, width = planes.shape[-2:]
        down, right = (height + stride - 1) // stride * stride, (width + stride - 1) // stride * stride
        pads = (around, right - width + around, around, down - height + around)
        return F.pad(planes, pads, mode="replicate")

    def encode(self, padded: Tensor) -> list[Tensor]:
        """Features of every scale, of frames that `padded` has padded."""
        features: list[Tensor] = self.net.encode(padded.to(self.dtype))
        return features

    def means(self, features: Sequence[Tensor]) -> Tensor:
        """The global averages, N x sum(widths), float32.

        The cast is spelled out: `FusionNet.means` asks for a float32 sum, which the exporter turns into a float16 sum
        with a cast behind it. Along the rows and then down, which costs nothing: ONNX Runtime adds up one after the other, and
        over 520 x 520 pixels at once that put the paper's network 0.003 levels away; so it is 0.0001.
        """
        return torch.cat([feature.to(torch.float32).mean(3).mean(2) for feature in features], 1)

    def fuse(self, near: Tensor, far: Tensor, means: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """Encode both frames as one batch and fuse them, with their own averages where no ``means`` are given."""
        near, far = self.planes(near), self.planes(far)
        count = near.shape[0]
        # Padded apart: OpenVINO pads the two faster than their concatenation.
        padded = self.padded(near), self.padded(far)
        both = self.encode(torch.cat(padded))
        if means is None:
            own = self.means(both)
            means = own[:count], own[count:]
        fused, weight = self.net.fuse(near, far, both, means, padded)
        return self.frames(fused), weight.to(torch.float32)


class WholeGraph(Graph):
    """(near, far) -> (fused, map)."""

    def forward(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse whole frames."""
        return self.fuse(near, far, None)


class RivalGraph(Graph):
    """(near, far) -> (fused, map) of a network that the paper compares with, and of its fusion rule."""

    def forward(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse whole frames."""
        fused, weight = self.net.forward_with_map(self.planes(near), self.planes(far))
        return self.frames(fused), weight.to(torch.float32)


class MeansGraph(Graph):
    """(frame, mask) -> sums: the sums, over the pixels of ``mask``, behind the global averages.

    ``mask`` is N x 1 x H x W of 0 and 1, float32; ones start and end at multiples of the stride, or at the frame's edge.
    ``sums`` is N x sum(widths), float32. Summed over tiles whose masks cover a frame once, and divided by the number of
    feature pixels of each scale, they are the averages of the whole frame.
    """

    def forward(self, frame: Tensor, mask: Tensor) -> Tensor:
        """Sum the features of a tile."""
        # Padded as one, which tells the exporter that both have one size.
        planes, mask = self.padded(torch.cat([self.planes(frame), mask], 1)).split([3, 1], 1)
        features = self.encode(planes)
        sums = []
        for scale, feature in enumerate(features):
            step = self.spec.fold * 2**scale
            sums.append((feature.to(torch.float32) * mask[..., ::step, ::step]).sum(3).sum(2))
        return torch.cat(sums, 1)


class TileGraph(Graph):
    """(near, far, means_near, means_far) -> (fused, map), with the averages of the whole frames, N x sum(widths)."""

    def forward(self, near: Tensor, far: Tensor, means_near: Tensor, means_far: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse one tile."""
        return self.fuse(near, far, (means_near, means_far))
