"""Where the time of a network goes: layers from each engine's counters, their kinds, their limits, tables and plots."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ufafuse.benchmarks.speed import bench as bench_module
from ufafuse.benchmarks.speed import layer_tables, peaks
from ufafuse.benchmarks.speed.bench import bench
from ufafuse.benchmarks.speed.inputs import graph_inputs
from ufafuse.benchmarks.speed.layers import arithmetic_of, counted, group_of, profile_entry
from ufafuse.benchmarks.speed.opening import open_runner
from ufafuse.benchmarks.speed.plan import Plan
from ufafuse.benchmarks.speed.runners import RunnerSpec
from ufafuse.benchmarks.speed.work import count_work
from ufafuse.commands import bench as commands
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import BackendError
from ufafuse.runtime.images import read_image
from ufafuse.runtime.layers import Layer, Port, operations_of, type_named
from ufafuse.runtime.manifest_entries import STACK_ROLES
from ufafuse.runtime.models import model_path
from ufafuse.runtime.session import SessionOptions, open_session

SIZE = (32, 48)
PIXELS = SIZE[0] * SIZE[1]
PEAKS = {"gemm": {"fp32": {"gops": 100.0, "by": "x"}, "int8": {"gops": 400.0, "by": "x"}}, "copy_gbs": 10.0}
ENGINES = ("openvino", "onnxruntime")


@pytest.fixture(params=ENGINES)
def engine(request):
    pytest.importorskip(request.param)
    return request.param


@pytest.fixture
def quick_peaks(monkeypatch):
    monkeypatch.setattr(peaks, "_SIDE", 64)
    monkeypatch.setattr(peaks, "_COPY_MIB", 1)
    monkeypatch.setattr(peaks, "_REPEATS", 1)


def layer(kind="Conv", ms=1.0, inputs=(), outputs=(), operations=0.0):
    return Layer(f"a {kind}", kind, "", [ms], inputs, outputs, operations)


def test_the_operations_of_a_network_are_those_counted_from_its_graph(tiny_onnx, engine):
    runner = open_runner(RunnerSpec("session", str(tiny_onnx), engine, "fp32", threads=1))
    layers, plain = counted(runner, runner.inputs(SIZE), 3)
    runner.close()
    assert all(len(found.times_ms) == 3 for found in layers)
    assert plain["runs"] == 3
    # ONNX Runtime pads channels to what its kernels take, and computes the padding too.
    assert sum(found.operations for found in layers) >= count_work(tiny_onnx, SIZE).flop
    groups = {group_of(found) for found in layers}
    assert "convolution" in groups
    assert groups <= {"convolution", "element-wise", "moving", "change of layout", "change of type"}
    convolutions = [found for found in layers if group_of(found) == "convolution"]
    assert len(convolutions) == 2
    assert {arithmetic_of(found) for found in convolutions} == {"fp32"}


def test_counting_leaves_results_and_session_as_they_are(tiny_onnx, engine):
    with open_session(tiny_onnx, backend=engine, options=SessionOptions(precision="fp32", threads=1)) as session:
        inputs = graph_inputs(session.manifest, "float", SIZE)
        before = session.infer(inputs)["fused"]
        calls = []
        layers = session.layers(inputs, runs=2, before=lambda: calls.append(session.run(**inputs)))
        assert len(calls) == 2
        assert all((fused == before).all() for fused in calls)
        assert sum(found.ms for found in layers) > 0
    with pytest.raises(BackendError, match="closed"):
        session.infer(inputs)


def test_a_closed_openvino_session_has_no_layers(tiny_onnx):
    pytest.importorskip("openvino")
    session = open_session(tiny_onnx, backend="openvino")
    inputs = graph_inputs(session.manifest, "float", SIZE)
    session.close()
    with pytest.raises(BackendError, match="was closed"):
        session.layers(inputs, runs=1)


def test_onnx_runtimes_launches_on_a_gpu_are_not_sold_as_times(tiny_onnx, monkeypatch):
    pytest.importorskip("onnxruntime")
    session = open_session(tiny_onnx, backend="onnxruntime")
    monkeypatch.setattr(session, "_options", SessionOptions(provider="cuda"))
    with pytest.raises(BackendError, match="time the launches of the cuda provider's kernels"):
        session.layers(graph_inputs(session.manifest, "float", SIZE), runs=1)


@pytest.mark.parametrize("role", ["encode", "common", "score", "tile", "means"])
def test_graphs_for_stacks_and_tiles_are_given_what_they_take(role, engine):
    path = model_path("ufa-stack" if role in STACK_ROLES else "ufa-edge")
    path = path.with_name(f"{path.stem}.{role}.onnx")
    if not path.is_file():
        pytest.skip(f"{path.name} is not bundled here")
    assert read_manifest(path).role == role
    runner = open_runner(RunnerSpec("session", str(path), engine, "fp32", threads=1))
    layers, _ = counted(runner, runner.inputs((64, 50)), 1)
    runner.close()
    assert not runner.fuses
    work = count_work(path, (64, 50))
    assert sum(found.operations for found in layers) >= 0.99 * work.flop > 0
    assert work.io_bytes > 64 * 50 * 3 * 4


KINDS = {
    "convolution": "Conv FusedConv QLinearConv Convolution GroupConvolution Deconvolution CaskConvolution NhwcFusedConv",
    "matrix product": "MatMul Gemm FullyConnected MatMulInteger MatrixMultiply",
    "element-wise": "Add Mul Subgraph Eltwise LeakyRelu Sigmoid Math PointWise Where",
    "reduction": "ReduceMax ReduceMean Reduce GlobalAveragePool",
    "pooling": "MaxPool AveragePool Pooling",
    "change of layout": "Reorder ReorderInput Transpose Shuffle Reformat",
    "change of type": "Cast Convert",
    "moving": "Concat Concatenation Slice StridedSlice Pad DepthToSpace Split",
    "resizing": "Interpolate Resize Upsample",
    "quantising": "QuantizeLinear DequantizeLinear FakeQuantize",
    "Einstein": "Einstein",
}


@pytest.mark.parametrize(("group", "words"), KINDS.items(), ids=KINDS)
def test_each_engines_words_for_a_kind_of_layer(group, words):
    ports = [Port((1, 3, 8, 8), "fp32")]
    for word in words.split():
        assert group_of(layer(word, inputs=ports, outputs=ports)) == group


def test_arithmetic_on_sizes_is_no_work_on_pictures():
    few, picture = Port((8,), "int64"), Port((1, 3, 8, 8), "fp32")
    assert group_of(layer("Concat", inputs=[few], outputs=[few])) == "shapes"
    assert group_of(layer("Shape", inputs=[picture], outputs=[few])) == "shapes"
    assert group_of(layer("Concat", inputs=[picture], outputs=[picture])) == "moving"


@pytest.mark.parametrize(
    ("kind", "weights", "expected"),
    [
        ("Conv", (8, 4, 3, 3), 2 * 8 * 10 * 10 * 4 * 9),
        ("GroupConvolution", (4, 2, 1, 3, 3), 2 * 8 * 10 * 10 * 1 * 9),
        ("Deconvolution", (4, 8, 2, 2), 2 * 4 * 10 * 10 * 8 * 4),
        ("Convert", (8, 4, 3, 3), 0),
        ("Add", (8, 4, 3, 3), 0),
    ],
)
def test_the_operations_of_one_layer(kind, weights, expected):
    data, result = Port((1, 4, 10, 10), "fp32"), Port((1, 8, 10, 10), "fp32")
    assert operations_of(kind, [data, Port(weights, "fp32")], [result]) == expected
    assert operations_of(kind, [data], [result]) == 0


def test_the_operations_of_a_matrix_product():
    assert operations_of("MatMul", [Port((5, 7), "fp32"), Port((7, 3), "fp32")], [Port((5, 3), "fp32")]) == 2 * 5 * 3 * 7


def test_a_layers_limit_is_the_longer_of_its_operations_and_its_bytes():
    small, large = Port((1, 1, 10, 10), "uint8"), Port((1, 1, 1000, 1000), "fp32")
    layers = [
        layer("Conv", 4.0, [small], [small], 4e8),  # 1 ms at 400 GOP/s
        layer("Add", 2.0, [large], [large]),  # 8 MB: 0.8 ms at 10 GB/s
        layer("Sub", 2.0, [large], [large]),
    ]
    entry = profile_entry(layers, {"p50_ms": 9.0}, PEAKS)
    assert (entry["layers_ms"], entry["limit_ms"], entry["of_limit"]) == (8.0, 2.6, 0.325)
    assert [(kind["kind"], kind["ms"], kind["share"], kind["limit_ms"], kind["bound"]) for kind in entry["kinds"]] == [
        ("convolution int8", 4.0, 0.5, 1.0, "compute"),
        ("element-wise", 4.0, 0.5, 1.6, "memory"),
    ]
    assert "the layers take 8.00 ms, between them 1.00; at this machine's limit" in layer_tables.summary(entry)


def test_what_an_engine_does_not_tell_has_no_limit():
    entry = profile_entry([layer("layer", 2.0)], {"p50_ms": 1.0}, PEAKS)
    assert entry["limit_ms"] is entry["of_limit"] is entry["kinds"][0]["bound"] is None
    assert "Counting slowed the run" in layer_tables.summary(entry)
    half = Port((1, 8, 4, 4), "fp16")
    unknown = profile_entry([layer("Conv", 2.0, [half], [half], 1e9)], {"p50_ms": 3.0}, PEAKS)
    assert unknown["limit_ms"] is None  # no peak of half was measured
    assert unknown["kinds"][0]["kind"] == "convolution fp16"
    without = profile_entry([layer("Conv", 2.0, [half], [half], 1e9)], {"p50_ms": 3.0}, None)
    assert without["limit_ms"] is None


def test_types_by_every_engines_words():
    assert [type_named(word) for word in ("f32", "float", "Half", "u8", "boolean", "Odd")] == [
        *("fp32", "fp32", "fp16", "uint8", "bool"),
        "odd",
    ]
    assert Port((2, 3), "int4").bytes == 3


def test_the_command_profiles_and_its_report_shows_it(tiny_onnx, tiny_int8_onnx, quick_peaks, tmp_path):
    pytest.importorskip("openvino")
    app = typer.Typer()
    commands.register(app)
    arguments = ["bench", tiny_onnx, tiny_int8_onnx, "--profile", "--size", "32x48", "--seconds", 0.1, "--runs", 3]
    answer = CliRunner().invoke(app, [*map(str, arguments), "--json", "--report", str(tmp_path / "out")])
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    schema = json.loads(Path(bench_module.__file__).with_name("schema.json").read_text())
    pytest.importorskip("jsonschema").validate(found, schema)
    assert len(found["profiles"]) == len(found["rows"])
    assert {row["group"] for row in found["rows"]} == {"ours"}
    assert all(row["cold_ms"] is None for row in found["rows"])
    for profile in found["profiles"]:
        assert sum(kind["share"] for kind in profile["kinds"]) == pytest.approx(1, abs=0.01)
        assert sum(kind["layers"] for kind in profile["kinds"]) == len(profile["layers"])
    assert min(read_image(tmp_path / "out" / "layers.png").shape[:2]) > 100
    text = (tmp_path / "out" / "report.md").read_text()
    assert "### tiny.onnx on openvino" in text
    assert "| convolution fp32 |" in text


def test_an_engine_without_counters_is_a_note(tiny_onnx, quick_peaks, monkeypatch):
    def refuse(*_, **__):
        raise BackendError("no counters here.")

    monkeypatch.setattr("ufafuse.benchmarks.speed.runners.SessionRunner.layers", refuse)
    plan = Plan([tiny_onnx], [SIZE], ("onnxruntime",), peers=False, seconds=0.01, most_runs=3, cold=False, profile=True)
    found = bench(plan)
    assert found["profiles"] == []
    assert [entry["reason"] for entry in found["skipped"]] == ["layers: no counters here."]
