"""What goes into each graph and what comes out: names, example tensors, and which dimensions are free."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ufafuse.export.form import FREE, Form
from ufafuse.export.graphs import Graph, Io, MeansGraph, RivalGraph, TileGraph, WholeGraph
from ufafuse.export.profiles import reduced
from ufafuse.export.stack_graphs import CommonGraph, EncodeGraph, PairGraph, ScoreGraph
from ufafuse.network.spec import RivalSpec, Spec

# Odd, unequal and above one: a size that is like another, or one, is taken for a constant by the exporter.
_BATCH, _HEIGHT, _WIDTH = 2, 67, 93

Dims = dict[int, str]


@dataclass(frozen=True)
class Signature:
    """A graph's inputs and outputs.

    Args:
        inputs: Example tensors by name, in the order of ``forward``.
        free: Of each input the free dimensions: position -> name.
        outputs: By name, in order, the names of the free dimensions, in order.
    """

    inputs: dict[str, Tensor]
    free: dict[str, Dims]
    outputs: dict[str, tuple[str, ...]]


def graph_kind(role: str, spec: Spec) -> type[Graph]:
    """The module behind a role."""
    pairs: dict[str, type[Graph]] = {"whole": WholeGraph, "means": MeansGraph, "tile": TileGraph}
    if isinstance(spec, RivalSpec):
        pairs = {"whole": RivalGraph}
    stacks: dict[str, type[Graph]] = {"whole": PairGraph, "encode": EncodeGraph, "common": CommonGraph, "score": ScoreGraph}
    return (stacks if spec.gathers else pairs)[role]


def signature(role: str, io: Io, spec: Spec, form: Form = FREE) -> Signature:
    """The inputs and outputs of a role's graph, with those dimensions free that are not fixed by its form."""
    known = _signature(role, io, spec, form.batch or _BATCH, form.size or _example_size(spec))
    return Signature(
        known.inputs,
        {name: {at: dim for at, dim in dims.items() if not form.is_fixed(dim)} for name, dims in known.free.items()},
        {name: tuple(dim for dim in dims if not form.is_fixed(dim)) for name, dims in known.outputs.items()},
    )


def _signature(role: str, io: Io, spec: Spec, batch: int, size: tuple[int, int]) -> Signature:
    """That of a graph whose dimensions are all free, with examples of this batch and size."""
    height, width = size
    planes_dims = {0: "batch", 2: "height", 3: "width"}
    frame, frame_dims = torch.zeros(batch, 3, height, width), planes_dims
    if io == "uint8":
        frame, frame_dims = torch.zeros(batch, height, width, 3, dtype=torch.uint8), {0: "batch", 1: "height", 2: "width"}
    sized = tuple(planes_dims.values())
    if role == "encode":
        scales = range(len(spec.widths))
        sizes = [("batch", *(reduced(side, spec, scale) for side in ("height", "width"))) for scale in scales]
        names = [f"{what}_{scale}" for what in ("features", "attention") for scale in scales]
        return Signature({"frame": frame}, {"frame": frame_dims}, dict(zip(names, 2 * sizes, strict=True)))
    if role in ("common", "score"):
        planes = {"mean": torch.zeros(batch, 3, height, width), "count": torch.ones(batch, 1, height, width)}
        free = {"mean": planes_dims, "count": planes_dims}
        common, common_dims = _scales(spec, batch, size, "common")
        apart, apart_dims = _a_scale(spec, batch, size, 0, spec.fold**2)
        if role == "common":
            average, average_dims = _scales(spec, batch, size, "average")
            greatest, greatest_dims = _scales(spec, batch, size, "greatest")
            results = {name: tuple(dims.values()) for name, dims in {**common_dims, "stands_out": apart_dims}.items()}
            return Signature({**planes, **average, **greatest}, {**free, **average_dims, **greatest_dims}, results)
        features, features_dims = _scales(spec, batch, size, "features")
        given = {"frame": frame, **planes, "stands_out": apart, **features, **common}
        free = {"frame": frame_dims, **free, "stands_out": apart_dims, **features_dims, **common_dims}
        return Signature(given, free, {"weights": sized})
    if role == "means":
        mask = torch.ones(batch, 1, height, width)
        return Signature({"frame": frame, "mask": mask}, {"frame": frame_dims, "mask": planes_dims}, {"sums": ("batch",)})
    inputs, free = {"near": frame, "far": frame.clone()}, {"near": frame_dims, "far": frame_dims}
    if role == "tile":
        means = torch.zeros(batch, sum(spec.widths))
        inputs |= {"means_near": means, "means_far": means.clone()}
        free |= {"means_near": {0: "batch"}, "means_far": {0: "batch"}}
    return Signature(inputs, free, {"fused": sized, "map": sized})


def _example_size(spec: Spec) -> tuple[int, int]:
    """Where features are inputs, their sizes too must be unequal and above one."""
    return (2 * spec.stride + 3, 4 * spec.stride + 5) if spec.gathers else (_HEIGHT, _WIDTH)


def _scales(spec: Spec, batch: int, size: tuple[int, int], name: str) -> tuple[dict[str, Tensor], dict[str, Dims]]:
    """Features of every scale: examples, and which of their dimensions are free."""
    tensors, free = {}, {}
    for scale, channels in enumerate(spec.widths):
        tensors[f"{name}_{scale}"], free[f"{name}_{scale}"] = _a_scale(spec, batch, size, scale, channels)
    return tensors, free


def _a_scale(spec: Spec, batch: int, size: tuple[int, int], scale: int, channels: int) -> tuple[Tensor, Dims]:
    step = spec.fold * 2**scale
    sides = [-(-side // spec.stride) * spec.stride // step for side in size]
    return torch.zeros(batch, *sides, channels), {
        0: "batch",
        1: reduced("height", spec, scale),
        2: reduced("width", spec, scale),
    }
