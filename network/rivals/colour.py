"""Brightness and colour apart, as rivals for grey pictures fuse photographs. All planes N x C x H x W in [0, 1]."""

import torch
from torch import Tensor

_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114  # ITU-R BT.601
_CB, _CR = 2 * (1 - _BLUE), 2 * (1 - _RED)
_LEVEL = 1 / 255


def luma(frames: Tensor) -> Tensor:
    """N x 3 x H x W RGB to the brightness, N x 1 x H x W."""
    return _RED * frames[:, :1] + _GREEN * frames[:, 1:2] + _BLUE * frames[:, 2:3]


def chroma(frames: Tensor, brightness: Tensor) -> Tensor:
    """The colour differences Cb and Cr around 0, N x 2 x H x W."""
    return torch.cat([(frames[:, 2:3] - brightness) / _CB, (frames[:, :1] - brightness) / _CR], 1)


def fused_chroma(near: Tensor, far: Tensor) -> Tensor:
    """Weigh the colours by how far each is from grey: DeepFuse's rule, its tau at 0; between two greys, the mean.

    The weights get a level of 255 each, so that noise around grey does not choose and nothing is divided by zero.
    """
    weight_near, weight_far = near.abs() + _LEVEL, far.abs() + _LEVEL
    return (near * weight_near + far * weight_far) / (weight_near + weight_far)


def coloured(brightness: Tensor, colours: Tensor) -> Tensor:
    """N x 1 x H x W and N x 2 x H x W to RGB."""
    blue, red = brightness + _CB * colours[:, :1], brightness + _CR * colours[:, 1:2]
    green = (brightness - _RED * red - _BLUE * blue) / _GREEN
    return torch.cat([red, green, blue], 1)
