"""The state of a training run, written whole or not at all, and the running average of a network's weights."""

import copy
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ufafuse.runtime.artefact import atomic_write
from ufafuse.runtime.errors import InputError, ModelError

if TYPE_CHECKING:
    from ufafuse.network.base import Network

SCHEMA = 1


class Average:
    """A running average of a network's weights, which validates better than the weights of any one step."""

    def __init__(self, net: "Network", decay: float) -> None:
        """Start from the weights of `net`; with a `decay` of 0 the average is the weights."""
        self.net = copy.deepcopy(net).eval().requires_grad_(requires_grad=False)
        self.decay = decay

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Take in the weights after `step` steps; the first steps are forgotten faster than the decay says."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for mean, now in zip(self.net.parameters(), net.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: batches trained on, which is also the position in the sequence of pairs.
        seconds: time spent.
        best: PSNR, SSIM and step of the best validation, if there was one.
    """

    step: int = 0
    seconds: float = 0.0
    best: dict[str, float] = field(default_factory=dict)


def save_checkpoint(
    path: Path, *, progress: Progress, net: nn.Module, average: Average, optimizer: torch.optim.Optimizer
) -> None:
    """Write the run's state to `path` (`OutputError`).

    The learning rate and the pairs follow from the step; torch's random state is kept for networks that draw from it.
    """
    state = {
        "schema": SCHEMA,
        "progress": asdict(progress),
        "net": net.state_dict(),
        "average": average.net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    with atomic_write(path, force=True) as temporary:
        torch.save(state, temporary)


def load_checkpoint(
    path: Path, *, net: nn.Module, average: Average, optimizer: torch.optim.Optimizer, device: torch.device
) -> Progress:
    """Bring everything to the state in `path` and return how far it was.

    Raises:
        InputError: There is no checkpoint.
        ModelError: It is broken, or of another network.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: there is no run to resume. Start one without --resume.")
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        if state["schema"] != SCHEMA:
            raise ModelError(f"{path} was written by another ufafuse (schema {state['schema']}): start a new run.")
        net.load_state_dict(state["net"])
        average.net.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"].cpu())
        if state["random_cuda"] and len(state["random_cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([random.cpu() for random in state["random_cuda"]])
        return Progress(**state["progress"])
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is broken or of another network ({error}): start a new run.") from error
