"""A frame fused in tiles equals the frame fused whole."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import InputError, ModelError
from ufafuse.runtime.frames import check_pair
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.memory.tiled import TiledModel, companion_paths
from ufafuse.runtime.memory.tiling import grid_of_step
from ufafuse.runtime.models import FOLDER, bundled
from ufafuse.runtime.session import SessionOptions, installed

FIXTURES_STAY = [HealthCheck.function_scoped_fixture]


def pair(rng, height, width, dtype=np.float32, channels=(3,)):
    """Frames of different brightness, so that the averages matter, with structure at several scales."""
    near = rng.random((height, width, *channels))
    far = 0.3 * cv2.GaussianBlur(near, (0, 0), 3).reshape(near.shape)
    far[: height // 2] += 0.6 * near[: height // 2]
    frames = np.clip(np.stack([near, far]), 0, 1)
    if dtype == np.float32:
        return frames.astype(np.float32)
    return np.rint(frames * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.usefixtures("small_engine")
@given(
    height=st.integers(16, 400),
    width=st.integers(16, 400),
    tile=st.integers(1, 300),
    seed=st.integers(0, 3),
    kind=st.sampled_from([("float", np.float32, (3,)), ("float", np.uint16, ()), ("float", np.uint8, (4,))]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=FIXTURES_STAY)
def test_any_size_and_tile_equal_the_whole_frame(write_model, height, width, tile, seed, kind):
    io, dtype, channels = kind
    tile = max(tile, math.isqrt(height * width // 50))  # a few dozen tiles, not thousands
    near, far = pair(np.random.default_rng(seed), height, width, dtype, channels)
    model = write_model(io=io)
    whole = Fuser(model, backend="onnxruntime", tile="off").fuse_pair(near, far, want_map=True)
    tiled = Fuser(model, backend="onnxruntime", tile=tile).fuse_pair(near, far, want_map=True)
    assert whole.grid is None
    assert tiled.grid is not None
    assert tiled.map is not None
    np.testing.assert_allclose(tiled.map, whole.map, atol=1e-6)
    if dtype == np.float32:
        np.testing.assert_allclose(tiled.fused, whole.fused, atol=1e-6)
    else:  # two roundings of all but equal values differ at most where one tips over
        assert np.abs(tiled.fused.astype(int) - whole.fused).max() <= 1
        # ... and 1e-6 of white is 0.07 of a level in sixteen bits: some of a few hundred values then do.
        assert (tiled.fused != whole.fused).mean() < (1e-3 if dtype == np.uint8 else 0.05)


@pytest.mark.usefixtures("small_engine")
def test_eight_bit_io_is_tiled_by_companions_of_the_same_io(write_model, rng):
    near, far = pair(rng, 90, 121, np.uint8)
    model = write_model(io="uint8")
    whole = Fuser(model, backend="onnxruntime").fuse(near, far)
    tiled = Fuser(model, backend="onnxruntime", tile=32).fuse(near, far)
    assert np.abs(tiled.astype(int) - whole).max() <= 1


@pytest.mark.usefixtures("small_engine")
@pytest.mark.parametrize("spoilt", ["halo", "averages"])
def test_the_small_network_would_show_an_error(write_model, rng, spoilt, monkeypatch):
    """Neither too small a halo nor averages of single tiles pass unnoticed."""
    near, far = pair(rng, 128, 128)
    if spoilt == "averages":
        monkeypatch.setattr(TiledModel, "_averages", lambda self, *_: np.zeros((1, 8), np.float32))
    model = write_model(**({"halo": 4} if spoilt == "halo" else {}))
    whole = Fuser(model, backend="onnxruntime").fuse(near, far)
    tiled = Fuser(model, backend="onnxruntime", tile=32).fuse(near, far)
    assert np.abs(tiled - whole).max() > 1e-4


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", bundled() or ["ufa"])
def test_bundled_networks_in_tiles(name, backend, rng):
    if not installed(backend) or not companion_paths(FOLDER / f"{name}.onnx")[0].is_file():
        pytest.skip(f"{backend} is not installed, or {name} has no companions here")
    halo = read_manifest(FOLDER / f"{name}.onnx").extra["halo"]
    size = (83, 101) if halo < 20 else (2 * halo + 133, 2 * halo + 151)
    near, far = pair(rng, *size)
    with Fuser(name, backend=backend, precision="fp32", threads=1, tile="off") as fuser:
        whole = fuser.fuse_pair(near, far, want_map=True)
    with Fuser(name, backend=backend, precision="fp32", threads=1, tile=48) as fuser:
        tiled = fuser.fuse_pair(near, far, want_map=True)
    assert tiled.grid is not None
    assert len(tiled.grid) > 1
    assert np.abs(tiled.fused - whole.fused).max() <= 1e-5
    assert np.abs(tiled.map - whole.map).max() <= 1e-5


@pytest.mark.skipif("ufa" not in bundled() or not installed("openvino"), reason="needs OpenVINO and the bundled ufa")
def test_tiles_of_bytes_go_the_way_of_whole_frames_of_bytes(rng):
    near, far = pair(rng, 83, 101, np.uint8)
    results = []
    for tile in ("off", 48):
        with Fuser("ufa", backend="openvino", precision="fp32", threads=1, tile=tile) as fuser:
            results.append(fuser.fuse(near, far))
    assert np.abs(results[0].astype(int) - results[1]).max() <= 1
    assert (results[0] != results[1]).mean() < 1e-3  # only where a rounding tips over


@pytest.mark.slow
@pytest.mark.skipif("ufa" not in bundled() or not installed("onnxruntime"), reason="needs ONNX Runtime and the bundled ufa")
@given(height=st.integers(16, 300), width=st.integers(16, 300), tile=st.integers(16, 200), seed=st.integers(0, 9))
@settings(max_examples=12, deadline=None)
def test_the_papers_network_at_any_size_and_tile(height, width, tile, seed):
    near, far = pair(np.random.default_rng(seed), height, width)
    options = {"backend": "onnxruntime", "threads": 1}
    whole = Fuser("ufa", tile="off", **options).fuse(near, far)
    tiled = Fuser("ufa", tile=tile, **options).fuse(near, far)
    assert np.abs(tiled - whole).max() <= 1e-5


@pytest.mark.usefixtures("small_engine")
class TestMissingOrForeign:
    def test_without_companions_the_error_names_the_command(self, write_model, rng):
        near, far = pair(rng, 64, 64)
        fuser = Fuser(write_model(tiles=False), backend="onnxruntime", tile=32)
        with pytest.raises(ModelError, match=r"small\.means\.onnx and no small\.tile\.onnx: run `ufa export --tiles`"):
            fuser.fuse(near, far)

    @pytest.mark.parametrize(("what", "other"), [("sha", "1" * 64), ("io", "uint8"), ("precision", "fp16")])
    def test_companions_of_another_model_are_refused(self, write_model, small, rng, what, other):
        near, far = pair(rng, 64, 64)
        model = write_model()
        companion_paths(model)[1].write_bytes(small.onnx_bytes(small.manifest(role="tile", **{what: other})))
        with pytest.raises(ModelError, match=r"small\.tile\.onnx was not made with small\.onnx"):
            Fuser(model, backend="onnxruntime", tile=32).fuse(near, far)

    @pytest.mark.parametrize("entry", ["kept", "source_sha256", "ranges_sha256", "rest"])
    def test_companions_of_another_calibration_are_refused(self, write_model, small, rng, entry):
        near, far = pair(rng, 64, 64)
        model = write_model()
        other = small.manifest(role="tile")
        other.extra[entry] = "another"
        companion_paths(model)[1].write_bytes(small.onnx_bytes(other))
        with pytest.raises(ModelError, match=rf"small\.tile\.onnx was not made with small\.onnx: its {entry}"):
            Fuser(model, backend="onnxruntime", tile=32).fuse(near, far)

    @pytest.mark.parametrize("role", ["tile", "means"])
    def test_a_step_of_a_model_is_not_taken_for_one(self, write_model, role):
        path = write_model().with_suffix(f".{role}.onnx")
        with pytest.raises(InputError, match=rf"a step of a model \({role}\).* give small\.onnx"):
            Fuser(path, backend="onnxruntime")

    def test_a_manifest_without_the_reach_is_refused(self, small):
        session = small.Session(Path("x.onnx"), small.manifest(), SessionOptions(), "")
        del session.manifest.extra["halo"]
        with pytest.raises(ModelError, match=r"lacks 'halo'"):
            TiledModel(session, None)

    def test_a_network_without_averages_needs_no_companions(self, write_model, rng):
        near, far = pair(rng, 96, 96)
        fuser = Fuser(write_model(tiles=False, global_means=False), backend="onnxruntime", tile=32)
        assert fuser.fuse_pair(near, far).grid is not None
        model = fuser.tiled_model()
        model.close()
        assert fuser.session.closed == 0  # it is the fuser's own


@pytest.mark.usefixtures("small_engine")
def test_progress_is_told(write_model, rng):
    near, far = pair(rng, 96, 96)
    told = []
    Fuser(write_model(), backend="onnxruntime", tile=32).fuse_pair(
        near, far, on_tile=lambda done, total: told.append((done, total))
    )
    assert told == [(index, len(told)) for index in range(1, len(told) + 1)]


@pytest.mark.usefixtures("small_engine")
def test_averages_are_divided_by_the_padded_size(write_model, small, rng):
    """37 x 42 is padded to 40 x 44 inside the graph, and the whole frame's averages count the padding."""
    near, far = pair(rng, 37, 42)
    fuser = Fuser(write_model(), backend="onnxruntime", tile=16)
    model = fuser.tiled_model()
    grid = grid_of_step((37, 42), 16, halo=small.HALO, stride=small.STRIDE)
    found = model._averages(near, check_pair(near, far), grid, lambda: None)
    planes = near[..., ::-1].transpose(2, 0, 1)[None]
    np.testing.assert_allclose(found, small.Net().means(planes), atol=1e-6)
