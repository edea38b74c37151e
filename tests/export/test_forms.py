"""Opsets, fixed sizes and OpenCV: each form is made, loaded by every engine that is here, and gives PyTorch's result."""

import json

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.export import onnx_check
from ufafuse.export.form import LATEST, OPSET, Form, opset_from
from ufafuse.export.formats.npu import not_listed, operators_for
from ufafuse.export.onnx_export import onnx_from_weights
from ufafuse.export.opencv_session import OpenCvSession
from ufafuse.export.opsets import lowered
from ufafuse.export.synthetic import synthetic_pair
from ufafuse.export.verify import verify_against_weights
from ufafuse.network.weights import load_weights
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import BackendError, InputError, ModelError
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.onnx_summary import summary_of
from ufafuse.runtime.pictures.source import of_arrays
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.options import StackOptions

SIZE = (20, 28)


def name_of(form):
    return f"{form.opset}-{'static' if form.size else 'free'}-{form.batch}{'-opencv' if form.opencv else ''}"


OPSETS = (13, 17, OPSET, LATEST)
# By default one of each opset, of each kind of size, of each batch; the whole matrix with -m slow.
QUICK = [Form(13, SIZE, 1), Form(17, None, 4), Form(OPSET, SIZE, 4), Form(LATEST, None, 1)]
FORMS = [Form(opset, size, batch) for opset in OPSETS for size in (None, SIZE) for batch in (1, 4)]


def quick(forms, chosen):
    return [pytest.param(form, id=name_of(form), marks=() if form in chosen else pytest.mark.slow) for form in forms]


@pytest.fixture(scope="module")
def made(exports, gathering, tmp_path_factory):
    """Give the file of a form, made when it is first asked for, and checked by `onnx_from_weights`."""
    folder = tmp_path_factory.mktemp("forms")

    def make(form, which="small", **options):
        path = folder / f"{which}-{name_of(form)}-{'-'.join(options.values())}.onnx"
        source = exports / "small.safetensors" if which == "small" else gathering / "gathering.safetensors"
        if not path.is_file():
            onnx_from_weights(source, path, form=form, sizes=[(5, 9), SIZE], **options)
        return path

    return make


@pytest.fixture(scope="module")
def expected(exports):
    net = load_weights(exports / "small.safetensors")

    def results(batch):
        pairs = [synthetic_pair(*SIZE, seed=seed) for seed in range(batch)]
        near, far = (
            np.stack([np.ascontiguousarray(pair[side][..., ::-1].transpose(2, 0, 1)) for pair in pairs]).astype(np.float32)
            / 255
            for side in (0, 1)
        )
        with torch.inference_mode():
            return {"near": near, "far": far}, net(torch.from_numpy(near), torch.from_numpy(far)).numpy()

    return results


def in_onnxruntime(path, inputs):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(["fused"], inputs)[0]


def in_openvino(path, inputs):
    ov = pytest.importorskip("ufafuse.runtime.backends.openvino_api").ov
    compiled = ov.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    return compiled(inputs)[compiled.output("fused")]


def in_opencv(path, inputs):
    return OpenCvSession(path, read_manifest(path)).infer(inputs)["fused"]


@pytest.mark.parametrize("form", quick(FORMS, QUICK))
def test_every_form_runs_in_every_engine(form, made, expected):
    path = made(form)
    inputs, wanted = expected(form.batch)
    for run in (in_onnxruntime, in_openvino):
        assert np.abs(run(path, inputs) - wanted).max() < 1e-5, run.__name__


@pytest.mark.parametrize("form", quick(FORMS, QUICK))
def test_every_form_passes_tensorrts_parser(form, made):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX, whose parser is asked, is not installed")
    from ufafuse.export.builder import TensorRt
    from ufafuse.runtime.backends.tensorrt import vendor

    trt = TensorRt("tensorrt-rtx").trt
    logger = vendor.recorder(trt)
    network = trt.Builder(logger).create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(made(form).read_bytes()), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    assert {network.get_input(i).name for i in range(network.num_inputs)} == {"near", "far"}


@pytest.mark.parametrize(
    ("form", "which"), [(QUICK[0], "small"), (QUICK[1], "small"), (Form(17, SIZE, opencv=True), "gathering")]
)
def test_older_opsets_have_what_older_parsers_list(form, which, made):
    """JetPack 5 has TensorRT 8.5, which cannot be had here: its list of operators can."""
    path = made(form, which)
    for graph in path.parent.glob(f"{path.stem}*.onnx"):
        assert not_listed(onnx.load(graph), operators_for("tensorrt-8")) == []


@pytest.mark.parametrize("form", quick(FORMS, QUICK))
def test_a_file_says_what_form_it_has(form, made):
    path = made(form)
    model = onnx.load(path)
    assert [entry.version for entry in model.opset_import] == [form.opset]
    assert model.ir_version == onnx.helper.find_min_ir_version_for(model.opset_import)
    extra = read_manifest(path).extra
    assert (extra["opset"], extra["batch"], extra.get("static")) == (form.opset, form.batch, list(SIZE) if form.size else None)
    shape = (form.batch, 3, *(form.size or ("height", "width")))
    summary = summary_of(path)
    assert {port.name: port.shape for port in summary.inputs} == {"near": shape, "far": shape}
    assert [port.shape for port in summary.outputs] == [shape, (form.batch, 1, *shape[2:])]
    assert summary.opset == form.opset
    assert summary.operators["Conv"] == sum(node.op_type == "Conv" for node in model.graph.node)


@pytest.mark.parametrize("form", quick([Form(opset, SIZE, opencv=True) for opset in OPSETS], [Form(OPSET, SIZE, opencv=True)]))
def test_opencv_computes_what_was_made_for_it(form, made, expected):
    path = made(form)
    inputs, wanted = expected(1)
    assert np.abs(in_opencv(path, inputs) - wanted).max() < 1e-5
    assert np.abs(in_onnxruntime(path, inputs) - wanted).max() < 1e-5
    assert read_manifest(path).extra["opencv"] == cv2.__version__


@pytest.mark.parametrize("size", [pytest.param((3, 2), marks=pytest.mark.slow), (4, 9), (9, 1)])
def test_opencv_computes_frames_that_are_one_cell_of_the_coarsest_scale(size, exports, tmp_path):
    """Its resize reads beyond the end of a single row or column: what it gave was chance, or no number."""
    report = onnx_from_weights(exports / "small.safetensors", tmp_path / "x.onnx", form=Form(size=size, opencv=True))
    assert report["verified"]["x.onnx"]["opencv"]["worst"]["max_abs"] < 0.01


@pytest.mark.skipif(int(cv2.__version__.split(".")[0]) < 5, reason="OpenCV's dnn has no bytes before release 5")
def test_opencv_takes_bytes_too(made):
    path = made(Form(size=SIZE, opencv=True), io="uint8")
    report = json.loads(path.with_name(path.name + ".json").read_text())
    assert report["verified"][path.name]["opencv"]["worst"]["max_abs"] <= 1


STACKS = [Form(13), Form(17, SIZE), Form(OPSET, None, 4), Form(17, SIZE, opencv=True)]


@pytest.mark.parametrize("form", quick(STACKS, STACKS[-1:]))
def test_the_graphs_for_stacks_come_in_the_same_form(form, made):
    path = made(form, "gathering")
    report = json.loads(path.with_name(path.name + ".json").read_text())
    assert {check["role"] for check in report["verified"].values()} == {"whole", "encode", "common", "score"}
    for name, check in report["verified"].items():
        manifest = read_manifest(path.with_name(name))
        assert (manifest.extra["opset"], manifest.extra.get("batch")) == (form.opset, form.batch)
        assert ("opencv" in check) == form.opencv


@pytest.mark.parametrize("opset", [13, pytest.param(17, marks=pytest.mark.slow)])
def test_half_precision_goes_down_too(opset, made):
    assert summary_of(made(Form(opset), precision="fp16", io="uint8")).opset == opset


def test_a_fixed_file_is_verified_and_fused_at_its_own_size(made, exports):
    path = made(Form(13, SIZE))
    findings = verify_against_weights(path, exports / "small.safetensors", backend="onnxruntime")
    findings.require()
    assert {tuple(row["size"]) for row in findings.report["pairs"]} == {SIZE}
    with Fuser(path, backend="onnxruntime") as fuser:
        near, far = synthetic_pair(*SIZE)
        assert fuser.fuse(near, far).shape == near.shape
        with pytest.raises(InputError, match=r"20x28 only, these are 21x28.*of free sizes, exported without `static`"):
            fuser.fuse(*synthetic_pair(21, 28))
    with pytest.raises(InputError, match="20x28"):
        verify_against_weights(path, exports / "small.safetensors", sizes=[(8, 8)])


def test_a_file_for_several_pairs_is_verified_and_not_fused_with(made, exports):
    path = made(Form(17, None, 4))
    verify_against_weights(path, exports / "small.safetensors", sizes=[(24, 31)], backend="onnxruntime").require()
    with pytest.raises(InputError, match=r"takes 4 pairs at once.*`ufa export --batch 1`"):
        Fuser(path, backend="onnxruntime")


@pytest.mark.parametrize("option", [{"tile": 16}, {"max_memory": 4000.0}])
def test_a_fixed_file_is_not_cut_into_tiles(option, made):
    with pytest.raises(InputError, match=r"frames of one size only.*of free sizes, exported without `static`"):
        Fuser(made(Form(13, SIZE)), backend="onnxruntime", **option)


def test_a_fixed_file_fuses_stacks_of_its_own_size(made, gathering):
    frames = [*synthetic_pair(*SIZE), synthetic_pair(*SIZE)[0][:, ::-1].copy()]
    with Fuser(gathering / "gathering.onnx", backend="onnxruntime") as free:
        wanted = fuse_sources(free, of_arrays(frames), StackOptions()).fused
    with Fuser(made(STACKS[-1], "gathering"), backend="onnxruntime") as fixed:
        assert np.abs(fuse_sources(fixed, of_arrays(frames), StackOptions()).fused.astype(int) - wanted).max() <= 1
        with pytest.raises(InputError, match=r"takes frames of 20x28 only, these are 19x28"):
            fuse_sources(fixed, of_arrays([frame[1:] for frame in frames]), StackOptions())


def test_an_engine_has_the_files_own_size(made, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    path = made(Form(13, SIZE))
    result = CliRunner().invoke(
        build_app(), ["build", str(path), "-o", str(tmp_path / "x.engine"), "--target", "sm86", "--json"]
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["profiles"] == [
        {"min": list(SIZE), "opt": list(SIZE), "max": list(SIZE), "batch": [1, 1, 1]}
    ]
    for words in (["--static", "20x29"], ["--static", "20x28", "--batch", "2"]):
        result = CliRunner().invoke(build_app(), ["build", str(path), "-o", str(tmp_path / "y.engine"), *words])
        assert result.exit_code == 2
        assert "20x28" in result.stderr or "1 pairs" in result.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--opset", "12"], "--opset 12 cannot be written: give 13 to 23, or latest"),
        (["--opset", "24"], "--opset 24 cannot be written"),
        (["--opset", "newest"], "--opset newest is not known"),
        (["--static", "20"], "--static 20 is no size"),
        (["--static", "20000x20000"], "--static 20000x20000 is no size for a frame"),
        (["--batch", "0"], "--batch 0 is no number of pairs"),
        (["--opencv"], "--opencv: OpenCV's dnn needs fixed sizes"),
        (["--opencv", "--static", "20x28", "--precision", "fp16"], "float32: omit --precision fp16"),
        (["--tiles", "--static", "20x28"], "--tiles: tiles come one at a time and in several sizes: omit --static"),
        (["--tiles", "--batch", "4"], "omit --batch"),
        (["--all", "--opset", "17"], "--all makes files of free sizes: omit --opset"),
    ],
)
def test_what_cannot_be_is_one_sentence(words, says, exports, tmp_path):
    out = tmp_path / "x.onnx"
    result = CliRunner().invoke(
        build_app(), ["export", "--weights", str(exports / "small.safetensors"), "-o", str(out), *words]
    )
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())
    assert not list(tmp_path.iterdir())


def test_the_command_says_what_form_it_made(exports, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["export", "--weights", str(exports / "small.safetensors"), "-o", "x.onnx", "--opset", "latest", "--static", "8x9"]
    result = CliRunner().invoke(build_app(), words)
    assert result.exit_code == 0, result.output
    assert f"fp32, float io, opset {LATEST}, 8x9 only, one pair at once" in result.stdout
    shown = CliRunner().invoke(build_app(), ["info", "x.onnx"])
    assert f"opset {LATEST}" in shown.stdout
    assert "1 x 3 x 8 x 9" in shown.stdout
    graph = json.loads(CliRunner().invoke(build_app(), ["info", "x.onnx", "--json"]).stdout)["artefact"]["graph"]
    assert graph["inputs"][0]["shape"] == [1, 3, 8, 9]
    assert "RGB" in graph["inputs"][0]["about"]


def test_an_operator_that_an_opset_lacks_is_refused():
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 4, 4])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3, 2, 2])
    pool = onnx.helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], strides=[1, 1], dilations=[2, 2])
    graph = onnx.helper.make_graph([pool], "g", [value], [result])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)])
    with pytest.raises(ModelError, match="dilations of AveragePool, which opset 17 does not have"):
        lowered(model, 17)


def test_latest_is_what_torch_and_onnx_can():
    assert opset_from("latest") == LATEST <= onnx.defs.onnx_opset_version()


def test_opencvs_refusal_leaves_no_file(exports, tmp_path, monkeypatch):
    """A file that OpenCV cannot run is none for OpenCV, whatever ONNX Runtime says."""
    monkeypatch.setattr(onnx_check, "for_opencv", lambda model: model)
    with pytest.raises((BackendError, ModelError), match="OpenCV"):  # when it runs, or already when it reads
        onnx_from_weights(exports / "small.safetensors", tmp_path / "x.onnx", form=Form(size=SIZE, opencv=True))
    assert not list(tmp_path.iterdir())
