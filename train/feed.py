"""What a run learns from and is validated on: the interface between the training loop and pairs or stacks."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from ufafuse.network.base import Network
from ufafuse.runtime.memory.room import check_room
from ufafuse.train.recipe import TrainOptions
from ufafuse.train.stop import leave_signals_to_the_parent

Batch: TypeAlias = Sequence[Tensor]
_TO_DRAW, _OF_A_PAIR = 200, 9  # bytes a pixel: of a drawn scene, measured; of two frames and their truth


def check_batch(options: TrainOptions) -> None:
    """Refuse a crop, or a batch of such, that this machine has no memory to draw, before a process is ended for it.

    Raises:
        InputError: It says how much they would take at least, and how much is left.
    """
    side, count = options.recipe.crop_for(options.spec), options.recipe.batch
    if options.drawn:
        check_room(f"crop={side}", "a scene of that side", _TO_DRAW * side**2)
    here = _OF_A_PAIR * count * side**2 / options.nodes
    check_room(f"batch={count}", f"a batch of {count} pairs of {side}x{side}", here)


@dataclass(frozen=True)
class Validation:
    """How good a network is: mean PSNR in dB and SSIM, and a picture of some of what it was validated on (uint8, BGR)."""

    psnr: float
    ssim: float
    picture: NDArray[Any]


@dataclass(frozen=True)
class Share:
    """The part of a run that one process trains on: from batch `first_step` on, part `rank` of `world` equal parts."""

    first_step: int
    rank: int = 0
    world: int = 1


class Feed(ABC):
    """The batches of a run, and what its network is validated on."""

    unit: str  # what is counted in a batch
    photographs: int  # that are trained on
    names: list[str]  # of these and of those held out
    skipped: list[str]  # photographs that cannot be used, and why
    warnings: list[str]  # what else there is to tell of them, and of what is validated on

    @abstractmethod
    def batches(self, share: Share, *, workers: int, pin: bool) -> Iterator[Batch]:
        """Yield batches without end; `workers` processes draw them (0: this one), into pinned memory with `pin`."""

    @abstractmethod
    def learn(self, batch: Batch, cut: tuple[int, int], device: torch.device) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return what the trained module takes, and the truth, without `cut` rows at the bottom and columns at the right."""

    @abstractmethod
    def count(self, batch: Batch) -> int:
        """Return how many of `unit` a batch has."""

    @abstractmethod
    def describe(self, step: int) -> str:
        """Say what batch `step` was made of."""

    @abstractmethod
    def validate(self, net: Network, device: torch.device) -> Validation:
        """Compare what a network in evaluation mode makes, in float32, with the truth."""

    @abstractmethod
    def report(self) -> dict[str, Any]:
        """Return what the run's report says of it, as JSON-ready values."""


class Positions(Sampler[int]):
    """The numbers of the pairs that a process trains on: its part of every batch from a given step on, without end."""

    def __init__(self, *, first_step: int, batch: int, rank: int = 0, world: int = 1) -> None:
        """Take part `rank` of `world` equal parts of batches of `batch` pairs."""
        self.first_step, self.batch, self.rank, self.world = first_step, batch, rank, world

    def __iter__(self) -> Iterator[int]:
        """Yield the numbers."""
        part, step = self.batch // self.world, self.first_step
        while True:
            start = step * self.batch + self.rank * part
            yield from range(start, start + part)
            step += 1


def begin_worker(_index: int) -> None:
    """Set up a process that draws."""
    leave_signals_to_the_parent()
    cv2.setNumThreads(0)
