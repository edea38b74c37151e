"""From a graph module to an ONNX message: torch's dynamo exporter, and the few things it has to be told."""

import contextlib
import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ufafuse.export.form import OPSET
from ufafuse.export.opsets import TRACED_FROM
from ufafuse.runtime.errors import ModelError

if TYPE_CHECKING:
    import onnx


def trace(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: list[str],
    free: Mapping[str, Mapping[int, str]],
    opset: int = OPSET,
) -> "onnx.ModelProto":
    """Export ``module`` with free dimensions.

    Args:
        module: In evaluation mode.
        inputs: Example tensors by input name, in the order of ``forward``. Free dimensions must be greater than one and
            differ from each other, or the exporter takes them for constants.
        outputs: Names of the outputs.
        free: For each input its free dimensions: position -> name. Equal names are one dimension; others are fixed.
        opset: Of the operators; one that is older than the exporter's oldest comes as that, see `ufafuse.export.opsets`.

    Returns:
        An ``onnx.ModelProto`` whose inputs have these dimension names.

    Raises:
        ModelError: The exporter fixed a dimension that was to be free, or told two apart that were to be one.
    """
    with _quiet():
        program = program_of(module, inputs, free)
        exported = torch.onnx.export(
            program,
            (),
            dynamo=True,
            input_names=list(inputs),
            output_names=outputs,
            opset_version=max(opset, TRACED_FROM),
            verbose=False,
        )
    assert exported is not None  # it is None only when the exporter writes a file itself
    model = exported.model_proto
    _strip_notes(model)
    _name_dims(model, free)
    _keep_maxima_in_half(model)
    return model


def program_of(
    module: nn.Module, inputs: Mapping[str, Tensor], free: Mapping[str, Mapping[int, str]]
) -> torch.export.ExportedProgram:
    """The steps of ``module`` as they are exported; arguments as `trace`."""
    dynamic: list[Any] = [dict.fromkeys(dims, torch.export.Dim.DYNAMIC) for dims in free.values()]
    kinds = [parameter.kind for parameter in inspect.signature(module.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:  # *args: the exporter wants all of them as one
        own = len(kinds) - 1
        dynamic[own:] = [tuple(dynamic[own:])]
    with _quiet():
        program = torch.export.export(module, tuple(inputs.values()), dynamic_shapes=tuple(dynamic))
    _tidy(program)
    return program


def renumbered(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The steps with the numbers that the exporter gives them: those whose results nothing takes have none."""
    with _quiet():
        return program.run_decompositions({})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of every operator of packages that are not installed; none is ours."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _tidy(program: torch.export.ExportedProgram) -> None:
    """Write what the sizes make of two operators back as what they mean.

    Bilinear doubling arrives as a resize to a computed size, which TensorRT's shape inference loses track of ("shape[2] is
    negative"); as a constant scale it needs none. Padding by nothing is left out.
    """
    graph = program.graph
    for node in list(graph.nodes):
        if node.target == torch.ops.aten.upsample_bilinear2d.vec:
            source, _, align_corners, *_ = node.args
            before, after = source.meta["val"].shape, node.meta["val"].shape
            node.args = (source, None, align_corners, [_factor(before[i], after[i]) for i in (2, 3)])
        elif node.target == torch.ops.aten.pad.default and not any(node.args[1]):
            node.replace_all_uses_with(node.args[0])
    graph.eliminate_dead_code()
    program.graph_module.recompile()


def _factor(before: Any, after: Any) -> float:  # noqa: ANN401 - int or torch.SymInt
    """The constant ratio of two sizes that may be symbolic."""
    # The symbols' expressions: dividing the sizes themselves would give the ratio at the example's size.
    top, bottom = (size.node.expr if isinstance(size, torch.SymInt) else size for size in (after, before))
    ratio = top / bottom
    try:
        return float(ratio)
    except TypeError as error:
        raise ModelError(f"the network resizes by {ratio}: only constant factors can be exported.") from error


def _strip_notes(model: "onnx.ModelProto") -> None:
    """Leave out the stack traces that the exporter writes into every node: half of a small file, and paths of the maker."""
    for message in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        del message.metadata_props[:]
        message.doc_string = ""


def _name_dims(model: "onnx.ModelProto", free: Mapping[str, Mapping[int, str]]) -> None:
    """Rename the exporter's symbols; every name must stand for one symbol of its own."""
    symbols: dict[str, str] = {}
    for value in model.graph.input:
        for position, name in free[value.name].items():
            dim = value.type.tensor_type.shape.dim[position]
            if not dim.dim_param:
                raise ModelError(f"the exporter fixed {name} of input {value.name} to {dim.dim_value}: it must be free.")
            if symbols.setdefault(name, dim.dim_param) != dim.dim_param:
                raise ModelError(f"the exporter lets {name} of input {value.name} differ from the other inputs'.")
    if len(set(symbols.values())) != len(symbols):
        raise ModelError(f"the exporter took two of {', '.join(symbols)} for one dimension.")
    names = {symbol: name for name, symbol in symbols.items()}
    del model.graph.value_info[:]  # inferred again below, by the new names
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = names.get(dim.dim_param, dim.dim_param)


def _keep_maxima_in_half(model: "onnx.ModelProto") -> None:
    """Take out the casts to float32 and back that the exporter puts around a maximum, whole feature maps wide.

    They would be there for sums; a maximum is exact in any type.
    """
    import onnx

    graph = model.graph
    made_by = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        if node.op_type != "Cast" or made_by.get(node.input[0]) is None:
            continue
        top = made_by[node.input[0]]
        if top.op_type != "ReduceMax" or node.attribute[0].i != onnx.TensorProto.FLOAT16:
            continue
        widened = made_by.get(top.input[0])
        if widened is not None and widened.op_type == "Cast":
            top.input[0] = widened.input[0]
            node.op_type = "Identity"
            del node.attribute[:]
