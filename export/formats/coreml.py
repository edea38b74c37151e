"""Core ML: ``X.mlpackage``, a folder, for Macs and iPhones. It converts anywhere and predicts on Apple's systems only."""

import logging
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ufafuse.export.formats.base import SourceGraph, hushed
from ufafuse.runtime.errors import ModelError

_FLOAT32 = 65568  # ArrayFeatureType.FLOAT32 of Core ML's messages


def convert(source: SourceGraph, out: Path) -> None:
    """Write ``out``, an ML program, and check its description: that its tensors are the graph's."""
    with hushed(logging.ERROR):
        _write(source, out)


def _write(source: SourceGraph, out: Path) -> None:
    ct: Any = import_module("coremltools")
    known, manifest = source.signature, source.manifest
    program = _without_aliases(source.program().run_decompositions({}))
    model: Any = ct.convert(
        program,
        convert_to="mlprogram",
        inputs=[ct.TensorType(name, tuple(each.shape), dtype=np.float32) for name, each in known.inputs.items()],
        outputs=[ct.TensorType(name, dtype=np.float32) for name in known.outputs],
        compute_precision=ct.precision.FLOAT16 if source.half else ct.precision.FLOAT32,
        minimum_deployment_target=ct.target.iOS16,
    )
    model.short_description = f"{manifest.variant}: multi-focus image fusion, {manifest.role} graph"
    model.user_defined_metadata.update(manifest.to_metadata())
    check_spec(model.get_spec(), source)
    model.save(str(out))


def _without_aliases(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Leave out what gives a tensor a second name: coremltools 9 knows no such step."""
    graph = program.graph
    for node in list(graph.nodes):
        if node.target == torch.ops.aten.alias.default:
            program.graph_signature.replace_all_uses(node.name, node.args[0].name)
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    program.graph_module.recompile()
    return program


def check_spec(spec: Any, source: SourceGraph) -> None:  # noqa: ANN401 - protobuf's
    """Hold what the file says of itself against the graph. Raises: ModelError."""
    found = {each.name: each.type.multiArrayType for each in spec.description.input}
    wanted = {name: list(each.shape) for name, each in source.signature.inputs.items()}
    shapes = {name: list(kind.shape) for name, kind in found.items()}
    outputs = [each.name for each in spec.description.output]
    if shapes != wanted or sorted(outputs) != sorted(source.signature.outputs):
        raise ModelError(f"Core ML's file takes {shapes} and gives {outputs}: {wanted} was exported.")
    if any(kind.dataType != _FLOAT32 for kind in found.values()):
        raise ModelError("Core ML's file takes other types than float32: export it again.")
