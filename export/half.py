"""Half precision in a network of mixed types: which convolutions stay float32, and how they fit in."""

from dataclasses import dataclass
from typing import Any

from torch import nn


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


def convolutions(plain: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    """(name, module) of every convolution of a network of `Network.for_inference`, in order."""
    return [(name, module) for name, module in plain.named_modules() if isinstance(module, nn.Conv2d)]


def cast_inputs(net: nn.Module) -> None:
    """Let every convolution cast its input to the type of its weights, so that float32 islands fit between half ones."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(lambda conv, inputs: (inputs[0].to(conv.weight.dtype),))
