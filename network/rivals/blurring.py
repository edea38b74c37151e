"""Blurs of training pairs and of fusion rules. Planes N x C x H x W; borders are repeated."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name everybody knows it by


def gaussian(planes: Tensor, sigma: float, side: int) -> Tensor:
    """Blur by a Gaussian filter of side x side."""
    offsets = torch.arange(side, device=planes.device, dtype=planes.dtype) - side // 2
    line = torch.exp(-(offsets**2) / (2 * sigma**2))
    return _separable(planes, line / line.sum())


def box(planes: Tensor, radius: int) -> Tensor:
    """Average over (2 radius + 1) squared pixels."""
    return F.avg_pool2d(F.pad(planes, [radius] * 4, mode="replicate"), 2 * radius + 1, stride=1)


def laplacian(planes: Tensor) -> Tensor:
    """Four times the middle less its four neighbours."""
    padded = F.pad(planes, [1] * 4, mode="replicate")
    around = padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:] + padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1]
    return 4 * planes - around


def _separable(planes: Tensor, line: Tensor) -> Tensor:
    channels, reach = planes.shape[1], len(line) // 2
    padded = F.pad(planes, [reach] * 4, mode="replicate")
    down = line.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    across = line.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    return F.conv2d(F.conv2d(padded, down, groups=channels), across, groups=channels)
