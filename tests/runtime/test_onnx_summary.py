"""ONNX files in short: what cannot be one is a sentence."""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ufafuse.runtime.errors import ModelError
from ufafuse.runtime.models import FOLDER
from ufafuse.runtime.onnx_summary import Summary, summary_of

HEAD = (FOLDER / "ufa-nano.onnx").read_bytes()[:3000]


@given(st.binary(max_size=60) | st.tuples(st.integers(0, 2999), st.binary(min_size=1, max_size=6)))
@example(b"")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_graph_in_short_or_a_sentence(tmp_path, given_bytes):
    at, put = given_bytes if isinstance(given_bytes, tuple) else (0, None)
    path = tmp_path / "x.onnx"
    path.write_bytes(given_bytes if put is None else HEAD[:at] + put + HEAD[at + len(put) :])
    try:
        assert isinstance(summary_of(path), Summary)
    except ModelError as error:
        assert str(path) in str(error)


def test_a_bundled_file_in_short():
    found = summary_of(FOLDER / "ufa-nano.onnx")
    assert {port.name for port in found.inputs} == {"near", "far"}
    assert found.operators["Conv"] > 5
    with pytest.raises(ModelError, match="truncated or no ONNX file"):
        summary_of(FOLDER / "ufa-nano.safetensors")
