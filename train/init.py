"""How a network starts.

"xavier" is the paper's; with it the first thousands of steps go into learning to pass the picture through. "image"
(for the reconstructing head) lets three channels carry the picture from the first step; "select" (for the selecting
head) starts as the plain average of the frames. "auto" takes the first of "select", "image" and "xavier" that fits.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ufafuse.runtime.errors import InputError
from ufafuse.train.blocks import SLOPE, TiedConv, TiedHead
from ufafuse.train.spec import Spec

if TYPE_CHECKING:
    from ufafuse.train.model import FusionNet

INITS = ("auto", "xavier", "image", "select")
QUIET = 0.05  # scale of the last layer's random weights: the start is a picture, not noise
CARRIED = 3  # channels that carry the picture


def initialise(net: "FusionNet", init: str = "auto") -> None:
    """Set the weights of a `FusionNet` in place.

    Args:
        net: The network; its `spec` decides what "auto" is.
        init: One of `INITS`, or "none" to leave the weights as they are.

    Raises:
        InputError: `init` is unknown, or "image" is asked of a network without a reconstructing head or with less
            than three channels.
    """
    if init == "none":
        return
    if init not in INITS:
        raise InputError(f"initialisation {init!r} is unknown. Known ones: {', '.join(INITS)}.")
    chosen = init
    if init == "auto":
        chosen = "select" if net.spec.head == "select" else "image" if _can_carry(net.spec) else "xavier"
    with torch.no_grad():
        _random(net, xavier=chosen == "xavier")
        if chosen == "image":
            _carry_image(net)
        elif chosen == "select":
            _quiet_head(net)


def _random(net: nn.Module, *, xavier: bool) -> None:
    """Draw every weight and zero every bias."""
    for module in net.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias":
                nn.init.zeros_(parameter)
            elif parameter.numel():
                _draw(module, parameter, xavier=xavier)


def _draw(module: nn.Module, weight: Tensor, *, xavier: bool) -> None:
    """Draw one weight; a tied convolution's frames share the input, so each half has half the usual variance."""
    halves = 2 if isinstance(module, (TiedConv, TiedHead)) else 1
    if xavier:
        nn.init.xavier_uniform_(weight)
    else:
        nn.init.kaiming_normal_(weight, a=SLOPE)
    weight.mul_(halves**-0.5)


def _can_carry(spec: Spec) -> bool:
    return spec.head == "reconstruct" and spec.stride == 1 and spec.widths[0] >= CARRIED


def _carry_image(net: "FusionNet") -> None:
    """Let three channels carry the picture through every layer; the other rows stay random.

    The picture is never negative, so LeakyReLU passes it on. The fusion averages the two inputs, whose attention
    weights (a half per channel and a half per pixel, at the start) it makes up for; the last convolution is scaled so
    that the sigmoid is about the identity at mid-grey, where its slope is 1/4.
    """
    spec = net.spec
    if not _can_carry(spec):
        raise InputError(
            f"initialisation 'image' carries the picture through one full-resolution scale of at least {CARRIED} "
            f"channels to a reconstructing head, which {spec.name!r} has not: use 'auto' or 'xavier'."
        )
    # To mypy the entries of a ModuleList are bare modules.
    encoder: Any = net.encoder[0]
    merge: Any = net.merge[0]
    decoder: Any = net.decoder[0]
    head: Any = net.head
    for block in encoder:
        _dirac_rows(block[0].weight)
    width = spec.widths[0]
    start = 0.5 ** (int(spec.channel) + int(spec.spatial))  # what the attention leaves of each input
    merge.weight[:CARRIED] = 0
    for channel in range(CARRIED):
        merge.weight[channel, channel] = merge.weight[channel, width + channel] = 0.5 / start
    for conv in decoder:
        _dirac_rows(conv.weight)
    head.weight.mul_(QUIET)  # the other channels whisper: heard, but they don't blur the picture
    head.weight[:, :CARRIED] = 0
    for channel in range(CARRIED):
        head.weight[channel, channel, 1, 1] = 4
    head.bias.fill_(-2)  # sigmoid(4 x - 2) is about x at 1/2


def _dirac_rows(weight: Tensor) -> None:
    """Make the first three output channels copies of the first three input channels."""
    centre = weight.shape[-1] // 2
    weight[:CARRIED] = 0
    for channel in range(CARRIED):
        weight[channel, channel, centre, centre] = 1


def _quiet_head(net: "FusionNet") -> None:
    """Shrink the last convolution so that the network starts as the average of its frames."""
    for name, parameter in net.head.named_parameters():
        if name != "bias":
            parameter.mul_(QUIET)
