"""Pairs for the training loop: of photographs with labels, or of drawn scenes."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ufafuse.network.base import Network
from ufafuse.train.data import PairDataset, PairOptions, held_out_pairs, read_pairs
from ufafuse.train.drawnpairs import DrawnPairs, DrawnScenes
from ufafuse.train.feed import Batch, Feed, Positions, Share, Validation, begin_worker, check_batch
from ufafuse.train.photos import Photos
from ufafuse.train.recipe import TrainOptions
from ufafuse.train.textures import Textures, surfaces
from ufafuse.train.validate import batch_from_frames, better_input, mean_of, sample_picture, validate

HELD_OUT = 20  # pairs drawn from what is held out


class PairFeed(Feed):
    """Pairs; see `Feed`."""

    unit = "images"
    warnings: list[str]

    def __init__(self, options: TrainOptions) -> None:
        """Read the photographs and the pairs to validate on; `InputError` where they cannot be used."""
        check_batch(options)
        self.batch, self.warnings = options.recipe.batch, []
        drawn = self._drawn if options.drawn else self._photographed
        self.dataset, held_out = drawn(options)
        if options.val_pairs is not None:
            self.validation = read_pairs(options.val_pairs, warnings=self.warnings)
        else:
            assert held_out is not None, "without pairs of one's own some are held out"
            self.validation = held_out_pairs(held_out, HELD_OUT)

    def _photographed(self, options: TrainOptions) -> tuple[PairDataset, PairDataset | None]:
        assert options.images is not None
        assert options.masks is not None
        photos = Photos(options.images, options.masks, skip_bad=options.skip_bad)
        self.skipped, self.names = photos.skipped, [files.name for files in photos.files]
        self.warnings += photos.warnings
        held_out, drawn = None, pair_options(options)
        if options.val_pairs is None:
            photos, others = photos.split(options.val_share, options.seed)
            held_out = PairDataset(others, drawn, seed=options.seed)
        self.photographs = len(photos)
        if told := photos.check_crops(drawn.crop):
            self.warnings.append(told)
        return PairDataset(photos, drawn, seed=options.seed), held_out

    def _drawn(self, options: TrainOptions) -> tuple[PairDataset, PairDataset | None]:
        found = surfaces(options)
        self.photographs, self.skipped, self.names = found.photographs, found.skipped, found.names
        self.warnings += found.warnings
        train, other = (drawn_pairs(textures, options, stream) for stream, textures in enumerate(found.both))
        return train, other if options.val_pairs is None else None

    def batches(self, share: Share, *, workers: int, pin: bool) -> Iterator[Batch]:
        """Yield (near, far, truth), uint8 N x H x W x 3, BGR; see `Feed`."""
        positions = Positions(first_step=share.first_step, batch=self.batch, rank=share.rank, world=share.world)
        loader: DataLoader[Any] = DataLoader(
            self.dataset,
            batch_size=self.batch // share.world,
            sampler=positions,
            num_workers=workers,
            pin_memory=pin,
            worker_init_fn=begin_worker if workers else None,
        )
        yield from loader

    def learn(self, batch: Batch, cut: tuple[int, int], device: torch.device) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return ((near, far), truth), N x 3 x H x W; see `Feed`."""
        height, width = (side - less for side, less in zip(batch[0].shape[1:3], cut, strict=True))
        near, far, truth = (batch_from_frames(frames[:, :height, :width], device) for frames in batch)
        return (near, far), truth

    def count(self, batch: Batch) -> int:
        """Return how many pairs a batch has."""
        return len(batch[0])

    def describe(self, step: int) -> str:
        """Say which pairs batch `step` was made of."""
        numbers = range(step * self.batch, (step + 1) * self.batch)
        names = ", ".join(self.dataset.name(number) for number in numbers)
        return f"pairs {numbers[0]} to {numbers[-1]} (of the photographs {names})"

    def validate(self, net: Network, device: torch.device) -> Validation:
        """Fuse the pairs held out; see `Feed`."""
        scores, fused = validate(net, self.validation, device)
        return Validation(*mean_of(scores), sample_picture(self.validation, fused))

    def report(self) -> dict[str, Any]:
        """Return how many pairs are validated on, and how good the better frame of each is."""
        return {"validation_pairs": len(self.validation), "better_input_psnr": better_input(self.validation)}


def pair_options(options: TrainOptions) -> PairOptions:
    """Return how the pairs of a run are drawn."""
    recipe = options.recipe
    return PairOptions(recipe.crop_for(options.spec), recipe.lens, recipe.flip, options.lens_options)


def drawn_pairs(textures: Textures, options: TrainOptions, stream: int) -> PairDataset:
    """Return pairs of drawn scenes; streams of different numbers have nothing in common."""
    seed = 2 * options.seed + stream
    of_each = options.pairs_a_scene if stream == 0 else 1  # what is validated on is as various as it can be
    return DrawnPairs(DrawnScenes(textures, seed=seed), pair_options(options), seed=seed, of_each=of_each)
