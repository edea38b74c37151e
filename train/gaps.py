"""How far to raise detail between the planes of focus, learnt from drawn stacks: the numbers of `ufafuse.runtime.stacks.gaps`.

Each stack is fused by the network, as it is used. What the inverse filters' shares change of the squared error is, in each
cell, a quadratic form of these numbers; so a step of training needs no picture, and a fit takes minutes.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from ufafuse.network.stacknet import StackNet
from ufafuse.runtime.arrays import Floats
from ufafuse.runtime.callbacks import OnCount, ignored
from ufafuse.runtime.frames import BGR_BYTES, luma
from ufafuse.runtime.stacks.gaps import CELL, FEWEST, LITTLE, SLOPE, TOLD, FocusGaps
from ufafuse.runtime.stacks.inverse import COUNT, inverses
from ufafuse.runtime.stacks.options import MOST_RESTORED
from ufafuse.train.degrade import to_bytes
from ufafuse.train.drawing import Rng
from ufafuse.train.optics import SceneLayer, aperture, relief
from ufafuse.train.scenes import MACRO_BOARDS, SceneOptions, Texture, surface
from ufafuse.train.stacks import Stack, draw_stack
from ufafuse.train.textures import Textures
from ufafuse.train.validate import batch_from_frames

SIDE = 384  # pixels of a drawn stack
WIDTH = 64  # of the two hidden layers
BATCH = 8192  # cells
_CLEAN: dict[str, Any] = {"jpeg": 0, "gain": 0, "shift": 0, "margins": 0, "dark": 0, "noise": 1, "min_noise": 1, "max_noise": 2}
Kind: TypeAlias = SceneOptions | Callable[[Rng, int, Texture], Stack]
_RATE = 4e-3  # the learning rate's peak
_CLIP = 0.3  # of the gradient's norm
_HARM = 1.0  # by how much more a cell counts that becomes worse
_CAUTION = 0.004  # weight of the squares of what is added, where nothing is gained
_WHITE = 255.0
_EVEN = 6.0  # squared error, in levels: pictures that have less are good enough
_NO_ERROR = 0.1
_START = 2.0  # by how much the picture as it is leads before anything is learnt
_NARROW = 1e-3  # spread of a number that hardly varies


@dataclass(frozen=True)
class Example:
    """A drawn stack as the fit sees it; h x w cells.

    Attributes:
        told: what the network is told, h x w x numbers.
        enough: where enough frames show a cell, h x w.
        curve: of the squared error, half the second derivatives by the filters' shares, h x w x filters x filters.
        slope: half its first derivatives, h x w x filters, at nothing added, with the opposite sign.
        error: the squared error as it is, a mean over the picture, in levels with white at 255.
    """

    told: Tensor
    enough: Tensor
    curve: Tensor
    slope: Tensor
    error: float

    def changed(self, shares: Tensor) -> Tensor:
        """By how much the mean squared error changes with such shares of the filters, h x w x filters."""
        return _change(shares, self.curve, self.slope).mean()


def drawn_examples(
    net: StackNet,
    numbers: Iterable[int],
    seed: int,
    photos: Sequence[Any] = (),
    *,
    kinds: Sequence[Kind] | None = None,
    side: int = SIDE,
) -> Iterator[Example]:
    """Draw stacks and fuse them.

    Args:
        net: The network, in evaluation mode.
        numbers: Of the stacks, from 0; each draws another one, of the kinds in turn.
        seed: Draws them.
        photos: Photographs among their surfaces, uint8 H x W x 3, BGR.
        kinds: What they show, three frames at least; None: `KINDS`.
        side: Of the pictures, in pixels, a multiple of 8.
    """
    textures, kinds = Textures((seed, 10), photos), kinds or KINDS
    for number in numbers:
        rng, texture = np.random.default_rng((seed, 11, number)), textures.at(number)
        kind = kinds[number % len(kinds)]
        stack = draw_stack(rng, side, kind, texture) if isinstance(kind, SceneOptions) else kind(rng, side, texture)
        yield example(net, stack)


def deep_stack(rng: Rng, side: int, texture: Texture) -> Stack:
    """A surface of which every place lies within the depth of field of a frame, and some of two: where nothing is missed.

    Args:
        rng: Decides how many frames there are, how deep each is in focus, how fast blur grows beyond, and its kind.
        side: Of the frames, in pixels.
        texture: Gives what is on the surface.
    """
    count = int(rng.integers(FEWEST, 13))
    truth: Any = np.clip(surface(rng, side, texture), 0, 255)
    if rng.random() < 0.3:  # a soft lens, or a soft surface
        truth = np.asarray(cv2.GaussianBlur(truth, (0, 0), rng.uniform(0.5, 1.5)), np.float32)
    growth, deep = float(np.exp(rng.uniform(np.log(0.7), np.log(14)))), rng.uniform(0.5, 0.8)
    kernel = aperture(rng)
    depth: Any = _slope(rng, side) * count - 0.5
    layer = SceneLayer(truth, None, depth)
    noise, frames = rng.uniform(0, 3) * (rng.random() < 0.7), []
    for number in range(count):
        frame, _ = relief(layer, kernel, growth * np.maximum(np.abs(depth - number) - deep, 0))
        frames.append(to_bytes(np.asarray(frame + rng.normal(0, noise, truth.shape), np.float32)))
    return Stack(np.stack(frames), np.ones((count, side, side), np.uint8), to_bytes(truth), np.asarray(depth, np.float32))


def parted_stack(rng: Rng, side: int, texture: Texture) -> Stack:
    """A flat picture of which each part is sharp in one frame or two, and evenly blurred in the others: nothing is missed.

    Args:
        rng: Decides how many frames and parts there are, and the blur.
        side: Of the frames, in pixels.
        texture: Gives what is on the picture.
    """
    count = int(rng.integers(FEWEST, 13))
    truth: Any = np.clip(surface(rng, side, texture), 0, 255)
    deep = 1 if rng.random() < 0.5 else 2
    depth: Any = np.floor(np.clip(_slope(rng, side) * (count - deep + 1), 0, count - deep))
    sigma, noise = float(np.exp(rng.uniform(0, np.log(14)))), rng.uniform(0, 3) * (rng.random() < 0.7)
    soft = cv2.GaussianBlur(truth, (0, 0), sigma)
    frames = []
    for number in range(count):
        sharp = (depth <= number) & (number < depth + deep)
        frame = np.where(sharp[..., None], truth, soft) + rng.normal(0, noise, truth.shape)
        frames.append(to_bytes(np.asarray(frame, np.float32)))
    return Stack(np.stack(frames), np.ones((count, side, side), np.uint8), to_bytes(truth), np.asarray(depth, np.float32))


def _slope(rng: Rng, side: int) -> Floats:
    """Heights from 0 to 1: a tilted plane, steps, or waves."""
    coarse = rng.random((int(rng.integers(2, 5)),) * 2).astype(np.float32)
    height = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_NEAREST if rng.random() < 0.3 else cv2.INTER_LINEAR)
    return np.asarray((height - height.min()) / max(float(np.ptp(height)), 1e-6), np.float32)


# Boards at all steps between planes, from a good camera, from others and in little light; anything; long stacks, in which
# hardly anything is missed; shallow ones; and such that nothing is missed in.
KINDS: tuple[Kind, ...] = (
    SceneOptions(boards=1, slides=0, unsharp_ground=0, min_frames=4, max_frames=16, min_radius=8, **_CLEAN),
    MACRO_BOARDS,
    SceneOptions(boards=1, slides=0, unsharp_ground=0, min_frames=4, max_frames=16, min_radius=8, jpeg=0.15, max_noise=3),
    SceneOptions(min_frames=FEWEST),
    SceneOptions(min_frames=8, max_frames=26, boards=0.5, plain=0.5),
    SceneOptions(min_frames=FEWEST, max_frames=10, max_radius=20, max_noise=2),
    SceneOptions(boards=0.5, min_frames=4, max_frames=16, noise=1, min_noise=2, max_noise=9),
    deep_stack,
    parted_stack,
)


@torch.inference_mode()
def example(net: StackNet, stack: Stack) -> Example:
    """Fuse a stack, sides multiples of 8, and say what more of its detail would change."""
    frames = batch_from_frames(torch.from_numpy(stack.frames), torch.device("cpu"))
    covered = torch.from_numpy(stack.covered)[None, :, None].float()
    fused, _ = net.forward_stack(frames[None], covered)
    levels = (fused * _WHITE).round().clamp(0, _WHITE)
    missing = batch_from_frames(torch.from_numpy(stack.truth)[None], torch.device("cpu")) * _WHITE - levels
    picture = np.ascontiguousarray(levels[0].permute(1, 2, 0).flip(-1).numpy().astype(np.uint8))
    gaps = FocusGaps((picture.shape[0], picture.shape[1]), BGR_BYTES)
    for frame, shown in zip(stack.frames, stack.covered, strict=True):
        gaps.add(frame, None if shown.all() else shown)
    told, enough = gaps.known(picture)
    grey = luma(picture, BGR_BYTES)
    added = [cv2.filter2D(grey, cv2.CV_32F, each.kernel, borderType=cv2.BORDER_REFLECT_101) for each in inverses(MOST_RESTORED)]
    planes, lacking = [torch.from_numpy(plane)[None, None] for plane in added], missing.mean(1, keepdim=True)
    curve = torch.stack([torch.stack([_cells(a * b) for b in planes], -1) for a in planes], -2)
    slope = torch.stack([_cells(plane * lacking) for plane in planes], -1)
    return Example(torch.from_numpy(told), torch.from_numpy(enough), curve, slope, float(missing.square().mean()))


def _cells(planes: Tensor) -> Tensor:
    """The mean over each cell, h x w, of 1 x 1 x H x W."""
    return nn.functional.avg_pool2d(planes, CELL)[0, 0]


class GapNet(nn.Module):
    """The small network of `ufafuse.runtime.stacks.gaps.decided`, with gradients."""

    middle: Tensor
    spread: Tensor

    def __init__(self, numbers: int = TOLD, width: int = WIDTH) -> None:
        """Draw its weights from torch's generator; it begins with a little of each filter everywhere."""
        super().__init__()
        self.first, self.second, self.last = nn.Linear(numbers, width), nn.Linear(width, width), nn.Linear(width, COUNT + 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        with torch.no_grad():
            self.last.bias[0] = _START
        self.register_buffer("middle", torch.zeros(numbers))
        self.register_buffer("spread", torch.ones(numbers))

    def used_to(self, told: Tensor) -> None:
        """Take what is told, cells x numbers, for what is usual: its mean and spread."""
        self.middle.copy_(told.mean(0))
        self.spread.copy_(told.std(0) + _NARROW)

    def forward(self, told: Tensor) -> Tensor:
        """Return the shares of the filters, ... x `COUNT`; once it is fitted without the little that is not worth a change."""
        values = (told - self.middle) / self.spread
        for layer in (self.first, self.second):
            values = nn.functional.leaky_relu(layer(values), SLOPE)
        shares = torch.softmax(self.last(values), -1)[..., 1:]
        if self.training:
            return shares
        return shares * (1 - LITTLE / shares.sum(-1, keepdim=True).clamp(min=1e-6)).clamp(min=0)

    def numbers(self) -> list[tuple[Floats, Floats]]:
        """The weights as `decided` takes them: inputs x outputs, and biases."""
        weight = self.first.weight.detach() / self.spread
        layers = [(weight, self.first.bias.detach() - weight @ self.middle)]
        layers += [(layer.weight.detach(), layer.bias.detach()) for layer in (self.second, self.last)]
        return [(weight.T.numpy().copy(), bias.numpy().copy()) for weight, bias in layers]


@torch.inference_mode()
def gained(net: GapNet, examples: Sequence[Example]) -> list[float]:
    """By how many dB each example's picture comes nearer to its truth; errors below a tenth of a level squared are none."""
    shares = [net(each.told) * each.enough[..., None] for each in examples]
    before = [each.error + _NO_ERROR for each in examples]
    after = [error + float(each.changed(added)) for error, each, added in zip(before, examples, shares, strict=True)]
    return [10 * math.log10(old / new) for old, new in zip(before, after, strict=True)]


def fit(examples: Sequence[Example], *, steps: int = 6000, seed: int = 0, told: OnCount = ignored) -> GapNet:
    """Fit the small network.

    Args:
        examples: What to fit it to.
        steps: Of `BATCH` cells each, out of all examples.
        seed: Draws the start and the cells.
        told: Called now and then with the number of steps done, and of all.
    """
    torch.manual_seed(seed)
    numbers = torch.cat([each.told[each.enough] for each in examples])
    curve = torch.cat([each.curve[each.enough] for each in examples])
    slope = torch.cat([each.slope[each.enough] for each in examples])
    # What counts is the share of a picture's error.
    weight = torch.cat([torch.full((int(each.enough.sum()),), 1 / (each.error + _EVEN)) for each in examples])
    weight *= float(np.mean([1 / (each.error + _EVEN) for each in examples])) / weight.mean()
    net = GapNet()
    net.used_to(numbers)
    optimiser = torch.optim.Adam(net.parameters(), _RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, steps)
    net.train()
    for step in range(steps):
        cells = torch.randint(0, len(numbers), (BATCH,))
        shares = net(numbers[cells])
        change = _change(shares, curve[cells], slope[cells])
        loss = ((change + _HARM * change.clamp(min=0)) * weight[cells]).mean() + _CAUTION * shares.sum(-1).square().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), _CLIP)  # a few cells of great contrast would decide alone
        optimiser.step()
        schedule.step()
        if step % 100 == 99:
            told(step + 1, steps)
    return net.eval()


def _change(shares: Tensor, curve: Tensor, slope: Tensor) -> Tensor:
    """By how much the squared error of cells changes: of ... x n, ... x n x n and ... x n."""
    return torch.einsum("...i,...ij,...j->...", shares, curve, shares) - 2 * (shares * slope).sum(-1)
