"""How alike two pictures are: SSIM, for the losses of the paper and of its rivals; how strong a picture's grain is."""

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name everybody knows it by

from ufafuse.runtime.errors import InputError

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2  # for a range of [0, 1]
GRAIN = 1 / 255  # added to the strength of fine structure: what is weaker than a level is none


@functools.lru_cache(maxsize=4)
def _window(sigma: float = SIGMA, side: int = WINDOW) -> Tensor:
    """The Gaussian window along one axis; it adds up to one."""
    offsets = range(-(side // 2), side // 2 + 1)
    # Kept from the first call on, which may be a validation: a tensor made in inference mode would not train.
    with torch.inference_mode(mode=False):
        weights = torch.tensor([math.exp(-(offset**2) / (2 * sigma**2)) for offset in offsets], dtype=torch.float64)
        return (weights / weights.sum()).float()


def _local_mean(planes: Tensor) -> Tensor:
    """Weigh every 11 x 11 neighbourhood that lies inside the picture: N x C x H x W -> N x C x (H-10) x (W-10)."""
    channels = planes.shape[1]
    window = _window().to(planes)
    down = window.view(1, 1, WINDOW, 1).expand(channels, 1, WINDOW, 1)
    across = window.view(1, 1, 1, WINDOW).expand(channels, 1, 1, WINDOW)
    return F.conv2d(F.conv2d(planes, down, groups=channels), across, groups=channels)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean structural similarity of two batches of pictures, one number per picture.

    Wang et al. 2004: 11 x 11 Gaussian window, sigma 1.5, per channel, over the windows that fit into the picture (as
    scikit-image computes it). The paper's Eq. 3 prints the mean twice in the denominator, a misprint.

    Args:
        x: N x C x H x W in [0, 1].
        y: The same shape.

    Raises:
        InputError: The pictures are smaller than the window.
    """
    if min(x.shape[-2:]) < WINDOW:
        raise InputError(f"SSIM needs pictures of at least {WINDOW} x {WINDOW} pixels, got {tuple(x.shape[-2:])}.")
    x, y = x.float(), y.float()
    mean_x, mean_y, xx, yy, xy = _local_mean(torch.cat([x, y, x * x, y * y, x * y], 1)).chunk(5, 1)
    product, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    similarity = (2 * product + C1) * (2 * (xy - product) + C2) / ((squares + C1) * (xx + yy - squares + C2))
    return similarity.mean((1, 2, 3))


def grain(x: Tensor) -> Tensor:
    """Return the logarithm of how strong the fine structure is around each pixel, N x 1 x H x W.

    Of the mean of the channels, what a Gaussian of sigma 2 takes away; its root mean square in a Gaussian of sigma 3.

    Args:
        x: N x C x H x W in [0, 1], of at least 10 x 10 pixels.
    """
    grey = x.float().mean(1, keepdim=True)
    fine = grey - _blurred(grey, 2.0)
    return 0.5 * torch.log(_blurred(fine.square(), 3.0) + GRAIN**2)


def _blurred(plane: Tensor, sigma: float) -> Tensor:
    """Blur N x 1 x H x W, mirrored at its borders."""
    reach = int(3 * sigma)
    window = _window(sigma, 2 * reach + 1).to(plane)
    plane = F.conv2d(F.pad(plane, (reach, reach, 0, 0), mode="reflect"), window.view(1, 1, 1, -1))
    return F.conv2d(F.pad(plane, (0, 0, reach, reach), mode="reflect"), window.view(1, 1, -1, 1))
