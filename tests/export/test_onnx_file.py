"""Reading ONNX files that may be anything."""

import pytest

from ufafuse.export.onnx_file import graph_inputs, load_graph
from ufafuse.runtime.errors import InputError, ModelError


def test_inputs_are_read_with_their_free_dimensions(exports):
    assert graph_inputs(exports / "small.tile.onnx") == {
        "near": ["batch", 3, "height", "width"],
        "far": ["batch", 3, "height", "width"],
        "means_near": ["batch", 10],
        "means_far": ["batch", 10],
    }
    assert graph_inputs(exports / "small.means.onnx")["mask"] == ["batch", 1, "height", "width"]


def test_broken_files_are_refused(tmp_path, exports):
    with pytest.raises(InputError, match="not a file"):
        load_graph(tmp_path / "none.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes((exports / "small.onnx").read_bytes()[:-7])
    with pytest.raises(ModelError, match="truncated"):
        load_graph(broken)
    broken.write_bytes(b"")
    with pytest.raises(ModelError, match="empty"):
        load_graph(broken)


def test_free_dimensions_of_other_names_cannot_be_profiled(tmp_path, exports):
    import onnx

    model = load_graph(exports / "small.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "rows"
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(ModelError, match="rows"):
        graph_inputs(tmp_path / "odd.onnx")
