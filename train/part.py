"""Training a part of a network: the selection of the paper's network, while the picture passes through untouched.

With the "identity" or "focus" start (`ufafuse.network.init`) the paper's network carries the picture on three channels and
gives it back to 0.4 of a level, so all that is left to learn is which frame to take where. That is what the encoder's other
channels and the spatial attention decide. Trained alone, they take a learning rate a hundred times what the carried picture
survives, and the layers after the fusion cost nothing.
"""

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from ufafuse.network.base import Network
from ufafuse.network.init import CARRIED, can_select, first_conv
from ufafuse.network.model import FusionNet
from ufafuse.network.rivals.base import RivalNet
from ufafuse.network.stacknet import StackNet
from ufafuse.runtime.errors import InputError

Part: TypeAlias = Literal["all", "selection"]
PARTS = ("all", "selection")
FIRST_PACE = 0.1


def trained_part(net: Network, part: str) -> nn.Module:
    """Return the module to train, with gradients for nothing else than `part` of `net`.

    It fuses near and far, or, of a network over whole stacks, frames and what they cover; that of a rival takes near, far and
    truth, and returns the loss.

    Args:
        net: The network; its parameters are those of the module returned.
        part: "all", or "selection" for a network that reconstructs the picture from one scale.

    Raises:
        InputError: `part` is unknown, or `net` has no selection apart from its picture.
    """
    if isinstance(net, RivalNet) and part == "all":
        return Taught(net)
    if part == "all":
        return _Stacked(net) if isinstance(net, StackNet) else net
    if part not in PARTS:
        raise InputError(f"part {part!r} is unknown. Known: {', '.join(PARTS)}.")
    if not (isinstance(net, FusionNet) and can_select(net.spec)):
        raise InputError(
            f"{net.spec.name!r} has no picture that passes through apart from its selection (one full-resolution scale, a "
            "reconstructing head, spatial attention): train it with `part=all`."
        )
    assert isinstance(net, FusionNet)  # `can_select` saw to it
    return _Selection(net)


def parameter_groups(net: Network, part: nn.Module) -> list[dict[str, Any]]:
    """Return the optimiser's groups of `part`'s parameters, each with the `pace` that its learning rate is multiplied by.

    Where a network folds pixels, a channel of the first layer is a sum over hundreds of brightnesses that are all positive.
    At the pace of the others a few of Adam's steps carry such a sum below zero everywhere, for good: ufa-nano lost 21 of 24
    channels in a run. At a tenth of it none is lost (900 steps from scratch: loss 0.0082 against 0.0094, with filters that
    start without a mean in both, and 0.0105 as it was). A network over whole stacks keeps one pace: in a run at the full one it
    lost 3 of 32.
    """
    first = set()
    if isinstance(net, FusionNet):
        first = {id(parameter) for parameter in first_conv(net).parameters()} if net.spec.fold > 1 else set()
        if net.detail is not None:
            first |= {id(net.detail.level), id(net.detail.local)}
    trained = [parameter for parameter in part.parameters() if parameter.requires_grad]
    groups = (
        {
            "params": [parameter for parameter in trained if (id(parameter) in first) == slow],
            "pace": FIRST_PACE if slow else 1.0,
        }
        for slow in (False, True)
    )
    return [group for group in groups if group["params"]]


class _Stacked(nn.Module):
    """A network over whole stacks as the loop calls it: by frames and what they cover."""

    def __init__(self, net: StackNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, frames: Tensor, covered: Tensor) -> Tensor:
        """Return the fused frame, N x 3 x H x W, of N x K x 3 x H x W frames and N x K x 1 x H x W of 0 and 1."""
        return self.net.forward_stack(frames, covered)[0]


class Taught(nn.Module):
    """A rival as the loop calls it: by near, far and truth, N x 3 x H x W; it returns the loss of its own paper."""

    def __init__(self, net: RivalNet) -> None:
        """Make it from the network that is to learn."""
        super().__init__()
        self.net, self.lesson = net, net.lessons()

    def forward(self, near: Tensor, far: Tensor, truth: Tensor) -> Tensor:
        """Return the loss, a scalar."""
        return self.lesson(self.net, near, far, truth)


class _Selection(nn.Module):
    """The frames weighed by the network's spatial attention: what it would give if the picture passed through exactly."""

    def __init__(self, net: FusionNet) -> None:
        super().__init__()
        self.net = net
        net.requires_grad_(requires_grad=False)
        net.attention.requires_grad_()
        encoder: Any = net.encoder[0]
        for block in encoder:
            for parameter in block[0].parameters():
                parameter.requires_grad_()
                parameter.register_hook(_without_carried)

    def forward(self, near: Tensor, far: Tensor) -> Tensor:
        """Return weight * near + (1 - weight) * far, N x 3 x H x W."""
        weight = self.net.selection(near, far).float()
        return far + weight * (near - far)


def _without_carried(gradient: Tensor) -> Tensor:
    """The gradient of an encoder's weight or bias, without the rows that carry the picture."""
    kept: Tensor = torch.cat([torch.zeros_like(gradient[:CARRIED]), gradient[CARRIED:]])
    return kept
