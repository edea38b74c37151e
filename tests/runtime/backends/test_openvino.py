"""OpenVINO's own: bf16 where it is native and nowhere else, one compiled network a size, the plugin's settings."""

from pathlib import Path

import numpy as np
import pytest

from ufafuse.runtime.backends import openvino as backend
from ufafuse.runtime.bfloat16 import widened
from ufafuse.runtime.errors import BackendError
from ufafuse.runtime.frames import check_pair
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.images import read_image
from ufafuse.runtime.kinds import beside
from ufafuse.runtime.models import bundled, model_path
from ufafuse.runtime.packing import to_planes
from ufafuse.runtime.session import SessionOptions, is_carried, open_session

ONE = SessionOptions(threads=1)
EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def compiled_with(monkeypatch):
    """The settings that reached the plugin; arithmetic that this CPU would emulate (500 times slower) is left out there."""
    seen = []
    compile_model = backend.ov.Core.compile_model

    def spy(self, network, device, settings):
        seen.append(dict(settings))
        return compile_model(self, network, device, {**settings, "INFERENCE_PRECISION_HINT": "f32"})

    monkeypatch.setattr(backend.ov.Core, "compile_model", spy)
    monkeypatch.setattr(backend, "KeptNetworks", lambda _: None)  # what an earlier test compiled, and this one, are not alike
    return seen


@pytest.mark.parametrize(
    ("capabilities", "asked", "precision", "hint"),
    [
        (["FP32", "INT8", "BF16"], None, "bf16", "bf16"),
        (["FP32", "INT8", "BF16"], "fp32", "fp32", "f32"),
        (["FP32", "INT8", "BF16"], "bf16", "bf16", "bf16"),
        (["FP32", "INT8"], None, "fp32", "f32"),
        (["FP32", "INT8"], "fp32", "fp32", "f32"),
    ],
)
def test_bf16_is_chosen_where_it_is_native_only(
    tiny_onnx, frames, monkeypatch, compiled_with, capabilities, asked, precision, hint
):
    monkeypatch.setattr(backend, "cpu_capabilities", lambda: capabilities)
    with open_session(tiny_onnx, backend="openvino", options=SessionOptions(precision=asked, threads=1)) as session:
        session.run(**frames())
        assert session.precision == precision
        assert ("bf16 found on this CPU" in session.why) == (precision == "bf16")
        assert compiled_with[0]["INFERENCE_PRECISION_HINT"] == hint


def test_bf16_that_is_not_native_is_refused(tiny_onnx, monkeypatch):
    monkeypatch.setattr(backend, "cpu_capabilities", lambda: ["FP32", "INT8"])
    with pytest.raises(BackendError, match="this CPU does not have: use fp32 or int8"):
        open_session(tiny_onnx, backend="openvino", options=SessionOptions(precision="bf16"))


def test_this_machine_gets_what_it_has(tiny_onnx):
    with open_session(tiny_onnx, backend="openvino", options=ONE) as session:
        assert session.precision == ("bf16" if "BF16" in backend.cpu_capabilities() else "fp32")


@pytest.mark.parametrize("pin", [False, True])
def test_threads_and_pinning_reach_the_plugin(tiny_onnx, frames, pin):
    with open_session(tiny_onnx, backend="openvino", options=SessionOptions(threads=1, pin=pin)) as session:
        session.run(**frames())
        (compiled,) = session._by_task.values()
        assert compiled._compiled.get_property("INFERENCE_NUM_THREADS") == 1
        assert compiled._compiled.get_property("ENABLE_CPU_PINNING") is pin


@pytest.mark.parametrize(("lean", "kept"), [(False, backend._KEPT_SIZES), (True, backend._KEPT_SIZES_LEAN)])
def test_sizes_are_compiled_once_and_the_least_used_is_forgotten(tiny_onnx, frames, compiled_with, lean, kept):
    with open_session(tiny_onnx, backend="openvino", options=SessionOptions(threads=1, lean=lean)) as session:
        for size in range(8, 8 + kept):
            session.run(**frames(size, size))
            session.run(**frames(size, size))
        assert len(compiled_with) == kept
        session.run(**frames(8, 8))  # now the one after it is the oldest
        session.run(**frames(99, 9))
        session.run(**frames(8, 8))
        assert len(compiled_with) == kept + 1
        session.run(**frames(9, 9))
        assert len(compiled_with) == kept + 2
        assert len(session._by_task) == kept


def levels_of(planes):
    return {name: np.rint(255 * array).astype(np.uint8) for name, array in planes.items()}


@pytest.mark.parametrize("lean", [False, True])
def test_levels_give_what_planes_give_rounded(tiny_onnx, frames, lean):
    options = SessionOptions(threads=1, precision="fp32", lean=lean)
    with open_session(tiny_onnx, backend="openvino", options=options) as session:
        assert session.takes_byte_planes
        levels = levels_of(frames(21, 35, seed=3))
        expected = session.run_with_map(**{name: np.float32(array) / 255 for name, array in levels.items()})
        found = session.run_with_map(**levels)
        assert found.fused.dtype == np.uint8
        assert np.abs(found.fused - 255 * expected.fused).max() <= 0.501
        np.testing.assert_allclose(found.map, expected.map, atol=1e-6)
        alone = session.run(**levels)  # another network: a tie may be rounded the other way
        assert alone.dtype == np.uint8
        assert np.abs(alone - 255 * expected.fused).max() <= 0.501


def test_a_map_that_is_not_wanted_is_not_made(tiny_onnx, frames):
    with open_session(tiny_onnx, backend="openvino", options=ONE) as session:
        planes = frames(21, 35)
        fused = session.run(**planes)
        (alone,) = session._by_task.values()
        with_map = session.run_with_map(**planes)
        (_, both) = session._by_task.values()
        results = [{port.get_any_name() for port in each._compiled.outputs} for each in (alone, both)]
    assert results == [{"fused"}, {"fused", "map"}]
    np.testing.assert_allclose(fused, with_map.fused, atol=1e-6)


def test_levels_beside_planes_are_refused(tiny_onnx, frames):
    planes = frames(20, 30)
    told = pytest.raises(BackendError, match=r"near is uint8 \[1, 3, 20, 30\], the model takes float32")
    with open_session(tiny_onnx, backend="openvino", options=ONE) as session, told:
        session.run(levels_of(planes)["near"], planes["far"])


def test_a_prepared_size_is_not_compiled_again(tiny_onnx, frames, compiled_with):
    with open_session(tiny_onnx, backend="openvino", options=ONE) as session:
        assert not session.prepared((20, 30))
        session.prepare((20, 30))
        assert session.prepared((20, 30))
        assert not session.prepared((20, 30), want_map=True)
        assert not session.prepared((30, 20))
        assert len(compiled_with) == 1
        session.run(**levels_of(frames(20, 30)))
        assert len(compiled_with) == 1
        session.run(**frames(20, 30))
        assert len(compiled_with) == 2
        session.prepare((40, 30), want_map=True)
        assert len(compiled_with) == 3
        session.run_with_map(**levels_of(frames(40, 30)))
        assert len(compiled_with) == 3
    with pytest.raises(BackendError, match="the session was closed"):
        session.prepare((20, 30))


def test_onnx_runtimes_providers_are_not_its_own(tiny_onnx):
    with pytest.raises(BackendError, match="backend=onnxruntime"):
        open_session(tiny_onnx, backend="openvino", options=SessionOptions(provider="cuda"))


@pytest.mark.skipif(
    "BF16" not in backend.cpu_capabilities(), reason="this CPU has no bf16 (it would emulate, 500 times slower)"
)
def test_native_bf16_stays_within_50_db_of_fp32():
    from ufafuse.runtime.models import model_path

    # A real pair: two frames of independent noise have no frame in focus, and there a selection of either is as right.
    frames = [read_image(EXAMPLES / f"sample_{side}.png") for side in "AB"]
    near, far = (to_planes(frame, check_pair(*frames)) for frame in frames)
    results = []
    for precision in ("fp32", "bf16"):
        with open_session(model_path(), backend="openvino", options=SessionOptions(precision=precision)) as session:
            results.append(session.run(near, far))
    error = float(np.mean((results[0] - results[1]) ** 2))
    assert -10 * np.log10(error) >= 50


def handed_on(precision, *, carry=True, lean=False):
    """What the bundled graphs for stacks hand on of many frames, of what dtype, and the logarithms of their weights.

    Of one frame alone the rounding is as often half as twice what it is of another.
    """
    path = model_path("ufa-stack")
    options = SessionOptions(precision=precision, threads=1, lean=lean, carry=carry, cache=False)
    drawn = np.random.default_rng(0)
    frames = [drawn.random((1, 3, 64, 96)).astype(np.float32) for _ in range(128)]
    with open_session(beside(path, "encode"), backend="openvino", options=options) as encode:
        encoded = [encode.infer({"frame": frame}) for frame in frames]
    features = [{name: value for name, value in outputs.items() if is_carried(name)} for outputs in encoded]
    assert {value.dtype.name for each in features for value in each.values()} == {encode.carries}
    weights = []
    with open_session(beside(path, "score"), backend="openvino", options=options) as score:
        assert score.carries == encode.carries
        for frame, own in zip(frames, features, strict=True):
            given = dict.fromkeys(("frame", "mean"), frame) | {"count": np.full((1, 1, 64, 96), 2, np.float32)}
            given |= own | {name.replace("features", "common"): value for name, value in own.items()}
            given["stands_out"] = np.zeros((1, 16, 24, 16), encode.carries)
            weights.append(score.infer(given)["weights"])
    joined = {name: widened(np.concatenate([each[name] for each in features])) for name in features[0]}
    return joined, encode.carries, np.log(np.concatenate(weights))


def apart(a, b):
    return float(np.sqrt(np.mean((a - b) ** 2)))


@pytest.mark.skipif("ufa-stack" not in bundled(), reason="ufa-stack is not bundled here")
@pytest.mark.parametrize("lean", [False, True])
def test_graphs_for_stacks_hand_on_bfloat16_where_they_compute_in_it(lean):
    if "BF16" not in backend.cpu_capabilities():
        pytest.skip("this CPU has no bf16 (it would emulate, 500 times slower)")
    exact, _, expected = handed_on("fp32", lean=lean)
    plain, before, without = handed_on("bf16", carry=False, lean=lean)
    features, carries, weights = handed_on("bf16", lean=lean)
    assert (before, carries) == ("float32", "uint16")
    for name, values in exact.items():
        assert apart(features[name], values) < 1.2 * apart(plain[name], values) + 2e-3 * values.std()
    assert apart(weights, expected) < 1.2 * apart(without, expected)


@pytest.mark.skipif("ufa-stack" not in bundled(), reason="ufa-stack is not bundled here")
def test_graphs_for_stacks_hand_on_float32_otherwise():
    features, carries, weights = handed_on("fp32")
    plain, _, without = handed_on("fp32", carry=False)
    assert carries == "float32"
    assert all(np.array_equal(features[name], plain[name]) for name in plain)
    assert np.array_equal(weights, without)


@pytest.mark.parametrize("lean", [False, True])
def test_results_stay_the_callers_whatever_is_run_next(tiny_onnx, frames, lean):
    with open_session(tiny_onnx, backend="openvino", options=SessionOptions(threads=1, lean=lean)) as session:
        first = session.run_with_map(**frames(seed=1))
        before = first.fused.copy(), first.map.copy()
        only_fused = session.run(**frames(seed=2))
        second = session.run_with_map(**frames(seed=2))
        assert np.array_equal(only_fused, second.fused)
        assert np.array_equal(first.fused, before[0])
        assert np.array_equal(first.map, before[1])
        assert not np.array_equal(second.fused, first.fused)


@pytest.mark.parametrize("shape", [(21, 35, 3), (21, 35, 4)])
@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_eight_bit_colour_goes_in_and_out_as_bytes(tiny_onnx, monkeypatch, shape, order):
    noise = np.random.default_rng(5)
    near, far = (noise.integers(8, 256, shape, np.uint8) for _ in range(2))  # black that is lit goes in as floats
    with Fuser(tiny_onnx, backend="openvino", precision="fp32", threads=1) as fuser:
        given = []
        run = fuser.session.run
        monkeypatch.setattr(fuser.session, "run", lambda *planes: given.append(planes[0].dtype) or run(*planes))
        fused = fuser.fuse(near, far, order=order)
        as_floats = fuser.fuse(*(np.float32(frame) / 255 for frame in (near, far)), order=order)
        for other in ({"white": 255}, {"white": 254}):
            fuser.fuse(near // 2, far // 2, order=order, **other)
        fuser.fuse(near[..., 0], far[..., 0])
    assert given == [np.uint8, np.float32, np.uint8, np.float32, np.float32]
    assert np.abs(fused[..., :3] - 255 * as_floats[..., :3]).max() <= 0.501
    np.testing.assert_array_equal(fused[..., 3:], near[..., 3:])
