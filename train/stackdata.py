"""Stacks with a known truth: read from a folder, scored, and shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ufafuse.network.base import Network
from ufafuse.network.similarity import ssim
from ufafuse.network.stacknet import StackNet
from ufafuse.runtime.arrays import Array
from ufafuse.runtime.checks.tolerances import psnr as psnr_of_error
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.images import read_image
from ufafuse.runtime.pictures.frames_among import without_uncounted
from ufafuse.runtime.pictures.inputs import pictures_in
from ufafuse.runtime.pictures.naming import natural_key
from ufafuse.train.data import NamedPair
from ufafuse.train.loss import psnr
from ufafuse.train.photos import in_one
from ufafuse.train.stacks import Stack
from ufafuse.train.validate import SAMPLES, Score, batch_from_frames, below_each_other, bytes_from_batch, middle

TRUTH, DEPTH = "truth", "depth"  # stems of the files beside a stack's frames
SHOWN = (0.0, 0.5, 1.0)  # frames in a sample picture: where they stand in the stack


@dataclass(frozen=True)
class NamedStack:
    """A stack to validate on."""

    name: str
    stack: Stack


def read_stacks(folder: Path, *, warnings: list[str] | None = None) -> list[NamedStack]:
    """Read the stacks with their truth from a folder: a folder each, with its frames and `truth.*`.

    Frames are taken in the natural order of their names; where one has an alpha channel, pixels of alpha 0 are not covered.
    `depth.*` is no frame, nor is what was made of the frames (`uncounted`). `warnings` takes what there is to tell of the
    files.

    Raises:
        InputError: There are no stacks, one has no truth or too few frames, a file cannot be read, or sizes differ.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give one that holds a folder for each stack.")
    below = sorted((path for path in folder.iterdir() if path.is_dir()), key=natural_key)
    told: dict[str, None] = {}
    stacks = [_read_stack(path, told) for path in below if pictures_in(path)]
    if not stacks:
        raise InputError(
            f"{folder} holds no stacks: give a folder that holds one for each stack, with its frames and truth.png."
        )
    if warnings is not None:
        warnings += told
    return stacks


def _read_stack(folder: Path, told: dict[str, None]) -> NamedStack:
    files = pictures_in(folder)
    truths = [path for path in files if path.stem.casefold() == TRUTH]
    if len(truths) != 1:
        raise InputError(f"{folder} has {len(truths)} truths: one ({TRUTH}.png) is needed to validate.")
    found = [path for path in files if path.stem.casefold() not in (TRUTH, DEPTH)]
    paths = without_uncounted(found)
    told.update({f"{path} was taken for a result, not for a frame.": None for path in found if path not in paths})
    if len(paths) < 2:
        raise InputError(f"{folder} has {len(paths)} frames beside its truth: a stack has at least 2.")
    pictures = [read_image(path, told=told) for path in paths]
    truth, *shown = in_one([read_image(truths[0], told=told), *pictures])
    for path, picture in zip(paths, pictures, strict=True):
        if picture.shape[:2] != truth.shape[:2]:
            raise InputError(f"{path} and the stack's truth differ in size: {_size(picture)} and {_size(truth)}.")
    covered = np.stack([_covered(picture) for picture in pictures])
    frames = np.stack(shown) * covered[..., None]
    return NamedStack(folder.name, Stack(frames, covered, truth, np.full(truth.shape[:2], np.nan, np.float32)))


def _covered(picture: Array) -> NDArray[np.uint8]:
    shown = picture[..., 3] > 0 if picture.ndim == 3 and picture.shape[2] == 4 else np.ones(picture.shape[:2])
    return np.asarray(shown, np.uint8)


def _size(picture: Array) -> str:
    return f"{picture.shape[0]} x {picture.shape[1]}"


def named_pair(named: NamedPair) -> NamedStack:
    """Return a pair as the stack of two that it is."""
    frames = np.stack([named.pair.near, named.pair.far])
    depth = np.full(frames.shape[1:3], np.nan, np.float32)
    return NamedStack(named.name, Stack(frames, np.ones(frames.shape[:3], np.uint8), named.pair.truth, depth))


@torch.inference_mode()
def validate_stacks(net: Network, stacks: Sequence[NamedStack], device: torch.device) -> tuple[list[Score], list[Array]]:
    """Fuse every stack in float32 and compare it with its truth, unrounded.

    Returns the scores, and the first few fused frames (uint8 H x W x 3, BGR) for `stack_sample`.
    """
    assert isinstance(net, StackNet)
    scores: list[Score] = []
    fused_frames: list[Array] = []
    for named in stacks:
        frames = batch_from_frames(torch.from_numpy(named.stack.frames), device)[None]
        covered = torch.from_numpy(named.stack.covered)[None, :, None].to(device).float()
        truth = batch_from_frames(torch.from_numpy(named.stack.truth)[None], device)
        fused = net.forward_stack(frames, covered)[0]
        scores.append(Score(named.name, float(psnr(fused, truth)), float(ssim(fused, truth))))
        if len(fused_frames) < SAMPLES:
            fused_frames.append(bytes_from_batch(fused))
    return scores, fused_frames


def best_of_frames(stacks: Sequence[NamedStack]) -> tuple[float, float]:
    """Return the mean PSNR in dB of each stack's best frame, and of the best frame taken at every pixel."""
    whole, pixels = [], []
    for named in stacks:
        truth = named.stack.truth.astype(np.float32)
        errors = np.stack([((frame - truth) ** 2).mean(2) for frame in named.stack.frames])
        whole.append(psnr_of_error(errors.mean((1, 2)).min()))
        pixels.append(psnr_of_error(np.where(named.stack.covered > 0, errors, np.inf).min(0).mean()))
    return float(np.mean(whole)), float(np.mean(pixels))


def stack_sample(stacks: Sequence[NamedStack], fused: Sequence[Array]) -> Array:
    """Return rows of three frames | fused | truth, the middle of each, uint8 BGR."""
    rows = []
    for named, result in zip(stacks, fused, strict=False):  # the first few stacks have a fused frame
        frames = named.stack.frames
        shown = [frames[round(position * (len(frames) - 1))] for position in SHOWN]
        rows.append(np.hstack([middle(picture) for picture in (*shown, result, named.stack.truth)]))
    return below_each_other(rows)
