"""Holding the graphs for stacks against PyTorch: one of the three steps runs in the graph, all the rest in PyTorch.

So each graph is judged by the picture that comes of it, in levels and decibels, by the table that
whole graphs are judged by. The stack is a pair and a third frame, their mean, that covers two thirds of the picture:
no pixel of it is sharper than both, and how many frames there are differs from place to place.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name everybody knows it by

from ufafuse.network.base import Network
from ufafuse.network.stacknet import StackNet, gather, log_weights, octaves
from ufafuse.runtime.arrays import Bytes
from ufafuse.runtime.checks.cases import Case, bgr_levels
from ufafuse.runtime.errors import ModelError
from ufafuse.runtime.fixed import fixed_batch
from ufafuse.runtime.frames import check_pair
from ufafuse.runtime.packing import pack, to_planes
from ufafuse.runtime.session import Session


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
        role, steps = session.manifest.role, _Steps(self.net)
        encoded = _in_portions(session, {"frame": packed}) if role == "encode" else steps.encoded(planes)
        inputs = gathered_inputs(encoded, planes, covered, self.net.spec.stride)
        common = _in_portions(session, inputs) if role == "common" else steps.common(inputs)
        given = scoring_inputs(encoded, inputs, common)
        if role == "score":
            weights = channels_first(_in_portions(session, {"frame": packed, **given})["weights"])
        else:
            weights = steps.weights(planes, given)
        return weighed(planes, covered, weights, self.net.spec.stride)


class _Steps:
    """The steps of a stack in PyTorch, with the graphs' inputs and outputs."""

    def __init__(self, net: StackNet) -> None:
        self._net, self._scales = net, range(len(net.spec.widths))

    def encoded(self, planes: Tensor) -> dict[str, NDArray[Any]]:
        features = self._net.encode(planes)
        outputs = {f"features_{scale}": channels_last(each) for scale, each in enumerate(features)}
        return outputs | {f"attention_{scale}": each.exp().numpy() for scale, each in enumerate(self._net.attend(features))}

    def common(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        told = [
            torch.cat([channels_first(inputs[f"{what}_{scale}"]) for what in ("average", "greatest")], 1)
            for scale in self._scales
        ]
        found = [compare.common(each) for compare, each in zip(self._net.compare, told, strict=True)]  # type: ignore[operator]
        mean, count = (self._net.pad(torch.from_numpy(inputs[name])) for name in ("mean", "count"))
        outputs = {f"common_{scale}": channels_last(each) for scale, each in enumerate(found)}
        return {**outputs, "stands_out": channels_last(self._net.stands_out(mean, count))}

    def weights(self, planes: Tensor, given: Mapping[str, NDArray[Any]]) -> Tensor:
        height, width = planes.shape[-2:]
        features, common = (
            [channels_first(given[f"{what}_{scale}"]) for scale in self._scales] for what in ("features", "common")
        )
        mean, count = (self._net.pad(torch.from_numpy(given[name])) for name in ("mean", "count"))
        scores = self._net.score(self._net.pad(planes), features, common, mean, count, channels_first(given["stands_out"]))
        return log_weights(torch.cat(scores, 1)[..., :height, :width]).exp()


def channels_last(planes: Tensor) -> NDArray[Any]:
    """Features as the graphs hand them on: N x h x w x C."""
    return np.ascontiguousarray(planes.permute(0, 2, 3, 1).numpy())


def channels_first(given: NDArray[Any]) -> Tensor:
    """The inverse of `channels_last`."""
    return torch.from_numpy(given).permute(0, 3, 1, 2)


def scoring_inputs(
    encoded: Mapping[str, NDArray[Any]], gathered: Mapping[str, NDArray[Any]], common: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """What the scoring graph takes besides the frames of a stack, for all K of them at once.

    Args:
        encoded: Of the encoding graph for all frames; their features are taken.
        gathered: What the graph between was given, with one for N; mean and count are taken.
        common: What it gave.
    """
    features = {name: value for name, value in encoded.items() if name.startswith("features")}
    count = len(features["features_0"])
    shared = {"mean": gathered["mean"], "count": gathered["count"], **common}
    return {**features, **{name: np.repeat(value, count, 0) for name, value in shared.items()}}


def gathered_inputs(
    outputs: Mapping[str, NDArray[Any]], planes: Tensor, covered: Tensor, stride: int
) -> dict[str, NDArray[Any]]:
    """What the graph between the passes takes, with one for N: what K frames gathered.

    Args:
        outputs: Of the encoding graph for all K frames at once.
        planes: The frames, K x 3 x H x W in [0, 1].
        covered: K x 1 x H x W of 0 and 1.
        stride: The network's.
    """
    count, scales = len(planes), range(len(outputs) // 2)
    features = [channels_first(outputs[f"features_{scale}"]) for scale in scales]
    attention = [torch.from_numpy(outputs[f"attention_{scale}"]) for scale in scales]
    mask, (height, width) = _padded(covered, stride), planes.shape[-2:]
    gathered = gather(_padded(planes, stride), mask, features, [each.log() for each in attention], count)
    total = gathered.frames.clamp(min=1)
    inputs = {"mean": (gathered.light / total)[..., :height, :width], "count": total[..., :height, :width]}
    told: dict[str, NDArray[Any]] = {}
    for scale, each in enumerate(gathered.told()):
        average, greatest = each.chunk(2, 1)
        told |= {f"average_{scale}": channels_last(average), f"greatest_{scale}": channels_last(greatest)}
    return {**{name: each.contiguous().numpy() for name, each in inputs.items()}, **told}


def weighed(planes: Tensor, covered: Tensor, weights: Tensor, stride: int) -> Tensor:
    """Put the octaves of K frames together by the scoring graph's weights, K x octaves x H x W; returns 1 x 3 x H x W.

    As the network does, the result is kept within what the frames show.
    """
    height, width = planes.shape[-2:]
    shares = weights * covered
    shares = shares / shares.sum(0, keepdim=True)
    bands = [band[..., :height, :width] for band in octaves(_padded(planes, stride))]
    parts = [(band * share).sum(0, keepdim=True) for band, share in zip(bands, shares.split(1, 1), strict=True)]
    lowest, highest = (planes.masked_fill(covered == 0, end) for end in (float("inf"), -float("inf")))
    return torch.stack(parts).sum(0).clamp(lowest.amin(0, keepdim=True), highest.amax(0, keepdim=True))


def _in_portions(session: Session, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Run K frames: at once, or as many at a time as the graph takes, the last portion filled up with its last frame."""
    batch, count = fixed_batch(session.manifest), len(next(iter(inputs.values())))
    if batch is None:
        return session.infer(dict(inputs))
    rows = np.minimum(np.arange(-(-count // batch) * batch), count - 1).reshape(-1, batch)
    found = [session.infer({name: np.ascontiguousarray(value[of]) for name, value in inputs.items()}) for of in rows]
    return {name: np.concatenate([each[name] for each in found])[:count] for name in found[0]}


def _padded(planes: Tensor, stride: int) -> Tensor:
    height, width = planes.shape[-2:]
    return F.pad(planes, (0, -width % stride, 0, -height % stride), mode="replicate")


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
