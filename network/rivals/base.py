"""What every rival has: a network with its fusion rule, a loss on training pairs of its own, and what follows the network."""

import copy
from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ufafuse.network.base import Network
from ufafuse.network.spec import RivalSpec
from ufafuse.runtime.arrays import Floats
from ufafuse.runtime.errors import ModelError

DECIDED = 100.0  # slope of a decision in the exported graph: a step would let engines differ by a whole frame at a tie


class Lesson:
    """How a rival learns: called with the network and near, far, truth (N x 3 x H x W, RGB, in [0, 1]); returns the loss.

    Most losses need nothing but the network (`RivalNet.lesson`); one that trains an opponent besides keeps it here.
    """

    def __call__(self, net: "RivalNet", near: Tensor, far: Tensor, truth: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar."""
        return net.lesson(near, far, truth)


class RivalNet(Network):
    """A rival.

    `forward` and `forward_with_map` are what is exported and timed: the network and its fusion rule, on frames N x 3 x H x W
    (RGB, [0, 1]) of any size. `refined` is what its paper does afterwards, outside of any network.
    """

    spec: RivalSpec

    def __init__(self, spec: RivalSpec) -> None:
        """Make what all rivals share."""
        super().__init__()
        self.spec = spec  # pyright: ignore[reportIncompatibleVariableOverride] - narrower
        self.encoder = nn.ModuleList()
        self.detail = None

    @abstractmethod
    def lesson(self, near: Tensor, far: Tensor, truth: Tensor) -> Tensor:
        """Return the loss of a batch, on training pairs made of it as the rival's paper makes them."""

    def lessons(self) -> Lesson:
        """Return what the trainer calls."""
        return Lesson()

    def refined(self, near: Floats, far: Floats, fused: Floats, weight: Floats) -> Floats:  # noqa: ARG002 - for those who do
        """Return the fused picture after the paper's post-processing.

        Args:
            near: H x W x 3, RGB, in [0, 1].
            far: As ``near``.
            fused: What the network gave, likewise.
            weight: The near frame's weight, H x W in [0, 1].
        """
        return fused

    def forward_stack(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Refuse: a rival knows two frames (`ModelError`); stacks are folded pair by pair."""
        raise ModelError(f"{self.spec.name} fuses two frames, not {frames.shape[1]}: fold the stack pair by pair.")

    def for_inference(self) -> "RivalNet":
        """Return a frozen copy in evaluation mode."""
        return copy.deepcopy(self).eval().requires_grad_(requires_grad=False)


def conv(channels_in: int, channels_out: int, side: int, *, bias: bool = True, slope: float = 0.0) -> nn.Conv2d:
    """A side x side convolution over repeated borders, its weights drawn for a (leaky) ReLU of this slope."""
    made = nn.Conv2d(channels_in, channels_out, side, padding=side // 2, padding_mode="replicate", bias=bias)
    nn.init.kaiming_normal_(made.weight, a=slope)
    return made


def exactly(planes: Tensor) -> Any:  # noqa: ANN401 - torch's context manager
    """Compute in float32 what a loss needs so, where the network runs in bf16."""
    return torch.autocast(planes.device.type, enabled=False)


def decided(score: Tensor) -> Tensor:
    """Weight of the near frame from a score that is above 0 where near wins: a steep ramp around 0, in [0, 1]."""
    return (DECIDED * score.float() + 0.5).clamp(0, 1)


def mixed(near: Tensor, far: Tensor, weight: Tensor) -> Tensor:
    """Return weight * near + (1 - weight) * far."""
    return far + weight * (near - far)


def seeded(truth: Tensor) -> torch.Generator:
    """Random numbers that depend on the batch alone, so that a resumed run draws what it would have drawn."""
    generator = torch.Generator()
    generator.manual_seed(int(truth.detach().double().sum().item() * 1e3) % 2**31)
    return generator


@torch.inference_mode()
def fuse_pair(net: RivalNet, near: NDArray[np.uint8], far: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fuse two pictures by the whole method, post-processing and all.

    Args:
        net: In evaluation mode.
        near: H x W or H x W x 3 (BGR), uint8.
        far: Of the same shape.

    Returns:
        The same kind.
    """
    planes = [_planes(frame) for frame in (near, far)]
    fused, weight = net.forward_with_map(planes[0], planes[1])
    pictures = [plane[0].permute(1, 2, 0).numpy() for plane in (*planes, fused.float())]
    refined = net.refined(pictures[0], pictures[1], pictures[2], weight[0, 0].float().numpy())
    levels = np.clip(np.rint(refined * 255), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(levels[..., ::-1]) if near.ndim == 3 else levels[..., 1].copy()


def _planes(frame: NDArray[np.uint8]) -> Tensor:
    """1 x 3 x H x W, RGB, in [0, 1]."""
    colour = frame[..., ::-1] if frame.ndim == 3 else np.repeat(frame[..., None], 3, axis=2)
    return torch.from_numpy(np.ascontiguousarray(colour)).permute(2, 0, 1)[None].float() / 255
