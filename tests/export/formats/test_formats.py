"""Each format converts, runs in its own runtime, agrees with PyTorch, and says what it cannot do."""

import json
import shutil

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.export.form import Form
from ufafuse.export.formats import ncnn
from ufafuse.export.formats.base import Format, run_tool
from ufafuse.export.formats.exporting import format_from_weights
from ufafuse.export.formats.known import FORMATS, NAMES, format_named, format_of
from ufafuse.export.formats.opening import open_artefact
from ufafuse.export.synthetic import synthetic_pair
from ufafuse.export.verify import verify_against_weights
from ufafuse.runtime.artefact import manifest_path, read_manifest
from ufafuse.runtime.errors import BackendError, CheckFailed, InputError, ModelError, OutputError, UfaError
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.kinds import KINDS, kind_of, stem_of
from ufafuse.runtime.manifest_entries import STACK_ROLES
from ufafuse.runtime.pictures.source import of_arrays
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.options import StackOptions

SIZE = (48, 64)
QUICK = {"openvino", "ncnn"}  # the others' converters are of the same build, or take half a minute to load
EACH = [pytest.param(each, marks=() if each.name in QUICK else pytest.mark.slow, id=each.name) for each in FORMATS]
FORM = Form(size=SIZE)


def need(chosen):
    if chosen.missing:
        pytest.skip(f"{chosen.title} needs {chosen.missing[0]}")


@pytest.fixture(scope="module")
def small_xml(exports, tmp_path_factory):
    """A folder with an OpenVINO file; it is read, never changed."""
    folder = tmp_path_factory.mktemp("formats")
    format_from_weights(exports / "small.safetensors", folder / "x.xml", format_named("openvino"), form=FORM)
    return folder


@pytest.mark.parametrize("chosen", EACH)
def test_a_file_is_what_pytorch_computes_and_says_what_it_is(chosen, exports, tmp_path):
    need(chosen)
    weights, out = exports / "small.safetensors", tmp_path / f"x{chosen.suffix}"
    report = format_from_weights(weights, out, chosen, form=FORM)
    assert report["format"] == chosen.name
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*report["files"], manifest_path(out).name])
    manifest = read_manifest(out)
    assert (manifest.kind, manifest.role, manifest.variant) == (chosen.kind, "whole", "small")
    assert manifest.extra["inputs"] == ["near", "far"]
    if chosen.kind == "onnx":  # of constants that nothing takes ONNX Runtime would warn each time
        graph = onnx.load(out).graph
        assert {tensor.name for tensor in graph.initializer} <= {name for node in graph.node for name in node.input}
    if chosen.why_not_run:
        assert report["verified"] is None
        return
    assert report["verified"][out.name]["ok"]
    findings = verify_against_weights(out, weights, sizes=[SIZE])
    assert findings.report["ok"]
    assert findings.report["precision"] == "fp32" or chosen.kind in ("openvino", "onnx")  # bf16, where the CPU has it


@pytest.mark.slow
@pytest.mark.parametrize("chosen", FORMATS, ids=lambda f: f.name)
def test_halves_halve_the_file_and_keep_the_picture(chosen, exports, tmp_path):
    need(chosen)
    if "fp16" not in chosen.precisions or chosen.why_not_run:
        pytest.skip(f"{chosen.title} has no halves that can be run here")
    weights = exports / "small.safetensors"
    sizes = {}
    for precision in ("fp32", "fp16"):
        out = tmp_path / f"{precision}{chosen.suffix}"
        format_from_weights(weights, out, chosen, precision=precision, form=FORM)
        sizes[precision] = kind_of(out).files(out)[-1].stat().st_size
        assert read_manifest(out).precision == precision
    assert sizes["fp16"] < 0.8 * sizes["fp32"] or chosen.name not in ("openvino", "ncnn")


@pytest.mark.slow
@pytest.mark.parametrize("chosen", FORMATS, ids=lambda f: f.name)
def test_a_network_of_one_scale_and_a_reconstructing_head_too(chosen, plain, tmp_path):
    """It has splits into a single part, and steps that the others lack."""
    need(chosen)
    out = tmp_path / f"x{chosen.suffix}"
    report = format_from_weights(plain, out, chosen, form=FORM)
    assert chosen.why_not_run or report["verified"][out.name]["ok"]


def stack_fused(model):
    """What a file's graphs for stacks make of three frames of 32 x 48."""
    frames = [*synthetic_pair(32, 48), synthetic_pair(32, 48)[0][:, ::-1].copy()]
    with Fuser(model, precision="fp32") as fuser:
        return fuse_sources(fuser, of_arrays(frames), StackOptions()).fused.astype(int)


@pytest.mark.slow
@pytest.mark.parametrize("chosen", FORMATS, ids=lambda f: f.name)
def test_a_network_that_gathers_has_its_three_graphs(chosen, gathering, tmp_path):
    need(chosen)
    out = tmp_path / f"g{chosen.suffix}"
    report = format_from_weights(gathering / "gathering.safetensors", out, chosen, form=Form(size=(32, 48)))
    assert list(dict.fromkeys(told["role"] for told in report["files"].values())) == ["whole", *STACK_ROLES]
    if not chosen.why_not_run:
        assert all(check["ok"] for check in report["verified"].values())
    if kind_of(out).engines:
        assert np.abs(stack_fused(out) - stack_fused(gathering / "gathering.onnx")).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("chosen", [each for each in FORMATS if each.several], ids=lambda f: f.name)
def test_free_sizes_and_batches_do_not_mix(chosen, exports, tmp_path):
    rng = np.random.default_rng(0)
    need(chosen)
    out = tmp_path / f"x{chosen.suffix}"
    format_from_weights(exports / "small.safetensors", out, chosen, form=Form())
    near, far = (rng.random((2, 3, 33, 50), dtype=np.float32) for _ in range(2))
    with open_artefact(out) as session:
        both = session.run(near, far)
        alone = session.run(near[1:], far[1:])
    assert np.abs(both[1:] - alone).max() < (2e-2 if session.precision == "bf16" else 1e-5)


def refusals(chosen):
    """(options, what is said) of all that a format does not do."""
    if not chosen.free:
        yield {"form": Form()}, "made for frames of one size: add `static=520x520`"
    if not chosen.several:
        yield {"form": Form(size=SIZE, batch=4)}, "one pair at a time"
    if "fp16" not in chosen.precisions:
        yield {"precision": "fp16", "form": FORM}, f"{chosen.title} files are written in fp32"
    if "uint8" not in chosen.ios:
        yield {"io": "uint8", "form": FORM}, "files take float"
    yield {"form": Form(size=SIZE, opencv=True)}, "`opencv` is for ONNX files"


@pytest.mark.parametrize("chosen", FORMATS, ids=lambda f: f.name)
def test_what_a_format_does_not_do_is_a_sentence_and_writes_nothing(chosen, exports, tmp_path):
    out = tmp_path / f"x{chosen.suffix}"
    for options, said in refusals(chosen):
        with pytest.raises(InputError) as error:
            format_from_weights(exports / "small.safetensors", out, chosen, **options)
        assert said in str(error.value)
        assert str(error.value).count("\n") == 0
    with pytest.raises(InputError, match="must end in"):
        format_from_weights(exports / "small.safetensors", tmp_path / "x.wrong", chosen, form=FORM)
    assert list(tmp_path.iterdir()) == []


def test_a_converter_that_is_not_installed_is_named_with_its_extra(exports, tmp_path):
    absent = Format("ncnn", "ncnn", ".ncnn.param", "ncnn", ("no_such_module",), (), "ncnn", "nowhere")
    with pytest.raises(BackendError, match=r"ncnn needs no_such_module: pip install 'ufafuse\[ncnn\]'"):
        format_from_weights(exports / "small.safetensors", tmp_path / "x.ncnn.param", absent, form=FORM)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [AttributeError("'list' object has no attribute 'dtype'\nand more"), KeyError("x"), OSError(28, "full")]
)
def test_whatever_a_converter_raises_is_one_sentence(error, exports, tmp_path, monkeypatch):
    def convert(source, out):
        raise error

    chosen = format_named("ncnn")
    need(chosen)
    monkeypatch.setattr(ncnn, "convert", convert)
    with pytest.raises(BackendError, match=rf"ncnn's converter failed \({type(error).__name__}\): .*\.$") as told:
        format_from_weights(exports / "small.safetensors", tmp_path / "x.ncnn.param", chosen, form=FORM)
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_a_converter_that_fails_says_why(tmp_path):
    with pytest.raises(BackendError, match=r"X's converter failed \(3\): because"):
        run_tool("X", ["sh", "-c", "echo because; exit 3"], tmp_path)


class TestFilesThatDoNotBelongTogether:
    @pytest.fixture
    def made(self, small_xml, tmp_path):
        shutil.copytree(small_xml, tmp_path, dirs_exist_ok=True)
        return tmp_path / "x.xml"

    def test_a_part_that_is_missing(self, made):
        made.with_suffix(".bin").unlink()
        with pytest.raises(ModelError, match=r"needs x\.bin beside it: copy both"):
            open_artefact(made)

    def test_a_part_of_another_file(self, made):
        data = bytearray(made.with_suffix(".bin").read_bytes())
        data[-1] ^= 1
        made.with_suffix(".bin").write_bytes(data)
        with pytest.raises(ModelError, match=r"not what x\.xml\.json was written for"):
            open_artefact(made)

    def test_no_manifest(self, made):
        manifest_path(made).unlink()
        with pytest.raises(ModelError, match=r"no manifest x\.xml\.json beside it"):
            read_manifest(made)

    def test_the_manifest_of_another_kind(self, made):
        other = json.loads(manifest_path(made).read_text()) | {"kind": "mnn"}
        manifest_path(made).write_text(json.dumps(other))
        with pytest.raises(ModelError, match="of a file of another kind"):
            read_manifest(made)

    def test_it_is_not_replaced_unasked(self, made, exports):
        before = made.read_bytes()
        with pytest.raises(OutputError, match="exists already"):
            format_from_weights(exports / "small.safetensors", made, format_named("openvino"), form=FORM)
        assert made.read_bytes() == before


def test_a_file_that_differs_is_not_left_behind(exports, tmp_path, monkeypatch):
    """A planted error: the converter is given another network than the one it is held against."""
    chosen, seen = format_named("openvino"), []

    def planted(self, source, out):
        with np.errstate(all="ignore"):
            next(source.module.parameters()).data.mul_(1.5)
        seen.append(out)
        original(self, source, out)

    original = Format.convert
    monkeypatch.setattr(Format, "convert", planted)
    with pytest.raises(CheckFailed, match="miss the tolerance"):
        format_from_weights(exports / "small.safetensors", tmp_path / "x.xml", chosen, form=FORM)
    assert seen
    assert list(tmp_path.iterdir()) == []


def test_every_format_is_a_kind_of_file():
    kinds = {kind.name: kind for kind in KINDS}
    assert all(kinds[each.name].suffix == each.suffix for each in FORMATS if each.name in kinds)
    assert len(set(NAMES)) == len(NAMES)


def test_names(tmp_path):
    assert stem_of(tmp_path / "a.b.ncnn.param") == "a.b"
    assert format_of(tmp_path / "x.ncnn.param") == "ncnn"
    assert format_of(tmp_path / "x.onnx") == "onnx"
    with pytest.raises(UfaError, match="`formats=tflite` is not known: choose one of onnx, openvino"):
        format_named("tflite")


def test_the_command_takes_the_format_by_suffix_or_name(exports, tmp_path):
    run, out = CliRunner(), tmp_path / "x.xml"
    given = ["export", "--weights", str(exports / "small.safetensors"), "-o", str(out), "--static", "32x32"]
    done = run.invoke(build_app(), [*given, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["format"], told["static"]) == ("openvino", [32, 32])
    again = run.invoke(build_app(), [*given, "--format", "ncnn"])
    assert again.exit_code == 2
    assert "must end in .ncnn.param for --format ncnn" in again.output
    tiles = run.invoke(build_app(), [*given, "--tiles"])
    assert "--tiles is for ONNX files" in tiles.output
