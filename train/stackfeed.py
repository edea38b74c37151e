"""Stacks for the training loop: drawn scenes through a lens, of another number of frames with every batch."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ufafuse.network.base import Network
from ufafuse.runtime.arrays import Bytes
from ufafuse.train.data import PairDataset, read_pairs
from ufafuse.train.feed import Batch, Feed, Share, Validation, begin_worker, check_batch
from ufafuse.train.pairfeed import drawn_pairs
from ufafuse.train.recipe import TrainOptions
from ufafuse.train.stackdata import NamedStack, best_of_frames, named_pair, read_stacks, stack_sample, validate_stacks
from ufafuse.train.stacks import draw_stack
from ufafuse.train.textures import Textures, surfaces
from ufafuse.train.validate import batch_from_frames, mean_of

HELD_OUT = 16  # stacks that are drawn to validate on
FRAMES_OF_A_PAIR = 2


class StackBatches(Dataset[tuple[Bytes, Bytes, Bytes]]):
    """An endless, repeatable sequence of batches: batch `step` depends on the seed and the step alone.

    Entries are frames (uint8 N x K x H x W x 3, BGR), what they cover (uint8 N x K x H x W of 0 and 1) and the truth (uint8
    N x H x W x 3). All stacks of a batch have the same number of frames, and there are as many of them as it has room for.
    """

    def __init__(self, options: TrainOptions, textures: Textures, pairs: PairDataset, share: Share) -> None:
        """Draw the part `share` of the batches of a run, with surfaces from `textures`, some of them from `pairs`."""
        self.options, self.textures, self.pairs, self.share = options, textures, pairs, share
        self.side = options.recipe.crop_for(options.spec)

    def __getitem__(self, step: int) -> tuple[Bytes, Bytes, Bytes]:
        """Return batch `step`."""
        options, recipe, rank = self.options, self.options.recipe, self.share.rank
        rng = np.random.default_rng((options.seed, 8, step))  # the same for all processes: batches of one shape
        part = recipe.batch // self.share.world
        if rng.random() < recipe.pair_share:
            first = step * recipe.batch + rank * part
            return _of_pairs([self.pairs[number] for number in range(first, first + part)])
        scenes = options.scene_options
        frames = int(rng.integers(scenes.min_frames, scenes.max_frames + 1))
        count = max(1, FRAMES_OF_A_PAIR * part // frames)
        texture = self.textures.at(step)
        stacks = [
            draw_stack(
                np.random.default_rng((options.seed, 7, step, rank * count + number)), self.side, scenes, texture, frames=frames
            )
            for number in range(count)
        ]
        return np.stack([s.frames for s in stacks]), np.stack([s.covered for s in stacks]), np.stack([s.truth for s in stacks])


class _Steps(Sampler[int]):
    """The numbers from a first one on, without end."""

    def __init__(self, first: int) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        step = self.first
        while True:
            yield step
            step += 1


class StackFeed(Feed):
    """Stacks, and pairs as stacks of two; see `Feed`."""

    unit = "frames"
    warnings: list[str]

    def __init__(self, options: TrainOptions) -> None:
        """Read the photographs and what is validated on; `InputError` where they cannot be used."""
        check_batch(options)
        self.options = options
        found = surfaces(options)
        self.photographs, self.skipped, self.names = found.photographs, found.skipped, found.names
        self.warnings = list(found.warnings)
        self.textures, held_out = found.both
        self.validation: Sequence[NamedStack]
        self.pairs = drawn_pairs(self.textures.again(), options, 0)
        if options.val_stacks is not None:
            self.validation = read_stacks(options.val_stacks, warnings=self.warnings)
        elif options.val_pairs is not None:
            self.validation = [named_pair(pair) for pair in read_pairs(options.val_pairs, warnings=self.warnings)]
        else:
            self.validation = held_out_stacks(options, held_out)

    def batches(self, share: Share, *, workers: int, pin: bool) -> Iterator[Batch]:
        """Yield (frames, covered, truth) as `StackBatches` has them; see `Feed`."""
        loader: DataLoader[Any] = DataLoader(
            StackBatches(self.options, self.textures, self.pairs, share),
            batch_size=None,
            sampler=_Steps(share.first_step),
            num_workers=workers,
            pin_memory=pin,
            worker_init_fn=begin_worker if workers else None,
        )
        yield from loader

    def learn(self, batch: Batch, cut: tuple[int, int], device: torch.device) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return ((frames, covered), truth): N x K x 3 x H x W, N x K x 1 x H x W and N x 3 x H x W; see `Feed`."""
        frames, covered, truth = batch
        height, width = (side - less for side, less in zip(truth.shape[1:3], cut, strict=True))
        planes = batch_from_frames(frames[:, :, :height, :width].flatten(0, 1), device).unflatten(0, frames.shape[:2])
        mask = covered[:, :, None, :height, :width].to(device).float()
        return (planes, mask), batch_from_frames(truth[:, :height, :width], device)

    def count(self, batch: Batch) -> int:
        """Return how many frames a batch has."""
        return len(batch[0]) * batch[0].shape[1]

    def describe(self, step: int) -> str:
        """Say what batch `step` was drawn from."""
        return f"drawn from seed {self.options.seed} and number {step}"

    def validate(self, net: Network, device: torch.device) -> Validation:
        """Fuse the stacks held out; see `Feed`."""
        scores, fused = validate_stacks(net, self.validation, device)
        return Validation(*mean_of(scores), stack_sample(self.validation, fused))

    def report(self) -> dict[str, Any]:
        """Return how many stacks are validated on, and how good their frames are, whole and pixel by pixel."""
        whole, pixels = best_of_frames(self.validation)
        return {"validation_stacks": len(self.validation), "better_input_psnr": whole, "best_pixels_psnr": pixels}


def held_out_stacks(options: TrainOptions, textures: Textures) -> Sequence[NamedStack]:
    """Draw stacks to validate on, of surfaces that are not trained on, from the fewest to the most frames in turn."""
    scenes, side = options.scene_options, options.recipe.crop_for(options.spec)
    counts = range(scenes.min_frames, scenes.max_frames + 1)
    return [
        NamedStack(
            f"held-out-{number:02d}",
            draw_stack(
                np.random.default_rng((options.seed, 9, number)),
                side,
                scenes,
                textures.at(0),
                frames=counts[number % len(counts)],
            ),
        )
        for number in range(HELD_OUT)
    ]


def _of_pairs(pairs: Sequence[tuple[Any, Any, Any]]) -> tuple[Bytes, Bytes, Bytes]:
    """Turn pairs into a batch of stacks of two."""
    frames = np.stack([np.stack([near, far]) for near, far, _ in pairs])
    return frames, np.ones(frames.shape[:-1], np.uint8), np.stack([truth for _, _, truth in pairs])
