"""ONNX files whose graph is no longer the one that they were written with."""

import json
import shutil

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.export.onnx_file import load_graph, stamped
from ufafuse.runtime.artefact import METADATA_KEY, check_graph, read_manifest
from ufafuse.runtime.errors import ModelError
from ufafuse.runtime.models import FOLDER
from ufafuse.runtime.onnx_walk import fields
from ufafuse.runtime.session import open_session

GRAPH = 7  # the field of a ModelProto
SAMPLE = [f"examples/sample_{side}.png" for side in "AB"]


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / "ufa-nano.onnx"
    shutil.copy(FOLDER / path.name, path)
    return path


def changed(path):
    """Scale the first weights, as a program would that knows nothing of the manifest."""
    model = onnx.load(path)
    first = next(each for each in model.graph.initializer if len(each.dims) == 4)
    first.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(first) * np.float32(1.05), first.name))
    onnx.save(model, path)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.onnx")), ids=lambda path: path.name)
def test_bundled_files_tell_of_their_graph(path):
    manifest = read_manifest(path)
    assert len(manifest.extra["graph_sha256"]) == 64
    check_graph(path, manifest)


def test_any_flipped_bit_of_the_graph_is_refused(whole):
    data = whole.read_bytes()
    start, end = next((start, end) for number, start, end in fields(data, 0, len(data)) if number == GRAPH)
    rng = np.random.default_rng(3)
    manifest = read_manifest(whole)
    for at in rng.integers(start, end, 40):
        damaged = bytearray(data)
        damaged[at] ^= 1 << rng.integers(8)
        whole.write_bytes(damaged)
        with pytest.raises(ModelError, match="was damaged, or changed by another program"):
            check_graph(whole, manifest)


def test_it_is_looked_at_when_a_file_is_opened(whole):
    changed(whole)
    with pytest.raises(ModelError, match=r"ufa-nano\.onnx was damaged"):
        open_session(whole)


@pytest.mark.parametrize(
    "words",
    [
        ["fuse", *SAMPLE, "--model", "MODEL", "-o", "OUT.png"],
        ["calibrate", "MODEL", "--pairs", "examples", "-o", "OUT.onnx"],
        ["build", "MODEL", "--static", "64x64", "-o", "OUT.engine"],
    ],
    ids=lambda words: words[0],
)
def test_a_changed_graph_is_refused_before_anything_is_written(words, whole, tmp_path):
    changed(whole)
    there = {path.name for path in tmp_path.iterdir()}
    places = {"MODEL": str(whole)} | {f"OUT{end}": str(tmp_path / f"out{end}") for end in (".png", ".onnx", ".engine")}
    done = CliRunner().invoke(build_app(), [places.get(word, word) for word in words])
    assert done.exit_code == 2
    assert "was damaged, or changed by another program" in " ".join(done.output.split())
    assert {path.name for path in tmp_path.iterdir()} == there


def test_what_is_said_of_a_file_may_change(whole):
    model = load_graph(whole)
    model.doc_string = "ours"
    model.metadata_props.add(key="line", value="3")
    onnx.save(model, whole)
    open_session(whole).close()


def test_a_file_of_an_older_version_is_not_looked_at(whole):
    model = load_graph(whole)
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            values = json.loads(entry.value)
            del values["extra"]["graph_sha256"]
            entry.value = json.dumps(values)
    onnx.save(model, whole)
    changed(whole)
    open_session(whole).close()


def test_changed_on_purpose_it_can_be_stamped_anew(whole):
    changed(whole)
    whole.write_bytes(stamped(load_graph(whole)))
    open_session(whole).close()
