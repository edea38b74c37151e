"""How a network starts.

"xavier" is the paper's; with it the first thousands of steps go into learning to pass the picture through. "image" (for
the reconstructing head) lets three channels carry the picture from the first step; "identity" (for the same head) also
undoes the sigmoid, so that the picture comes out as it went in and only the selection is left to learn
(`ufafuse.train.part`); "focus" measures focus and selects by it as well, so that the network fuses before it has learnt
anything. "select" (for the selecting head) starts as the plain average of the frames. "auto" takes the best one that fits
the network.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ufafuse.network.base import Network
from ufafuse.network.blocks import SLOPE, Detail, TiedConv, TiedHead
from ufafuse.network.model import FusionNet
from ufafuse.network.spec import AROUND, Spec
from ufafuse.network.stacknet import StackNet
from ufafuse.runtime.errors import InputError

INITS = ("auto", "xavier", "image", "identity", "focus", "select")
QUIET = 0.05  # scale of the last layer's random weights: the start is a picture, not noise
DETAIL = 4.0  # how much a clear detail counts at first, against scores around zero
CARRIED = 3  # channels that carry the picture
# How strongly the encoder hands them on. The channel attention weighs the frames by their channels' averages: of frames that
# differ by one level in a hundred, it gave back one with 0.5 % too much contrast where the picture stood at full strength.
FAINT = 1 / 8

MEASURING = 40  # channels that measure focus: the spatial attention sees the mean over all channels, so many of them count
SMOOTHINGS = 3  # how often the measure is smoothed by a 3 x 3 binomial: a radius of about two pixels
LOUDNESS = 1 / 3  # scale of the measure: below the brightest white, so that each pixel's own is the largest channel
SHARPNESS = 220.0  # slope of the selection: steeper selects better at first, but float32 rounding of strong detail shows
PIXEL = 90.0  # slope of the selection by each pixel's own detail
PIXEL_SCALE = 10.0  # of the channel that carries it: half precision rounds what comes on top of white
PIXEL_BLOCKS = 3  # the last blocks of the encoder compute it
KNOTS = 21  # pieces of the inverse sigmoid, a channel each and colour: the identity to 0.4 of a level in 255, 68 dB
CROWDING = 1.7  # how much closer they lie at the ends: with 1.5 black and white are 0.6 of a level off; 2.1 is thrice as steep


def initialise(net: Network, init: str = "auto") -> None:
    """Set the weights of a network in place.

    Args:
        net: The network; its `spec` decides what "auto" is.
        init: One of `INITS`, or "none" to leave the weights as they are.

    Raises:
        InputError: `init` is unknown, or "image", "identity" or "focus" is asked of a network that they do not fit.
    """
    if init == "none":
        return
    if init not in INITS:
        raise InputError(f"initialisation {init!r} is unknown. Known ones: {', '.join(INITS)}.")
    chosen = init
    if init == "auto":
        chosen = _fitting(net.spec)
    with torch.no_grad():
        if isinstance(net, StackNet):
            _start_stack(net, chosen)
            return
        assert isinstance(net, FusionNet)
        _random(net, xavier=chosen == "xavier")
        if chosen in ("image", "identity", "focus"):
            _carry_image(net, chosen)
            if chosen != "image":
                _undo_sigmoid(net)
            if chosen == "focus":
                _measure_focus(net)
        elif chosen == "select":
            _blind_to_brightness(first_conv(net))
            _quiet_head(net)
            if net.detail is not None:
                _compare_detail(net.detail)


def _fitting(spec: Spec) -> str:
    """The best start for a network."""
    if spec.head == "select":
        return "select"
    if can_select(spec):
        return "focus"
    return "image" if _can_carry(spec) else "xavier"


def can_select(spec: Spec) -> bool:
    """Return whether the picture can pass through the network untouched, beside a selection by the spatial attention."""
    enough = min(spec.widths) >= CARRIED * KNOTS and spec.encoder_blocks[0] >= 2 and spec.decoder_blocks[0] >= 1
    return _can_carry(spec) and enough and spec.spatial and len(spec.widths) == 1


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


def _carry_image(net: FusionNet, init: str) -> None:
    """Let three channels carry the picture through every layer; the other rows stay random.

    The picture is never negative, so LeakyReLU passes it on. The fusion averages the two inputs, whose attention
    weights (a half per channel and a half per pixel, at the start) it makes up for; the last convolution is scaled so
    that the sigmoid is about the identity at mid-grey, where its slope is 1/4.
    """
    spec = net.spec
    if not (_can_carry(spec) if init == "image" else can_select(spec)):
        channels = CARRIED if init == "image" else CARRIED * KNOTS
        raise InputError(
            f"initialisation {init!r} carries the picture through one full-resolution scale of at least {channels} "
            f"channels{'' if init == 'image' else ' with spatial attention'} to a reconstructing head, which {spec.name!r} "
            "does not have: use 'auto' or 'xavier'."
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
    strength = 1.0 if init == "image" else FAINT
    encoder[-1][0].weight[:CARRIED] *= strength
    merge.weight[:CARRIED] = 0
    for channel in range(CARRIED):
        merge.weight[channel, channel] = merge.weight[channel, width + channel] = 0.5 / start / strength
    for conv in decoder:
        _dirac_rows(conv.weight)
    head.weight.mul_(QUIET)  # the other channels whisper: heard, but they don't blur the picture
    head.weight[:, :CARRIED] = 0
    for channel in range(CARRIED):
        head.weight[channel, channel, 1, 1] = 4
    head.bias.fill_(-2)  # sigmoid(4 x - 2) is about x at 1/2


def _measure_focus(net: Any) -> None:  # noqa: ANN401 - see _carry_image
    """Let most channels measure how much detail there is, and the spatial attention take the frame that has more.

    The first block takes second differences in four directions, with both signs: LeakyReLU of both adds up to their
    magnitude. The second block sums them, the next ones smooth the sum, the last ones hand it on. The attention's
    7 x 7 convolution compares the measures under a Gaussian. See `_measure_pixels` for what decides at the edges.
    """
    first, second, *rest = (block[0] for block in net.encoder[0])
    filters = _second_differences()
    end = CARRIED + 2 * len(filters)
    first.weight[CARRIED:end] = torch.cat([filters, -filters])[:, None] / 3
    measuring = slice(CARRIED, min(CARRIED + MEASURING, net.spec.widths[0]))
    second.weight[measuring] = 0
    second.weight[measuring, CARRIED:end] = LOUDNESS / 9
    keep = torch.zeros(3, 3)
    keep[1, 1] = 1
    for index, conv in enumerate(rest):
        conv.weight[measuring] = 0
        for channel in range(measuring.start, measuring.stop):
            conv.weight[channel, channel] = _gaussian(3, 0.85) if index < SMOOTHINGS else keep
    net.attention[0].spatial.weight.zero_()
    net.attention[0].spatial.weight[0, 0] = SHARPNESS / LOUDNESS * _gaussian(7, 1.5)
    if len(rest) >= PIXEL_BLOCKS and net.spec.widths[0] >= measuring.stop + 2 * CARRIED:
        _measure_pixels(net, [conv.weight for conv in rest[-PIXEL_BLOCKS:]], rest[-1].bias)


def _measure_pixels(net: Any, blocks: Sequence[Tensor], bias: Tensor) -> None:  # noqa: ANN401 - see _carry_image
    """Let one channel measure each pixel's own detail, and the attention compare it pixel by pixel.

    At an edge in focus every average over a neighbourhood sees both sides of it. But the sharp frame's pixel differs more
    from its surroundings' mean, which both frames share. The channel lies above all others, so that the attention's maximum
    over the channels is this one; its convolution takes the middle alone. On six pairs of the paper's kind the network selects
    at 44.3 dB with it before it has learnt anything, at 42.4 dB without.
    """
    smooth, apart, last = blocks
    colours = slice(-2 * CARRIED, -CARRIED)  # three channels of means, then six of differences with both signs
    signs = slice(-2 * CARRIED, None)
    last.mul_(torch.where(torch.arange(len(last)) < CARRIED + MEASURING, 1.0, QUIET)[:, None, None, None])
    for weight, rows in ((smooth, colours), (apart, signs), (last, slice(-1, None))):
        weight[rows] = 0
    mean = torch.full((3, 3), 1 / 9)
    for colour in range(CARRIED):
        smooth[colours][colour, colour] = mean
        for sign, row in ((1, colour), (-1, CARRIED + colour)):
            apart[signs][row, colour, 1, 1] = sign
            apart[signs][row, colours][colour] = -sign * mean
    last[-1, signs, 1, 1] = PIXEL_SCALE / CARRIED
    bias[-1] = 1  # white
    channel_share = 0.5
    net.attention[0].spatial.weight[0, 1, 3, 3] = PIXEL / (channel_share * PIXEL_SCALE)


def _second_differences() -> Tensor:
    """4 x 3 x 3: along the rows, the columns and both diagonals."""
    filters = torch.zeros(4, 3, 3)
    filters[:, 1, 1] = 1
    for index, (y, x) in enumerate(((1, 0), (0, 1), (0, 0), (0, 2))):
        filters[index, y, x] = filters[index, 2 - y, 2 - x] = -0.5
    return filters


def _gaussian(size: int, sigma: float) -> Tensor:
    offsets = torch.arange(size) - size // 2
    line = torch.exp(-(offsets**2) / (2 * sigma**2))
    window = line[:, None] * line
    return window / window.sum()


def _undo_sigmoid(net: Any) -> None:  # noqa: ANN401 - see _carry_image
    """Let the last block and the head compose the inverse of the sigmoid from pieces of straight lines, colour by colour."""
    pieces, offset = inverse_sigmoid(KNOTS)
    last, head = net.decoder[0][-1], net.head
    head.weight.zero_()
    head.bias.fill_(offset)
    for index, piece in enumerate(pieces):
        share = abs(piece.slope) ** 0.5  # steep pieces are steep in both layers by half: one would be too lively to train
        for colour in range(CARRIED):
            channel = index * CARRIED + colour
            last.weight[channel] = 0
            last.weight[channel, colour, 1, 1] = share * piece.side
            last.bias[channel] = -share * piece.side * piece.knot
            head.weight[colour, channel, 1, 1] = piece.slope / share


class Piece(NamedTuple):
    """One term of `inverse_sigmoid`: slope * leaky_relu(side * (x - knot))."""

    knot: float
    side: int
    slope: float


def inverse_sigmoid(count: int) -> tuple[list[Piece], float]:
    """Compose the inverse of the sigmoid on [0, 1] of LeakyReLUs.

    Returns `count` (odd) pieces and an offset whose sum is, after the sigmoid, x in the least-squares sense. The first
    piece is the line through mid-grey; the others bend it downwards below and upwards above, so that no steep terms
    cancel each other where the curve is flat: half precision would not survive that. The curve bends most at the ends,
    so the knots lie closer there.
    """
    half = 0.5 * (np.arange(1, count // 2 + 1) / (count // 2 + 1)) ** CROWDING
    knots = np.concatenate([[0.0], half, 1 - half[::-1]])
    sides = np.concatenate([[1], np.full(len(half), -1), np.full(len(half), 1)])
    x = np.linspace(0, 1, 4001)
    lines = sides * (x[:, None] - knots)
    basis = np.column_stack([np.where(lines > 0, lines, SLOPE * lines), np.ones_like(x)])
    safe = np.clip(x, 5e-4, 1 - 5e-4)
    weight = safe * (1 - safe)
    values = np.linalg.lstsq(basis * weight[:, None], np.log(safe / (1 - safe)) * weight, rcond=None)[0]
    damping = 1e-5 * np.eye(basis.shape[1])
    for _ in range(30):  # Gauss-Newton on the error after the sigmoid
        out = 1 / (1 + np.exp(-basis @ values))
        slope = (out * (1 - out))[:, None] * basis
        rest = np.concatenate([x - out, np.zeros(len(damping))])
        values += np.linalg.lstsq(np.vstack([slope, damping]), rest, rcond=None)[0]
    return [Piece(float(k), int(s), float(c)) for k, s, c in zip(knots, sides, values[:-1], strict=True)], float(values[-1])


def _dirac_rows(weight: Tensor) -> None:
    """Make the first three output channels copies of the first three input channels."""
    centre = weight.shape[-1] // 2
    weight[:CARRIED] = 0
    for channel in range(CARRIED):
        weight[channel, channel, centre, centre] = 1


def _quiet_head(net: FusionNet) -> None:
    """Shrink the last convolution so that the network starts as the average of its frames."""
    for name, parameter in net.head.named_parameters():
        if name != "bias":
            parameter.mul_(QUIET)


def _compare_detail(detail: Detail) -> None:
    """Let each pixel's grey be compared with that of its neighbourhood, and count a little."""
    fold, reach = detail.fold, AROUND
    detail.level.zero_()
    detail.local.zero_()
    detail.gate.mul_(QUIET)
    detail.bias.fill_(DETAIL)
    for index in range(fold**2):
        y, x = divmod(index, fold)
        detail.level[index, :, y, x] = 1 / 3
        detail.local[index, :, y : y + 2 * reach + 1, x : x + 2 * reach + 1] = -1 / 3 / (2 * reach + 1) ** 2
        detail.local[index, :, y + reach, x + reach] += 1 / 3


def _start_stack(net: StackNet, chosen: str) -> None:
    """Start near the average of all frames, told apart by little more than each pixel's own detail."""
    if chosen not in ("select", "xavier"):
        raise InputError(
            f"initialisation {chosen!r} is for a network that reconstructs, {net.spec.name!r} selects: use 'auto'."
        )
    _random(net, xavier=chosen == "xavier")
    _blind_to_brightness(first_conv(net))
    net.head.weight.mul_(0.3)
    net.apart.weight.mul_(QUIET)
    detail, fold = net.detail, net.spec.fold
    cells = torch.eye(fold**2).view(fold**2, 1, fold, fold) / 3
    detail.level.copy_(cells.expand(-1, 3, -1, -1))
    detail.local.zero_()
    detail.local[:, :, AROUND : AROUND + fold, AROUND : AROUND + fold] = cells
    detail.gate.weight.mul_(QUIET)
    assert detail.gate.bias is not None
    detail.gate.bias.fill_(1.0)


def first_conv(net: Network) -> nn.Conv2d:
    """Return the convolution that sees the frames."""
    encoder: Any = net.encoder[0]
    conv: nn.Conv2d = encoder[0][0]
    return conv


def _blind_to_brightness(conv: nn.Conv2d) -> None:
    """Take each filter's mean away: how sharp a frame is does not depend on how bright it is."""
    conv.weight.sub_(conv.weight.mean((1, 2, 3), keepdim=True))
