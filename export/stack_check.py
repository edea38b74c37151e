"""Holding the graphs for stacks against PyTorch: one of the two steps runs in the graph, all the rest in PyTorch.

So an encoding or scoring graph is judged by the picture that comes of it, in levels and decibels, by the table that
whole graphs are judged by. The stack is a pair and a third frame, their mean, that covers two thirds of the picture:
no pixel of it is sharper than both, and how many frames there are differs from place to place.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ufafuse.export.stack_graphs import SHIFT
from ufafuse.network.base import Network
from ufafuse.network.stacknet import SELECTION, StackNet, octaves
from ufafuse.runtime.checks.cases import Case, bgr_levels
from ufafuse.runtime.errors import ModelError
from ufafuse.runtime.frames import check_pair, pack, to_planes
from ufafuse.runtime.session import Session

Bytes = NDArray[np.uint8]

STACK_ROLES = ("encode", "score")


def stack_cases(net: Network, pairs: Iterable[tuple[str, Bytes, Bytes]], *, noise: bool) -> Iterator[Case]:
    """What PyTorch in float32 makes of each stack; with ``noise`` also how far its float32 is from its float64.

    Args:
        net: The network that gathers.
        pairs: (name, near, far), H x W x 3 uint8, BGR.
        noise: Whether to compute it.
    """
    exact = copy.deepcopy(net).double() if noise else None
    for name, near, far in pairs:
        frames, covered = _stack(near, far)
        planes = torch.from_numpy(np.concatenate([to_planes(frame, check_pair(frame, frame)) for frame in frames]))[None]
        with torch.inference_mode():
            fused = _gathering(net).forward_stack(planes, covered[None])[0]
            error = 0.0
            if exact is not None:
                truth = _gathering(exact).forward_stack(planes.double(), covered[None].double())[0]
                error = float((truth - fused).abs().max()) * 255
        yield Case(name, near, far, bgr_levels(fused.numpy()), error)


class StackRun:
    """Runs one step in a session and the others in PyTorch; called as `run_case` is.

    Args:
        net: The network that the session's graph was made from.
    """

    def __init__(self, net: Network) -> None:
        self.net = _gathering(net)

    def __call__(self, session: Session, case: Case) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(result, reference): H x W x 3 float32, BGR, 8-bit levels."""
        frames, covered = _stack(case.near, case.far)
        kind = check_pair(case.near, case.far)
        packed = np.concatenate([pack(frame, kind, session.manifest.io) for frame in frames])
        planes = torch.from_numpy(np.concatenate([to_planes(frame, kind) for frame in frames]))
        with torch.inference_mode():
            fused = self._fused(session, packed, planes, covered)
        return bgr_levels(fused.numpy()), case.reference

    def _fused(self, session: Session, packed: NDArray[Any], planes: Tensor, covered: Tensor) -> Tensor:
        net, count, (height, width) = self.net, len(planes), planes.shape[-2:]
        padded, mask = net.pad(planes), net.pad(covered)
        features = net.encode(padded)
        attention: Sequence[Tensor] = net.attend(features)
        role = session.manifest.extra["role"]
        if role == "encode":
            outputs = {name: torch.from_numpy(value) for name, value in session.infer({"frame": packed}).items()}
            scales = range(len(features))
            features = [outputs[f"features_{scale}"] for scale in scales]
            attention = [outputs[f"attention_{scale}"].log() for scale in scales]
        gathered = net.gather(padded, mask, features, attention, count)
        mean, total = gathered.light / gathered.frames, gathered.frames
        if role == "score":
            inputs = {
                "mean": mean[..., :height, :width],
                "count": total[..., :height, :width],
                **{f"gathered_{scale}": each for scale, each in enumerate(gathered.told())},
            }
            repeated = {name: each.repeat_interleave(count, 0).contiguous().numpy() for name, each in inputs.items()}
            weights = torch.from_numpy(session.infer({"frame": packed, **repeated})["weights"])
        else:
            common = [told.repeat_interleave(count, 0) for told in net.common(gathered)]
            scores = net.score(padded, features, common, *(each.repeat_interleave(count, 0) for each in (mean, total)))
            weights = (SELECTION * torch.cat(scores, 1)[..., :height, :width] - SHIFT).exp()
        shares = weights * covered
        shares = shares / shares.sum(0, keepdim=True)
        bands = [band[..., :height, :width] for band in octaves(padded)]
        fused = sum((band * share).sum(0, keepdim=True) for band, share in zip(bands, shares.split(1, 1), strict=True))
        assert isinstance(fused, Tensor)
        unseen = (1 - covered) * 1e4  # as the network: nothing beyond what the frames show
        return fused.clamp((planes + unseen).amin(0, keepdim=True), (planes - unseen).amax(0, keepdim=True))


def _stack(near: Bytes, far: Bytes) -> tuple[list[Bytes], Tensor]:
    """The frames, H x W x 3 uint8, and which pixels they cover, K x 1 x H x W."""
    between = np.asarray((near.astype(np.uint16) + far) // 2, np.uint8)
    covered = torch.ones(3, 1, *near.shape[:2])
    covered[2, :, :, -(near.shape[1] // 3) or near.shape[1] :] = 0
    return [near, far, between], covered


def _gathering(net: Network) -> StackNet:
    if not isinstance(net, StackNet):
        raise ModelError(f"{net.spec.name} does not gather: it has no graphs for stacks.")
    return net
