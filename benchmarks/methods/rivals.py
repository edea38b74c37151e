"""The networks that the paper compares with, each with its fusion rule and post-processing, run in PyTorch."""

from functools import lru_cache, partial
from importlib.util import find_spec
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ufafuse.benchmarks.methods.base import Channels, Method
from ufafuse.runtime.errors import BackendError, InputError

if TYPE_CHECKING:
    from ufafuse.network.rivals.base import RivalNet

_LIU = "Liu, Chen, Peng and Wang, Multi-focus image fusion with a deep convolutional neural network, Inf. Fusion 36, 2017"
_TANG = "Tang, Xiao, Li and Wang, Pixel convolutional neural network for multi-focus image fusion, Inf. Sciences 433-434, 2018"
_RAM = "Prabhakar, Srikar and Babu, DeepFuse: A deep unsupervised approach for exposure fusion, ICCV 2017"
_LI = "Li and Wu, DenseFuse: A fusion approach to infrared and visible images, IEEE TIP 28(5), 2019"
_ZHANG = "Zhang, Liu, Sun, Yan, Zhao and Zhang, IFCNN: A general image fusion framework, Inf. Fusion 54, 2020"
_MA = "Ma, Zhu, Yin, Ban, Huang and Mukeshimana, SESF-Fuse, Neural Computing and Applications, 2020"
_JINXING = "Li, Guo, Lu, Zhang, Xu, Wu and Zhang, DRPL: Deep regression pair learning, IEEE TIP 29, 2020"
_HAO = "Zhang, Le, Shao, Xu and Ma, MFF-GAN, Inf. Fusion 66, 2021"
_TRAINED = "trained by us, for minutes, on data that is free for any use"
_TABLE = (
    ("rival-cnn", "CNN", _LIU, "its slight model"),
    ("rival-pcnn", "p-CNN", _TANG, "layers and labels are ours where its abstract is silent"),
    ("rival-deepfuse", "DeepFuse", _RAM, "the loss also keeps the local means"),
    ("rival-densefuse-add", "DenseFuse-ADD", _LI, "the sum of features is halved"),
    ("rival-densefuse-l1", "DenseFuse-L1", _LI, ""),
    ("rival-ifcnn", "IFCNN-MAX", _ZHANG, "its first layer is learnt with the others; no perceptual loss"),
    ("rival-sesf", "SESF", _MA, ""),
    ("rival-drpl", "DRPL", _JINXING, "layers are ours where its abstract is silent"),
    ("rival-mffgan", "MFF", _HAO, "what the paths exchange is ours"),
)


def missing(name: str) -> str:
    """Why a rival cannot run here with our weights; empty where it can."""
    if find_spec("torch") is None:
        return f"{name} needs PyTorch: pip install 'ufafuse[train]'."
    from ufafuse.network.rivals.places import rival_weights

    try:
        rival_weights(name)
    except InputError as error:
        return str(error)
    return ""


@lru_cache(maxsize=2)  # pairs come method by method
def loaded(name: str, weights: Path | None = None) -> "RivalNet":
    """A rival with our weights or a file's. Raises: UfaError, where they cannot be had or do not fit."""
    if find_spec("torch") is None:
        raise BackendError(missing(name))
    import torch

    from ufafuse.network.rivals.files import load_rival

    if parent_process() is not None:
        torch.set_num_threads(1)  # one of several processes, each with a core
    return load_rival(name, weights)


def fuse_levels(near: Channels, far: Channels, *, name: str, weights: Path | None = None) -> Channels:
    """Fuse two pictures of H x W x C levels 0..255 (BGR) by the whole method."""
    net = loaded(name, weights)
    from ufafuse.network.rivals.base import fuse_pair

    one, other = (np.ascontiguousarray(frame, np.uint8) for frame in (near, far))
    if near.shape[2] == 1:
        return np.asarray(fuse_pair(net, one[..., 0], other[..., 0]), np.float64)[..., None]
    return np.asarray(fuse_pair(net, one, other), np.float64)


def rival_method(name: str, weights: Path | None = None) -> Method:
    """A rival as a method, with our weights or a file's."""
    _, label, citation, differs = next(row for row in _TABLE if row[0] == name)
    note = f"weights of {weights.name}" if weights else "; ".join(filter(None, (_TRAINED, differs)))
    return Method(name, label, citation, partial(fuse_levels, name=name, weights=weights), note=note)


METHODS = tuple(rival_method(row[0]) for row in _TABLE)
