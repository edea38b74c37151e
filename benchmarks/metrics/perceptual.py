"""LPIPS, where the all-in-focus picture is known: torchmetrics' (extra `lpips`), with networks that torchvision knows.

Nothing is downloaded: the networks' weights, which are not in torchmetrics, have to lie where PyTorch's hub keeps them.
"""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ufafuse.runtime.arrays import Bytes
from ufafuse.runtime.errors import BackendError, InputError

_FILES = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth", "squeeze": "squeezenet1_1-b8a52dc0.pth"}
NETS = tuple(_FILES)
"""What LPIPS looks through; its authors' figures are as a rule those of "alex"."""

_NEEDED = ("torch", "torchvision", "torchmetrics")
_SMALLEST_SIDE = 64
"""Of the patches that LPIPS was fitted to; below about this the networks' last features have no place left."""


def check_lpips(net: str) -> None:
    """Refuse what cannot be measured here, before anything is.

    Raises:
        InputError: The network is not known, or the file of its weights is not there.
        BackendError: A package is missing, or torchvision does not go with torch.
    """
    if net not in _FILES:
        raise InputError(f"`lpips={net}` is not known: choose {', '.join(NETS)}.")
    missing = [module for module in _NEEDED if find_spec(module) is None]
    if missing:
        raise BackendError(f"LPIPS needs {', '.join(missing)}: pip install 'ufafuse[lpips]'.")
    place = _weights(net)
    if not place.is_file():
        raise InputError(
            f"LPIPS with {net} needs the network's weights, and they are not at {place}: put "
            f"https://download.pytorch.org/models/{place.name} there."
        )
    try:
        _measure(net)
    except (ImportError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BackendError(
            f"LPIPS with {net} cannot be made ({reason}): install the torchvision that goes with your torch."
        ) from error


def lpips(truth: Bytes, fused: Bytes, net: str) -> float:
    """Learned perceptual distance, 0 or more, less is better.

    Args:
        truth: H x W or H x W x 3 (BGR), uint8; sides of 64 or more (NaN otherwise). Grey stands in all channels.
        fused: Likewise.
        net: One of `NETS`, as `check_lpips` let it pass.

    Source: Zhang, Isola, Efros, Shechtman and Wang, "The unreasonable effectiveness of deep features as a perceptual metric",
    CVPR 2018.
    """
    if min(truth.shape[:2]) < _SMALLEST_SIDE:
        return float("nan")
    import torch

    with torch.inference_mode():
        return float(_measure(net)(_tensor(truth), _tensor(fused)))


def _weights(net: str) -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / _FILES[net]


@lru_cache(maxsize=1)
def _measure(net: str) -> Any:  # noqa: ANN401 - a torch.nn.Module
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity  # pyright: ignore[reportMissingImports]

    return LearnedPerceptualImagePatchSimilarity(net_type=net, normalize=True).eval()


def _tensor(levels: Bytes) -> Any:  # noqa: ANN401 - a torch.Tensor
    """1 x 3 x H x W in [0, 1], RGB."""
    import torch

    colour = levels if levels.ndim == 3 else levels[..., None].repeat(3, axis=2)
    return torch.from_numpy(np.ascontiguousarray(colour[..., ::-1].transpose(2, 0, 1))[None]).float() / 255
