"""How far to raise detail between the planes of focus, learnt from drawn stacks: the numbers of `ufafuse.runtime.stacks.gaps`.

Each stack is fused by the network, as it is used. What more of each octave's detail would bring the picture nearer to the
truth is, in each cell, a quadratic form of two numbers; so a step of training needs no picture, and a fit takes minutes. A
step takes windows of stacks, as the network is told a mean over cells; of all sizes, or a mean over a picture that shows less,
and less that differs, than the drawn ones would be something that it never saw.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from ufafuse.network.stacknet import StackNet, octaves
from ufafuse.runtime.arrays import Floats
from ufafuse.runtime.callbacks import OnCount, ignored
from ufafuse.runtime.frames import BGR_BYTES
from ufafuse.runtime.stacks.gaps import CELL, FEWEST, LITTLE, OCTAVES, SLOPE, TOLD, FocusGaps, GapLayers
from ufafuse.runtime.stacks.options import MOST_RESTORED
from ufafuse.train.degrade import to_bytes
from ufafuse.train.drawing import Rng
from ufafuse.train.optics import Aperture, SceneLayer, aperture, relief
from ufafuse.train.scenes import SceneOptions, Texture, surface
from ufafuse.train.stacks import Stack, draw_stack
from ufafuse.train.textures import Textures
from ufafuse.train.validate import batch_from_frames

SIDE = 384  # pixels of a drawn stack
WIDTH = 48  # of the two hidden layers
CONTEXT = 24  # numbers that are averaged over a stack
BATCH = 6  # stacks, or as many more windows of them as have no more cells
STEPS = 5000
_SMALLEST, _MOST = 10, 48  # cells: the least side of a window; how many of them at most
_CLEAN: dict[str, Any] = {"jpeg": 0, "gain": 0, "shift": 0, "margins": 0, "dark": 0, "noise": 1, "min_noise": 1, "max_noise": 2}
_RATE = 3e-3  # the learning rate's peak
_CLIP = 0.4  # of the gradient's norm
_HARM = 1.0  # by how much more a cell counts that becomes worse
_CAUTION = 0.006  # weight of the squares of what is added, where nothing is gained
_WHITE = 255.0
_EVEN = 0.5  # squared error, in levels: pictures that have less are good enough
_NO_ERROR = 0.1
_LEAK = 0.3  # of the slope where nothing is added, while it is fitted: or a place once shut would stay so
_START = -2.0


Drawn = Callable[[Rng, int, Texture], Stack]  # given the side of the frames, in pixels


@dataclass(frozen=True)
class Example:
    """A drawn stack as the fit sees it; h x w cells.

    Attributes:
        told: what the network is told, h x w x numbers.
        enough: where enough frames show a cell, h x w.
        telling: the cells of which the context is a mean, h x w.
        curve: of the squared error, half the second derivatives by what is added, h x w x 2 x 2.
        slope: half its first derivatives, h x w x 2, at nothing added.
        error: the squared error as it is, a mean over the picture, in levels with white at 255.
    """

    told: Tensor
    enough: Tensor
    telling: Tensor
    curve: Tensor
    slope: Tensor
    error: float

    def changed(self, more: Tensor) -> Tensor:
        """By how much the mean squared error changes where `more`, h x w x 2, is added."""
        return _change(more, self.curve, self.slope).mean()


def deep_stack(rng: Rng, side: int, texture: Texture) -> Stack:
    """A surface of which every place lies within the depth of field of a frame, and some of two: where nothing is missed.

    Args:
        rng: Decides how many frames there are, how deep each is in focus, how fast blur grows beyond, and its kind.
        side: Of the frames, in pixels.
        texture: Gives what is on the surface.
    """
    count = int(rng.integers(FEWEST, 13))
    truth = _soft_surface(rng, side, texture)
    growth, deep = float(np.exp(rng.uniform(np.log(0.7), np.log(14)))), rng.uniform(0.5, 0.8)
    kernel = aperture(rng)
    depth: Any = _slope(rng, side) * count - 0.5
    return _taken(rng, SceneLayer(truth, None, depth), kernel, (growth, deep), count)


def shallow_stack(rng: Rng, side: int, texture: Texture) -> Stack:
    """A surface as `deep_stack` draws, but of little depth of field: a plane of focus hits a place, or it is missed.

    Without such stacks the fit would learn that what looks like a surface, and not like boards, is never missed. Half of them
    are even, and half of these were hit, some by the first or the last frame: seen from one side alone, that is hardest to
    tell from what was missed.
    """
    count = int(rng.integers(FEWEST, 13))
    truth = _soft_surface(rng, side, texture)
    growth = float(np.exp(rng.uniform(np.log(1), np.log(8))))
    deep = rng.uniform(0, 0.45) * (rng.random() < 0.5)
    kernel = aperture(rng)
    middle = rng.uniform(0, count - 1) if rng.random() < 0.5 else float(rng.integers(0, count))
    height = middle + (_slope(rng, side) - 0.5) * rng.uniform(0, count - 1) * (rng.random() < 0.5)
    layer = SceneLayer(truth, None, np.clip(height, 0, count - 1).astype(np.float32))
    return _taken(rng, layer, kernel, (growth, deep), count)


def _soft_surface(rng: Rng, side: int, texture: Texture) -> Floats:
    truth: Any = np.clip(surface(rng, side, texture), 0, 255)
    if rng.random() < 0.3:  # a soft lens, or a soft surface
        truth = cv2.GaussianBlur(truth, (0, 0), rng.uniform(0.5, 1.5))
    return np.asarray(truth, np.float32)


def _taken(rng: Rng, layer: SceneLayer, kernel: Aperture, blur: tuple[float, float], count: int) -> Stack:
    """Frames of a layer, with noise; `blur`: by how many pixels its radius grows from plane to plane, and how deep focus is."""
    noise, frames, depth = rng.uniform(0, 3) * (rng.random() < 0.7), [], np.asarray(layer.depth, np.float32)
    growth, deep = blur
    for number in range(count):
        radius = np.asarray(growth * np.maximum(np.abs(depth - number) - deep, 0), np.float32)
        frame, _ = relief(layer, kernel, radius)
        frames.append(to_bytes(np.asarray(frame + rng.normal(0, noise, layer.light.shape), np.float32)))
    return Stack(np.stack(frames), np.ones((count, *depth.shape), np.uint8), to_bytes(layer.light), depth)


def _slope(rng: Rng, side: int) -> Floats:
    """Heights from 0 to 1: a tilted plane, steps, or waves."""
    coarse = rng.random((int(rng.integers(2, 5)),) * 2).astype(np.float32)
    height = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_NEAREST if rng.random() < 0.3 else cv2.INTER_LINEAR)
    return np.asarray((height - height.min()) / max(float(np.ptp(height)), 1e-6), np.float32)


# Boards at all steps between planes, from a good camera and from others; anything; long stacks, in which hardly anything is
# missed; shallow ones; and such that nothing is missed in.
KINDS: tuple[SceneOptions | Drawn, ...] = (
    SceneOptions(boards=1, slides=0, unsharp_ground=0, min_frames=4, max_frames=16, min_radius=8, **_CLEAN),
    SceneOptions(boards=1, slides=0, unsharp_ground=0, min_frames=4, max_frames=16, min_radius=8, jpeg=0.15, max_noise=3),
    SceneOptions(min_frames=FEWEST),
    SceneOptions(min_frames=8, max_frames=26, boards=0.5, plain=0.5),
    SceneOptions(min_frames=FEWEST, max_frames=10, max_radius=20, max_noise=2),
    deep_stack,
)


def drawn_examples(
    net: StackNet,
    count: int,
    seed: int,
    photos: Sequence[Any] = (),
    *,
    kinds: Sequence[SceneOptions | Drawn] = KINDS,
    side: int = SIDE,
) -> Iterator[Example]:
    """Draw stacks and fuse them.

    Args:
        net: The network, in evaluation mode.
        count: How many stacks, of the kinds in turn.
        seed: Draws them.
        photos: Photographs among their surfaces, uint8 H x W x 3, BGR.
        kinds: What they show, three frames at least.
        side: Of the pictures, in pixels, a multiple of 8.
    """
    textures = Textures((seed, 10), photos)
    for number in range(count):
        rng, texture = np.random.default_rng((seed, 11, number)), textures.at(number)
        kind = kinds[number % len(kinds)]
        stack = draw_stack(rng, side, kind, texture) if isinstance(kind, SceneOptions) else kind(rng, side, texture)
        yield example(net, stack)


@torch.inference_mode()
def example(net: StackNet, stack: Stack) -> Example:
    """Fuse a stack, sides multiples of 8, and say what more of its detail would change."""
    frames = batch_from_frames(torch.from_numpy(stack.frames), torch.device("cpu"))
    covered = torch.from_numpy(stack.covered)[None, :, None].float()
    fused, _ = net.forward_stack(frames[None], covered)
    levels = (fused * _WHITE).round().clamp(0, _WHITE)
    missing = batch_from_frames(torch.from_numpy(stack.truth)[None], torch.device("cpu")) * _WHITE - levels
    bands = octaves(levels)[: len(OCTAVES)]
    picture = np.ascontiguousarray(levels[0].permute(1, 2, 0).flip(-1).numpy().astype(np.uint8))
    gaps = FocusGaps((picture.shape[0], picture.shape[1]), BGR_BYTES)
    for frame, shown in zip(stack.frames, stack.covered, strict=True):
        gaps.add(frame, None if shown.all() else shown)
    known = gaps.known(picture)
    told, enough, telling = (torch.from_numpy(each) for each in (np.ascontiguousarray(known.told), known.enough, known.telling))
    curve = torch.stack([torch.stack([_cells(a * b) for b in bands], -1) for a in bands], -2)
    slope = torch.stack([_cells(band * missing) for band in bands], -1)
    return Example(told, enough, telling, curve, slope, float(missing.square().mean()))


def _cells(planes: Tensor) -> Tensor:
    """The mean over each cell and its channels, h x w."""
    return nn.functional.avg_pool2d(planes, CELL)[0].mean(0)


class GapNet(nn.Module):
    """The small network of `ufafuse.runtime.stacks.gaps.decided`, with gradients."""

    def __init__(self, numbers: int = TOLD, width: int = WIDTH, context: int = CONTEXT) -> None:
        """Draw its weights from torch's generator; it begins with a little added everywhere."""
        super().__init__()
        self.hidden = nn.Linear(numbers, width)
        self.context = nn.Linear(numbers, context)
        self.second = nn.Linear(width + context, width)
        self.last = nn.Linear(width, len(OCTAVES))
        nn.init.zeros_(self.last.weight)
        nn.init.constant_(self.last.bias, _START)

    def forward(self, told: Tensor, telling: Tensor) -> Tensor:
        """Return what is to be added, ... x h x w x 2; while it trains, places where that is nothing keep a slope.

        Args:
            told: Of stacks' cells, ... x h x w x numbers.
            telling: The cells of which each context is a mean, ... x h x w.
        """
        cells, share = _leaky(self.hidden(told)), telling[..., None].to(told.dtype)
        total = (_leaky(self.context(told)) * share).sum((-3, -2), keepdim=True)
        context = total / share.sum((-3, -2), keepdim=True).clamp(min=1)
        cells = torch.cat([cells, context.expand(*cells.shape[:-1], -1)], -1)
        raw = (MOST_RESTORED - 1 + LITTLE) * torch.sigmoid(self.last(_leaky(self.second(cells)))) - LITTLE
        more = raw.clamp(min=0)
        return more + _LEAK * ((raw - more) - (raw - more).detach()) if self.training else more

    def layers(self) -> GapLayers:
        """The weights as `decided` takes them."""
        layers = (self.hidden, self.context, self.second, self.last)
        return GapLayers(*((each.weight.detach().T.numpy().copy(), each.bias.detach().numpy().copy()) for each in layers))


def _leaky(values: Tensor) -> Tensor:
    return nn.functional.leaky_relu(values, SLOPE)


@torch.inference_mode()
def gained(net: GapNet, examples: Sequence[Example]) -> list[float]:
    """By how many dB each example's picture comes nearer to its truth; errors below a tenth of a level squared are none."""
    more = [net(each.told, each.telling) * each.enough[..., None] for each in examples]
    before = [each.error + _NO_ERROR for each in examples]
    after = [error + float(each.changed(added)) for error, each, added in zip(before, examples, more, strict=True)]
    return [10 * math.log10(old / new) for old, new in zip(before, after, strict=True)]


def fit(examples: Sequence[Example], *, steps: int = STEPS, seed: int = 0, told: OnCount = ignored) -> GapNet:
    """Fit the small network.

    Args:
        examples: What to fit it to, of one size.
        steps: Of `BATCH` examples each, or windows of more.
        seed: Draws the start and the windows.
        told: Called now and then with the number of steps done, and of all.
    """
    torch.manual_seed(seed)
    net = GapNet()
    optimiser = torch.optim.Adam(net.parameters(), _RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, steps)
    net.train()
    for step in range(steps):
        loss = _loss(net, _windows(examples))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), _CLIP)  # a few cells of great contrast would decide alone
        optimiser.step()
        schedule.step()
        if step % 100 == 99:
            told(step + 1, steps)
    return net.eval()


def _windows(examples: Sequence[Example]) -> list[Example]:
    """Draw windows of examples, square, all of one size."""
    whole = min(examples[0].enough.shape)
    side = int(torch.randint(min(_SMALLEST, whole), whole + 1, ()))
    count = min(_MOST, round(BATCH * (whole / side) ** 2))
    found = []
    for index in torch.randint(0, len(examples), (count,)).tolist():
        each = examples[index]
        top, left = (int(torch.randint(0, cells - side + 1, ())) for cells in each.enough.shape)
        parts = {
            name: getattr(each, name)[top : top + side, left : left + side]
            for name in ("told", "enough", "telling", "curve", "slope")
        }
        found.append(replace(each, **parts))
    return found


def _loss(net: GapNet, batch: Sequence[Example]) -> Tensor:
    """What is to become less: the change of the squared error, as a share of each picture's."""
    told, enough, telling, curve, slope = (
        torch.stack([getattr(each, name) for each in batch]) for name in ("told", "enough", "telling", "curve", "slope")
    )
    weight = torch.tensor([1 / (each.error + _EVEN) for each in batch])[:, None, None]
    more = net(told, telling) * enough[..., None]
    change = _change(more, curve, slope)
    return ((change + _HARM * change.clamp(min=0)) * weight).mean() + _CAUTION * more.square().mean()


def _change(more: Tensor, curve: Tensor, slope: Tensor) -> Tensor:
    """By how much the squared error of cells changes: of ... x 2, ... x 2 x 2 and ... x 2."""
    return torch.einsum("...i,...ij,...j->...", more, curve, more) - 2 * (more * slope).sum(-1)
