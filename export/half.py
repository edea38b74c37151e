"""Which convolutions may be float16: measured on each network, because no rule knows.

A network that ends in the difference of large terms loses it in half precision: weights of the paper's network that undid
its own sigmoid with terms of 283 were 33 dB from float32 all in half, and 67 dB with the last two convolutions in float32.
Other weights of the same network, with terms of 8, need no such island (70 dB), and a selecting network needs none.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ufafuse.export.frames import stress_frames, synthetic_pair
from ufafuse.runtime.errors import ModelError
from ufafuse.runtime.frames import check_pair, to_planes
from ufafuse.runtime.tolerances import psnr
from ufafuse.train.model import FusionNet

TARGET_DB = 60.0  # ten above what fp16 must reach: synthetic pairs stand for all pairs
_SIZES = ((96, 96), (97, 131))
_STRESS_SIZE = (48, 56)
_STRESS_BONUS_DB = 6.0  # frames that no camera gives need hold four above only


@dataclass(frozen=True)
class Islands:
    """The convolutions that stay float32, and why.

    Args:
        names: Module names, such as ``"head"``; empty where half precision is good enough everywhere.
        psnr_without: Worst PSNR in dB against float32 with every convolution in half.
        psnr_with: The same with these in float32.
    """

    names: tuple[str, ...]
    psnr_without: float
    psnr_with: float

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {"convolutions": list(self.names), "psnr_without": self.psnr_without, "psnr_with": self.psnr_with}


def choose_islands(net: FusionNet, *, target_db: float = TARGET_DB) -> Islands:
    """Leave the fewest convolutions in float32 with which the others, rounded to half, reach ``target_db``.

    Each convolution is rounded alone to see what it costs; then the costliest go back to float32 one by one. Half
    precision is emulated (inputs, weights and results rounded; sums in float32, as GPUs do): true half convolutions take
    minutes on a CPU.

    Raises:
        ModelError: Even with every convolution in float32 the target is missed.
    """
    names = [name for name, _ in convolutions(net.for_inference())]
    pairs = [_planes(*synthetic_pair(*size, seed=seed)) for seed, size in enumerate(_SIZES)]
    pairs += [_planes(*frames) for frames in stress_frames(*_STRESS_SIZE).values()]
    with torch.inference_mode():
        expected = [net(*pair) for pair in pairs]
        without = _worst(_rounded(net, names), pairs, expected)
        if without >= target_db:
            return Islands((), round(without, 2), round(without, 2))
        alone = {name: _worst(_rounded(net, [name]), pairs, expected) for name in names}
        wide: list[str] = []
        reached = without
        for name in sorted(names, key=alone.__getitem__):
            wide.append(name)
            reached = _worst(_rounded(net, [other for other in names if other not in wide]), pairs, expected)
            if reached >= target_db:
                break
        else:
            raise ModelError(
                f"{net.spec.name} cannot be exported in half precision: {without:.1f} dB, {target_db:.0f} are needed."
            )
    in_order = tuple(name for name in names if name in wide)
    return Islands(in_order, round(without, 2), round(reached, 2))


def convolutions(plain: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    """(name, module) of every convolution of a network of `FusionNet.for_inference`, in order."""
    return [(name, module) for name, module in plain.named_modules() if isinstance(module, nn.Conv2d)]


def cast_inputs(net: nn.Module) -> None:
    """Let every convolution cast its input to the type of its weights, so that float32 islands fit between half ones."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(lambda conv, inputs: (inputs[0].to(conv.weight.dtype),))


def _planes(near: NDArray[np.uint8], far: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    kind = check_pair(near, far)
    return torch.from_numpy(to_planes(near, kind)), torch.from_numpy(to_planes(far, kind))


def _rounded(net: FusionNet, names: Collection[str]) -> FusionNet:
    """A copy whose named convolutions compute as if in half precision."""
    copy = net.for_inference()
    for name in names:
        conv = copy.get_submodule(name)
        for parameter in conv.parameters():
            parameter.copy_(_to_half(parameter))
        conv.register_forward_pre_hook(lambda _, inputs: (_to_half(inputs[0]),))
        conv.register_forward_hook(lambda _, __, result: _to_half(result))
    return copy


def _to_half(values: Tensor) -> Tensor:
    return values.to(torch.float16).to(torch.float32)


def _worst(net: FusionNet, pairs: Sequence[tuple[Tensor, Tensor]], expected: Sequence[Tensor]) -> float:
    """Worst PSNR in dB of the synthetic pairs and, with their bonus, the extreme ones that follow them."""
    worst = float("inf")
    for index, (pair, wanted) in enumerate(zip(pairs, expected, strict=True)):
        error = net(*pair) - wanted
        reached = psnr(float((error * 255).square().mean())) if error.isfinite().all() else 0.0
        worst = min(worst, reached + (_STRESS_BONUS_DB if index >= len(_SIZES) else 0.0))
    return worst
