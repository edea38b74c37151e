"""How good a network is on pairs with a known truth, and a picture of what it makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from ufafuse.network.similarity import ssim
from ufafuse.runtime.arrays import Array
from ufafuse.train.data import NamedPair
from ufafuse.train.loss import psnr

SAMPLES, SAMPLE_SIDE = 4, 256  # a sample picture shows so many pairs, cut to so many pixels


@dataclass(frozen=True)
class Score:
    """PSNR in dB and SSIM of one fused pair against its truth."""

    name: str
    psnr: float
    ssim: float


def mean_of(scores: Sequence[Score]) -> tuple[float, float]:
    """Return the mean PSNR and the mean SSIM."""
    return sum(score.psnr for score in scores) / len(scores), sum(score.ssim for score in scores) / len(scores)


def batch_from_frames(frames: Tensor, device: torch.device) -> Tensor:
    """Turn uint8 frames N x H x W x 3, BGR, into the network's float32 N x 3 x H x W, RGB, in [0, 1], channels last."""
    return frames.to(device).flip(-1).permute(0, 3, 1, 2).float().div_(255)


def _batch(frame: Array, device: torch.device) -> Tensor:
    return batch_from_frames(torch.from_numpy(np.ascontiguousarray(frame))[None], device)


@torch.inference_mode()
def validate(net: nn.Module, pairs: Sequence[NamedPair], device: torch.device) -> tuple[list[Score], list[Array]]:
    """Fuse every pair in float32 and compare it with its truth, unrounded.

    Returns the scores, and the first few fused frames (uint8 H x W x 3, BGR) for `sample_picture`.
    """
    scores: list[Score] = []
    fused_frames: list[Array] = []
    for named in pairs:
        near, far, truth = (_batch(frame, device) for frame in (named.pair.near, named.pair.far, named.pair.truth))
        fused = net(near, far)
        scores.append(Score(named.name, float(psnr(fused, truth)), float(ssim(fused, truth))))
        if len(fused_frames) < SAMPLES:
            fused_frames.append(bytes_from_batch(fused))
    return scores, fused_frames


@torch.inference_mode()
def fuse_frames(net: nn.Module, near: Array, far: Array, device: torch.device) -> Array:
    """Fuse two frames, uint8 H x W x 3, BGR, with a network in PyTorch; returns the same kind."""
    return bytes_from_batch(net(_batch(near, device), _batch(far, device)))


def bytes_from_batch(fused: Tensor) -> Array:
    """Turn the network's first picture, of N x 3 x H x W in [0, 1], into uint8 H x W x 3, BGR."""
    frame: Array = fused[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).flip(-1).cpu().numpy()
    return frame


@torch.inference_mode()
def better_input(pairs: Sequence[NamedPair]) -> float:
    """Return the mean PSNR of the better of the two frames: what choosing one frame whole would give."""
    cpu = torch.device("cpu")
    best = [
        max(float(psnr(_batch(frame, cpu), _batch(named.pair.truth, cpu))) for frame in (named.pair.near, named.pair.far))
        for named in pairs
    ]
    return sum(best) / len(best)


def sample_picture(pairs: Sequence[NamedPair], fused: Sequence[Array]) -> Array:
    """Return rows of near | far | fused | truth, the middle of each, uint8 BGR."""
    rows = [
        np.hstack([middle(frame) for frame in (named.pair.near, named.pair.far, result, named.pair.truth)])
        for named, result in zip(pairs, fused, strict=False)  # the first few pairs have a fused frame
    ]
    return below_each_other(rows)


def below_each_other(rows: Sequence[Array]) -> Array:
    """Put pictures of one type below each other, black beside the narrower ones."""
    width = max(row.shape[1] for row in rows)
    return np.vstack([cv2.copyMakeBorder(row, 0, 0, 0, width - row.shape[1], cv2.BORDER_CONSTANT) for row in rows])


def middle(frame: Array) -> Array:
    """Cut the part of a picture that a sample shows."""
    top, left = (max(0, (side - SAMPLE_SIDE) // 2) for side in frame.shape[:2])
    return frame[top : top + SAMPLE_SIDE, left : left + SAMPLE_SIDE]
