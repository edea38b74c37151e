"""`Fuser`: frames of any kind in, the same kind out, or a sentence."""

import threading
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import ufafuse.runtime
from ufafuse.runtime.errors import BackendError, InputError, ModelError, UfaError
from ufafuse.runtime.frames import check_pair
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.memory.usage import resident_bytes
from ufafuse.runtime.packing import to_planes

pytestmark = pytest.mark.usefixtures("small_engine")


@pytest.fixture
def fuser(write_model):
    with Fuser(write_model(), backend="onnxruntime") as opened:
        yield opened


def test_it_says_what_it_is_and_why(fuser):
    assert repr(fuser) == "Fuser('small.onnx', backend='onnxruntime', precision='fp32')"
    assert fuser.why == "asked for"


def frames(rng, shape=(21, 30, 3), dtype=np.uint8):
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    return [(rng.random(shape) * top).astype(dtype) for _ in range(2)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(21, 30), (21, 30, 1), (21, 30, 3), (21, 30, 4), (1, 1), (1, 1, 3)])
def test_the_same_kind_comes_out(fuser, rng, shape, dtype):
    near, far = frames(rng, shape, dtype)
    kept = near.copy(), far.copy()
    fused = fuser.fuse(near, far)
    assert fused.shape == shape
    assert fused.dtype == dtype
    np.testing.assert_array_equal(near, kept[0])
    np.testing.assert_array_equal(far, kept[1])
    if shape[2:] == (4,):
        np.testing.assert_array_equal(fused[..., 3], near[..., 3])


def test_the_networks_own_result(fuser, small, rng):
    near, far = (0.1 + 0.9 * frame for frame in frames(rng, dtype=np.float32))  # no black: it is shown as it is
    kind = check_pair(near, far)
    net, planes = small.Net(), [to_planes(frame, kind) for frame in (near, far)]
    expected, weight = net.fuse(*planes, *map(net.means, planes))
    fused, found = fuser.fuse_with_map(near, far)
    np.testing.assert_allclose(fused, expected[0, ::-1].transpose(1, 2, 0), atol=1e-6)
    np.testing.assert_allclose(found, weight[0, 0], atol=1e-6)


def test_sixteen_bits_keep_their_levels(fuser, rng):
    """A 12-bit pair comes out like the same pair as floats, to the nearest of its 4096 levels."""
    near, far = ((frame >> 4) for frame in frames(rng, dtype=np.uint16))
    fused = fuser.fuse(near, far, white=4095)
    floats = fuser.fuse(*(frame.astype(np.float32) / 4095 for frame in (near, far)))
    assert np.abs(fused - floats * 4095).max() < 0.51


def test_colour_orders_agree(fuser, rng):
    near, far = frames(rng)
    swapped = fuser.fuse(near[..., ::-1], far[..., ::-1], order="rgb")
    np.testing.assert_array_equal(swapped[..., ::-1], fuser.fuse(near, far))


def test_raw_frames_come_out_in_colour(fuser, rng):
    near, far = frames(rng, (20, 30))
    assert fuser.fuse(near, far, bayer="rggb").shape == (20, 30, 3)
    with pytest.raises(InputError, match=r"the far frame is .* no Bayer mosaic"):
        fuser.fuse(near, np.zeros((20, 30, 3), np.uint8), bayer="rggb")


class TestOut:
    @pytest.mark.parametrize("tile", ["off", 8])
    @pytest.mark.parametrize("which", ["own", "near", "far", "strided"])
    def test_written_in_place(self, write_model, rng, which, tile):
        near, far = frames(rng, (40, 50, 3))
        with Fuser(write_model(), backend="onnxruntime", tile=tile) as fuser:
            expected = fuser.fuse(near, far)
            outs = {
                "own": np.empty_like(near),
                "near": near,
                "far": far,
                "strided": np.empty((80, 50, 6), np.uint8)[::2, :, ::2],
            }
            out = outs[which]
            assert fuser.fuse(near, far, out=out) is out
        np.testing.assert_array_equal(out, expected)

    def test_refused(self, fuser, rng):
        near, far = frames(rng)
        with pytest.raises(InputError, match="out= is"):
            fuser.fuse(near, far, out=np.empty((2, 2, 3), np.uint8))


class TestEightBitModels:
    def test_eight_bits(self, write_model, rng):
        with Fuser(write_model(io="uint8"), backend="onnxruntime") as fuser:
            fused, weights = fuser.fuse_with_map(*frames(rng))
        assert fused.dtype == np.uint8
        assert weights is not None
        assert weights.shape == (21, 30)

    def test_more_bits_are_refused(self, write_model, rng):
        told = pytest.raises(InputError, match=r"small\.onnx takes 8-bit frames, these are uint16")
        with Fuser(write_model(io="uint8"), backend="onnxruntime") as fuser, told:
            fuser.fuse(*frames(rng, dtype=np.uint16))


class TestOpening:
    def test_closing_twice(self, write_model, rng):
        fuser = Fuser(write_model(), backend="onnxruntime", tile=16)
        fuser.fuse(*frames(rng))
        fuser.close()
        fuser.close()
        with pytest.raises(BackendError, match="closed"):
            fuser.fuse(*frames(rng))

    @pytest.mark.parametrize(
        ("arguments", "error", "told"),
        [
            ({"model": "no-such"}, InputError, "`model=no-such` is not known"),
            ({"model": "no.onnx"}, InputError, r"no\.onnx` does not exist"),
            ({"backend": "caffe"}, InputError, "`backend=caffe` is not known"),
            (
                {"backend": "tensorrt"},
                BackendError,
                r"tensorrt (cannot run small\.onnx: run `ufa build` first|is not installed)",
            ),
            ({"precision": "fp4"}, InputError, "`precision=fp4` is not known"),
            ({"threads": 0}, InputError, "`threads=0` is too few"),
            ({"max_memory": -1}, InputError, "`max_memory=-1` is too little"),
            ({"tile": "some"}, InputError, "`tile=some` is not known"),
            ({"self_test": True}, ModelError, r"no reference result is packed for small\.onnx"),
        ],
    )
    def test_what_is_refused(self, write_model, arguments, error, told):
        with pytest.raises(error, match=told):
            Fuser(**({"model": write_model(), "backend": "onnxruntime"} | arguments))

    def test_under_a_budget_the_engine_is_asked_to_be_lean(self, write_model):
        assert Fuser(write_model(), backend="onnxruntime", max_memory=4000).session.options.lean
        assert not Fuser(write_model(), backend="onnxruntime").session.options.lean

    def test_the_engine_is_told_of_threads_pinning_and_provider(self, write_model):
        with Fuser(write_model(), backend="onnxruntime", threads=2, pin=True, provider="cuda") as fuser:
            options = fuser.session.options
            assert (options.threads, options.pin, options.provider) == (2, True, "cuda")
            assert fuser.threads == 2
        with Fuser(write_model(), backend="onnxruntime") as fuser:
            assert (fuser.session.options.pin, fuser.session.options.provider) == (False, "cpu")
            assert fuser.threads >= 1

    def test_prepared_only_for_frames_that_surely_come_whole(self, write_model, monkeypatch):
        seen = []
        for options in ({}, {"tile": "off"}, {"tile": 16}, {"max_memory": 4000}):
            with Fuser(write_model(), backend="onnxruntime", **options) as fuser:
                spy = partial(lambda chosen, size, *, want_map, **_: seen.append((chosen, size, want_map)), options)
                monkeypatch.setattr(fuser.session, "prepare", spy)
                fuser.prepare((20, 30), want_map=True)
        assert [each for number, each in enumerate(seen) if each not in seen[:number]] == [
            ({}, (20, 30), True),
            ({"tile": "off"}, (20, 30), True),
        ]

    def test_a_budget_is_refused_for_an_engine(self, write_model, monkeypatch):
        monkeypatch.setattr("ufafuse.runtime.backends.onnxruntime.OnnxRuntimeSession.on_device", True)
        with pytest.raises(BackendError, match="an engine's lies on the GPU"):
            Fuser(write_model(), backend="onnxruntime", max_memory=1000)

    def test_an_engine_is_neither_measured_nor_cut_unasked(self, write_model, rng, monkeypatch):
        monkeypatch.setattr("ufafuse.runtime.backends.onnxruntime.OnnxRuntimeSession.on_device", True)
        monkeypatch.setattr("ufafuse.runtime.memory.budget.available_bytes", lambda: 0)
        with Fuser(write_model(tiles=False), backend="onnxruntime") as fuser:
            assert fuser.fuse_pair(*frames(rng)).grid is None
            assert len(fuser.session.calls) == 1

    def test_the_packages_door(self):
        assert ufafuse.runtime.Fuser is Fuser
        with pytest.raises(AttributeError, match="has no attribute 'fuze'"):
            _ = ufafuse.runtime.fuze


def test_under_a_budget(write_model, rng):
    """The small network under a real budget: the whole frame is too much, tiles are not, and the result is the same."""
    near, far = frames(rng, (900, 900, 3))
    with Fuser(write_model(), backend="onnxruntime") as fuser:
        whole = fuser.fuse(near, far)
    with Fuser(write_model(), backend="onnxruntime", max_memory=resident_bytes() / 1e6 + 130) as fuser:
        result = fuser.fuse_pair(near, far)
    assert result.grid is not None
    assert len(result.grid) > 1
    assert np.abs(result.fused.astype(int) - whole).max() <= 1


@pytest.mark.parametrize("tile", ["off", 8])
def test_a_model_without_a_map(write_model, rng, small, monkeypatch, tile):
    infer = small.Session.infer
    without = lambda self, inputs: {name: array for name, array in infer(self, inputs).items() if name != "map"}  # noqa: E731
    monkeypatch.setattr(small.Session, "infer", without)
    with Fuser(write_model(), backend="onnxruntime", tile=tile) as fuser:
        assert fuser.fuse_with_map(*frames(rng, (40, 50, 3)))[1] is None


def test_from_several_threads(write_model, rng):
    near, far = frames(rng, (40, 50, 3))
    with Fuser(write_model(), backend="onnxruntime", tile=16) as fuser:
        expected, found, errors = fuser.fuse(near, far), [], []

        def work():
            try:
                found.append(fuser.fuse(near, far))
            except Exception as error:  # noqa: BLE001 - told below, in the thread that asserts
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    assert len(found) == 6
    assert all(np.array_equal(fused, expected) for fused in found)


ARRAYS = hnp.arrays(
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32, np.float64, np.int8, np.bool_]),
    shape=hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=12),
)


@given(
    near=ARRAYS,
    far=ARRAYS,
    alike=st.booleans(),
    order=st.sampled_from(["bgr", "rgb", "xyz"]),
    white=st.none() | st.floats(allow_nan=True) | st.integers(0, 70_000),
    bayer=st.none() | st.sampled_from(["rggb", "gbrg", "none"]),
    tile=st.sampled_from(["off", 4, 9]),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_only_documented_errors(write_model, near, far, alike, order, white, bayer, tile):
    if alike:
        far = near[::-1]
    with Fuser(write_model(), backend="onnxruntime", tile=tile) as fuser:
        try:
            result = fuser.fuse_pair(near, far, order=order, white=white, bayer=bayer, want_map=True)
        except UfaError as error:
            assert isinstance(error, InputError)
            return
    assert result.fused.dtype == near.dtype
    assert result.fused.shape[:2] == near.shape[:2] == result.map.shape
    assert np.isfinite(result.fused).all()


def test_a_fuser_says_that_it_cannot_be_copied(fuser):
    import copy
    import pickle

    for send in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="holds an engine and cannot be copied or sent to another process: open one there"):
            send(fuser)
