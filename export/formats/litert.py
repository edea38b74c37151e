"""LiteRT (formerly TensorFlow Lite), by its makers' converter of PyTorch programs."""

from importlib import import_module
from pathlib import Path

import torch

from ufafuse.export.formats.base import SourceGraph, hushed

_SPLITS = (torch.ops.aten.split_with_sizes.default, torch.ops.aten.split.Tensor)


def convert(source: SourceGraph, out: Path) -> None:
    """Write ``out``; its one signature has the graph's tensors in their order."""
    with hushed(), torch.no_grad():
        import_module("litert_torch").convert(_without_whole_parts(source), source.examples()).export(str(out))


def _without_whole_parts(source: SourceGraph) -> torch.nn.Module:
    """The graph without splits into a single part, which a network of one scale has: litert-torch 0.10 takes none."""
    program = source.program()
    graph = program.graph
    for node in list(graph.nodes):
        if node.target in _SPLITS and len(node.meta["val"]) == 1:
            for part in list(node.users):
                part.replace_all_uses_with(node.args[0])
                graph.erase_node(part)
            graph.erase_node(node)
    program.graph_module.recompile()
    return program.module()
