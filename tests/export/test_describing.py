"""People who open a file in a viewer read what it is, whose, and under which licence."""

import onnx
import pytest

from ufafuse.export.describing import describe
from ufafuse.export.form import FREE
from ufafuse.export.onnx_export import graph_manifest
from ufafuse.export.signatures import signature
from ufafuse.network.spec import SPECS, find_spec
from ufafuse.network.weights import build_model, save_weights
from ufafuse.runtime.artefact import METADATA_KEY, Manifest, read_manifest
from ufafuse.runtime.manifest_entries import STACK_ROLES
from ufafuse.runtime.models import FOLDER, learnt_from


def test_an_exported_file_says_what_it_is(exports):
    model = onnx.load(exports / "small.onnx")
    assert "two frames of one scene" in model.doc_string
    assert "10.1109/TIM.2021.3072124" in model.doc_string
    assert model.producer_name == "ufafuse"
    entries = {entry.key: entry.value for entry in model.metadata_props}
    assert entries["license"] == "Apache-2.0"
    assert entries.keys() >= {METADATA_KEY, "author", "paper"}
    assert read_manifest(exports / "small.onnx").variant == "small"
    for value in (*model.graph.input, *model.graph.output):
        assert value.doc_string


ROLES = [(name, role) for name, spec in SPECS.items() for role in (STACK_ROLES if spec.gathers else ("means", "tile"))]


@pytest.mark.parametrize("io", ["float", "uint8"])
@pytest.mark.parametrize(("name", "role"), [*ROLES, *((name, "whole") for name in SPECS)])
def test_every_input_and_output_of_every_graph_has_words(name, role, io):
    known = signature(role, io, SPECS[name])
    model = onnx.ModelProto()
    for names, into in ((known.inputs, model.graph.input), (known.outputs, model.graph.output)):
        for value in names:
            into.add(name=value)
    describe(model, Manifest("onnx", name, "fp32", io, extra={"role": role}))
    texts = [value.doc_string for value in (*model.graph.input, *model.graph.output)]
    assert all(texts)
    assert "{" not in "".join([*texts, model.doc_string])


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.onnx")), ids=lambda path: path.name)
def test_every_bundled_file_says_what_it_is_and_what_it_learnt_from(path):
    model = onnx.load(path)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    learnt = learnt_from(path.name.split(".")[0].removesuffix("-int8"))
    assert model.doc_string and all(value.doc_string for value in (*model.graph.input, *model.graph.output))
    assert entries["license"] == "Apache-2.0" and entries["author"] and entries["paper"]
    assert entries["trained_on"] == read_manifest(path).extra["data"] == learnt


def test_what_weights_learnt_from_is_in_what_is_exported(tmp_path):
    net = build_model(find_spec("ufa-nano"))
    weights = tmp_path / "w.safetensors"
    save_weights(net, weights, extra={"data": "three photographs"})
    assert graph_manifest(net, weights, "float", None, FREE).extra["data"] == "three photographs"
