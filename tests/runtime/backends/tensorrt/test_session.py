"""`TensorRtSession` on the fake GPU, for both flavours: results, order, lifetimes, threads, every failing answer."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ufafuse.runtime.errors import BackendError, ModelError
from ufafuse.runtime.session import SessionOptions, open_session


def expected(inputs):
    return inputs["near"].astype(np.float32) / 4 + 3 * inputs["far"].astype(np.float32) / 4


def test_fuses_and_tells_its_times(release, engine_file, frames):
    with open_session(engine_file(release)) as session:
        inputs = frames()
        fused, weights = session.run_with_map(inputs["near"], inputs["far"])
        np.testing.assert_allclose(fused, expected(inputs), atol=1e-6)
        np.testing.assert_allclose(weights, inputs["near"].mean(1, keepdims=True), atol=1e-6)
        assert session.backend == "tensorrt"
        assert session.precision == "fp32"
        assert set(session.last_timing) == {"h2d_ms", "compute_ms", "d2h_ms"}
        assert all(value > 0 for value in session.last_timing.values())
        assert release.version in session.why


def test_results_are_the_callers_own(release, engine_file, frames):
    with open_session(engine_file(release)) as session:
        first = session.run(**frames(seed=1))
        kept = first.copy()
        for seed in range(2, 6):
            session.run(**frames(seed=seed))
        np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("kind", "dtype", "io", "tolerance"), [("HALF", np.float32, "float", 1e-2), ("UINT8", np.uint8, "uint8", 1)]
)
def test_half_and_byte_engines_speak_the_sessions_types(release, engine_file, frames, kind, dtype, io, tolerance):
    with open_session(engine_file(release, dtype=kind, io=io)) as session:
        inputs = frames(dtype=dtype)
        result = session.run_with_map(**inputs)
        assert result.fused.dtype == dtype
        assert result.map.dtype == np.float32
        np.testing.assert_allclose(result.fused, expected(inputs), atol=tolerance)


def test_strided_arrays_and_changing_sizes(release, engine_file, frames, world):
    with open_session(engine_file(release)) as session:
        for height, width in [(16, 16), (64, 64), (17, 33), (64, 64), (32, 48)]:
            inputs = {name: array[:, ::-1] for name, array in frames(height, width).items()}
            np.testing.assert_allclose(session.run(**inputs), expected(inputs), atol=1e-6)


def test_every_profile_is_warmed_while_loading_and_the_first_that_holds_the_frame_is_taken(release, engine_file, frames, world):
    profiles = [[[16, 16], [16, 32], [32, 32]], [[16, 16], [64, 64], [128, 128]]]
    path = engine_file(release, profiles=profiles)
    with open_session(path) as session:
        assert world.calls.count("execute_async_v3") == 2 * len(profiles)
        assert world.calls.count("set_optimization_profile_async") == 4
        allocated = world.calls.count("mem_alloc"), world.calls.count("pagelocked_empty")
        for size in [(64, 64), (16, 32), (64, 64)]:
            inputs = frames(*size)
            np.testing.assert_allclose(session.run(**inputs), expected(inputs), atol=1e-6)
        assert (world.calls.count("mem_alloc"), world.calls.count("pagelocked_empty")) == allocated
        session.run(**frames(128, 128))
        assert world.calls.count("mem_alloc") > allocated[0]


def test_a_frame_outside_every_profile_names_the_range_and_the_mend(release, engine_file, frames):
    with open_session(engine_file(release)) as session:
        with pytest.raises(BackendError) as caught:
            session.run(**frames(65, 64))
        text = str(caught.value)
        assert "near is 1 x 3 x 65 x 64" in text
        assert "1 x 3 x 16 x 16 to 1 x 3 x 64 x 64" in text
        assert "ufa build ufa.onnx" in text
        assert "--static 65x64" in text
        session.run(**frames())  # and it goes on


def test_the_shapes_are_checked_before_anything_is_called(release, engine_file, frames, world):
    with open_session(engine_file(release)) as session:
        before = len(world.calls)
        for inputs in [
            frames(8, 8),
            {"near": frames()["near"]},
            {**frames(), "third": frames()["near"]},
            frames(dtype=np.uint8),
            {"near": frames()["near"][0], "far": frames()["far"]},
        ]:
            with pytest.raises(BackendError):
                session.infer(inputs)
        assert len(world.calls) == before


def test_frames_of_different_sizes_are_an_error_and_the_session_goes_on(release, engine_file, frames):
    with open_session(engine_file(release)) as session:
        with pytest.raises(BackendError, match="fused"):
            session.run(frames(32, 48)["near"], frames(32, 32)["far"])
        inputs = frames()
        np.testing.assert_allclose(session.run(**inputs), expected(inputs), atol=1e-6)


def test_many_threads(release, engine_file, frames):
    sizes = [(16, 16), (64, 64), (32, 48), (17, 63)]
    with open_session(engine_file(release)) as session, ThreadPoolExecutor(6) as pool:

        def work(seed):
            inputs = frames(*sizes[seed % 4], seed=seed)
            return np.abs(session.run(**inputs) - expected(inputs)).max()

        assert max(pool.map(work, range(48))) < 1e-6


def test_opened_in_one_thread_used_in_a_second_closed_in_a_third(release, engine_file, frames, world):
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second, ThreadPoolExecutor(1) as third:
        session = first.submit(open_session, engine_file(release)).result()
        second.submit(lambda: session.run(**frames())).result()
        third.submit(session.close).result()
        stacks = [pool.submit(world.stack).result() for pool in (first, second, third)]
        assert stacks == [[], [], []]


def test_the_primary_context_is_retained_once(release, engine_file, world):
    for _ in range(3):
        open_session(engine_file(release)).close()
    assert world.retained == 1
    assert world.calls.count("push") == world.calls.count("pop")


def test_close_twice_and_use_after_close(release, engine_file, frames):
    session = open_session(engine_file(release))
    session.close()
    session.close()
    for _ in range(2):
        with pytest.raises(BackendError, match="closed"):
            session.run(**frames())


def test_close_waits_for_the_frames_under_way(release, engine_file, frames):
    session = open_session(engine_file(release))
    gate, results = threading.Event(), []

    def work():
        gate.wait()
        with contextlib.suppress(BackendError):
            results.extend(session.run(**frames()) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.set()
    session.close()
    for thread in threads:
        thread.join()
    assert all(np.allclose(result, expected(frames()), atol=1e-6) for result in results)


LOADING = {
    "deserialize_cuda_engine": (None, ModelError),
    "create_execution_context": (None, BackendError),
    "get_tensor_profile_shape": (False, BackendError),
    "set_input_shape": (False, BackendError),
    "infer_shapes": (["fused"], BackendError),
    "get_tensor_shape": ((1, 3, -1, -1), BackendError),
    "set_tensor_address": (False, BackendError),
    "execute_async_v3": (False, BackendError),
}


@pytest.mark.parametrize("call", LOADING)
def test_a_failing_answer_while_loading_leaves_nothing_behind(release, engine_file, world, call):
    answer, error = LOADING[call]
    world.fail(call, answer)
    with pytest.raises(error) as caught:
        open_session(engine_file(release))
    assert len(str(caught.value)) > 20
    assert world.calls.count("push") == world.calls.count("pop")
    del caught


def test_a_refused_plan_quotes_the_library_and_names_the_command(release, engine_file, world):
    world.fail("deserialize_cuda_engine", None)
    with pytest.raises(ModelError) as caught:
        open_session(engine_file(release))
    assert "deserialization failed" in str(caught.value)
    assert "not worth mentioning" not in str(caught.value)
    assert f"ufa build ufa.onnx -o {engine_file(release)}" in str(caught.value)
    del caught


RUNNING = {name: LOADING[name][0] for name in ("set_input_shape", "infer_shapes", "get_tensor_shape", "execute_async_v3")}


@pytest.mark.parametrize("call", RUNNING)
def test_a_failing_answer_while_running_fails_that_frame_only(release, engine_file, frames, world, call):
    with open_session(engine_file(release)) as session:
        world.fail(call, RUNNING[call])
        with pytest.raises(BackendError):
            session.run(**frames())
        for seed in range(4):
            inputs = frames(seed=seed)
            np.testing.assert_allclose(session.run(**inputs), expected(inputs), atol=1e-6)


@pytest.mark.parametrize("answer", [False, RuntimeError("Error in set optimization profile async.")])
def test_a_refused_profile(release, engine_file, frames, world, answer):
    path = engine_file(release, profiles=[[[16, 16]] * 3, [[32, 48]] * 3])
    with open_session(path) as session:
        world.fail("set_optimization_profile_async", answer)
        world.fail("set_optimization_profile_async", answer)
        with pytest.raises(BackendError, match="profile"):
            for size in [(16, 16), (32, 48)]:
                session.run(**frames(*size))


CUDA = ["mem_alloc", "pagelocked_empty", "Stream", "Event", "memcpy_htod_async", "memcpy_dtoh_async", "Event.synchronize"]


@pytest.mark.parametrize("call", CUDA)
def test_a_failing_cuda_call_while_loading_leaves_nothing_behind(release, engine_file, world, call):
    world.fail(call, world.errors.LogicError(f"{call} failed: unknown"))
    with pytest.raises(BackendError, match="nvidia-smi"):
        open_session(engine_file(release))


def test_memory_that_runs_out_says_so_and_smaller_frames_still_go(release, engine_file, frames, world):
    with open_session(engine_file(release)) as session:
        world.fail("mem_alloc", world.errors.MemoryError("cuMemAlloc failed: out of memory"))
        with pytest.raises(BackendError, match="no memory left"):
            session.run(**frames(64, 64))
        for seed in range(4):
            inputs = frames(32, 32, seed=seed)
            np.testing.assert_allclose(session.run(**inputs), expected(inputs), atol=1e-6)


def test_a_gpu_that_is_gone_does_not_keep_a_session_from_closing(release, engine_file, world, caplog):
    session = open_session(engine_file(release))
    world.fail("free", world.errors.LogicError("cuMemFree failed: the device is gone"))
    session.close()
    assert "could not be closed in order" in caplog.text
    assert len(world.memory) == 1  # the one that could not be freed; the rest was
    world.memory.clear()
    session.close()


def test_options(release, engine_file):
    with pytest.raises(BackendError, match="ufa export --precision fp16"):
        open_session(engine_file(release), options=SessionOptions(precision="fp16"))
    with pytest.raises(BackendError, match="provider=cuda` is ONNX Runtime's"):
        open_session(engine_file(release), options=SessionOptions(provider="cuda"))
    with open_session(engine_file(release), options=SessionOptions(precision="fp32", threads=3)) as session:
        assert session.precision == "fp32"


def test_a_tensor_that_numpy_does_not_know(release, engine_file):
    with pytest.raises(ModelError, match="BF16"):
        open_session(engine_file(release, dtype="BF16"))


def test_version_compatible_plans_may_bring_host_code(release, engine_file):
    with open_session(engine_file(release, host_code=True, extra={"version_compatible": True})) as session:
        assert session.manifest.extra["version_compatible"]
