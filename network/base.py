"""What every network of the family can be asked for."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows it by

if TYPE_CHECKING:
    from typing_extensions import Self

    from ufafuse.network.spec import Spec


class Network(nn.Module, ABC):
    """A fusion network; `spec` says which."""

    spec: "Spec"
    encoder: nn.ModuleList  # by scale, finest first
    detail: Any  # `ufafuse.network.blocks.Detail` or its like; None where `Spec.detail` is off

    def forward(self, near: Tensor, far: Tensor) -> Tensor:
        """Fuse two frames; returns N x 3 x H x W (in [0, 1] when the network is in evaluation mode)."""
        return self.forward_with_map(near, far)[0]

    @abstractmethod
    def forward_with_map(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse two frames; returns the fused frame and the near frame's weight, N x 1 x H x W in [0, 1]."""

    @abstractmethod
    def forward_stack(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse K >= 2 frames at once, N x K x 3 x H x W.

        Returns the fused frame N x 3 x H x W and every frame's weight N x K x H x W (they add up to one). For two
        frames the result is that of `forward_with_map`. `ModelError` for a variant that knows two frames only.
        """

    def encode(self, frames: Tensor) -> list[Tensor]:
        """Return the features of every scale, finest first; the frame is padded to the stride by its last pixels."""
        features: list[Tensor] = []
        x = self.pad(frames)
        for scale in self.encoder:
            x = scale(x)
            features.append(x)
        return features

    @abstractmethod
    def for_inference(self) -> "Self":
        """Return a frozen copy in evaluation mode: what is exported."""

    def pad(self, frames: Tensor) -> Tensor:
        """Repeat the last row and column until the scales divide the size (works down to one pixel)."""
        stride = self.spec.stride
        if stride == 1:
            return frames
        height, width = frames.shape[-2:]
        return F.pad(frames, (0, -width % stride, 0, -height % stride), mode="replicate")
