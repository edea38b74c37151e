"""Model files are input: whatever a manifest, a header, a graph or an archive says, the answer is one sentence."""

import contextlib
import io
import json
import math
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.export.onnx_file import stamped
from ufafuse.runtime.artefact import METADATA_KEY, Manifest, read_manifest
from ufafuse.runtime.checks.cases import Case, load_reference, save_reference
from ufafuse.runtime.checks.selftest import find_reference
from ufafuse.runtime.checks.tolerances import Tolerance, compare, psnr, tolerance_for
from ufafuse.runtime.errors import BackendError, ModelError, UfaError
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.manifest_entries import ROLES
from ufafuse.runtime.models import FOLDER
from ufafuse.runtime.onnx_walk import has_external_data
from ufafuse.runtime.session import open_session

DEEP = "[" * 100_000 + "]" * 100_000
ODD = [None, True, -1, 0, 1.5, 10**30, 1e308, math.nan, "abc", "", "x" * 10_000, [], [[]], {}, {"a": 1}, [-1], ["a"], "\x1b[2J"]
KNOWN = ["kind", "variant", "precision", "io", "spec", "weights_sha256", "tools", "created", "extra"]
EXTRA = ["role", "halo", "stride", "strides", "widths", "global_means", "profiles", "flavor", "version", "compute_capability"]
EXTRA += ["hardware", "version_compatible", "plan_sha256", "gathers", "encode_halo", "score_halo", "octaves"]


def read_text(text):
    return Manifest.from_metadata({METADATA_KEY: text}, "x.onnx")


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("name", KNOWN)
def test_an_entry_of_another_type_or_range_is_refused_or_harmless(small, name, value):
    """What is let through has the type that its readers take."""
    try:
        manifest = read_text(small.edited_manifest(**{name: value} if value is not None else {name: None}))
    except ModelError as error:
        assert "\n" not in str(error)
        assert "\x1b" not in str(error)
        return
    assert manifest.kind in ("weights", "onnx", "engine")
    assert manifest.io in ("float", "uint8")
    assert isinstance(manifest.spec, dict)
    assert isinstance(manifest.extra, dict)
    assert all(isinstance(text, str) for text in (manifest.variant, manifest.weights_sha256, manifest.created))


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("name", EXTRA)
def test_a_reader_of_any_extra_entry_meets_its_type(small, name, value):
    extra = {**json.loads(small.edited_manifest())["extra"], name: value}
    try:
        manifest = read_text(small.edited_manifest(extra=extra))
    except ModelError:
        return
    found = manifest.extra[name]
    assert {
        "role": lambda: found in ROLES,
        "halo": lambda: 0 <= int(found) <= 4096,
        "stride": lambda: 1 <= int(found) <= 1024,
        "strides": lambda: all(stride >= 1 for stride in found),
        "widths": lambda: all(width >= 1 for width in found),
        "octaves": lambda: all(size >= 1 for size in found),
        "encode_halo": lambda: 0 <= int(found) <= 4096,
        "score_halo": lambda: 0 <= int(found) <= 4096,
        "global_means": lambda: found in (True, False),
        "gathers": lambda: found in (True, False),
        "version_compatible": lambda: found in (True, False),
        "profiles": lambda: all(len(profile["min"]) == 2 for profile in found),
        "compute_capability": lambda: all(isinstance(word, str) for word in found),
    }.get(name, lambda: isinstance(found, str))()


@pytest.mark.parametrize("role", ROLES)
def test_the_manifest_of_every_graph_that_is_exported_is_read(small, role):
    about = {"gathers": True, "encode_halo": 62, "score_halo": 126, "octaves": [2, 8], "widths": [4, 6], "strides": [4, 8]}
    extra = {**json.loads(small.edited_manifest())["extra"], **about, "role": role}
    assert read_text(small.edited_manifest(extra=extra)).extra["role"] == role


@pytest.mark.parametrize(
    "text",
    [
        DEEP,
        '{"schema": ' + "9" * 5000 + "}",
        '{"schema": 1, "kind": ' + DEEP + "}",
        "[]",
        "3",
        '"text"',
        "null",
        '{"schema": {}}',
        '{"schema": 1}',
        "",
        "\x00",
    ],
    ids=lambda text: text[:30],
)
def test_json_of_another_shape_or_depth_is_refused(text):
    with pytest.raises(ModelError, match=r"^x\.onnx has a manifest"):
        read_text(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(
    changes=st.dictionaries(st.sampled_from([*KNOWN, "schema", "more"]), JSON, max_size=3),
    extra=st.sampled_from(EXTRA),
    of=JSON,
)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_entries_are_a_manifest_or_refused(small, changes, extra, of):
    values = json.loads(small.edited_manifest()) | changes
    if isinstance(values.get("extra"), dict):
        values["extra"] = {**values["extra"], extra: of}
    with contextlib.suppress(ModelError):
        read_text(json.dumps(values))


def with_header(tmp_path, header, data=b""):
    text = header.encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@pytest.mark.parametrize(
    "header",
    [
        DEEP,
        '{"a": {"data_offsets": [0, ' + "9" * 5000 + "]}}",
        '{"a": {"data_offsets": [0, 1e999]}}',
        '{"a": {"data_offsets": [0, NaN]}}',
        '{"a": {"data_offsets": [0, -8]}}',
        '{"a": {"data_offsets": {}}}',
        '{"__metadata__": {"ufafuse": 3}}',
        '{"__metadata__": {"ufafuse": {"schema": 1}}}',
        '{"__metadata__": [["ufafuse", "{}"]]}',
        '{"__metadata__": "text"}',
        "\udcff".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
    ids=lambda header: header[:40],
)
def test_a_crafted_safetensors_header_is_refused(tmp_path, header):
    with pytest.raises(ModelError):
        read_manifest(with_header(tmp_path, header))


def test_a_header_that_claims_the_whole_file_is_not_read(tmp_path):
    path = tmp_path / "w.safetensors"
    with path.open("wb") as stream:
        stream.write((1 << 33).to_bytes(8, "little"))
        stream.truncate((1 << 33) + 8)
    begun = time.monotonic()
    with pytest.raises(ModelError, match="truncated or no safetensors"):
        read_manifest(path)
    assert time.monotonic() - begun < 1


class TestExternalData:
    """An engine may read another file's bytes for a tensor, from anywhere (ONNX Runtime before 1.24)."""

    def tensor(self, small, *, location=False, entries=True):
        return (
            small.field(8, b"w")
            + (small.field(13, small.field(1, b"location")) if entries else b"")
            + (b"\x70\x01" if location else b"")
        )

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda field, tensor: field(5, tensor),
            lambda field, tensor: field(15, field(1, tensor)),
            lambda field, tensor: field(1, field(5, field(5, tensor))),
            lambda field, tensor: field(1, field(5, field(10, tensor))),
            lambda field, tensor: field(1, field(5, field(6, field(5, tensor)))),
            lambda field, tensor: field(1, field(5, field(11, field(1, field(5, field(5, tensor)))))),
        ],
        ids=["initializer", "sparse", "constant", "constants", "subgraph", "subgraphs constant"],
    )
    @pytest.mark.parametrize("how", [{"location": True}, {}])
    def test_is_refused_wherever_it_stands(self, tmp_path, small, wrap, how):
        path = tmp_path / "x.onnx"
        path.write_bytes(small.onnx_bytes(small.manifest(), graph=wrap(small.field, self.tensor(small, **how))))
        with pytest.raises(ModelError, match="wants data from other files"):
            read_manifest(path)

    def test_a_tensor_with_its_own_data_is_none(self, tmp_path, small):
        path = tmp_path / "x.onnx"
        graph = small.field(5, self.tensor(small, entries=False)) + small.field(5, small.field(8, b"location"))
        path.write_bytes(small.onnx_bytes(small.manifest(), graph=graph))
        assert read_manifest(path).kind == "onnx"

    def test_the_bundled_networks_have_none_and_the_walk_is_quick(self):
        for path in FOLDER.glob("*.onnx"):
            data = path.read_bytes()
            begun = time.process_time()
            assert not has_external_data(data)
            assert time.process_time() - begun < 0.5

    def test_what_onnx_itself_writes_with_external_data(self, tmp_path):
        onnx = pytest.importorskip("onnx")
        model = onnx.load(str(FOLDER / "ufa-nano.onnx"))
        onnx.save(model, str(tmp_path / "x.onnx"), save_as_external_data=True, location="x.data", size_threshold=0)
        with pytest.raises(ModelError, match="wants data from other files"):
            read_manifest(tmp_path / "x.onnx")

    def test_graphs_in_graphs_without_end_are_refused(self, tmp_path, small):
        graph = small.field(5, small.field(8, b"location"))
        for _ in range(400):
            graph = small.field(1, small.field(5, small.field(6, graph)))
        path = tmp_path / "x.onnx"
        path.write_bytes(small.onnx_bytes(small.manifest(), graph=graph))
        with pytest.raises(ModelError, match="nested too deeply"):
            read_manifest(path)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
class TestGraphs:
    def nano(self, tmp_path, change):
        onnx = pytest.importorskip("onnx")
        model = onnx.load(str(FOLDER / "ufa-nano.onnx"))
        change(onnx, model)
        (tmp_path / "x.onnx").write_bytes(stamped(model))
        return tmp_path / "x.onnx"

    @pytest.mark.parametrize(("what", "name"), [("output", "fused"), ("input", "near")])
    def test_a_graph_without_what_its_manifest_promises(self, tmp_path, backend, what, name):
        pytest.importorskip(backend)

        def rename(onnx, model):
            for node in model.graph.node:
                for names in (node.input, node.output):
                    names[:] = ["other" if found == name else found for found in names]
            for port in (*model.graph.input, *model.graph.output):
                port.name = "other" if port.name == name else port.name

        with pytest.raises(ModelError, match=f"has no {what} '{name}'"):
            open_session(self.nano(tmp_path, rename), backend=backend)

    def test_a_graph_whose_result_is_no_picture_like_the_frames(self, tmp_path, backend):
        pytest.importorskip(backend)

        def mean(onnx, model):
            fused = next(node for node in model.graph.node if "fused" in node.output)
            fused.output[:] = ["whole" if found == "fused" else found for found in fused.output]
            model.graph.node.append(onnx.helper.make_node("GlobalAveragePool", ["whole"], ["fused"]))
            for port in model.graph.output:
                if port.name == "fused":
                    port.type.tensor_type.ClearField("shape")

        frame = np.zeros((32, 32), np.uint8)
        with Fuser(self.nano(tmp_path, mean), backend=backend) as fuser, pytest.raises(UfaError):
            fuser.fuse(frame, frame)

    def test_a_models_nan_becomes_no_picture(self, tmp_path, backend):
        pytest.importorskip(backend)

        def poison(onnx, model):
            fused = next(node for node in model.graph.node if "fused" in node.output)
            fused.output[:] = ["whole" if found == "fused" else found for found in fused.output]
            model.graph.initializer.append(onnx.helper.make_tensor("nan", onnx.TensorProto.FLOAT, [1], [math.nan]))
            model.graph.node.append(onnx.helper.make_node("Mul", ["whole", "nan"], ["fused"]))
            entry = next(entry for entry in model.metadata_props if entry.key == METADATA_KEY)
            values = json.loads(entry.value)
            values["extra"]["global_means"] = False  # so that it serves for tiles as well
            entry.value = json.dumps(values)

        frame, path = np.full((64, 64, 1), 100, np.uint16), self.nano(tmp_path, poison)
        for options in ({}, {"tile": 32}):
            with Fuser(path, backend=backend, **options) as fuser, pytest.raises(BackendError, match="NaN"):
                fuser.fuse(frame, frame)


class TestReferences:
    def case(self, **changes):
        frame = np.zeros((8, 12, 3), np.uint8)
        values = {"name": "a", "near": frame, "far": frame, "reference": np.zeros((8, 12, 3), np.float32), "noise": 0.0}
        return Case(**{**values, **changes})

    @pytest.mark.parametrize(
        "changes",
        [
            {"reference": np.full((8, 12, 3), math.nan, np.float32)},
            {"reference": np.full((8, 12, 3), math.inf, np.float32)},
            {"reference": np.zeros((8, 12), np.float32)},
            {"reference": np.zeros((8, 12, 3), np.float64)},
            {"near": np.zeros((8, 12, 3), np.uint16)},
            {"near": np.zeros((8, 12), np.uint8)},
            {"far": np.zeros((4, 12, 3), np.uint8)},
            {"near": np.zeros((0, 12, 3), np.uint8)},
            {"noise": math.inf},
            {"noise": math.nan},
            {"noise": -1.0},
            {"noise": 255.0},
            {"noise": "low"},
            {"name": 3},
        ],
        ids=str,
    )
    def test_a_case_that_is_none_is_refused(self, tmp_path, changes):
        save_reference(tmp_path / "x.reference.npz", [self.case(**changes)], variant="ufa", weights_sha256="0" * 64)
        with pytest.raises(ModelError, match="holds no reference pairs"):
            load_reference(tmp_path / "x.reference.npz")

    @pytest.mark.parametrize(
        "about", [DEEP, "[]", '{"names": [], "noise": []}', '{"names": 3, "noise": [], "variant": "", "weights_sha256": ""}']
    )
    def test_facts_of_another_shape_are_refused(self, tmp_path, about):
        np.savez(tmp_path / "x.reference.npz", about=np.array(about))
        with pytest.raises(ModelError, match="holds no reference pairs"):
            load_reference(tmp_path / "x.reference.npz")

    def test_an_archive_that_unpacks_to_gigabytes_is_not_unpacked(self, tmp_path):
        with (
            zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            archive.open("near0.npy", "w", force_zip64=True) as member,
        ):
            zeros = bytes(1 << 24)
            for _ in range(80):
                member.write(zeros)
        begun = time.monotonic()
        with pytest.raises(ModelError, match="holds more than"):
            load_reference(tmp_path / "x.npz")
        assert time.monotonic() - begun < 1

    def test_an_array_that_claims_gigabytes_is_refused(self, tmp_path):
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<U500000000000", "fortran_order": False, "shape": ()})
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
            archive.writestr("about.npy", header.getvalue())
        with pytest.raises(ModelError):
            load_reference(tmp_path / "x.npz")

    @given(data=st.data())
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_flipped_byte_is_refused_or_harmless(self, tmp_path, data):
        path = tmp_path / "x.npz"
        save_reference(path, [self.case()], variant="ufa", weights_sha256="0" * 64, force=True)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        with contextlib.suppress(ModelError):
            _, cases = load_reference(path)
            assert all(np.isfinite(case.reference).all() for case in cases)

    def test_a_broken_one_beside_the_model_is_named(self, tmp_path):
        (tmp_path / "a.reference.npz").write_bytes(b"rubbish")
        with pytest.raises(ModelError, match=r"a\.reference\.npz holds no reference pairs"):
            find_reference(tmp_path / "x.onnx", "0" * 64)


class TestNanIsNeverPerfect:
    FINE = np.full((16, 16, 3), 100.0, np.float32)

    def with_nan(self, value=math.nan):
        picture = self.FINE.copy()
        picture[3, 3, 1] = value
        return picture

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_on_either_side(self, value):
        for pair in ((self.with_nan(value), self.FINE), (self.FINE, self.with_nan(value)), (self.with_nan(value),) * 2):
            row = compare(*pair)
            assert (row["finite"], row["psnr"], row["ssim"]) == (False, 0.0, 0.0)
            for precision in ("fp32", "fp16", "bf16", "int8"):
                assert not tolerance_for(precision, "float").met_by(row)
            json.dumps(row, allow_nan=False)

    def test_psnr_of_no_number(self):
        assert psnr(math.nan) == psnr(math.inf) == 0.0
        assert psnr(0.0) == 200.0

    @pytest.mark.parametrize("noise", [math.nan, math.inf, 1e9])
    def test_noise_that_no_reference_has_allows_nothing(self, noise):
        assert not Tolerance(max_abs=0.01).met_by({"finite": True, "max_abs": 50.0, "psnr": 10.0, "noise": noise})


@pytest.mark.parametrize(
    "change",
    [
        {"io": "unknown"},
        {"precision": "fp7"},
        {"kind": "cake"},
        {"extra": {"halo": "abc"}},
        {"extra": {"stride": 10**30}},
        {"extra": {"role": ["whole"]}},
        {"variant": {"a": 1}},
        {"tools": [1]},
    ],
    ids=str,
)
@pytest.mark.parametrize("command", [["info"], ["fuse"], ["verify"]])
def test_the_commands_say_it_in_one_line(tmp_path, small, change, command):
    if command == ["verify"]:
        pytest.importorskip("torch", reason="the command imports it")
    path = tmp_path / "x.onnx"
    path.write_bytes(
        small.onnx_bytes().replace(
            small.onnx_bytes(), small.onnx_bytes(metadata={METADATA_KEY: small.edited_manifest(**change)})
        )
    )
    frames = [str(Path(__file__).resolve().parents[2] / "examples" / f"sample_{side}.png") for side in "AB"]
    arguments = {
        "info": ["info", str(path)],
        "fuse": ["fuse", *frames, "-o", str(tmp_path / "o.png"), "--model", str(path)],
        "verify": ["verify", str(path), "--against", str(FOLDER / "ufa-nano.reference.npz")],
    }[command[0]]
    done = CliRunner().invoke(build_app(), arguments)
    assert done.exit_code == 2, (done.stdout, done.exception)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "has a manifest that cannot be used" in done.stderr
