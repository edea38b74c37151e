"""Which convolutions may be float16: measured on each network, because no rule knows.

A network that ends in the difference of large terms loses it in half precision: weights of the paper's network that undid
its own sigmoid with terms of 283 were 33 dB from float32 all in half, and 67 dB with the last two convolutions in float32.
Where an attention selects sharply between two frames it is the features in front of it: weights of the same network were
49 dB on a checkerboard all in half, and 70 dB with the encoder's last convolution, and so the attention behind it, in
float32. A network that selects gently needs no island (68 dB).
"""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ufafuse.export.graphs import Graph
from ufafuse.export.half import Islands, convolutions
from ufafuse.export.signatures import graph_kind
from ufafuse.export.synthetic import STRESS_SIZE, stress_frames, synthetic_pair
from ufafuse.network.base import Network
from ufafuse.runtime.arrays import Bytes
from ufafuse.runtime.checks.tolerances import psnr
from ufafuse.runtime.errors import ModelError
from ufafuse.runtime.frames import check_pair
from ufafuse.runtime.packing import to_planes

TARGET_DB = 60.0  # ten above what fp16 must reach: synthetic pairs stand for all pairs
_SIZES = ((96, 96), (97, 131))
_STRESS_BONUS_DB = 6.0  # frames that no camera gives need hold four above only


def choose_islands(net: Network, *, target_db: float = TARGET_DB) -> Islands:
    """Leave the fewest convolutions in float32 with which the exported half graph reaches ``target_db``.

    It is measured for each convolution alone in half what it costs; then the costliest go back to float32 one by one. What
    lies behind a convolution follows its type: the graph is run as it will be exported, and only the convolutions in half
    are emulated (inputs, weights and results rounded; sums in float32, as GPUs do), which on a CPU would take minutes.

    Raises:
        ModelError: Even with every convolution in float32 the target is missed.
    """
    names = [name for name, _ in convolutions(net.for_inference())]
    pairs = [_planes(*synthetic_pair(*size, seed=seed)) for seed, size in enumerate(_SIZES)]
    pairs += [_planes(*frames) for frames in stress_frames(*STRESS_SIZE).values()]
    with torch.inference_mode():
        expected = [net(*pair) for pair in pairs]

        def reached(wide: Collection[str]) -> float:
            return _worst(half_graph(net, [name for name in names if name in wide]), pairs, expected)

        without = reached(())
        if without >= target_db:
            return Islands((), round(without, 2), round(without, 2))
        alone = {name: reached([other for other in names if other != name]) for name in names}
        costliest = sorted(names, key=alone.__getitem__)
        for count in range(1, len(names) + 1):
            wide = costliest[:count]
            if (with_islands := reached(wide)) >= target_db:
                in_order = tuple(name for name in names if name in wide)
                return Islands(in_order, round(without, 2), round(with_islands, 2))
    raise ModelError(f"{net.spec.name} cannot be exported in half precision: {without:.1f} dB, {target_db:.0f} are needed.")


def half_graph(net: Network, wide: Sequence[str]) -> Graph:
    """The graph that is exported with these islands, its convolutions in half emulated in float32."""
    graph = graph_kind("whole", net.spec)(net, half=Islands(tuple(wide), 0, 0))
    for _, conv in convolutions(graph.net):
        if conv.weight.dtype == torch.float16:
            conv.float()
            conv.register_forward_pre_hook(_round_input)
            conv.register_forward_hook(lambda _, __, result: result.to(torch.float16))
    return graph


def _round_input(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
    return (inputs[0].to(torch.float16).to(torch.float32),)


def _planes(near: Bytes, far: Bytes) -> tuple[Tensor, Tensor]:
    kind = check_pair(near, far)
    return torch.from_numpy(to_planes(near, kind)), torch.from_numpy(to_planes(far, kind))


def _worst(graph: Graph, pairs: Sequence[tuple[Tensor, Tensor]], expected: Sequence[Tensor]) -> float:
    """Worst PSNR in dB of the synthetic pairs and, with their bonus, the extreme ones that follow them."""
    worst = float("inf")
    for index, (pair, wanted) in enumerate(zip(pairs, expected, strict=True)):
        error = graph(*pair)[0] - wanted
        reached = psnr(float((error * 255).square().mean())) if error.isfinite().all() else 0.0
        worst = min(worst, reached + (_STRESS_BONUS_DB if index >= len(_SIZES) else 0.0))
    return worst
