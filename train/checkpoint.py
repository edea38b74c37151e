"""The state of a training run, written whole or not at all, and the running average of a network's weights."""

import contextlib
import copy
import hashlib
import io
import math
import os
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
_MOST_STEPS = 10**12
# A zip file ends in a comment and, before it, the comment's length: there stands the checksum, and torch.load reads the file.
_DIGEST = b"sha256:"
_COMMENT = len(_DIGEST) + 64
_NO_COMMENT = b"\0\0"
_ZIP_END, _ZIP_END_LENGTH = b"PK\5\6", 22  # without a comment


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
        for kept, counted in zip(self.net.buffers(), net.buffers(), strict=True):
            kept.copy_(counted)  # statistics of batch normalisation, which are averages already


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

    def __post_init__(self) -> None:
        """Refuse what no run can have reached (`ValueError`)."""
        if type(self.step) is not int or not 0 <= self.step <= _MOST_STEPS:
            raise ValueError(f"a step of {self.step!r}")
        if not _is_finite(self.seconds) or self.seconds < 0:
            raise ValueError(f"a time of {self.seconds!r} s")
        if not isinstance(self.best, dict) or not all(map(_is_finite, self.best.values())):
            raise ValueError(f"a best validation of {self.best!r}")


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def previous_path(path: Path) -> Path:
    """Where the checkpoint before the one at `path` lies."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_checkpoint(
    path: Path, *, progress: Progress, net: nn.Module, average: Average, optimizer: torch.optim.Optimizer
) -> None:
    """Write the run's state to `path` (`OutputError`), with a checksum; the one before stays as `previous_path`.

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
    buffer = io.BytesIO()  # what fails while a file is written is an OSError, unlike torch's own errors
    torch.save(state, buffer)
    with atomic_write(path, force=True) as temporary:
        temporary.write_bytes(_with_digest(buffer.getvalue()))
        _keep_previous(path)


def load_checkpoint(
    path: Path, *, net: nn.Module, average: Average, optimizer: torch.optim.Optimizer, device: torch.device
) -> Progress:
    """Bring everything to the state in `path` and return how far it was.

    Raises:
        InputError: There is no checkpoint.
        ModelError: It is damaged, or of another network.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: there is no run to resume. Start one without `resume`.")
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(_checked(path)), map_location=device, weights_only=True)
        _check_schema(path, state["schema"])
        progress = Progress(**state["progress"])
        net.load_state_dict(state["net"])
        average.net.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"].cpu())
        if state["random_cuda"] and len(state["random_cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([random.cpu() for random in state["random_cuda"]])
    except ModelError:
        raise
    except Exception as error:  # a crafted file can make torch raise anything
        raise ModelError(f"{path} is broken or of another network ({error}): start a new run.") from error
    return progress


def _with_digest(data: bytes) -> bytes:
    """A file of torch.save with the checksum of all of it in its comment."""
    assert data.endswith(_NO_COMMENT), "torch.save writes no comment"
    data = data[: -len(_NO_COMMENT)] + _COMMENT.to_bytes(len(_NO_COMMENT), "little")
    return data + _DIGEST + hashlib.sha256(data).hexdigest().encode()


def _check_schema(path: Path, schema: object) -> None:
    if schema != SCHEMA:
        raise ModelError(f"{path} was written by another ufafuse (schema {schema}): start a new run.")


def _checked(path: Path) -> bytes:
    """The file's bytes, whose checksum is right (`ValueError`); those of older versions have none."""
    data = path.read_bytes()
    if data.endswith(_NO_COMMENT) and data[-_ZIP_END_LENGTH:].startswith(_ZIP_END):
        return data
    body, comment = data[:-_COMMENT], data[-_COMMENT:]
    if comment != _DIGEST + hashlib.sha256(body).hexdigest().encode():
        raise ValueError("its checksum is missing or wrong")
    return data


def _keep_previous(path: Path) -> None:
    """Give the checkpoint that is about to be replaced its second name; at no moment is there none."""
    if not path.exists():
        return
    previous = previous_path(path)
    with contextlib.suppress(FileNotFoundError):
        previous.unlink()
    try:
        os.link(path, previous)
    except OSError:  # a file system without hard links
        path.replace(previous)
