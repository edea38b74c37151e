"""Reading ONNX files, with one clear error for a broken one."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ufafuse.export.profiles import FREE_DIMS, is_free
from ufafuse.runtime.artefact import METADATA_KEY
from ufafuse.runtime.errors import InputError, ModelError

if TYPE_CHECKING:
    import onnx


def load_graph(path: Path) -> "onnx.ModelProto":
    """The file as an ``onnx.ModelProto``.

    Raises:
        InputError: There is no such file.
        ModelError: It is truncated or no ONNX.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if not path.is_file():
        raise InputError(f"{path} is not a file: give an .onnx file.")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except DecodeError as error:
        raise ModelError(f"{path} is truncated or no ONNX file ({error}): export it again.") from error
    if not model.graph.node:
        raise ModelError(f"{path} holds an empty graph: export it again.")
    return model


def stamped(model: "onnx.ModelProto") -> bytes:
    """The bytes of a file whose manifest tells by its ``graph_sha256`` whether the graph is still this one; see `check_graph`.

    Args:
        model: With a manifest, which is changed in place.
    """
    digest = hashlib.sha256(model.graph.SerializeToString()).hexdigest()
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            values = json.loads(entry.value)
            values["extra"]["graph_sha256"] = digest
            entry.value = json.dumps(values, sort_keys=True)
    return bytes(model.SerializeToString())


def graph_inputs(path: Path) -> dict[str, list[int | str]]:
    """Dimensions of each graph input: a number, or the name of a free one (`ufafuse.export.profiles.is_free`).

    Raises:
        ModelError: The file is no ONNX, or has a free dimension of another name.
    """
    inputs: dict[str, list[int | str]] = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in load_graph(path).graph.input
    }
    strange = {dim for dims in inputs.values() for dim in dims if isinstance(dim, str) and not is_free(dim)}
    if strange:
        raise ModelError(f"{path} has free dimensions {sorted(strange)}: only {', '.join(FREE_DIMS)} can be profiled.")
    return inputs
