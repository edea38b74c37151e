"""The network family: shared encoder, unity fusion attention at every scale, decoder, head.

`FusionNet` is built from a `Spec`; with the spec of `ufa` it is the paper's network (Fig. 1, Table II), with several
scales the same blocks are repeated from fine to coarse and joined again from coarse to fine. All frames are
N x 3 x H x W, RGB, in [0, 1], of any size from 1 x 1 up.
"""

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows it by

from ufafuse.network.base import Network
from ufafuse.network.blocks import SLOPE, Detail, TiedConv, TiedHead, UnityAttention, channel_means, encoder_of
from ufafuse.network.plain import BlendedConv, PlainDetail, SummedConv, averaging_conv, cells_fit, in_cells, plain_conv
from ufafuse.network.spec import Spec
from ufafuse.runtime.errors import ModelError


class FusionNet(Network):
    """A fusion network of the family; see `Spec` for what can be varied.

    The pieces (`encode`, `means`, `fuse`) are public because exact tiling runs them apart: first the averages of the
    whole frame, then every tile with these averages.
    """

    def __init__(self, spec: Spec) -> None:
        """Make the network that `spec` describes; its weights are not yet set (see `ufafuse.network.weights.build_model`)."""
        super().__init__()
        self.spec = spec
        widths, fold = spec.widths, spec.fold
        self.encoder = encoder_of(spec)
        self.attention = nn.ModuleList(UnityAttention(channel=spec.channel, spatial=spec.spatial) for _ in widths)
        self.merge = nn.ModuleList(_joint_conv(spec, (2 * width,), width, 1) for width in widths)  # the paper's FFB
        # Each scale is narrowed to the width of the finer one before it is enlarged: all that follows costs less.
        self.narrow = nn.ModuleList(_joint_conv(spec, (coarse,), fine, 1) for fine, coarse in pairwise(widths))
        self.decoder = nn.ModuleList()
        for scale, width in enumerate(widths):
            first_in = (width, width) if scale < len(widths) - 1 else (width,)
            inputs = [first_in] + [(width,)] * (spec.decoder_blocks[scale] - 1)
            self.decoder.append(
                nn.ModuleList(_joint_conv(spec, parts, width, 3) for parts in inputs[: spec.decoder_blocks[scale]])
            )
        self.head = _head(spec)
        self.detail = Detail(widths[0] // 2, fold) if spec.detail else None

    def forward_with_map(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse two frames; returns the fused frame and the near frame's weight, N x 1 x H x W in [0, 1]."""
        return self.fuse(near, far, self.encode(torch.cat([near, far])))

    def selection(self, near: Tensor, far: Tensor) -> Tensor:
        """Return the spatial attention's weight of the near frame at the finest scale, N x 1 x H x W (over the fold)."""
        count = near.shape[0]
        finest = self.encode(torch.cat([near, far]))[0]
        means = channel_means(finest)
        weight: Tensor = self.attention[0](finest, means[:count], means[count:])[1]
        return weight

    def means(self, features: Sequence[Tensor]) -> Tensor:
        """Return the channel attention's global averages of all scales, N x sum(widths), float32 or finer."""
        return torch.cat([channel_means(f) for f in features], 1)

    def fuse(
        self,
        near: Tensor,
        far: Tensor,
        both: Sequence[Tensor],
        means: tuple[Tensor, Tensor] | None = None,
        padded: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Fuse two frames (or tiles) from their features.

        Args:
            near, far: N x 3 x H x W.
            both: What `encode` gives for [near; far] as one batch.
            means: `means()` of the whole near and far frames, N x sum(widths), where ``near`` and ``far`` are tiles of them.
            padded: ``near`` and ``far`` padded to the stride, where that is done already.

        Returns:
            The fused frame and the near frame's weight as `forward_with_map`.
        """
        count = near.shape[0]
        if means is None:
            own = self.means(both)
            means = own[:count], own[count:]
        averages = zip(*(each.split(self.spec.widths, 1) for each in means), strict=True)
        merged: list[Tensor] = []
        weights: list[Tensor | None] = []
        for merge, attention, f, of_scale in zip(self.merge, self.attention, both, averages, strict=True):
            weighed, weight = attention(f, *of_scale)
            merged.append(_merged(merge, weighed[:count], weighed[count:], weight))
            weights.append(weight)
        decoded = self._decode(merged, _convolved)
        out = self.head(decoded)
        if self.detail is not None:
            out = out + self.detail(*(padded or (self.pad(near), self.pad(far))), decoded)
        return self._finish(near, far, out, weights[0])

    def forward_stack(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse K >= 2 frames at once, N x K x 3 x H x W.

        Returns the fused frame N x 3 x H x W and every frame's weight N x K x H x W (they add up to one). For two
        frames the result is that of `forward_with_map`. `ModelError` for a variant that knows two frames only.
        """
        if not isinstance(self.head, TiedHead):
            raise ModelError(f"variant {self.spec.name!r} fuses two frames at a time: fold a stack pair by pair.")
        count, (height, width), fold = frames.shape[1], frames.shape[-2:], self.spec.fold
        features = self.encode(frames.flatten(0, 1))
        scales: Any = zip(self.merge, self.attention, features, strict=True)
        merged = [merge.forward_many(attention.forward_many(f, count), count) for merge, attention, f in scales]
        decoded = self._decode(merged, lambda conv, parts: conv.forward_many(_joined(parts), count))
        common, score = self.head.forward_many(decoded, count)
        if self.detail is not None:
            padded = self.pad(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
            score = score + self.detail.forward_many(padded, decoded)
        weights = F.pixel_shuffle(score, fold)[..., :height, :width].softmax(1)
        fused = (frames * weights).sum(1)
        if self.spec.residual:
            fused = fused + F.pixel_shuffle(common, fold)[..., :height, :width]
        return self._in_range(fused), weights.squeeze(2)

    def for_inference(self) -> "FusionNet":
        """Return a frozen copy in evaluation mode for `forward` and `fuse`: what is exported (see `ufafuse.network.plain`)."""
        plain = copy.deepcopy(self).eval().requires_grad_(requires_grad=False)
        for parent in list(plain.modules()):
            for name, child in parent.named_children():
                if isinstance(child, (TiedConv, TiedHead)):
                    setattr(parent, name, plain_conv(child))
        if self.detail is not None:
            plain.detail = PlainDetail(self.detail)
        widths = self.spec.widths
        plain.merge = nn.ModuleList(BlendedConv(conv) for conv in plain.merge)  # type: ignore[arg-type]
        for blocks, width in zip(plain.decoder, widths[:-1], strict=False):
            blocks[0] = SummedConv(blocks[0], width)  # type: ignore
        for scale, attention in enumerate(plain.attention):
            if attention.spatial is not None and cells_fit(scale, len(widths)):
                attention.spatial = in_cells(attention.spatial)  # type: ignore[arg-type]
            attention.mean = averaging_conv(widths[scale]).to(next(self.parameters())) if self.spec.spatial else None  # type: ignore
        return plain

    def _decode(self, merged: Sequence[Tensor], apply: Callable[[Any, Sequence[Tensor]], Tensor]) -> Tensor:
        """Join the scales from coarse to fine; `apply` runs a convolution on concatenated pair or stack tensors."""
        x = merged[-1]
        for scale in range(len(merged) - 1, -1, -1):
            parts: Sequence[Tensor] = (x,)
            if scale < len(merged) - 1:
                x = apply(self.narrow[scale], (x,))
                x = F.interpolate(x, size=merged[scale].shape[-2:], mode="bilinear", align_corners=False)
                parts = (x, merged[scale])
            for conv in self.decoder[scale]:  # type: ignore[attr-defined]
                x = F.leaky_relu(apply(conv, parts), SLOPE)
                parts = (x,)
        return x

    def _finish(self, near: Tensor, far: Tensor, out: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        """Turn the head's channels into the fused frame and the near frame's weight."""
        if self.spec.head == "reconstruct":
            return self._unfolded(torch.sigmoid(out), near), self._image_sized(weight, near)
        cells = self.spec.fold**2
        if out.dtype != near.dtype:  # trained in bf16: a weight has to be finer than the levels that it mixes
            out = out.to(near.dtype)
        q = self._unfolded(torch.sigmoid(out[:, -cells:] if self.spec.residual else out), near)
        fused = far + q * (near - far)
        if self.spec.residual:
            fused = fused + self._unfolded(out[:, :-cells], near)
        return self._in_range(fused), q

    def _unfolded(self, folded: Tensor, frame: Tensor) -> Tensor:
        """Unfold channels into pixels, and cut off what `pad` added to ``frame``."""
        return F.pixel_shuffle(folded, self.spec.fold)[..., : frame.shape[-2], : frame.shape[-1]]

    def _image_sized(self, weight: Tensor | None, frame: Tensor) -> Tensor:
        """Bring a weight of the finest scale to the frame's size; without one no frame is preferred: 0.5."""
        if weight is None:
            return torch.full_like(frame[:, :1], 0.5)
        if self.spec.fold > 1:
            weight = F.interpolate(weight, scale_factor=float(self.spec.fold), mode="bilinear", align_corners=False)
        return weight[..., : frame.shape[-2], : frame.shape[-1]]

    def _in_range(self, fused: Tensor) -> Tensor:
        # While training, a clamp would stop the gradient of every pixel beyond the range.
        return fused if self.training else fused.clamp(0, 1)


def _merged(merge: nn.Module, near: Tensor, far: Tensor, weight: Tensor | None) -> Tensor:
    """Merge two frames' features, near by its weight and far by what that leaves."""
    if not isinstance(merge, BlendedConv):
        return _convolved(merge, (near, far) if weight is None else (near * weight, far * (1 - weight)))
    merged: Tensor = merge(near, far, weight)
    return merged


def _convolved(conv: nn.Module, parts: Sequence[Tensor]) -> Tensor:
    """Run a convolution on features that belong side by side."""
    result: Tensor = conv(*parts) if isinstance(conv, SummedConv) else conv(_joined(parts))
    return result


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), 1)


def _joint_conv(spec: Spec, parts: Sequence[int], channels_out: int, kernel: int) -> nn.Module:
    """Make a convolution over both frames' features; `parts` and `channels_out` count the channels of both."""
    if spec.symmetric:
        return TiedConv([part // 2 for part in parts], channels_out // 2, kernel)
    return nn.Conv2d(sum(parts), channels_out, kernel, padding=kernel // 2)


def _head(spec: Spec) -> nn.Module:
    cells = spec.fold**2
    colours = 3 * cells if spec.head == "reconstruct" or spec.residual else 0
    if spec.symmetric:
        return TiedHead(spec.widths[0] // 2, colours, cells)
    return nn.Conv2d(spec.widths[0], colours + (cells if spec.head == "select" else 0), 3, padding=1)
